"""One training step pass by pass: each stage takes its passes in the schedule's order, each once what it needs has arrived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from floorline.errors import BadInput
from floorline.training.orders import BACKWARD, DGRAD, FORWARD, WGRAD, Pass, orders

MOST = 200_000
"""Passes of a step that are laid out at the most."""


@dataclass(frozen=True)
class Seconds:
    """What one micro-batch takes on a stage, all chunks of it.

    forward  [s]
    dgrad    backward of activations [s]
    wgrad    backward of weights [s]
    """

    forward: float
    dgrad: float
    wgrad: float

    def of(self, kind: str) -> float:
        """One kind of pass [s]."""
        return self.dgrad + self.wgrad if kind == BACKWARD else float(getattr(self, kind))


@dataclass(frozen=True)
class Event:
    """A pass and when it runs.

    stage       from 0 [-]
    done        the pass
    start, end  from the step's beginning [s]
    """

    stage: int
    done: Pass
    start: float
    end: float


@dataclass(frozen=True)
class Timeline:
    """A step's passes.

    events  stage by stage, each in the order in which it runs them
    """

    events: tuple[tuple[Event, ...], ...]

    @cached_property
    def end(self) -> float:
        """When the last stage is done [s]."""
        return max(own[-1].end for own in self.events)

    @cached_property
    def period(self) -> float:
        """From the first pass of a stage to its last, on the stage where that takes longest: what a step costs where the next
        begins on each stage as soon as it is done [s]."""
        return max(own[-1].end - own[0].start for own in self.events)

    def idle(self, stage: int) -> list[tuple[float, float]]:
        """When a stage waits, from the step's beginning to the end of the last stage: beginnings and ends [s]."""
        ends = [0.0, *(event.end for event in self.events[stage])]
        starts = [*(event.start for event in self.events[stage]), self.end]
        return [(begin, end) for begin, end in zip(ends, starts, strict=True) if end > begin]

    def held(self, stage: int) -> float:
        """Micro-batches, in whole stages' worth of activations, that a stage holds at the most: from the start of the forward
        pass to the end of the backward pass, or of its part that makes gradients of activations."""
        chunks = max(event.done.chunk for event in self.events[stage]) + 1
        most = now = 0
        for event in self.events[stage]:
            now += {FORWARD: 1, WGRAD: 0}.get(event.done.kind, 0)
            most = max(most, now)
            now -= {BACKWARD: 1, DGRAD: 1}.get(event.done.kind, 0)
        return most / chunks


def timeline(
    schedule: str, passes: Sequence[Seconds], micro_batches: int, chunks: int = 1, send: float = 0.0
) -> Timeline:
    """The passes of a step.

    schedule       gpipe, 1f1b (interleaved where there are several chunks), zero-bubble-1p, zero-bubble-2p
    passes         what one micro-batch takes on each stage; a chunk takes an equal part
    micro_batches  of the step [-]
    chunks         of layers on each stage [-]
    send           from one stage to another, while both go on with other passes [s]
    raises         BadInput for what no order is known of, or more passes than can be drawn

    >>> equal = [Seconds(1.0, 1.0, 1.0)] * 4
    >>> timeline("1f1b", equal, 8).end, timeline("1f1b", equal, 8, chunks=2).end, timeline("zero-bubble-1p", equal, 8).end
    (33.0, 28.5, 27.0)
    """
    stages = len(passes)
    count = stages * micro_batches * chunks * (3 if schedule.startswith("zero") else 2)
    if count > MOST:
        raise BadInput(f"a step of {count:,} passes; expected at most {MOST:,}: lower the batch or the stages")
    todo = orders(schedule, stages, micro_batches, chunks)
    found: list[list[Event]] = [[] for _ in passes]
    ends: dict[tuple[int, Pass], float] = {}
    moved = True
    while moved:
        moved = False
        for stage, order in enumerate(todo):
            own = found[stage]
            while len(own) < len(order):
                item = order[len(own)]
                ready = arrival(item, stage, stages, chunks, send, ends)
                if ready is None:
                    break
                start = max(ready, own[-1].end if own else 0.0)
                end = start + passes[stage].of(item.kind) / chunks
                own.append(Event(stage, item, start, end))
                ends[stage, item] = end
                moved = True
    assert all(len(own) == len(order) for own, order in zip(found, todo, strict=True)), "passes wait for each other"
    return Timeline(tuple(tuple(own) for own in found))


def needs(item: Pass, stage: int, stages: int, chunks: int) -> list[tuple[int, Pass]]:
    """What must be done before a pass, and on which stage.

    >>> needs(Pass("forward", 0, 1), 0, 4, 2)
    [(3, Pass(kind='forward', micro_batch=0, chunk=0))]
    """
    i, chunk = item.micro_batch, item.chunk
    if item.kind == WGRAD:
        return [(stage, Pass(DGRAD, i, chunk))]
    step = -1 if item.kind == FORWARD else 1
    found = [] if item.kind == FORWARD else [(stage, Pass(FORWARD, i, chunk))]
    if 0 <= stage + step < stages:
        found.append((stage + step, Pass(item.kind, i, chunk)))
    elif 0 <= chunk + step < chunks:
        found.append(((stage + step) % stages, Pass(item.kind, i, chunk + step)))
    return found


def arrival(
    item: Pass, stage: int, stages: int, chunks: int, send: float, ends: dict[tuple[int, Pass], float]
) -> float | None:
    """When all that a pass needs is there [s]; None where something is not done yet."""
    latest = 0.0
    for source, earlier in needs(item, stage, stages, chunks):
        end = ends.get((source, earlier))
        if end is None:
            return None
        latest = max(latest, end + (send if source != stage else 0.0))
    return latest
