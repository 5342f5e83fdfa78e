"""Where a step's bound changes: the batch from which arithmetic takes as long as reading the weights, and, stage by stage of a
layer, arithmetic against the bytes that its messages send."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from floorline import program
from floorline.formulas.roofline import arithmetic_intensity, machine_balance
from floorline.letters import Numbers
from floorline.memory import most
from floorline.network import levels
from floorline.num import Num, total
from floorline.phases import Phase
from floorline.program import Row
from floorline.result import Result
from floorline.specs.cluster import Cluster
from floorline.step import Step

MOST_SEQUENCES = 2.0**20
"""Largest batch that is looked at."""
BEFORE = {"all_reduce": 0.5, "reduce_scatter": 1.0, "all_gather": 0.0, "all_to_all": 0.5}
"""Kind of message → the share of it that belongs to the work before it; the rest belongs to the work after it. An all-reduce is a
reduce-scatter after what it sums, and an all-gather before what reads the sum."""


@dataclass(frozen=True)
class Stage(Result):
    """A part of a layer between messages, on one rank.

    name       of its matmuls
    flops      of its matmuls with weights, attention's scores and values left out [FLOP]
    sent       by its share of the messages around it [B]
    compute_s  the arithmetic at the peak [s]
    link_s     what is sent, at the rate of the links that it crosses [s]
    """

    name: str
    flops: Num
    sent: Num
    compute_s: Num
    link_s: Num

    @property
    def intensity(self) -> Num:
        """Arithmetic for each byte sent [FLOP/B]."""
        return arithmetic_intensity(self.flops, self.sent)

    @property
    def link_balance(self) -> Num:
        """FLOP that take as long as sending a byte [FLOP/B]."""
        return machine_balance(self.flops / self.compute_s, self.sent / self.link_s)

    @property
    def bound(self) -> str:
        """What takes longer: compute or link."""
        return "compute" if float(self.compute_s) >= float(self.link_s) else "link"

    def answer(self) -> Mapping[str, Any]:
        """The amounts and what follows from them."""
        amounts = {"name": self.name, "flops": self.flops, "sent": self.sent, "flops_per_byte": self.intensity}
        times = {"compute_s": self.compute_s, "link_s": self.link_s}
        return {**amounts, "link_balance": self.link_balance, **times, "bound": self.bound}


@dataclass(frozen=True)
class Balance(Result):
    """Where the bound of a decode step changes.

    machine_balance  peak over memory bandwidth [FLOP/B]
    critical_batch   least sequences of a replica whose arithmetic with the weights takes as long as reading these [-], or None
    with_cache       the same for all arithmetic, with their cache read too [-]; None where more never help
    context          tokens in the cache of each [-]
    compute_s, memory_s, link_s  the three times of the step at its own batch, of which the largest is its floor: messages as
                     the least bytes that any algorithm sends [s]
    ring_s           messages as a ring sends them [s]
    stages           parts of a layer between messages; none on one device
    """

    machine_balance: Num
    critical_batch: float | None
    with_cache: float | None
    context: Num
    compute_s: Num
    memory_s: Num
    link_s: Num
    ring_s: Num
    stages: tuple[Stage, ...] = ()

    @property
    def overlapping(self) -> Num:
        """Time of the step if all three overlap, messages in a ring [s]."""
        return max(self.compute_s, self.memory_s, self.ring_s)

    @property
    def one_after_another(self) -> Num:
        """Time if messages in a ring wait for the rest, which overlaps in itself [s]."""
        return max(self.compute_s, self.memory_s) + self.ring_s

    def answer(self) -> Mapping[str, Any]:
        """All of it."""
        return {
            "machine_balance": self.machine_balance,
            "critical_batch": self.critical_batch,
            "critical_batch_with_cache": self.with_cache,
            "context": self.context,
            "step": {
                "compute_s": self.compute_s,
                "memory_s": self.memory_s,
                "link_s": self.link_s,
                "ring_s": self.ring_s,
                "overlapping_s": self.overlapping,
                "one_after_another_s": self.one_after_another,
            },
            "stages": self.stages,
        }


def balance(phase: Phase) -> Balance:
    """Where the bound of a decode phase's first step changes.

    >>> from floorline import Decode, estimate
    >>> e = estimate("textbook-52b", Decode(context_len=100), "a100-sxm-40gb")
    >>> found = balance(e.phases[0])
    >>> found.critical_batch, round(float(found.machine_balance), 1)  # 312 TFLOP/s over 1555 GB/s
    (201.0, 200.6)
    """
    step, cluster = phase.step, phase.cluster
    floor, bandwidth = step.floor(cluster), cluster.accelerator.memory_bandwidth

    def of(batch: Num) -> Step:
        return replace(step, batch=batch * step.parallelism.dp)

    def reading(batch: Num) -> object:
        arithmetic, read = with_weights(of(batch), cluster)
        return arithmetic < read

    def moving(batch: Num) -> object:
        parts, (_, read) = of(batch).floor(cluster), with_weights(of(batch), cluster)
        return parts.compute < read + parts.cached / (step.parallelism.pp * bandwidth)

    return Balance(
        machine_balance=machine_balance(step.usual(cluster), bandwidth),
        critical_batch=first_without(reading),
        with_cache=first_without(moving),
        context=step.earlier,
        compute_s=floor.compute,
        memory_s=floor.memory,
        link_s=floor.link,
        ring_s=in_a_ring(step, cluster),
        stages=tuple(stages(step, cluster)),
    )


def in_a_ring(step: Step, cluster: Cluster) -> Num:
    """All messages of a step as rings send them, without starts; stages of a pipeline send at the same time [s]."""
    ways = levels(cluster)
    return (
        total(
            out / rate * stack.repeat
            for stack, numbers, row in step.rows("flash")
            if row.message is not None
            for _, out, rate in step.sending(row.message, numbers, ways)
        )
        / step.parallelism.pp
    )


def first_without(holds: Any) -> float | None:
    """The least batch for which something no longer holds; None where it always does."""
    last = float(most(holds, MOST_SEQUENCES))
    return None if last >= MOST_SEQUENCES else last + 1.0


def with_weights(step: Step, cluster: Cluster) -> tuple[Num, Num]:
    """Time of all arithmetic with weights at the peak, and of reading these: each stage of a pipeline does its own share of the
    arithmetic at the same time, but a token waits for all weights [s]."""
    arithmetic: Num = 0.0
    read: Num = 0.0
    for stack, numbers, row in step.rows("flash"):
        if weighted(row):
            flops = program.price(row, numbers, step.precision).flops
            arithmetic = arithmetic + flops / step.rate(row, numbers, cluster) * stack.repeat
            read = read + step.bytes(tuple(p for p in row.reads if p.tensor.is_weight), numbers) * stack.repeat
    return arithmetic / step.parallelism.pp, read / cluster.accelerator.memory_bandwidth


def weighted(row: Row) -> bool:
    """Whether a launch does arithmetic with weights."""
    return row.message is None and bool(row.flops) and any(p.tensor.is_weight for p in row.reads)


def stages(step: Step, cluster: Cluster) -> Iterator[Stage]:
    """The stages of each kind of layer: two matmuls between messages are one each, with the message at its side; more are one
    together."""
    for stack, numbers in step.numbers():
        rows = step.program(stack, "flash")
        sends = [i for i, row in enumerate(rows) if row.message is not None]
        if not stack.is_layer or not sends:
            continue
        turned = (*rows[sends[0] :], *rows[: sends[0]])  # the layer after this one begins as this one does
        *others, wrapped = segments(turned)
        for before, work, after in (wrapped, *others):  # which begins where the layer does
            matmuls = [row for row in work if weighted(row)]
            halves = [(before, 1.0 - BEFORE[kind(before)]), (after, BEFORE[kind(after)])]
            groups = [[m] for m in matmuls] if len(matmuls) == 2 else [matmuls] if matmuls else []
            for i, group in enumerate(groups):
                share = halves if len(groups) == 1 else [halves[i]]
                yield stage(stack.block.name, group, share, step, numbers, cluster)


def kind(row: Row) -> str:
    """The kind of a message."""
    assert row.message is not None
    return row.message.kind


def segments(rows: Sequence[Row]) -> Iterator[tuple[Row, list[Row], Row]]:
    """What is between two messages, with these; after the last comes the first again."""
    sends = [i for i, row in enumerate(rows) if row.message is not None]
    for here, there in zip(sends, [*sends[1:], len(rows)], strict=True):
        yield rows[here], list(rows[here + 1 : there]), rows[there % len(rows)]


def stage(
    block: str, group: list[Row], share: Iterable[tuple[Row, float]], step: Step, numbers: Numbers, cluster: Cluster
) -> Stage:
    """A stage of some matmuls with its share of messages."""
    name = f"{block}.{group[0].name}" + (f" … {group[-1].name}" if len(group) > 1 else "")
    priced = [(program.price(m, numbers, step.precision).flops, step.rate(m, numbers, cluster)) for m in group]
    ways, sent, wait = levels(cluster), [], []
    for row, part in share:
        assert row.message is not None
        for _, out, rate in step.sending(row.message, numbers, ways):
            sent.append(out * part)
            wait.append(out * part / rate)
    compute = total(flops / rate for flops, rate in priced)
    return Stage(name, total(flops for flops, _ in priced), total(sent), compute, total(wait))
