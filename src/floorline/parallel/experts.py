"""Expert parallelism: whole experts on ranks, instead of a share of every expert.

The ranks that share the experts are those of tensor parallelism first, then those of data parallelism. A tensor-parallel group
of tp ranks keeps min(ep, tp) sets of experts, each cut by width over the tp/min(ep, tp) ranks of a set: its tokens are on all of
its ranks already, so nothing is exchanged and the experts' outputs are terms of the sum that tensor parallelism makes anyway.
Where ep is more than tp, data-parallel groups keep different experts, and tokens go to them and come back by all-to-all.
Source: Lepikhin et al. 2020 (GShard), arXiv:2006.16668, section 3.2; Rajbhandari et al. 2022 (DeepSpeed-MoE), arXiv:2201.05596,
section 5.2; vLLM, docs/serving/expert_parallel_deployment.md (the group is that of all tensor- and data-parallel ranks).
"""

from __future__ import annotations

from floorline.num import Num, maximum, minimum
from floorline.parallel.split import Split
from floorline.parallel.tensor import AXES as TENSOR

AXES = ("ept", "etf")
DATA = ("epd", "edp")
SPLIT = Split("experts", AXES, (("CE", ("ept",)), ("Cf", ("etf",))), instead=TENSOR)


def degrees(ep: Num, tp: Num) -> dict[str, Num]:
    """Ranks of the axes inside a tensor-parallel group.

    >>> {k: float(v) for k, v in degrees(2.0, 8.0).items()}
    {'ept': 2.0, 'etf': 4.0}
    """
    inside = minimum(ep, tp)
    return {"ept": inside, "etf": tp / inside}


def data_degrees(ep: Num, tp: Num, dp: Num) -> dict[str, Num]:
    """Ranks of the axes of data parallelism: groups with different experts, and groups with the same.

    >>> {k: float(v) for k, v in data_degrees(8.0, 2.0, 16.0).items()}
    {'epd': 4.0, 'edp': 4.0}
    """
    different = maximum(ep / tp, 1.0)
    return {"epd": different, "edp": dp / different}
