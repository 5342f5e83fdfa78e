"""Bytes that a collective puts on the wire, for each rank. A group of one sends nothing."""

from __future__ import annotations

from floorline.num import Num, where


def ring_all_reduce_bytes(message: Num, ranks: Num) -> Num:
    r"""Bytes that each rank sends in a ring all-reduce: a reduce-scatter and an all-gather.

    $$V = 2\,\frac{n-1}{n}\,M$$

    message  M  buffer of one rank  [B]
    ranks    n  ranks               [-]
    returns  V  bytes sent          [B]

    Source: Patarasuk and Yuan 2009, JPDC 69(2), "Bandwidth optimal all-reduce algorithms". Example: Chen 2022, "Transformer
    inference arithmetic", section model parallelism: two all-reduces a layer are four messages of (n − 1)·D/n elements.

    >>> 2 * ring_all_reduce_bytes(8192.0, 4.0) == 4 * (4 - 1) * 8192 / 4
    True
    """
    return 2.0 * (ranks - 1.0) / ranks * message


def ring_gather_bytes(message: Num, ranks: Num) -> Num:
    r"""Bytes that each rank sends in a ring all-gather or reduce-scatter.

    $$V = \frac{n-1}{n}\,M$$

    message  M  the whole that is gathered or scattered  [B]
    ranks    n  ranks                                    [-]
    returns  V  bytes sent                               [B]

    Source: Chan et al. 2007, "Collective communication: theory, practice, and experience", section 4. Example: half of a
    ring all-reduce.

    >>> ring_gather_bytes(8192.0, 4.0)
    6144.0
    """
    return (ranks - 1.0) / ranks * message


def all_to_all_bytes(message: Num, ranks: Num) -> Num:
    r"""Bytes that each rank sends in an all-to-all: all of its buffer but its own share.

    $$V = \frac{n-1}{n}\,M$$

    message  M  buffer of one rank  [B]
    ranks    n  ranks               [-]
    returns  V  bytes sent          [B]

    Source: Jacobs et al. 2023 (DeepSpeed Ulysses), arXiv:2309.14509, section 3.2. Example: of eight shares seven leave.

    >>> all_to_all_bytes(8.0, 8.0)
    7.0
    """
    return (ranks - 1.0) / ranks * message


def least_share_bytes(message: Num, ranks: Num) -> Num:
    r"""Bytes of a buffer that are another rank's: what must leave a rank in any reduction, and reach it in any gather.

    $$V = \frac{n-1}{n}\,M$$

    message  M  buffer of one rank, the whole that is reduced or gathered  [B]
    ranks    n  ranks                                                      [-]
    returns  V  bytes                                                      [B]

    Source: Chan et al. 2007, "Collective communication: theory, practice, and experience", section 3 (lower bounds).
    Example: half of what a ring all-reduce sends.

    >>> least_share_bytes(8.0, 8.0)
    7.0
    """
    return (ranks - 1.0) / ranks * message


def least_own_bytes(message: Num, ranks: Num) -> Num:
    r"""Bytes of a rank's own share, which it sends once where the network copies (a gather) and receives once where the
    network adds (a reduction); a group of one neither sends nor receives.

    $$V = \frac{M}{n}, \quad n > 1$$

    message  M  buffer of one rank, the whole that is reduced or gathered  [B]
    ranks    n  ranks                                                      [-]
    returns  V  bytes                                                      [B]

    Source: Graham et al. 2016, "Scalable hierarchical aggregation protocol (SHArP)", COMHPC, section 2: the switch adds, each
    host sends its data once. Example: an eighth.

    >>> float(least_own_bytes(8.0, 8.0)), float(least_own_bytes(8.0, 1.0))
    (1.0, 0.0)
    """
    return where(ranks > 1.0, message / ranks, 0.0)


def message_time(sent: Num, bandwidth: Num, latency: Num) -> Num:
    r"""Time to send some bytes over a link; nothing to send takes no time.

    $$T = \alpha + \frac{V}{\beta}$$

    sent       V  bytes sent            [B]
    bandwidth  β  link, one direction   [B/s]
    latency    α  of a message          [s]
    returns    T  time                  [s]

    Source: Hockney 1994, "The communication challenge for MPP", Parallel Computing 20(3). Example: 300 GB/s, 300 MB.

    >>> float(message_time(300e6, 300e9, 0.0))
    0.001
    """
    return where(sent > 0.0, latency + sent / bandwidth, 0.0)
