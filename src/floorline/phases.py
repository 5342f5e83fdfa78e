"""A phase of a workload: a step, or many at growing contexts, with its times. Each is computed when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from floorline.errors import NoModel
from floorline.expected import Expectation, expected
from floorline.floors import Floor
from floorline.num import Array, Num, maximum, number, where
from floorline.result import Result
from floorline.serving import Mixture
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.engine import Engine
from floorline.step import Step
from floorline.units import seconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOUNDS = ("compute", "memory", "link")
DENOISING = ("text", "denoise", "patch", "pixels")
"""Phases of a picture or video that is made from noise."""


@dataclass(frozen=True, repr=False)
class Time(Result):
    """A time with its lower bound and, where a calibration exists, what to expect.

    floor     what physics allows: nothing real is faster [s]
    serial    the textbook sum of each launch's larger time [s]
    expected  median for a named engine [s]; None where a kind of kernel has no model
    low, high the 90 % interval around it [s]
    """

    floor: Num
    serial: Num
    expected: Num | None = None
    low: Num | None = None
    high: Num | None = None

    @staticmethod
    def made(of: Callable[..., Num], *times: Time) -> Time:
        """What a function makes of several times, kind by kind; nothing is expected where one of them has no expected time.

        >>> Time.made(lambda a, b: a + b, Time(1.0, 2.0, 3.0), Time(10.0, 20.0))
        Time(floor 11 s, serial 22 s)
        """
        made: dict[str, Any] = {}
        for f in fields(Time):
            each = [getattr(time, f.name) for time in times]
            made[f.name] = None if any(one is None for one in each) else of(*each)
        return Time(**made)

    @property
    def usual(self) -> Num:
        """The expected time, or the serial one where nothing is expected [s]."""
        return self.serial if self.expected is None else self.expected

    def __repr__(self) -> str:
        if np.ndim(self.floor):
            return f"Time({np.size(self.floor)} points)"
        known = "" if self.expected is None else f", expected {seconds(float(self.expected))}"
        return f"Time(floor {seconds(float(self.floor))}, serial {seconds(float(self.serial))}{known})"


@dataclass(frozen=True, eq=False)
class Contexts:
    """The contexts of a generation on a leading axis.

    offsets  tokens after the first context [-]
    present  1 where a point has this context, 0 where its generation is over
    count    contexts of each point [-]
    """

    offsets: Array
    present: Array
    count: Num

    @staticmethod
    def of(count: Num, behind: int) -> Contexts:
        """As many contexts as the longest generation has, on an axis before ``behind`` others."""
        longest_run = int(np.max(count))
        offsets = np.arange(longest_run, dtype=np.float64).reshape((longest_run,) + (1,) * behind)
        return Contexts(offsets, np.asarray(offsets < count, dtype=np.float64), count)

    def mean(self, values: Num) -> Num:
        """The mean over each point's contexts, added one after the other so that padding changes no bit; nan for none."""
        summed: Num = np.cumsum(np.asarray(values) * self.present, axis=0)[-1][()]
        return where(number(self.count) > 0.0, summed / maximum(self.count, 1.0), np.nan)


@dataclass(frozen=True, eq=False)
class Phase:
    """A part of a workload.

    name      "prefill" or "decode" (its times are those of the mean step)
    step      what runs; for a decode phase the first step
    engine    whose kernels, and what it adds to them
    count     how many steps at growing contexts each point has; None: a single step
    feasible  points that break no rule; the others' times are nan
    mixture   in a closed loop: the steps that a request goes through
    alone     in a closed loop: the step of a single request, which no schedule beats
    """

    name: str
    step: Step
    cluster: Cluster
    assumptions: Assumptions
    feasible: NDArray[np.bool_]
    count: Num | None = None
    engine: Engine = field(default_factory=Engine)
    mixture: Mixture | None = None
    alone: Step | None = None

    @cached_property
    def contexts(self) -> Contexts | None:
        """The contexts that the phase is averaged over."""
        if self.count is None or self.mixture is not None:
            return None
        return Contexts.of(self.count, axes(self.step, self.cluster, self.assumptions, self.count))

    @cached_property
    def every(self) -> Step:
        """All of its steps at once, on a leading axis."""
        if self.contexts is None:
            return self.step
        return replace(self.step, earlier=self.step.earlier + self.contexts.offsets)

    @cached_property
    def parts(self) -> Floor:
        """The three times of which the largest is the floor, of every step."""
        return self.every.floor(self.cluster)

    @cached_property
    def floor(self) -> Floor:
        """The same of the mean step."""
        return Floor(**{f.name: self.mean(getattr(self.parts, f.name)) for f in fields(Floor)})

    @cached_property
    def floor_s(self) -> Num:
        """The floor of the mean step [s]."""
        return where(self.feasible, self.least_s, np.nan)

    @cached_property
    def least_s(self) -> Num:
        """The same whether the point breaks a rule or not [s]."""
        return self.mean(self.parts.seconds) if self.alone is None else self.alone.floor(self.cluster).seconds

    @cached_property
    def serial_s(self) -> Num:
        """The textbook sum of the mean step [s]."""
        if self.mixture is not None:
            return where(self.feasible, self.mixture.serial(self.cluster, self.assumptions), np.nan)
        once = self.every.micro.serial(self.cluster, self.assumptions)
        return where(self.feasible, self.mean(once * self.every.stretch), np.nan)

    @cached_property
    def expectation(self) -> Expectation | None:
        """What the mean step is expected to take; None where a kind of kernel has no model."""
        try:
            if self.mixture is not None:
                mean = self.mixture.expected(self.cluster, self.engine, self.assumptions.fusion)
            else:
                stretch = self.every.stretch
                found = expected(self.every.micro, self.cluster, self.engine, self.assumptions.fusion)
                mean = found.averaged(lambda once: self.mean(once * stretch))
        except NoModel:
            return None
        return replace(mean, asked=self.asked)

    @property
    def asked(self) -> str:
        """The kind of question, by which intervals are wider or narrower."""
        kinds = (
            ("unknown", self.engine.known == "no"),
            ("loop", self.mixture is not None),
            ("denoise", self.name in DENOISING),
            ("operators", self.engine.starts == "operators"),
            ("pass", self.name == "encode"),
        )
        return next((kind for kind, is_so in kinds if is_so), "batch")

    @cached_property
    def expected_s(self) -> Num | None:
        """The expected time of the mean step [s]; never less than its floor."""
        if self.expectation is None:
            return None
        return where(self.feasible, maximum(self.expectation.seconds, self.least_s), np.nan)

    @property
    def time(self) -> Time:
        """Floor, serial sum, and expected time with its interval."""
        middle = self.expected_s
        if middle is None or self.expectation is None:
            return Time(self.floor_s, self.serial_s)
        low = maximum(middle - self.expectation.half("below"), self.floor_s)
        return Time(self.floor_s, self.serial_s, middle, low, middle + self.expectation.half("above"))

    @property
    def mfu(self) -> Num | None:
        """Model FLOP utilisation: the least arithmetic of the mean step over what the peak does in the expected time; None in
        a closed loop, whose steps do the work of other requests too."""
        if self.mixture is not None:
            return None
        known = self.expected_s
        rate = self.step.usual(self.cluster) * self.step.parallelism.pp
        return None if known is None else self.floor.flops / (known * rate)

    @property
    def mbu(self) -> Num | None:
        """Memory bandwidth utilisation: weights and cache once, over what memory could move in the expected time; None in a closed
        loop."""
        if self.mixture is not None:
            return None
        known, rate = self.expected_s, self.cluster.accelerator.memory_bandwidth
        return None if known is None else (self.floor.weights + self.floor.cached) / (known * rate)

    def mean(self, values: Num) -> Num:
        """The mean over its steps."""
        return values if self.contexts is None else self.contexts.mean(values)

    @property
    def bound(self) -> object:
        """What the floor is bound by: a word, or an array of words."""
        parts = np.stack(np.broadcast_arrays(self.floor.compute, self.floor.memory, self.floor.link))
        return np.take(np.asarray(BOUNDS), np.argmax(parts, axis=0))


def axes(step: Step, cluster: Cluster, assumed: Assumptions, count: Num) -> int:
    """How many axes the answer has: those of its inputs, broadcast."""
    device, plan = cluster.accelerator, step.parallelism
    inputs = (
        step.batch,
        step.earlier,
        count,
        plan.tp,
        plan.dp,
        plan.cp,
        plan.pp,
        plan.ep,
        device.memory_bandwidth,
        device.last_level_cache,
        assumed.compute_efficiency,
        assumed.memory_efficiency,
        assumed.launch_time,
        assumed.message_latency,
        assumed.expert_evenness,
        cluster.devices,
        *(ranks for extra in plan.extra for ranks in extra.ranks.values()),
        *(s.stored for s in step.model.stacks),
    )
    sizes = (
        *step.model.sizes.values(),
        *(s.repeat for s in step.model.stacks),
        *device.peaks.values(),
        *(figure for x in cluster.levels for figure in (x.bandwidth, x.latency, x.domain)),
    )
    return max(np.ndim(x) for x in (*inputs, *sizes))
