"""What a launch, a message and plain traffic take: as measured kernels have it, or by the textbook's roofline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from floorline import program
from floorline.efficiency.element_wise import traffic_time
from floorline.expected import Share
from floorline.formulas.collectives import message_time
from floorline.formulas.roofline import kernel_time
from floorline.kernel_time import KernelTime
from floorline.kernel_times import KernelTimes
from floorline.letters import Numbers
from floorline.message_times import sending_times
from floorline.network import Level, levels, sending
from floorline.num import Num, maximum, total
from floorline.op import Collective
from floorline.program import Row
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.engine import Engine
from floorline.step import Step


class Pricing(Protocol):
    """A way of pricing."""

    def launch(self, row: Row, numbers: Numbers) -> Iterator[tuple[str, Share]]:
        """Kinds of kernels of a launch, each with its share."""

    def message(self, sent: Collective, numbers: Numbers, buffer: Num) -> Share:
        """A collective of so many bytes."""

    def traffic(self, moved: Num, launches: Num) -> Share:
        """Element-wise work that moves so many bytes in so many launches."""


@dataclass(frozen=True, eq=False)
class Expected:
    """By models fitted to measured kernels.

    raises NoModel where a kind of kernel has none
    """

    step: Step
    cluster: Cluster
    engine: Engine

    @cached_property
    def times(self) -> KernelTimes:
        """The kernel models."""
        return KernelTimes(self.step, self.cluster, self.engine)

    def launch(self, row: Row, numbers: Numbers) -> Iterator[tuple[str, Share]]:
        """Kinds of kernels of a launch, each with its share."""
        for time in self.times.launch(row, numbers):
            yield KINDS.get(time.kind, time.kind), shared(time)

    def message(self, sent: Collective, numbers: Numbers, buffer: Num) -> Share:
        """A collective of so many bytes, on all levels that it goes over."""
        first, *others = [shared(time) for time in sending_times(self.times, numbers, sent, buffer)]
        for other in others:
            first = first + other
        return first

    def traffic(self, moved: Num, launches: Num) -> Share:
        """Element-wise work that moves so many bytes."""
        found = self.times.model("add", self.times.plain)
        model = found.fitted.model
        seconds = launches * (model.launch + model.row) + traffic_time(
            model, self.times.device(self.times.plain), moved
        )
        return shared(KernelTime("element-wise", seconds, found))


KINDS = {"prefill_attention": "attention"}
"""Kind of a kernel's model → what a breakdown calls it."""


def shared(time: KernelTime) -> Share:
    """A kernel's time with its interval."""
    low, high = time.model.interval(time.seconds)
    whole = time.seconds
    below, above = whole * -np.expm1(low), whole * np.expm1(high)
    return Share(whole, below, above, 1.0, (time.model.told,), time.model.how != "own")


@dataclass(frozen=True, eq=False)
class Serial:
    """By the textbook: each launch the larger of its arithmetic and its traffic, each message alone."""

    step: Step
    cluster: Cluster
    assumptions: Assumptions = field(default_factory=Assumptions)

    @cached_property
    def ways(self) -> tuple[Level, ...]:
        """The levels of the cluster."""
        return levels(self.cluster)

    def launch(self, row: Row, numbers: Numbers) -> Iterator[tuple[str, Share]]:
        """Kinds of kernels of a launch, with the time of all of it."""
        cost = program.price(row, numbers, self.step.precision)
        device, assumed = self.cluster.accelerator, self.assumptions
        rate = device.peak(self.step.precision.matmuls or self.step.precision.activations)
        seconds = kernel_time(
            cost.flops,
            cost.bytes,
            rate * assumed.compute_efficiency,
            device.memory_bandwidth * assumed.memory_efficiency,
            assumed.launch_time,
        )
        yield (row.sized[0].kind if row.sized else "element-wise"), alone(seconds)

    def message(self, sent: Collective, numbers: Numbers, buffer: Num) -> Share:
        """A collective of so many bytes, level by level."""
        latency = self.assumptions.message_latency
        parts = sending(sent.kind, buffer, sent.axes, numbers, self.ways)
        return alone(total(message_time(out, rate, maximum(link.latency, latency)) for link, out, rate in parts))

    def traffic(self, moved: Num, launches: Num) -> Share:
        """Element-wise work that moves so many bytes."""
        del launches
        return alone(moved / (self.cluster.accelerator.memory_bandwidth * self.assumptions.memory_efficiency))


def alone(seconds: Num) -> Share:
    """A time without an interval."""
    return Share(seconds, 0.0, 0.0, 1.0, (), False)
