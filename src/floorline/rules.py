"""Rules that a plan can break, each written once. A point that breaks one is nan with a reason, alone or in an array."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from floorline.num import Num, maximum, minimum

if TYPE_CHECKING:
    from numpy.typing import NDArray


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


def divides(divisor: Num, whole: Num) -> NDArray[np.bool_]:
    """Whether a division comes out even, elementwise."""
    return np.asarray(np.mod(whole, maximum(divisor, 1.0)) == 0)


def one_way(a: Num, b: Num) -> NDArray[np.bool_]:
    """Whether one of two numbers divides the other, elementwise."""
    return divides(a, b) | divides(b, a)


RULES = (
    Rule(
        "heads∤width",
        lambda v: divides(1.0, v["head_dim"]) & divides(1.0, v["group"]),
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
        lambda v: one_way(v["tp"], v["kv_heads"]),
        "tensor parallelism {tp:g} and {kv_heads:g} key/value heads of {model}: neither divides the other; try {head_divisors}",
    ),
    Rule(
        "tp∤width",
        lambda v: divides(v["tp"], v["ffn"]),
        "tensor parallelism {tp:g} does not divide the feed-forward width {ffn:g} of {model}; try {head_divisors}",
    ),
    Rule(
        "tp∤expert_width",
        lambda v: divides(v["tp"] / minimum(v["ep"], v["tp"]), v["expert_width"]),
        "tensor parallelism {tp:g} (expert parallelism {ep:g}) does not divide the width {expert_width:g} of the experts of "
        "{model}; try --ep {tp:g}",
    ),
    Rule(
        "ep∤ranks",
        lambda v: one_way(v["ep"], v["tp"]) & divides(v["ep"], v["tp"] * v["dp"]),
        "expert parallelism {ep:g} does not go into tp·dp = {tp:g}·{dp:g}: it takes tensor-parallel ranks first, then "
        "data-parallel ones; try --ep {tp:g}",
    ),
    Rule(
        "shard∤dp",
        lambda v: divides(v["shard"], v["dp"]) & divides(maximum(v["ep"] / v["tp"], 1.0), v["shard"]),
        "weights shared over {shard:g} ranks: that does not divide the {dp:g} data-parallel ones, or leaves the {ep:g} ranks of "
        "expert parallelism no room; try --shard-ranks {dp:g}",
    ),
    Rule(
        "ep∤experts",
        lambda v: divides(v["ep"], v["experts"]) & (v["ep"] <= maximum(v["most_experts"], 1.0)),
        "expert parallelism {ep:g} does not divide the {most_experts:g} experts of {model}; lower it",
    ),
    Rule(
        "pp>layers",
        lambda v: v["pp"] <= v["layers"],
        "pipeline parallelism {pp:g} is more than the {layers:g} layers of {model}; lower it",
    ),
    Rule(
        "cp∤heads",
        lambda v: (
            (
                divides(v["tp"] * v["cp"], v["heads"])
                & one_way(v["cp"], v["kv_heads"] / maximum(minimum(v["tp"], v["kv_heads"]), 1.0))
            )
            | (np.asarray(v["exchange"]) == 0)
        ),
        "all-to-all context parallelism: tp·cp = {tp:g}·{cp:g} does not go into {heads:g} query and {kv_heads:g} key/value "
        "heads of {model}; try --context all-gather",
    ),
    Rule(
        "cp>tokens",
        lambda v: v["cp"] <= v["tokens"],
        "context parallelism {cp:g} is more than the {tokens:g} tokens of a sequence; lower it",
    ),
    Rule(
        "devices",
        lambda v: v["product"] <= v["devices"],
        "the plan takes {product:g} devices (tp·dp·cp·pp = {tp:g}·{dp:g}·{cp:g}·{pp:g}) and there are {devices:g}; "
        "raise --devices or lower a degree",
    ),
    Rule(
        "batch∤ranks",
        lambda v: divides(v["round"], v["sequences"]),
        "a global batch of {sequences:g} sequences is no multiple of micro-batch × data-parallel ranks = {round:g}; "
        "change one of the three",
    ),
    Rule(
        "vpp>layers",
        lambda v: (
            (v["chunks"] * v["pp"] <= v["layers"]) & ((np.asarray(v["chunks"]) <= 1.0) | (np.asarray(v["pp"]) > 1.0))
        ),
        "{chunks:g} virtual stages on each of {pp:g} pipeline stages of {layers:g} layers; expected a layer each, and two "
        "stages or more",
    ),
    Rule(
        "positions",
        lambda v: v["length"] <= v["positions"],
        "{length:g} tokens are more than the {positions:g} learned positions of {model}; shorten the input or the output",
    ),
)


def broken(values: Mapping[str, Num], rules: Sequence[Rule] = RULES) -> tuple[NDArray[np.bool_], NDArray[np.int_]]:
    """Which points are feasible, and the index of the first rule that each of the others breaks (−1 for none)."""
    index = np.asarray(-1)
    for i in range(len(rules) - 1, -1, -1):
        index = np.where(np.asarray(rules[i].holds(values)), index, i)
    return index < 0, index


def first_reason(values: Mapping[str, Num], feasible: NDArray[np.bool_], index: NDArray[np.int_], model: str) -> str:
    """The text of the rule that the first infeasible point breaks."""
    shape = np.shape(feasible)
    at = int(np.flatnonzero(~np.asarray(feasible))[0])
    point = {k: float(np.broadcast_to(np.asarray(v), shape).flat[at]) for k, v in values.items()}
    return reason(point, int(np.asarray(index).flat[at]), model)


def reason(values: Mapping[str, Num], index: int, model: str, rules: Sequence[Rule] = RULES) -> str:
    """The text of a broken rule with its numbers filled in."""
    heads = int(float(values["heads"]))
    divisors = " ".join(str(d) for d in range(1, min(heads, 4096) + 1) if heads % d == 0)
    return rules[index].text.format(**values, model=model, head_divisors=divisors)
