"""The time of an engine's own all-reduce: kernels that read the other ranks' memory, in a replayed graph.

Small buffers go in one shot (each rank reads all of the others' buffers), larger ones in two (each reduces a share, then
gathers), still larger ones over symmetric memory where the engine has that, and the largest by the library. An engine's limits
decide.

Valid for 512 B to 2 GB among 2 to 8 ranks of a node. Source of the form: vLLM's ``custom_all_reduce.cuh``, TensorRT-LLM's
``customAllReduceKernels.cu``.
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.efficiency.device import Device
from floorline.efficiency.parameter import parameter
from floorline.num import Num, minimum, power, where


@dataclass(frozen=True)
class EngineAllReduce:
    """Parameters of an engine's own all-reduce on one accelerator: kernels that read other ranks' memory, in a replayed graph."""

    launch: float = parameter("a kernel that reduces nothing, its barrier included", 3e-6, 5e-7, 2e-4, "s")
    rank: float = parameter("a further rank at the barrier", 1e-7, 1e-9, 1e-5, "s")
    one_shot_share: float = parameter(
        "share of the link's bandwidth at which all of the others' buffers are read", 0.7, 0.02, 1.0
    )
    second_barrier: float = parameter("a barrier between reducing a share and gathering", 3e-6, 1e-7, 1e-4, "s")
    two_shot_share: float = parameter("share of the link's bandwidth that a ring's bytes are read by", 0.6, 0.02, 1.0)
    limit: float = parameter("largest buffer for these kernels, of two ranks", 9e6, 1e3, 1e11, "B")
    fewer: float = parameter("exponent by which more ranks than two lower that limit", 0.05, 1e-3, 3.0)
    symmetric_launch: float = parameter("a kernel over symmetric memory", 1.2e-5, 1e-6, 1e-3, "s")
    symmetric_share: float = parameter("share of the link's bandwidth that it reaches", 0.5, 0.02, 1.0)
    symmetric_limit: float = parameter("largest buffer for it; larger ones go by NCCL", 1e7, 1e3, 1e11, "B")
    library_launch: float = parameter("the library's all-reduce of nothing", 3e-5, 1e-6, 1e-3, "s")
    library_share: float = parameter("share of the link's bandwidth that it reaches", 0.7, 0.02, 1.0)
    crowding: float = parameter("exponent by which more ranks than two share the way", 0.02, 1e-4, 3.0)


def engine_all_reduce_time(p: EngineAllReduce, device: Device, size: Num, ranks: Num) -> Num:
    """The time of an engine's all-reduce [s]: one-shot or two-shot, over symmetric memory, or by NCCL, as its size has it.

    p      fitted parameters of the engine
    device  the accelerator's figures
    size   the buffer [B]
    ranks  [-]
    """
    peers, link = ranks - 1.0, device.shared_link(ranks, p.crowding)
    one = peers * size / (link * p.one_shot_share)
    ring = 2.0 * peers / ranks * size / link
    own = p.launch + peers * p.rank + minimum(one, p.second_barrier + ring / p.two_shot_share)
    symmetric = p.symmetric_launch + ring / p.symmetric_share
    limit = p.limit * power(2.0 / ranks, p.fewer)
    library = p.library_launch + ring / p.library_share
    return where(size <= limit, own, where(size <= p.symmetric_limit, symmetric, library))
