"""Rules that a denoising plan can break, each written once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from floorline.denoise_step import Grid
from floorline.num import Num, largest
from floorline.rules import Rule, broken, divides
from floorline.specs.denoise_plan import DenoisePlan
from floorline.transformer import Transformer

if TYPE_CHECKING:
    from numpy.typing import NDArray

RULES = (
    Rule(
        "tp·ulysses∤heads",
        lambda v: divides(v["tp"] * v["ulysses"], v["heads"]),
        "tp·ulysses = {tp:g}·{ulysses:g} does not divide {heads:g} heads of {model}; degrees that do: {head_divisors}; "
        "try --ring for the rest",
    ),
    Rule(
        "tp∤width",
        lambda v: divides(v["tp"], v["ffn"]),
        "tensor parallelism {tp:g} does not divide the feed-forward width {ffn:g} of {model}; try {head_divisors}",
    ),
    Rule(
        "guidance∤passes",
        lambda v: divides(v["guidance"], v["passes"]),
        "{guidance:g} ranks cannot share {passes:g} guidance passes of {model}; expected --cfg-parallel {passes:g} at most, and a "
        "divisor of that",
    ),
    Rule(
        "ranks>tokens",
        lambda v: v["ulysses"] * v["ring"] * v["patches"] <= v["tokens"],
        "ulysses·ring·patches = {ulysses:g}·{ring:g}·{patches:g} is more than the {tokens:g} tokens of a picture; lower one",
    ),
    Rule(
        "patches>layers",
        lambda v: (np.asarray(v["patches"]) <= 1.0) | (v["patches"] <= v["layers"]),
        "{patches:g} stages of a patch pipeline are more than the {layers:g} layers of {model}; lower --pipefusion",
    ),
    Rule(
        "patches of a grid",
        lambda v: (np.asarray(v["patches"]) <= 1.0) | (np.asarray(v["gridded"]) == 0.0),
        "{model} has attention along space or time alone, which a patch pipeline does not know; set --pipefusion 1",
    ),
    Rule(
        "replicas>batch",
        lambda v: v["dp"] <= v["batch"],
        "{dp:g} replicas share a batch of {batch:g}, so that some make nothing; raise --batch-size to {dp:g} or more, or lower "
        "--data-parallel-size",
    ),
    Rule(
        "devices",
        lambda v: v["product"] <= v["devices"],
        "the plan takes {product:g} devices (ulysses·ring·guidance·patches·tp·dp) and there are {devices:g}; raise --devices or "
        "lower a degree",
    ),
)


def check(
    model: Transformer, found: Grid, batch: Num, passes: Num, plan: DenoisePlan, devices: Num
) -> tuple[NDArray[np.bool_], NDArray[np.int_], dict[str, Num]]:
    """Whether a plan holds every rule, which it breaks first, and the numbers that say so."""
    gridded = any("grid_" in text for stack in model.stacks for _, text in stack.tokens)
    asked: dict[str, Num] = {
        "ulysses": plan.ulysses,
        "ring": plan.ring,
        "guidance": plan.guidance,
        "patches": plan.patches,
        "tp": plan.tp,
        "dp": plan.dp,
        "batch": batch,
        "passes": passes,
        "tokens": found.tokens,
        "layers": model.layers(),
        "gridded": 1.0 if gridded else 0.0,
        "product": plan.devices,
        "devices": devices,
    }
    shapes = model.shapes() or ({"heads": 0.0, "ffn": 0.0},)
    first, *others = ({**asked, "heads": shape["heads"], "ffn": shape["ffn"]} for shape in shapes)
    (feasible, index), values = broken(first, RULES), first
    for shape in others:
        suits, reasons = broken(shape, RULES)
        values = values if np.any(index >= 0) else shape
        feasible, index = feasible & suits, np.where(index >= 0, index, reasons)
    return feasible, index, values


def most_heads(model: Transformer) -> Num:
    """Key/value heads of the layers that have most."""
    return largest(shape["kv_heads"] for shape in model.shapes()) if model.shapes() else 1.0


def usual_plan(model: Transformer, devices: float, passes: Num) -> DenoisePlan:
    """The usual split of so many devices: guidance passes apart, tokens exchanged for heads as far as heads divide, a ring for
    the rest.

    Source of the order: xDiT, docs/methods/cfg_parallel.md (sends least, so it comes first) and usp.md (a ring goes beyond
    the heads).

    >>> from floorline.catalogue.load import load_model
    >>> plan = usual_plan(load_model("flux.1-dev"), 16.0, 1.0)
    >>> plan.ulysses, plan.ring
    (8.0, 2.0)
    """
    apart = 2.0 if float(np.max(passes)) == 2.0 and devices % 2.0 == 0.0 else 1.0
    rest = int(devices / apart)
    heads = [float(np.min(shape["heads"])) for shape in model.shapes() if np.min(shape["heads"]) > 0.0]
    exchanged = max(d for d in range(1, rest + 1) if rest % d == 0 and all(n % d == 0 for n in heads))
    return DenoisePlan(ulysses=exchanged, ring=rest // exchanged, guidance=apart)
