"""Why one configuration takes longer than another: from the time of the first to that of the second, kind of work by kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from floorline.errors import BadInput
from floorline.estimates import Estimate
from floorline.num import Num, where
from floorline.phases import Phase
from floorline.result import Result
from floorline.side_by_side import operators

WHATS = {"latency": "", "ttft": "prefill", "tpot": "decode"}
"""Times that may be taken apart, each with its phase."""
BYS = ("expected", "serial")
GROUPS = {
    "decode_attention": "attention",
    "prefill_attention": "attention",
    "collectives": "messages",
    "network": "messages",
}
"""Kinds of kernel models that are one kind of work."""
ORDER = ("matmul", "attention", "experts", "scan", "element-wise", "messages", "host", "held at the floor")
"""Steps of a waterfall. Host: what engine and host add to the kernels. Held at the floor: where kernel models, apart, would take
less than physics allows for the whole."""


@dataclass(frozen=True)
class Change(Result):
    """One step.

    kind    of work
    before  what it takes in the first configuration [s]
    after   in the second [s]
    begins, ends  where the step's bar stands, on the way from the first time to the second [s]
    """

    kind: str
    before: float
    after: float
    begins: float
    ends: float

    @property
    def change(self) -> float:
        """By how much longer it takes [s]."""
        return self.ends - self.begins

    def answer(self) -> Mapping[str, Any]:
        """All of it."""
        seconds = {"before_s": self.before, "after_s": self.after, "change_s": self.change}
        return {"kind": self.kind, **seconds, "begins_s": self.begins, "ends_s": self.ends}


@dataclass(frozen=True)
class Waterfall(Result):
    """The way from one time to another; the last step ends at the second time, to the bit.

    first, second  names of the configurations
    what           latency, ttft or tpot
    by             expected or serial: which time
    start, end     both times [s]
    """

    first: str
    second: str
    what: str
    by: str
    start: float
    end: float
    changes: tuple[Change, ...]

    def answer(self) -> Mapping[str, Any]:
        """The way."""
        names = {"from": self.first, "to": self.second, "of": self.what, "by": self.by}
        return {**names, "start_s": self.start, "end_s": self.end, "changes": self.changes}


def waterfall(
    first: tuple[str, Estimate], second: tuple[str, Estimate], what: str = "latency", by: str = ""
) -> Waterfall:
    """From the time of one estimate to that of another.

    first, second  names, and estimates of single points
    what           latency, ttft or tpot
    by             expected or serial; left out: expected where both have it
    raises         BadInput where a time is not there

    >>> from floorline import Decode, estimate
    >>> one, two = (estimate("gpt2", Decode(batch=b, context_len=100), "a100") for b in (1, 64))
    >>> found = waterfall(("1", one), ("64", two), "tpot")
    >>> bool(found.changes[0].begins == one.tpot.expected), bool(found.changes[-1].ends == two.tpot.expected)
    (True, True)
    """
    if what not in WHATS:
        raise BadInput(f"--waterfall is {what[:40]!r}; expected one of {', '.join(WHATS)}")
    by = by or ("expected" if all(e.expected_whole is not None for _, e in (first, second)) else "serial")
    if by not in BYS:
        raise BadInput(f"--by is {by[:40]!r}; expected one of {', '.join(BYS)}")
    (start, before), (end, after) = (taken_apart(e, what, by) for _, e in (first, second))
    kinds = [kind for kind in ORDER if before.get(kind, 0.0) != 0.0 or after.get(kind, 0.0) != 0.0]
    pairs = [(before.get(kind, 0.0), after.get(kind, 0.0)) for kind in kinds]
    stands = standing(start, end, [new - old for old, new in pairs])
    found = tuple(Change(kind, *pair, *stand) for kind, pair, stand in zip(kinds, pairs, stands, strict=True))
    return Waterfall(first[0], second[0], what, by, start, end, found)


def standing(start: float, end: float, changes: list[float]) -> list[tuple[float, float]]:
    """Where the bar of each step stands: up to the largest counted from the start, after it back from the end, so that rounding
    is in the largest, where it is least.

    >>> standing(1.0, 1.5, [-0.25, 0.75])
    [(1.0, 0.75), (0.75, 1.5)]
    """
    largest = max(range(len(changes)), key=lambda i: abs(changes[i]), default=0)
    ahead, back = [start], [end]
    for change in changes[:largest]:
        ahead.append(ahead[-1] + change)
    for change in changes[:largest:-1]:
        back.append(back[-1] - change)
    marks = [*ahead, *reversed(back)]
    return list(pairwise(marks))


def taken_apart(e: Estimate, what: str, by: str) -> tuple[float, dict[str, float]]:
    """A time, and what of it each kind of work takes [s]."""
    phases = [p for p in e.phases if WHATS[what] in ("", p.name)]
    time = getattr(e, what)
    if not phases or time is None or getattr(time, by) is None:
        raise BadInput(
            f"{e.model.name} on {e.cluster.accelerator.name} has no {by} {what}; expected another --waterfall or --by"
        )
    parts: dict[str, float] = {}
    for phase in phases:
        once = what == "tpot"
        for kind, seconds in (kinds_expected(phase, once) if by == "expected" else kinds_serial(phase, once)).items():
            parts[kind] = parts.get(kind, 0.0) + scalar(seconds)
    return scalar(getattr(time, by)), parts


def kinds_expected(phase: Phase, once: bool) -> dict[str, Num]:
    """What each kind of kernel and the host are expected to take, in the mean step or in all."""
    many: Num = 1.0 if once or phase.count is None else phase.count
    assert phase.expectation is not None
    assert phase.expected_s is not None
    found: dict[str, Num] = {}
    for kind, share in phase.expectation.kinds.items():
        name = GROUPS.get(kind, kind)
        found[name] = found.get(name, 0.0) + share.seconds
    held = where(phase.expected_s > phase.expectation.seconds, phase.expected_s - phase.expectation.seconds, 0.0)
    return {
        k: where(many > 0.0, v * many, 0.0)
        for k, v in {**found, "host": phase.expectation.host, ORDER[-1]: held}.items()
    }


def kinds_serial(phase: Phase, once: bool) -> dict[str, Num]:
    """What each kind of launch takes in the textbook sum, in the mean step or in all."""
    many: Num = phase.count if once and phase.count is not None else 1.0
    found: dict[str, Num] = {}
    for one in operators(phase):
        found[one.kind] = found.get(one.kind, 0.0) + one.serial / many
    return found


def scalar(value: object) -> float:
    """A number of a single point.

    raises BadInput for several
    """
    array = np.asarray(value)
    if array.ndim:
        raise BadInput(f"a waterfall is of two points; this estimate has {array.size}")
    return float(array)
