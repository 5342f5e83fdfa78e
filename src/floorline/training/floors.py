"""What physics allows of a training step: arithmetic at the peak, each weight's state once over memory, messages over the links."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from floorline.formulas.optimizer import update_bytes
from floorline.num import Num, maximum, total
from floorline.specs.parallelism import Parallelism
from floorline.step import trained
from floorline.training.conventions import amount

if TYPE_CHECKING:
    from floorline.training.estimate import TrainingEstimate


def least_time(e: TrainingEstimate) -> Num:
    """The larger of two times that no software beats: three forward passes' arithmetic (two where weights are frozen) of the pairs that the
    mask leaves, over all devices at the peak of the fastest format in use; and the optimizer's state of a rank, read and written once [s]."""
    one = trained(e.model, replace(e.workload, micro_batch=1.0, global_batch=1.0), Parallelism(), e.precision, "causal")
    device, formats = e.cluster.accelerator, e.precision
    rate = device.fastest(formats.activations)
    rate = maximum(rate, device.fastest(formats.matmuls)) if formats.matmuls else rate
    arithmetic = amount(one, "causal", "unfused", "none") * e.workload.global_batch
    compute = arithmetic / (rate * e.parallelism.devices)
    each, stage = e.state, e.stages.first
    moved = update_bytes(each.weight, 0.0, each.master, each.moments)
    own = total(h.count / h.ranks for h in e.holdings.layer) * stage.layers
    return maximum(compute, own * moved / device.memory_bandwidth)
