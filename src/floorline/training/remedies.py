"""What would make a training step fit: single changes, the one that costs least time first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from floorline.errors import BadInput
from floorline.feasible import check
from floorline.num import Num, number
from floorline.result import Result
from floorline.training.estimate import TrainingEstimate


@dataclass(frozen=True)
class Remedy(Result):
    """A change after which it fits.

    flags   as the command line takes it
    memory  of the device that holds most, then [B]
    slower  time of a step over what it would be now, if it fitted [-]
    """

    flags: str
    memory: Num
    slower: Num


def changes(e: TrainingEstimate) -> Iterator[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Flags, and what they change of the plan, the recipe and the workload."""
    p, r, w = e.parallelism, e.recipe, e.workload
    tp, dp, pp, micro = (float(np.asarray(x)) for x in (p.tp, p.dp, p.pp, w.micro_batch))
    if p.sequence_parallel == "no" and tp > 1.0:
        yield "--sequence-parallel", {"sequence_parallel": "yes"}, {}, {}
    if r.recompute == "none":
        yield "--recompute selective", {}, {"recompute": "selective"}, {}
        yield (
            "--recompute selective --recompute-modules mlp_act+layernorm",
            {},
            {"recompute": "selective", "recompute_modules": "mlp_act+layernorm"},
            {},
        )
    if r.recompute != "full":
        yield "--recompute full", {}, {"recompute": "full", "recompute_modules": ""}, {}
    for stage in "123":
        if stage > p.zero_stage and dp > 1.0:
            yield f"--zero-stage {stage}", {"zero_stage": stage}, {}, {}
    if micro > 1.0 and micro % 2.0 == 0.0:
        yield f"--micro-batch-size {micro / 2.0:g}", {}, {}, {"micro_batch": micro / 2.0}
    if dp % 2.0 == 0.0:
        yield f"--tp {tp * 2:g} --dp {dp / 2:g}", {"tp": tp * 2.0, "dp": dp / 2.0}, {}, {}
        yield f"--pp {pp * 2:g} --dp {dp / 2:g}", {"pp": pp * 2.0, "dp": dp / 2.0}, {}, {}
    if r.offload_optimizer == "no":
        yield "--offload-optimizer", {}, {"offload_optimizer": "yes"}, {}
    if r.optimizer == "adamw":
        yield "--optimizer adamw-8bit", {}, {"optimizer": "adamw-8bit"}, {}


def remedies(e: TrainingEstimate) -> tuple[Remedy, ...]:
    """Single changes that make a step fit, and two at once with full recomputation where no single one does; the fastest first."""
    found = list(fitting(e, changes(e)))
    if not found and e.recipe.recompute != "full":
        full = replaced(e, {}, {"recompute": "full", "recompute_modules": ""}, {})
        found = [replace(r, flags=f"--recompute full {r.flags}") for r in fitting(full, changes(full), e)]
    return tuple(sorted(found, key=lambda remedy: float(np.asarray(remedy.slower))))


def fitting(
    e: TrainingEstimate,
    tried: Iterator[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]],
    before: TrainingEstimate | None = None,
) -> Iterator[Remedy]:
    """Those of some changes after which a step fits."""
    now = number((before or e).step_time.usual)
    for flags, plan, recipe, workload in tried:
        try:
            other = replaced(e, plan, recipe, workload)
        except BadInput:
            continue
        if bool(other.fits()):
            yield Remedy(flags, other.peak_memory, other.step_time.usual / now)


def replaced(
    e: TrainingEstimate, plan: dict[str, Any], recipe: dict[str, Any], workload: dict[str, Any]
) -> TrainingEstimate:
    """The same estimate with some inputs changed, and its rules looked at again."""
    p, w = replace(e.parallelism, **plan), replace(e.workload, **workload)
    feasible, index, _ = check(e.model, w, e.cluster.devices, p)
    return replace(
        e, parallelism=p, recipe=replace(e.recipe, **recipe), workload=w, feasible=feasible, rule=index, reason=""
    )


def largest_micro_batch(e: TrainingEstimate) -> float:
    """The largest micro-batch that fits and that the global batch allows, 0 where not even one sequence does [-]."""
    best, size = 0.0, 1.0
    sequences, ranks = float(np.asarray(e.workload.global_batch)), float(np.asarray(e.parallelism.dp))
    while size * ranks <= sequences:
        if sequences % (size * ranks) == 0.0 and bool(replaced(e, {}, {}, {"micro_batch": size}).fits()):
            best = size
        size = size * 2.0
    return best
