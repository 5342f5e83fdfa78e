"""Operators and kernels under a machine's roof: arithmetic intensity, attainable rate, and what bounds each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from floorline.formulas.roofline import arithmetic_intensity, attainable, machine_balance
from floorline.network import Level, levels
from floorline.num import Num, largest, total
from floorline.phases import Phase
from floorline.program import price
from floorline.result import Result
from floorline.specs.accelerator import Accelerator
from floorline.step import Step


@dataclass(frozen=True)
class Point(Result):
    """One kernel, or a group of operators.

    name    of the kernel
    flops   of all its runs [FLOP]
    bytes   read and written by them [B]
    sent    to other devices [B]
    rate    that was reached, nan where nothing was measured [FLOP/s]
    """

    name: str
    flops: Num
    bytes: Num
    sent: Num = 0.0
    rate: Num = np.nan

    @property
    def intensity(self) -> Num:
        """Arithmetic for each byte moved [FLOP/B]."""
        return arithmetic_intensity(self.flops, self.bytes)


@dataclass(frozen=True)
class Roof(Result):
    """What a device allows.

    name       of the device
    form       number format of the arithmetic
    peak       [FLOP/s]
    bandwidth  of memory [B/s]
    cache      bandwidth of the last-level cache, nan where it is not known [B/s]
    link       of the fastest link to another device, or of all that a plan's messages cross, on average; nan where there is none
               [B/s]
    """

    name: str
    form: str
    peak: Num
    bandwidth: Num
    cache: Num = np.nan
    link: Num = np.nan

    @staticmethod
    def of(device: Accelerator, form: str) -> Roof:
        """The roof of a device, for matmuls in a format.

        >>> from floorline.catalogue.accelerators import load_accelerator
        >>> roof = Roof.of(load_accelerator("a100-pcie-40gb"), "bf16")
        >>> round(float(roof.balance), 1)  # 312 TFLOP/s over 1555 GB/s
        200.6
        """
        others = [link.bandwidth for link in device.links if not link.host] or [x.bandwidth for x in device.links]
        cache = np.nan if device.cache_bandwidth is None else device.cache_bandwidth
        link = largest(others) if others else np.nan
        return Roof(device.name, device.computed_in(form), device.peak(form), device.memory_bandwidth, cache, link)

    @property
    def balance(self) -> Num:
        """Intensity from which a kernel is bound by arithmetic [FLOP/B]; the critical batch in half precision."""
        return machine_balance(self.peak, self.bandwidth)

    @property
    def cache_balance(self) -> Num:
        """The same for operands that the last-level cache holds [FLOP/B]."""
        return machine_balance(self.peak, self.cache)

    @property
    def link_balance(self) -> Num:
        """FLOP that take as long as sending a byte [FLOP/B]."""
        return machine_balance(self.peak, self.link)

    def attainable(self, intensity: Num) -> Num:
        """The highest rate at an intensity, operands from memory [FLOP/s]."""
        return attainable(intensity, self.peak, self.bandwidth)

    def bound(self, point: Point) -> str:
        """What bounds a point: compute or memory."""
        return "compute" if float(point.intensity) >= float(self.balance) else "memory"


@dataclass(frozen=True, repr=False)
class Roofline(Result):
    """Points under a roof.

    roof    of the device
    points  in the order in which they run
    title   for people
    """

    roof: Roof
    points: tuple[Point, ...]
    title: str = ""

    def answer(self) -> Mapping[str, Any]:
        """Each point with its intensity and what it may reach."""
        roof = self.roof
        return {
            "roof": {
                **roof.to_dict(),
                "balance": roof.balance,
                "cache_balance": roof.cache_balance,
                "link_balance": roof.link_balance,
            },
            "points": [
                {
                    **p.to_dict(),
                    "intensity": p.intensity,
                    "attainable": roof.attainable(p.intensity),
                    "bound": roof.bound(p),
                }
                for p in self.points
            ],
        }

    def together(self, name: str, names: Iterable[str] = ()) -> Point:
        """Some of the points, or all, as one, at the rate that they reached together where that was measured."""
        wanted = set(names)
        chosen = [p for p in self.points if not wanted or p.name in wanted]
        flops = total(p.flops for p in chosen)
        seconds = total(p.flops / p.rate for p in chosen)
        return Point(name, flops, total(p.bytes for p in chosen), total(p.sent for p in chosen), flops / seconds)


def of_phase(phase: Phase) -> Roofline:
    """The launches of a phase, all runs of each; of a decode phase, those of its first step."""
    step, device = phase.step, phase.cluster.accelerator
    found: dict[str, Point] = {}
    for stack, numbers, row in step.rows(phase.assumptions.fusion):
        cost = price(row, numbers, step.precision).times(stack.repeat)
        name = f"{stack.block.name}.{row.name}"
        old = found.get(name, Point(name, 0.0, 0.0))
        found[name] = Point(name, old.flops + cost.flops, old.bytes + cost.bytes, old.sent + cost.sent)
    points = tuple(p for p in found.values() if not np.all(np.asarray(p.bytes) == 0.0) or np.any(np.asarray(p.sent)))
    roof, sent, ways = Roof.of(device, step.precision.activations), total(p.sent for p in points), levels(phase.cluster)
    if np.any(np.asarray(sent) > 0.0):  # what is sent goes by the links that the plan crosses
        roof = replace(roof, link=sent / total(staged_time(step, phase, ways)))
    return Roofline(roof, points, f"{phase.name} of {step.model.name}")


def staged_time(step: Step, phase: Phase, ways: tuple[Level, ...]) -> Iterable[Num]:
    """Times of all messages, level by level, without latencies [s]."""
    for stack, numbers, row in step.rows(phase.assumptions.fusion):
        if row.message is not None:
            for _, sent, rate in step.sending(row.message, numbers, ways):
                yield sent / rate * stack.repeat
