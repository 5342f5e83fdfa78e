"""Rules that a plan can break, each written once. A point that breaks one is nan with a reason, alone or in an array."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from floorline.num import Num


@dataclass(frozen=True)
class Rule:
    """A condition that a plan must meet.

    name   short, for a table: "tp∤heads"
    holds  from named numbers to true or false, elementwise
    text   what was wrong, expected and to try; names in braces are filled in
    """

    name: str
    holds: Callable[[Mapping[str, Num]], object]
    text: str


def divides(divisor: Num, whole: Num) -> object:
    """Whether a division comes out even, elementwise."""
    return np.mod(whole, divisor) == 0


RULES = (
    Rule(
        "heads∤width",
        lambda v: np.asarray(divides(1.0, v["head_dim"])) & np.asarray(divides(1.0, v["group"])),
        "the heads of {model} do not divide its width (head width {head_dim:g}), or key/value heads the query heads "
        "(group {group:g}); choose sizes that divide",
    ),
    Rule(
        "tp∤heads",
        lambda v: divides(v["tp"], v["heads"]),
        "tensor parallelism {tp:g} does not divide {heads:g} query heads of {model}; degrees that do: {head_divisors}",
    ),
    Rule(
        "tp∤kv_heads",
        lambda v: np.asarray(divides(v["tp"], v["kv_heads"])) | np.asarray(divides(v["kv_heads"], v["tp"])),
        "tensor parallelism {tp:g} and {kv_heads:g} key/value heads of {model}: neither divides the other; try {head_divisors}",
    ),
    Rule(
        "tp∤width",
        lambda v: divides(v["tp"], v["ffn"]),
        "tensor parallelism {tp:g} does not divide the feed-forward width {ffn:g} of {model}; try {head_divisors}",
    ),
    Rule(
        "cp∤heads",
        lambda v: np.asarray(divides(v["tp"] * v["cp"], v["heads"])) | (np.asarray(v["exchange"]) == 0),
        "all-to-all context parallelism: tp·cp = {tp:g}·{cp:g} does not divide {heads:g} query heads of {model}; "
        "try --context all-gather",
    ),
    Rule(
        "devices",
        lambda v: v["product"] <= v["devices"],
        "the plan takes {product:g} devices (tp·dp·cp = {tp:g}·{dp:g}·{cp:g}) and there are {devices:g}; "
        "raise --devices or lower a degree",
    ),
    Rule(
        "positions",
        lambda v: v["length"] <= v["positions"],
        "{length:g} tokens are more than the {positions:g} learned positions of {model}; shorten the input or the output",
    ),
)


def broken(values: Mapping[str, Num]) -> tuple[NDArray[np.bool_], NDArray[np.int_]]:
    """Which points are feasible, and the index of the first rule that each of the others breaks (−1 for none)."""
    index = np.asarray(-1)
    for i in range(len(RULES) - 1, -1, -1):
        index = np.where(np.asarray(RULES[i].holds(values)), index, i)
    return index < 0, index


def reason(values: Mapping[str, Num], index: int, model: str) -> str:
    """The text of a broken rule with its numbers filled in."""
    heads = int(float(values["heads"]))
    divisors = " ".join(str(d) for d in range(1, min(heads, 4096) + 1) if heads % d == 0)
    return RULES[index].text.format(**values, model=model, head_divisors=divisors)
