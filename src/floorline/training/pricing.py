"""What a launch, a message and plain traffic take: as measured kernels have it, or by the textbook's roofline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from floorline import program
from floorline.adapters import PACKED
from floorline.calibrate.devices import width_of
from floorline.efficiency.device import fits
from floorline.efficiency.element_wise import traffic_time
from floorline.efficiency.in_model import matmul_inside
from floorline.efficiency.matmul import matmul_time
from floorline.expected import Share
from floorline.formulas.collectives import message_time
from floorline.formulas.roofline import kernel_time
from floorline.kernel_time import KernelTime
from floorline.kernel_times import KernelTimes, sizes_of
from floorline.letters import Numbers
from floorline.message_times import sending_times
from floorline.network import Level, levels, sending
from floorline.num import Num, maximum, total
from floorline.op import Collective
from floorline.program import Piece, Row
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.engine import Engine
from floorline.specs.precision import BYTES
from floorline.specs.trainer import Trainer
from floorline.step import Step
from floorline.tensor import ACTIVATION, GRADIENT


class Pricing(Protocol):
    """A way of pricing."""

    def launch(self, row: Row, numbers: Numbers) -> Iterator[tuple[str, Share]]:
        """Kinds of kernels of a launch, each with its share."""

    def message(self, sent: Collective, numbers: Numbers, buffer: Num) -> Share:
        """A collective of so many bytes."""

    def traffic(self, moved: Num, launches: Num) -> Share:
        """Element-wise work that moves so many bytes in so many launches."""

    def product(self, m: Num, n: Num, k: Num, format: str) -> Share:
        """A product of two matrices that are no part of the model."""


@dataclass(frozen=True, eq=False)
class Expected:
    """By models fitted to measured kernels.

    raises NoModel where a kind of kernel has none
    """

    step: Step
    cluster: Cluster
    engine: Engine
    trainer: Trainer

    @cached_property
    def times(self) -> KernelTimes:
        """The kernel models."""
        return KernelTimes(self.step, self.cluster, self.engine)

    def launch(self, row: Row, numbers: Numbers) -> Iterator[tuple[str, Share]]:
        """Kinds of kernels of a launch, each with its share."""
        kinds = {sized.kind for sized in row.sized}
        if kinds <= {"element-wise", "joined"} and (kinds != {"joined"} or self.trainer.additions == "apart"):
            yield "element-wise", self.traffic(self.moved(row, numbers), 1.0)
            return
        if kinds <= {"experts", "inside experts"}:
            yield from self.of_experts(row, numbers)
            return
        for time in self.times.launch(row, numbers):
            share, makes = shared(time), any(makes_gradient(p) for p in row.writes)
            if time.kind == "matmul":
                slower = FUSED_SUM if makes and self.trainer.accumulates == "fused" else 1.0
                form = self.times.weight_form(row.sized[0].weights, numbers)[0]
                share = scaled(share, slower * matmul_inside(self.cluster.accelerator.architecture, form))
            yield KINDS.get(time.kind, time.kind), share
        for moved, launches in (self.beside(row, numbers), self.widening(row, numbers)):
            if launches:
                yield "element-wise", self.traffic(moved, launches)

    def of_experts(self, row: Row, numbers: Numbers) -> Iterator[tuple[str, Share]]:
        """A part of an expert layer: its first matmul stands for all of them, one after another for each expert, as grouped
        matmuls were measured to take; what brings tokens there, activates and adds them is traffic."""
        (sized,) = row.sized
        if sized.kind == "experts":
            s = sizes_of(sized, numbers)
            form, stored = self.times.weight_form(sized.weights, numbers)
            found, width = self.times.model("matmul", form), replace(width_of(form), weights=stored)
            rows, device = maximum(s["pairs"] / s["experts"], 1.0), self.times.device(form)
            model = found.fitted.model
            if width.narrow:  # inputs of all experts are made narrow by one launch
                plain = self.times.model("matmul", self.times.plain).fitted.model
                width, model = replace(width, ready=True), replace(model, launch=plain.launch)
                made = s["pairs"] * (s["width"] + s["inner"]) / 2.0 * s["matrices"] * (2.0 + width.weights)
                yield "element-wise", self.traffic(made, 2.0)
            one = matmul_time(model, device, width, rows, s["inner"], s["width"])
            share = shared(KernelTime("experts", one * s["experts"] * s["matrices"], found, s))
            yield "experts", scaled(share, matmul_inside(self.cluster.accelerator.architecture, form))
        elif not row.flops:
            yield "element-wise", self.traffic(self.moved(row, numbers), 1.0)

    def moved(self, row: Row, numbers: Numbers) -> Num:
        """Bytes that element-wise work moves: gradients of a norm's scale take a second look at what its backward pass reads, and
        a loss goes over its logits in fp32."""
        precision = self.step.precision
        once = program.price(row, numbers, precision).bytes
        if any(makes_gradient(p) for p in row.writes):
            again = [p for p in row.reads if p.tensor.role == ACTIVATION]
            once = once + total(
                numbers.value(p.elements) * program.element_bytes(p.tensor, numbers, precision) for p in again
            )
        logits = [p for p in row.moved if "V" in p.tensor.letters and p.tensor.role == ACTIVATION]
        if logits:
            once = once + numbers.value(logits[0].elements) * 4.0 * self.trainer.loss_passes / 2.0
        return once

    def beside(self, row: Row, numbers: Numbers) -> tuple[Num, float]:
        """Bytes and launches of what goes with matmuls that make gradients of weights: adding them to those of earlier
        micro-batches, and summing those of biases."""
        made = [p for p in row.writes if makes_gradient(p)]
        matrices = [p for p in made if not p.tensor.name.endswith(".bias")]
        moved: Num = 0.0
        launches = 0.0
        precision = self.step.precision
        if self.trainer.accumulates == "apart" and made:
            each = BYTES[precision.weights] + 2.0 * BYTES[precision.gradients]
            moved = total(numbers.value(p.elements) for p in made) * each
            launches = float(len(made))
        if self.trainer.bias_gradients == "apart" and len(matrices) < len(made):
            gradients = [p for p in row.reads if p.tensor.role == ACTIVATION and p.tensor.name.startswith("d")]
            size = precision.bytes(ACTIVATION)
            moved = moved + total(numbers.value(p.elements) for p in gradients) * size
            launches = launches + float(len(made) - len(matrices))
        return moved, launches

    def widening(self, row: Row, numbers: Numbers) -> tuple[Num, float]:
        """Bytes and launches of what brings matrices in 4 bits to 16: it writes them, and their matmul reads them."""
        packed = [p for p in row.reads if p.tensor.format == PACKED]
        wide = 2.0 * self.step.precision.bytes(ACTIVATION)
        return total(numbers.value(p.elements) for p in packed) * wide, float(len(packed))

    def message(self, sent: Collective, numbers: Numbers, buffer: Num) -> Share:
        """A collective of so many bytes, on all levels that it goes over."""
        first, *others = [shared(time) for time in sending_times(self.times, numbers, sent, buffer)]
        for other in others:
            first = first + other
        return first

    def traffic(self, moved: Num, launches: Num) -> Share:
        """Element-wise work that moves so many bytes: what the last-level cache holds of them as measured on tensors of that
        size, the rest at the share of the memory's bandwidth that large transfers reach."""
        found, plain = self.times.model("add", self.times.plain), self.times.plain
        model, device = found.fitted.model, self.times.device(plain)
        share = self.times.model("matmul", plain).fitted.model.bandwidth
        near = fits(moved, device.cache)
        streamed = (1.0 - near) * maximum(moved / (device.bandwidth * share), traffic_time(model, device, moved))
        seconds = launches * (model.launch + model.row) + near * traffic_time(model, device, moved) + streamed
        return shared(KernelTime("element-wise", seconds, found))

    def product(self, m: Num, n: Num, k: Num, format: str) -> Share:
        """A product of two matrices that are no part of the model: as the activations' format takes it, at another's rate."""
        found, form = self.times.model("matmul", self.times.plain), self.times.plain
        seconds = matmul_time(found.fitted.model, self.times.device(form), width_of(form), m, n, k)
        slower = self.times.device(form).peak / self.cluster.accelerator.peak(format)
        return scaled(shared(KernelTime("matmul", seconds, found)), slower)


KINDS = {"prefill_attention": "attention"}
"""Kind of a kernel's model → what a breakdown calls it."""

FUSED_SUM = 1.05
"""Time of a matmul that adds its result to a gradient in fp32 over that of one that does not: Transformer Engine on A100 PCIe and
on B200 (gemm_train.csv.xz, accumulate=True/out=fp32)."""


def makes_gradient(piece: Piece) -> bool:
    """Whether what is written is the gradient of a weight."""
    return piece.tensor.role == GRADIENT


def scaled(share: Share, factor: Num) -> Share:
    """A share that takes so many times as long."""
    return replace(share, seconds=share.seconds * factor, below=share.below * factor, above=share.above * factor)


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

    def product(self, m: Num, n: Num, k: Num, format: str) -> Share:
        """A product of two matrices that are no part of the model."""
        device, assumed = self.cluster.accelerator, self.assumptions
        moved = (m * k + k * n + m * n) * BYTES[format]
        compute, memory = (
            device.peak(format) * assumed.compute_efficiency,
            device.memory_bandwidth * assumed.memory_efficiency,
        )
        return alone(kernel_time(2.0 * m * n * k, moved, compute, memory, assumed.launch_time))


def alone(seconds: Num) -> Share:
    """A time without an interval."""
    return Share(seconds, 0.0, 0.0, 1.0, (), False)
