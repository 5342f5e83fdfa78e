"""What physics allows of a training step: arithmetic at the peak, and each weight's state once over memory."""

from __future__ import annotations

from floorline.formulas.optimizer import update_bytes
from floorline.num import Num, maximum, total
from floorline.specs.cluster import Cluster
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.training.holdings import Holdings
from floorline.training.stages import Stage
from floorline.training.updates import State


def least_time(
    arithmetic: Num,
    cluster: Cluster,
    plan: Parallelism,
    precision: Precision,
    holdings: Holdings,
    stage: Stage,
    each: State,
) -> Num:
    """The larger of two times that no software beats: the arithmetic of the pairs that the mask leaves, nothing computed twice,
    over all devices at the peak of the fastest format in use; and the optimizer's state of a rank, read and written once [s].

    arithmetic  of a step over all devices [FLOP]
    """
    device = cluster.accelerator
    rate = device.fastest(precision.activations)
    rate = maximum(rate, device.fastest(precision.matmuls)) if precision.matmuls else rate
    moved = update_bytes(each.weight, 0.0, each.master, each.moments)
    own = total(h.trained / h.ranks for h in holdings.layer) * stage.layers
    return maximum(arithmetic / (rate * plan.devices), own * moved / device.memory_bandwidth)
