"""The time of NCCL's collectives among devices of one node: latencies of its protocols against the link's bandwidth.

NCCL sends small messages by LL, middling ones by LL128 (flags beside the data, few waits, less bandwidth) and large ones by Simple
(all bandwidth, long waits, a pipeline to fill). A ring of n ranks takes n - 1 steps for a gather or a scatter and 2(n - 1) for an
all-reduce; a switch that adds by itself (NVLink SHARP) takes an all-reduce in two. Every rank also copies its own share in memory.

Valid for 512 B to 10 GB among 2 to 8 ranks of a node. ``size`` is the whole buffer, as nccl-tests counts it: of an all-gather what
is gathered, of an all-to-all what a rank sends. Source of the form: NCCL's own tuning model (``src/graph/tuning.cc``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from floorline.efficiency.device import Device
from floorline.efficiency.parameter import parameter
from floorline.num import Num, maximum, minimum, where


@dataclass(frozen=True)
class Collectives:
    """Parameters of the collectives of one accelerator, for all kinds."""

    launch: float = parameter("a collective that takes no step", 4e-6, 5e-7, 1e-4, "s")
    ll_step: float = parameter("a step by LL", 8e-7, 5e-8, 1e-5, "s")
    ll_share: float = parameter("share of the link's bandwidth that LL reaches", 0.02, 1e-4, 1.0)
    ll128_wait: float = parameter("what LL128 starts later than LL", 1.5e-6, 1e-8, 2e-5, "s")
    ll128_step: float = parameter("a step by LL128", 1e-6, 5e-8, 1e-5, "s")
    ll128_share: float = parameter("share of the link's bandwidth that LL128 reaches", 0.3, 0.005, 1.0)
    simple_from: float = parameter("bytes of a rank's share from which a ring goes by Simple", 2.5e5, 1e3, 1e8, "B")
    simple_wait: float = parameter("what Simple starts later than LL", 1e-5, 1e-7, 1e-4, "s")
    simple_step: float = parameter("a step by Simple", 1e-6, 5e-8, 2e-5, "s")
    fill: float = parameter("filling the pipeline of a long message", 2e-5, 1e-7, 1e-3, "s")
    fill_size: float = parameter("buffer at which half of that is seen", 8e6, 1e4, 1e9, "B")
    ring_share: float = parameter("share of the link's bandwidth that a long ring reaches", 0.8, 0.05, 1.0)
    direct_step: float = parameter("a further peer of an exchange pair by pair", 3e-7, 1e-9, 1e-5, "s")
    direct_wait: float = parameter("what such an exchange by Simple starts later than by LL", 7e-6, 1e-7, 1e-4, "s")
    direct_share: float = parameter("share of the link's bandwidth that a long one reaches", 0.75, 0.05, 1.0)
    copy_share: float = parameter("share of the memory bandwidth of a rank's copy of its own share", 0.5, 0.005, 1.0)
    switch_wait: float = parameter(
        "what an all-reduce by a switch that adds starts later than LL", 6e-5, 1e-6, 1e-3, "s"
    )
    switch_share: float = parameter(
        "share of the link's bandwidth that it reaches; 0.4 is never chosen", 0.62, 0.4, 1.0
    )
    crowding: float = parameter("exponent by which more ranks than two share the way", 0.02, 1e-4, 3.0)


STEPS = {"all_reduce": 2.0, "all_gather": 1.0, "reduce_scatter": 1.0}
"""Rounds of a ring: n - 1 steps each."""


def copy_time(p: Collectives, device: Device, share: Num) -> Num:
    """A rank's copy of its own share, read and written [s]."""
    return 2.0 * share / (device.bandwidth * p.copy_share)


def fill_time(p: Collectives, size: Num) -> Num:
    """Filling the pipeline of a long message [s]."""
    return p.fill * size / (size + p.fill_size)


def quick_time(p: Collectives, device: Device, kind: str, share: Num, ranks: Num) -> Num:
    """A ring by LL or LL128, whichever is faster, without the launch [s]; share of a rank [B]."""
    steps, link = STEPS[kind] * (ranks - 1.0), device.shared_link(ranks, p.crowding)
    ll = steps * (p.ll_step + share / (link * p.ll_share))
    ll128 = p.ll128_wait + steps * (p.ll128_step + share / (link * p.ll128_share))
    return minimum(ll, ll128)


def ring_time(p: Collectives, device: Device, size: Num, ranks: Num, kind: str) -> Num:
    """A collective that goes around a ring, without the launch [s]. NCCL chooses by a bound on a rank's share, which need not be
    where Simple is as fast as LL128."""
    steps, share = STEPS[kind] * (ranks - 1.0), size / ranks
    bulk = steps * share / (device.shared_link(ranks, p.crowding) * p.ring_share) + copy_time(p, device, share)
    simple = p.simple_wait + steps * p.simple_step + fill_time(p, size) + bulk
    if device.adds and kind == "all_reduce":
        simple = minimum(simple, switch_time(p, device, size, ranks))
    quick = quick_time(p, device, kind, minimum(share, p.simple_from), ranks)
    return where(share < p.simple_from, quick, maximum(quick, simple))


def switch_time(p: Collectives, device: Device, size: Num, ranks: Num) -> Num:
    """An all-reduce by a switch that adds, without the launch [s]: each rank sends its buffer, and the sum of its share to all."""
    sent = size * (1.0 + 1.0 / ranks)
    return p.switch_wait + sent / (device.link * p.switch_share)


def direct_time(p: Collectives, device: Device, size: Num, ranks: Num) -> Num:
    """An exchange of every rank with every other, without the launch [s]: by LL a channel a pair, by Simple all of the link."""
    share, peers, link = size / ranks, ranks - 1.0, device.shared_link(ranks, p.crowding)
    ll = share / (link * p.ll_share)
    simple = p.direct_wait + fill_time(p, size) + peers * share / (link * p.direct_share) + copy_time(p, device, share)
    return peers * p.direct_step + minimum(ll, simple)


def send_time(p: Collectives, device: Device, size: Num, ranks: Num) -> Num:
    """A message from one rank to another, without the launch [s]; of so many ranks only two take part."""
    del ranks
    ll = size / (device.link * p.ll_share)
    simple = p.direct_wait + fill_time(p, size) + size / (device.link * p.direct_share)
    return p.direct_step + minimum(ll, simple)


def broadcast_time(p: Collectives, device: Device, size: Num, ranks: Num) -> Num:
    """One rank's buffer to all others, along a ring in a pipeline, without the launch [s]."""
    steps, link = ranks - 1.0, device.shared_link(ranks, p.crowding)
    ll = steps * p.ll_step + size / (link * p.ll_share)
    ll128 = p.ll128_wait + steps * p.ll128_step + size / (link * p.ll128_share)
    simple = p.simple_wait + steps * p.simple_step + fill_time(p, size) + size / (link * p.ring_share)
    return minimum(minimum(ll, ll128), simple)


WAYS: dict[str, Callable[[Collectives, Device, Num, Num], Num]] = {
    **{kind: partial(ring_time, kind=kind) for kind in STEPS},
    "all_to_all": direct_time,
    "send_recv": send_time,
    "broadcast": broadcast_time,
}
"""Kind → its time without the launch. The last two take the others' parameters: their own kernels are not fitted."""


def collective_time(p: Collectives, device: Device, kind: str, size: Num, ranks: Num) -> Num:
    """The time of a collective [s].

    p       fitted parameters
    device  the accelerator's figures
    kind    key of ``WAYS``
    size    the whole buffer [B]
    ranks   [-]
    """
    return p.launch + WAYS[kind](p, device, size, ranks)
