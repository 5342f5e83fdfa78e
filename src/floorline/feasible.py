"""Whether a plan holds every rule for a model and a workload, and which it breaks first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from floorline.errors import BadInput
from floorline.num import Num, all_true, ceil, largest
from floorline.rules import broken, first_reason
from floorline.specs.parallelism import Parallelism
from floorline.specs.workload import Train, Workload, fewest_tokens
from floorline.step import reach
from floorline.transformer import Transformer

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check(
    model: Transformer, workload: Workload, devices: Num, plan: Parallelism
) -> tuple[NDArray[np.bool_], NDArray[np.int_], dict[str, Num]]:
    """Whether the plan holds every rule, which it breaks first, and the numbers that say so."""
    asked: dict[str, Num] = {
        "tp": plan.tp,
        "dp": plan.dp,
        "shard": plan.dp if plan.shard_ranks is None else plan.shard_ranks,
        "pp": plan.pp,
        "ep": plan.ep,
        "layers": model.layers(),
        "cp": plan.cp,
        "product": plan.devices,
        "devices": devices,
        "exchange": 1.0 if plan.context == "all-to-all" else 0.0,
        "length": reach(model, workload),
        "tokens": fewest_tokens(workload),
        "positions": model.max_positions if model.learned_positions and model.max_positions is not None else np.inf,
    }
    asked |= trained(workload, plan) if isinstance(workload, Train) else NO_TRAINING
    shapes = model.shapes()
    asked["most_experts"] = largest(shape["experts"] for shape in shapes)
    first, *others = ({**asked, **shape} for shape in shapes)
    (feasible, index), values = broken(first), first
    for shape in others:  # a plan must suit every kind of layer
        suits, reasons = broken(shape)
        values = values if np.any(index >= 0) else shape
        feasible, index = feasible & suits, np.where(index >= 0, index, reasons)
    return feasible, index, values


NO_TRAINING: dict[str, Num] = {"sequences": 1.0, "round": 1.0, "chunks": 1.0}
"""What the rules of training see where nothing is trained."""


def trained(workload: Train, plan: Parallelism) -> dict[str, Num]:
    """What the rules of training see: sequences of a step, those of one round of micro-batches, and chunks of a stage."""
    return {
        "sequences": workload.global_batch,
        "round": workload.micro_batch * plan.dp,
        "chunks": plan.virtual_stages,
    }


def hold(model: Transformer, workload: Workload, devices: Num, plan: Parallelism) -> None:
    """Hold a plan to the rules.

    raises BadInput for the first that it breaks
    """
    feasible, index, values = check(model, workload, devices, plan)
    if not all_true(feasible):
        raise BadInput(first_reason(values, feasible, index, model.name))


def spread(batch: Num, replicas: Num) -> Num:
    """Sequences over all ranks as if each data-parallel rank had as many as the fullest: what one rank's time follows.

    >>> float(spread(9.0, 4.0))
    12.0
    """
    return ceil(batch / replicas) * replicas
