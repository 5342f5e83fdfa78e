"""Where the FLOP of two parts of a transformer meet as something grows: attention and the feed-forward over tokens, attention over
all of a video and attention in space and time over frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from floorline.closed_forms import Term, added, named
from floorline.errors import BadInput
from floorline.formulas.attention import meeting_point
from floorline.module_counts import MODULES, count_modules, numbers_of, products_of, rules_of
from floorline.num import Num, number, total
from floorline.result import Result
from floorline.specs.module_sizes import ModuleSizes

SIDES = {
    "tokens": (("attention", ("full self-attention",)), ("feed-forward", ("feed-forward",))),
    "frames": (
        ("full attention", ("full self-attention",)),
        ("space and time", ("spatial self-attention", "temporal self-attention")),
    ),
}
"""What grows → the two sides: what each is called, and its parts."""


@dataclass(frozen=True)
class Side(Result):
    """One of two amounts of work.

    name       for people
    formula    FLOP in letters
    linear     FLOP for each token or frame, whatever the others [FLOP]
    quadratic  FLOP for each pair of them [FLOP]
    """

    name: str
    formula: str
    linear: Num
    quadratic: Num


@dataclass(frozen=True)
class Crossing(Result):
    """Two amounts of work as something grows.

    over    what grows: tokens or frames
    sizes   everything else
    first   side with the larger part that is quadratic
    second  the other
    at      where both are equal; below one, the second is less wherever there is anything; infinite where they never meet [-]
    """

    over: str
    sizes: ModuleSizes
    first: Side
    second: Side
    at: Num

    def flops(self, grown: Num) -> tuple[Num, Num]:
        """FLOP of both sides at so many tokens or frames, counted."""
        sizes = replace(self.sizes, frames=grown)
        first, second = (
            total(m.whole.flops for m in count_modules(sizes, only=names)) for _, names in SIDES[self.over]
        )
        return first, second

    def answer(self) -> Mapping[str, Any]:
        """Where they meet, and the sides."""
        return {"over": self.over, "meet_at": self.at, "sides": (self.first, self.second)}


def crossing(sizes: ModuleSizes, over: str = "tokens") -> Crossing:
    """Where two amounts of work meet.

    sizes  widths and heads; with ``over="frames"`` the tokens of a frame too
    over   "tokens": attention against the feed-forward; "frames": attention over all of a video against attention in space and
           then in time
    raises BadInput for another word

    Example: attention 8·s·D² + 4·s²·D against 16·s·D² meet at s = 2·D (an article on diffusion transformers: 3072).

    >>> float(crossing(ModuleSizes(hidden_size=1536)).at)
    3072.0
    """
    if over not in SIDES:
        raise BadInput(f"over is {over[:40]!r}; expected one of {', '.join(SIDES)}")
    # a sequence is a video of so many frames, of one token each
    one = replace(sizes, frames=1, height=1, width=1) if over == "tokens" else replace(sizes, frames=1)
    first, second = (side(name, parts, one) for name, parts in SIDES[over])
    return Crossing(
        over,
        one,
        first,
        second,
        meeting_point(first.linear, first.quadratic, second.linear, second.quadratic),
    )


def side(name: str, parts: tuple[str, ...], sizes: ModuleSizes) -> Side:
    """The work of some parts at one frame, by the power of frames that it grows with: each letter that grows is one."""
    by_power: dict[int, list[Num]] = {1: [], 2: []}
    terms: list[Term] = []
    for part in parts:
        numbers, products = numbers_of(part, sizes), products_of(part, sizes)
        for product in products:
            power = sum(product.letters.count(x) for x in MODULES[part].grows)
            by_power[power].append(numbers.value(product))
        terms += [named(product, rules_of(part, sizes)) for product in products]
    return Side(name, added(terms), *(number(total(by_power[power])) for power in (1, 2)))
