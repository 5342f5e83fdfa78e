"""A plan: the splits that are in use (static) and the ranks of their axes (numbers)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from floorline.num import Num
from floorline.parallel import context, data, experts, tensor
from floorline.parallel.split import Letters, Split
from floorline.specs.parallelism import Parallelism


@dataclass(frozen=True, eq=False)
class Plan:
    """What cuts the work. Equal plans are one object, from ``Plan.of``: what is derived from one is looked up by it.

    splits  in the order in which messages are sent
    """

    splits: tuple[Split, ...] = ()

    @staticmethod
    @cache
    def of(splits: tuple[Split, ...]) -> Plan:
        """The plan of some splits."""
        return Plan(splits)

    def group(self, axis: str) -> str:
        """The name of the group that an axis belongs to."""
        return next(s.group for s in self.splits if axis in s.axes)

    def whole(self, letter: str) -> Plan:
        """The same plan with one letter left whole."""
        return _whole(self, letter)

    @property
    def home(self) -> tuple[str, ...]:
        """Axes over which weights are stored in shares."""
        return tuple(dict.fromkeys(a for s in self.splits for a in s.home))

    @property
    def gradients(self) -> tuple[str, ...]:
        """Axes over which reduced gradients are shared out."""
        return tuple(dict.fromkeys(a for s in self.splits for a in s.gradients))

    @property
    def copies(self) -> tuple[str, ...]:
        """Axes over which such shares are repeated."""
        return tuple(a for a in data.COPIES if self.gradients and any(a in s.axes for s in self.splits))


@cache
def _whole(cut: Plan, letter: str) -> Plan:
    def rest(rules: Letters) -> Letters:
        return tuple((x, axes) for x, axes in rules if x[-1] != letter)

    return Plan.of(
        tuple(
            replace(s, letters=rest(s.letters), otherwise=rest(s.otherwise), uncut=s.uncut + letter) for s in cut.splits
        )
    )


def present(degree: Num) -> bool:
    """Whether an axis is part of the plan: everything but the plain number one. A degree of one inside an array sends
    nothing and divides by one, so the answer is the same either way."""
    return not (isinstance(degree, float) and degree == 1.0)


def plan(parallelism: Parallelism, decoding: bool = False) -> Plan:
    """The static part of a plan.

    >>> [s.group for s in plan(Parallelism(tp=8, dp=2)).splits]
    ['tensor', 'data']
    """
    p = parallelism
    splits: list[Split] = []
    if present(p.ep) and present(p.tp):
        splits.append(experts.SPLIT)
    if present(p.tp):
        splits.append(tensor.tensor(p.sequence_parallel == "yes"))
    if present(p.cp):
        splits.append(context.context(p.context, decoding))
    if present(p.dp) or (present(p.cp) and p.zero_stage != "0"):
        ranks = experts.DATA if present(p.ep) else data.AXES
        copies = () if p.shard_ranks is None else data.COPIES
        splits.append(data.data(int(p.zero_stage), ranks, context.AXES if present(p.cp) else (), copies))
    return Plan.of((*splits, *(e.split for e in p.extra)))


def degrees(parallelism: Parallelism, kv_heads: Num) -> dict[str, Num]:
    """Ranks of every axis.

    kv_heads  K, key/value heads of the model [-]
    """
    t = tensor.degrees(parallelism.tp, kv_heads)
    found = {**t, **context.degrees(parallelism.cp, kv_heads / t["tpk"])}
    shares = parallelism.dp if parallelism.shard_ranks is None else parallelism.shard_ranks
    if present(parallelism.ep):
        found.update(experts.data_degrees(parallelism.ep, parallelism.tp, shares))
    else:
        found.update(data.degrees(shares))
    if parallelism.shard_ranks is not None:
        found.update(data.copies(parallelism.dp, parallelism.shard_ranks))
    found.update(pp=parallelism.pp)
    for extra in parallelism.extra:
        found.update(extra.ranks)
    if present(parallelism.ep):  # last: other names of ranks that have their place
        found.update(experts.degrees(parallelism.ep, parallelism.tp))
    return found
