"""``floorline fit --train``: does a training step fit, where memory goes, and the change that makes it fit at the least cost."""

from __future__ import annotations

from typing import Any

from floorline.cli.command import Given
from floorline.cli.flags import flag_name
from floorline.cli.output import bold, print_json, scalar
from floorline.cli.train import answer, show_memory
from floorline.plan_search import plans
from floorline.report import envelope
from floorline.specs.recipe import POLICIES
from floorline.training.estimate import TrainingEstimate
from floorline.training.remedies import Remedy, largest_micro_batch, remedies
from floorline.units import gib, seconds


def fit_training(model: str, given: Given) -> int:
    """Memory of training, what would fit, and the exit status under --check."""
    e = answer(model, given)
    fits = bool(e.fits())
    found = () if fits else remedies(e)
    if given["json"]:
        body = {
            "fits": fits,
            "memory": {name: m for name, m in e.memory.items() if scalar(getattr(e.stages, name).exists) > 0.0},
            "peak_memory": e.peak_memory,
            "usable": e.cluster.accelerator.usable,
            "max_micro_batch": largest_micro_batch(e),
            "remedies": found,
        }
        head = {"hardware": e.cluster.to_dict(), "parallelism": e.parallelism, "recipe": e.recipe, "engine": e.trainer}
        print_json(envelope("fit", {**given, "model": model}, body, **head))
    else:
        show(e, fits, found)
    return 1 if given["check"] and not fits else 0


def show(e: TrainingEstimate, fits: bool, found: tuple[Remedy, ...]) -> None:
    """The answer as tables."""
    verdict = "fits" if fits else "does not fit"
    devices = scalar(e.parallelism.devices)
    print(bold(f"training {e.model.name} {verdict} on {devices:.0f} × {e.cluster.accelerator.title}"), end="")
    show_memory(e)
    print(f"largest micro-batch that fits: {largest_micro_batch(e):g}")
    if found:
        print("would fit with, the fastest first:")
        for remedy in found[:6]:
            print(f"  {remedy.flags:<60} {gib(scalar(remedy.memory)):>10}  step × {scalar(remedy.slower):.2f}")
    elif not fits:
        best = plans(e.model, e.workload, e.cluster, precision=e.precision, recipe=e.recipe, engine=e.trainer).best(BY)
        print(
            "no single change makes it fit"
            + "".join(f"; the fastest plan that does: {told(row)}" for row in best.rows())
        )


BY = "step_expected_s"


def told(plan: dict[str, Any]) -> str:
    """A plan as flags."""
    flags = (f"{flag_name(name)} {plan[name]:g}" for name in DEGREES if plan[name] != 1.0)
    words = [f"--zero-stage {plan['zero_stage']}"] if plan["zero_stage"] != "0" else []
    words += ["--sequence-parallel"] if plan["sequence_parallel"] == "yes" else []
    policy = plan["recompute"]
    plain = policy in POLICIES
    words += [f"--recompute {policy}" if plain else f"--recompute selective --recompute-modules {policy}"]
    return " ".join((*flags, *(word for word in words if word != "--recompute none"))) + f" (step {seconds(plan[BY])})"


DEGREES = ("tp", "pp", "virtual_stages", "cp", "dp", "micro_batch")
"""Numbers of a plan that are told where they are not one."""
