"""Bytes that a collective puts on the wire, for each rank. A group of one sends nothing."""

from __future__ import annotations

from floorline.num import Num, ceil, minimum, where


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


def one_message_bytes(message: Num, ranks: Num) -> Num:
    r"""Bytes that a rank sends to the next of a chain, as pipeline stages do: nothing where it is alone.

    $$V = \min(n - 1, 1)\,M$$

    message  M  buffer of one rank  [B]
    ranks    n  ranks               [-]
    returns  V  bytes sent          [B]

    Source: Huang et al. 2018 (GPipe), arXiv:1811.06965, section 2. Example: two stages hand on one buffer, one stage none.

    >>> one_message_bytes(8.0, 2.0), one_message_bytes(8.0, 1.0)
    (8.0, 0.0)
    """
    return minimum(ranks - 1.0, 1.0) * message


def members_inside(domain: Num, stride: Num, ranks: Num) -> Num:
    r"""Ranks of a group that sit together in one domain, such as a box, where ranks are numbered box by box.

    $$m = \min\left(n, \left\lceil \frac{d}{s} \right\rceil\right)$$

    domain   d  devices of the domain                               [-]
    stride   s  devices from one rank of the group to the next      [-]
    ranks    n  ranks of the group                                  [-]
    returns  m  the most of them in one domain                      [-]

    Source: Narayanan et al. 2021, arXiv:2104.04473, section 3.1: tensor-parallel ranks side by side in a node, the others
    across nodes. Example: tensor parallelism of 8 fills a box of 8, and of its data-parallel group each has one.

    >>> float(members_inside(8.0, 1.0, 16.0)), float(members_inside(8.0, 8.0, 16.0)), float(members_inside(1.0, 1.0, 4.0))
    (8.0, 1.0, 1.0)
    """
    return minimum(ranks, ceil(domain / stride))


def least_share_bytes(message: Num, ranks: Num, members: Num) -> Num:
    r"""What must leave a domain in any reduction that ends in shares, and reach it in any gather: the others' shares, handed
    over by its members together.

    $$V = \frac{n - m}{n\,m}\,M$$

    message  M  buffer of one rank, the whole that is reduced or gathered  [B]
    ranks    n  ranks of the group                                         [-]
    members  m  of them in the domain                                      [-]
    returns  V  bytes of one member                                        [B]

    Source: Chan et al. 2007, "Collective communication: theory, practice, and experience", section 3 (lower bounds).
    Example: half of what a ring all-reduce of eight sends.

    >>> least_share_bytes(8.0, 8.0, 1.0)
    7.0
    """
    return (ranks - members) / (ranks * members) * message


def least_own_bytes(message: Num, ranks: Num, members: Num) -> Num:
    r"""What must leave a domain where the network copies (a gather), and reach it where the network adds (a reduction that
    ends in shares): its members' own shares, once; nothing where the whole group is inside.

    $$V = \frac{M}{n}, \quad n > m$$

    message  M  buffer of one rank, the whole that is reduced or gathered  [B]
    ranks    n  ranks of the group                                         [-]
    members  m  of them in the domain                                      [-]
    returns  V  bytes of one member                                        [B]

    Source: Graham et al. 2016, "Scalable hierarchical aggregation protocol (SHArP)", COMHPC, section 2: the switch adds, each
    host sends its data once. Example: an eighth.

    >>> float(least_own_bytes(8.0, 8.0, 1.0)), float(least_own_bytes(8.0, 8.0, 8.0))
    (1.0, 0.0)
    """
    return where(ranks > members, message / ranks, 0.0)


def least_whole_bytes(message: Num, ranks: Num, members: Num) -> Num:
    r"""What must leave a domain, and reach it, in any all-reduce: the others cannot know the sum without all of its own, nor it
    without theirs, even where the network adds.

    $$V = \frac{M}{m}, \quad n > m$$

    message  M  buffer of one rank   [B]
    ranks    n  ranks of the group   [-]
    members  m  of them in the domain  [-]
    returns  V  bytes of one member  [B]

    Source: Graham et al. 2016, "Scalable hierarchical aggregation protocol (SHArP)", COMHPC, section 2: each host sends its
    data once and receives the sum once. Example: two ranks exchange their halves twice, which is the ring's 2·(n − 1)/n.

    >>> float(least_whole_bytes(8.0, 2.0, 1.0)) == ring_all_reduce_bytes(8.0, 2.0)
    True
    """
    return where(ranks > members, message / members, 0.0)


def least_exchange_bytes(message: Num, ranks: Num, members: Num) -> Num:
    r"""What must leave a domain, and reach it, in an all-to-all: of each member's buffer what is for ranks outside.

    $$V = \frac{n - m}{n}\,M$$

    message  M  buffer of one rank     [B]
    ranks    n  ranks of the group     [-]
    members  m  of them in the domain  [-]
    returns  V  bytes of one member    [B]

    Source: counting the shares. Example: of eight shares four leave a domain of four.

    >>> least_exchange_bytes(8.0, 8.0, 4.0)
    4.0
    """
    return (ranks - members) / ranks * message


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
