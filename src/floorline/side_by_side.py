"""Operators of a phase, all of its steps together: arithmetic, traffic, time, and what of the time is a launch's least."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from floorline import program
from floorline.errors import NoModel
from floorline.kernel_times import KernelTimes
from floorline.letters import Numbers
from floorline.network import levels
from floorline.num import Num, number, total, where
from floorline.phases import Phase
from floorline.program import Row
from floorline.result import Result
from floorline.transformer import Stack

KINDS = ("matmul", "attention", "experts", "scan", "element-wise", "messages")
"""Kinds of launches, as people tell them apart."""


@dataclass(frozen=True)
class Operator(Result):
    """All runs of one launch or message in a phase.

    name      of the launch; those of layers without their block's, so that models of another make stand beside each other
    kind      one of ``KINDS``
    flops     [FLOP]
    bytes     read and written [B]
    sent      put on the wire by a rank [B]
    serial    time in the textbook sum [s]
    overhead  what of it neither arithmetic nor traffic takes: a launch's least time, a message's start [s]
    expected  time as measured kernels have it [s]; None where no model is known
    """

    name: str
    kind: str
    flops: Num = 0.0
    bytes: Num = 0.0
    sent: Num = 0.0
    serial: Num = 0.0
    overhead: Num = 0.0
    expected: Num | None = 0.0

    def __add__(self, other: Operator) -> Operator:
        known = self.expected is not None and other.expected is not None
        return Operator(
            self.name,
            self.kind,
            self.flops + other.flops,
            self.bytes + other.bytes,
            self.sent + other.sent,
            self.serial + other.serial,
            self.overhead + other.overhead,
            self.expected + other.expected if known else None,  # type: ignore[operator]
        )


def operators(phase: Phase) -> tuple[Operator, ...]:
    """Every launch and message of a phase, all runs in all steps, in order; their serial times add up to the phase's.

    >>> from floorline import Generate, estimate
    >>> e = estimate("gpt2", Generate(batch=1, prompt_len=8, output_len=3), "a100")
    >>> [x.name for x in operators(e.phases[1])][3:6]
    ['norm1', 'qkv', 'attention']
    """
    found: dict[str, Operator] = {}
    for one in each(phase):
        found[one.name] = found[one.name] + one if one.name in found else one
    return tuple(found.values())


def each(phase: Phase) -> Iterator[Operator]:
    """Every row of every stack."""
    step, cluster, assumed = phase.every.micro, phase.cluster, phase.assumptions
    ideal, ways = replace(assumed, launch_time=0.0, message_latency=0.0), levels(phase.cluster)
    times = KernelTimes(step, cluster, phase.engine)
    masked = {id(stack): numbers for stack, numbers in step.numbers("causal")}
    for stack, numbers, row in step.rows(assumed.fusion):
        run = program.price(row, numbers, step.precision)
        serial, least = (step.time(row, run, numbers, cluster, a, ways) for a in (assumed, ideal))
        cost = run.times(stack.repeat)
        yield Operator(
            name=row.name if stack.is_layer else f"{stack.block.name}.{row.name}",
            kind=kind_of(row),
            flops=whole(phase, cost.flops),
            bytes=whole(phase, cost.bytes),
            sent=whole(phase, cost.sent),
            serial=whole(phase, serial * stack.repeat),
            overhead=whole(phase, (serial - least) * stack.repeat),
            expected=hoped(times, stack, row, masked[id(stack)], phase),
        )


def hoped(times: KernelTimes, stack: Stack, row: Row, numbers: Numbers, phase: Phase) -> Num | None:
    """What all runs are expected to take."""
    try:
        return whole(phase, total(t.seconds for t in times.launch(row, numbers)) * stack.repeat)
    except NoModel:
        return None


def whole(phase: Phase, once: Num) -> Num:
    """Of a step, or of each of many, the sum over the phase: as often as it runs, and longer where prompts follow each other
    through stages."""
    steps: Num = 1.0 if phase.count is None else phase.count
    return where(number(steps) > 0.0, phase.mean(number(once * phase.every.stretch + zero(phase))) * steps, 0.0)


def zero(phase: Phase) -> Num:
    """Nothing, for every context."""
    return 0.0 if phase.contexts is None else np.zeros_like(phase.contexts.present)


def kind_of(row: Row) -> str:
    """The kind of a launch: matmuls of activations alone are part of attention."""
    if row.message is not None:
        return "messages"
    first = row.sized[0]
    if first.kind == "matmul":
        return "matmul" if any(x.weights for x in row.sized) else "attention"
    return {"joined": "element-wise", "inside experts": "experts"}.get(first.kind, first.kind)
