"""The time of dispatching tokens to the ranks of their experts inside a node, and of combining what comes back.

A low-latency kernel sends a copy of a token for each expert that it chooses, straight to that expert's rank; a high-throughput
one sends a copy to each rank that holds any. A kernel's blocks serve experts each, so few experts leave it slow. Small batches
wait, for barriers and, in engines, for the layout to be counted.

Valid for 1 to 7·10⁴ tokens a rank and 1 to 8 chosen of 8 to 512 experts on 4 to 8 ranks. Source of the form: DeepEP
(``csrc/kernels/internode_ll.cu``, ``intranode.cu``). Routing is taken to be uniform.
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.efficiency.device import Device
from floorline.efficiency.parameter import parameter
from floorline.formulas.experts import hit_share
from floorline.num import Num, maximum, power, where


@dataclass(frozen=True)
class Exchange:
    """Parameters of one kernel, one direction, on one accelerator."""

    launch: float = parameter("an exchange that moves nothing, its barriers included", 1.2e-5, 1e-6, 1e-3, "s")
    expert_wait: float = parameter("what each expert adds to that, by its counter and its flag", 1e-8, 1e-11, 1e-6, "s")
    hidden: float = parameter("exponent by which that and the moving add: 1 one after the other", 1.0, 1.0, 8.0)
    token: float = parameter("handling a token", 1e-9, 1e-12, 1e-6, "s")
    copy: float = parameter("handling a copy of it", 1e-9, 1e-12, 1e-6, "s")
    own_share: float = parameter("share of the memory bandwidth at which tokens are read or added up", 0.3, 0.005, 4.0)
    link_share: float = parameter("share of the link's bandwidth at which copies go to other ranks", 0.7, 0.02, 1.0)
    expert_copy: float = parameter(
        "what the blocks of one expert take for a copy, one after the other", 1e-7, 1e-10, 1e-4, "s"
    )
    expert_rate: float = parameter("bytes that the blocks of one expert move in a second", 3e9, 1e7, 1e12, "B/s")


def reached(chosen: Num, groups: Num) -> Num:
    """Of so many groups of experts, how many one token's choices fall in, on average [-].

    Eight choices among eight ranks fall in 8 · (1 − (7/8)⁸) of them:

    >>> print(round(reached(8.0, 8.0), 3))
    5.251
    """
    return groups * hit_share(chosen, 1.0 / groups)


def exchange_time(
    p: Exchange,
    device: Device,
    quick: Num,
    element: Num,
    tokens: Num,
    columns: Num,
    chosen: Num,
    experts: Num,
    ranks: Num,
) -> Num:
    """The time of dispatching or combining among the ranks of a node [s].

    p        fitted parameters
    device   the accelerator's figures
    quick    1 for a low-latency kernel, which sends a copy for each expert
    element  that is sent [B]
    tokens   of each rank [-]
    columns  of a token [-]
    chosen   experts of a token [-]
    experts  in all [-]
    ranks    that share the experts [-]
    """
    row = element * columns
    copies = where(quick > 0.0, chosen, reached(chosen, ranks))
    inside = copies * (ranks - 1.0) / ranks * row / (device.link * p.link_share)
    handled = p.token + copies * p.copy + row / (device.bandwidth * p.own_share)
    served = copies / experts * (p.expert_copy + row / p.expert_rate)
    moving = tokens * (handled + maximum(inside, served))
    start = p.launch + experts * p.expert_wait
    time: Num = power(power(start, p.hidden) + power(moving, p.hidden), 1.0 / p.hidden)
    return time
