"""The expected time of a step: its launches' kernels one after another, what the host adds, and a 90 % interval around it.

Errors of kernels of one kind are taken as one: they come from one fitted model, so their half widths add up. Those of different
kinds are independent: theirs add in quadrature. What a sum of kernels that were measured alone leaves out (gaps, colder caches,
other clocks) is one more term of the same kind, a share of the whole for each kind of question, and what the host adds another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from floorline.catalogue.widths import widths
from floorline.formulas.sampling import radix_sort_time
from floorline.host import cache_copy_time, hidden_time, host_time, starts
from floorline.kernel_times import KernelTimes
from floorline.message_times import AROUND
from floorline.num import Num, maximum, total
from floorline.parallel.pictures import TURNS
from floorline.result import Result
from floorline.specs.cluster import Cluster
from floorline.specs.engine import Engine
from floorline.step import Step


@dataclass(frozen=True, eq=False)
class Share:
    """Kernels of one kind, all their runs.

    seconds    expected [s]
    below, above  half widths of the 90 % interval [s]
    launches   runs [-]
    sources    fitted models that it comes from
    """

    seconds: Num
    below: Num
    above: Num
    launches: Num
    sources: tuple[str, ...]
    inherited: bool

    def __add__(self, other: Share) -> Share:
        return Share(
            self.seconds + other.seconds,
            self.below + other.below,
            self.above + other.above,
            self.launches + other.launches,
            tuple(dict.fromkeys((*self.sources, *other.sources))),
            self.inherited or other.inherited,
        )


@dataclass(frozen=True, eq=False)
class Expectation(Result):
    """What a step is expected to take.

    kinds  kind of kernel → its share
    host   what the engine and the host add to the kernels [s]
    hidden  of the host's starts, what is taken to overlap with the kernels, and may not [s]
    asked  kind of question, of ``catalogue/widths.toml``
    """

    kinds: dict[str, Share]
    host: Num
    hidden: Num = 0.0
    asked: str = "batch"

    def answer(self) -> Mapping[str, Any]:
        """The shares of the kinds, the host's, and the term for what kernels measured alone leave out."""
        return {"kinds": self.kinds, "host_s": self.host, "model_form": self.form, "inherited": self.inherited}

    @property
    def form(self) -> float:
        """Half width of what a sum of kernels measured alone leaves out, in the logarithm of the whole."""
        return widths()[self.asked]

    @property
    def inherited(self) -> bool:
        """Whether any kernel model is another accelerator's, or another format's."""
        return any(share.inherited for share in self.kinds.values())

    @property
    def accelerators(self) -> tuple[str, ...]:
        """Those whose measured kernels it comes from."""
        sources = (source for share in self.kinds.values() for source in share.sources)
        return tuple(dict.fromkeys(source.split(",")[0] for source in sources))

    @property
    def kernels(self) -> Num:
        """All kernels, one after another [s]."""
        return added(self.kinds)

    @property
    def seconds(self) -> Num:
        """The whole step [s]."""
        return self.kernels + self.host

    def __add__(self, other: Expectation) -> Expectation:
        kinds = dict(self.kinds)
        for kind, share in other.kinds.items():
            kinds[kind] = kinds[kind] + share if kind in kinds else share
        return replace(self, kinds=kinds, host=self.host + other.host, hidden=self.hidden + other.hidden)

    def times(self, factor: Num) -> Expectation:
        """As often as that."""
        return self.averaged(lambda once: once * factor)

    def only(self, kinds: tuple[str, ...]) -> Expectation:
        """Some kinds alone, without what the host adds."""
        return replace(
            self, kinds={kind: share for kind, share in self.kinds.items() if kind in kinds}, host=0.0, hidden=0.0
        )

    def without(self, kinds: tuple[str, ...]) -> Expectation:
        """All but some kinds."""
        return replace(self, kinds={kind: share for kind, share in self.kinds.items() if kind not in kinds})

    def averaged(self, mean: Callable[[Num], Num]) -> Expectation:
        """The mean over steps."""
        kinds: dict[str, Share] = {}
        for kind, share in self.kinds.items():
            parts: dict[str, Any] = {n: mean(getattr(share, n)) for n in ("seconds", "below", "above", "launches")}
            kinds[kind] = replace(share, **parts)
        return replace(self, kinds=kinds, host=mean(self.host), hidden=mean(self.hidden))

    def half(self, side: str) -> Num:
        """Half width of the interval on one side, "below" or "above" [s]."""
        sign = -1.0 if side == "below" else 1.0
        parts = [getattr(share, side) for _, share in sorted(self.kinds.items())]
        parts += [self.hidden] if side == "above" else []
        parts += [self.seconds * np.expm1(sign * self.form), self.host * np.expm1(sign * widths()["host"])]
        squares = total(part * part for part in parts)
        return np.sqrt(squares)


def added(kinds: Mapping[str, Share]) -> Num:
    """All kernels, kind after kind by name: plans have messages that send nothing, and a sum's last bit follows its order [s]."""
    return total(share.seconds for _, share in sorted(kinds.items()))


def expected(step: Step, cluster: Cluster, engine: Engine, fusion: str) -> Expectation:
    """The expected time of a step on one rank, its messages included.

    step     under the mask that the model has, whatever pairs its FLOP count
    cluster  what it runs on
    engine   whose kernels, and its assumptions
    fusion   which operators are one launch
    raises   NoModel where a kind of kernel has no model
    """
    times = KernelTimes(step, cluster, engine)
    fusion = fusion if step.decoding else engine.prefill_fusion or fusion
    found: dict[str, Share] = sampling(step, cluster, engine)
    started: Num = total(share.launches for share in found.values())
    for stack, numbers in step.numbers("causal"):
        for row in step.program(stack, fusion):
            begun = starts(row, numbers, engine)
            started = started + begun * stack.repeat
            for time in times.launch(row, numbers):
                low, high = time.model.interval(time.seconds)
                whole = time.seconds * stack.repeat
                share = Share(
                    whole,
                    whole * -np.expm1(low),
                    whole * np.expm1(high),
                    stack.repeat if row.message is None else stack.repeat * begun,
                    (time.model.told,),
                    time.model.how != "own",
                )
                found[time.kind] = found[time.kind] + share if time.kind in found else share
    if engine.grows_cache == "copying" and step.decoding:
        copied = cache_copy_time(step, cluster)
        found["cache copies"] = Share(copied, copied * COPIES_WIDER, copied * COPIES_WIDER, 0.0, ("assumed",), False)
    found = turned(found, step)
    kernels = added(found)
    hidden = hidden_time(step, started, kernels, engine)
    return Expectation(found, host_time(step, started, kernels, engine), hidden)


def turned(found: dict[str, Share], step: Step) -> dict[str, Share]:
    """A ring sends the keys and values of the next turn while attention works on those of this one: what is left is what takes
    longer than all turns but the last.

    Source: yunchang, ring/ring_flash_attn.py, ring_flash_attn_forward: commit before attention, wait after it.
    """
    ring, attention = found.get(AROUND), found.get("prefill_attention")
    ranks = [extra.ranks[TURNS[0]] for extra in step.parallelism.extra if TURNS[0] in extra.ranks]
    if ring is None or attention is None or not ranks:
        return found
    left = maximum(ring.seconds - attention.seconds * (1.0 - 1.0 / ranks[0]), 0.0)
    share = left / maximum(ring.seconds, TINY)
    exposed = replace(ring, seconds=left, below=ring.below * share, above=ring.above * share)
    rest = {kind: one for kind, one in found.items() if kind != AROUND}
    together = rest["collectives"] + exposed if "collectives" in rest else exposed
    return {**rest, "collectives": together}


TINY = 1e-30
"""Less than any message takes [s]."""

COPIES_WIDER = 0.2
"""Half width of the interval of copying a cache, which is at the data sheet's bandwidth."""


SORT_KEY, SORT_DIGIT, SORT_CYCLES, SORT_WIDER = 32.0, 6.0, 2.0, 0.5
"""Bits of a key and of a digit, cycles of an item and pass, and half width of the interval, of sorting a vocabulary: see
``formulas.sampling``; rows of 65 000 and of 200 000 keys give 2.2 and 1.7 cycles."""


def sampling(step: Step, cluster: Cluster, engine: Engine) -> dict[str, Share]:
    """Choosing the next tokens, where that is more than finding the likeliest: each sequence's vocabulary is sorted."""
    clock = cluster.accelerator.boost_clock
    if engine.sampling == "greedy" or clock is None or "V" not in step.model.sizes or step.every_logit:
        return {}
    seconds = radix_sort_time(step.model.sizes["V"], SORT_KEY, SORT_DIGIT, SORT_CYCLES, clock)
    wide = float(np.expm1(SORT_WIDER))
    below = seconds * float(-np.expm1(-SORT_WIDER))
    return {"sampling": Share(seconds, below, seconds * wide, SORT_LAUNCHES, ("assumed",), False)}


SORT_LAUNCHES = 9.0
"""Kernels of FasterTransformer's top-p sampling: softmax, first candidates, six of the sort, the choice."""
