"""A training step as a trace that browsers draw (chrome://tracing, Perfetto): a process for each pipeline stage, a row for each
kind of work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from floorline.errors import BadInput
from floorline.training.estimate import TrainingEstimate
from floorline.training.orders import BACKWARD
from floorline.training.stage_times import Spent, StageTime, laid_out, stage_times
from floorline.training.timeline import Event, Timeline

Entry = dict[str, Any]
ROWS = ("passes", "gradient messages", "optimizer", "weight messages", "waiting for other stages")
"""Rows of a stage, from the top."""
MICRO = 1e6
MOST = 20_000
"""Passes that a trace holds at the most: a viewer opens some hundred thousand events."""


def chrome_trace(e: TrainingEstimate) -> dict[str, Any]:
    """A step in the Trace Event Format, to be written as JSON: complete events in microseconds, what a pass is spent on nested in
    it.

    The parts of a pass are drawn one after another, as long as each takes in all layers of the pass; in a run they take turns
    layer by layer. What messages slow down is drawn after the last pass. Hidden messages are drawn beside the passes that hide
    them.

    Source: Google, Trace Event Format (docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU), complete and
    metadata events.

    raises BadInput for estimates of many plans, schedules whose order is not known, steps of too many passes

    >>> import floorline
    >>> plan = floorline.Parallelism(pp=2)
    >>> e = floorline.estimate("gpt2", floorline.Train(seq_len=1024, global_batch=4), "a100-sxm-80gb", parallelism=plan)
    >>> passes = [x for x in chrome_trace(e)["traceEvents"] if x.get("cat") == "pass" and x["pid"] == 1]
    >>> [x["name"] for x in passes][:4]
    ['forward 0', 'backward 0', 'forward 1', 'backward 1']
    """
    times = stage_times(e)
    found = laid_out(e, times)
    count = sum(len(own) for own in found.events)
    if count > MOST:
        raise BadInput(f"a step of {count:,} passes is too long to draw; expected at most {MOST:,}: lower the batch")
    ready = updating_from(e, times, found)
    entries: list[Entry] = []
    for stage, own, start in zip(times, found.events, ready, strict=True):
        entries += [*named(stage), *passed(stage, own), *waited(stage, found), *after(stage, own, start)]
    whole = max(begin + stage.update + stage.gathered for stage, begin in zip(times, ready, strict=True))
    told = {
        "model": e.model.name,
        "hardware": repr(e.cluster),
        "schedule": e.parallelism.schedule,
        "step_s": float((e.expected or e.serial).seconds),
        "drawn_s": whole,
        "times": "expected" if e.expected else "serial",
    }
    return {"traceEvents": entries, "displayTimeUnit": "ms", "otherData": told}


def updating_from(e: TrainingEstimate, times: tuple[StageTime, ...], found: Timeline) -> list[float]:
    """When each stage begins its update: where the norm of all gradients is needed, when all stages have theirs; ZB-H2 checks it
    later [s]."""
    own = [passes[-1].end + stage.slowed + stage.reduced for stage, passes in zip(times, found.events, strict=True)]
    together = e.trainer.clips == "yes" and e.parallelism.schedule != "zero-bubble-2p"
    return [max(own)] * len(own) if together else own


def named(stage: StageTime) -> Iterator[Entry]:
    """Names and order of a stage's rows."""
    parts = [f"{stage.layers:g} layers", *stage.ends]
    yield meta("process_name", stage.index, 0, {"name": f"stage {stage.index}: {', '.join(parts)}"})
    yield meta("process_sort_index", stage.index, 0, {"sort_index": stage.index})
    for row, name in enumerate(ROWS):
        yield meta("thread_name", stage.index, row, {"name": name})
        yield meta("thread_sort_index", stage.index, row, {"sort_index": row})


def meta(name: str, process: int, row: int, arguments: Entry) -> Entry:
    """A metadata event."""
    return {"name": name, "ph": "M", "pid": process, "tid": row, "ts": 0, "args": arguments}


def complete(name: str, kind: str, stage: int, row: str, start: float, end: float, **more: object) -> Entry:
    """An event with a beginning and an end, given in seconds."""
    begin = start * MICRO
    return {
        "name": name,
        "cat": kind,
        "ph": "X",
        "ts": begin,
        "dur": max(end * MICRO - begin, 0.0),
        "pid": stage,
        "tid": ROWS.index(row),
        "args": more,
    }


def passed(stage: StageTime, own: tuple[Event, ...]) -> Iterator[Entry]:
    """A stage's passes, each with what it is spent on."""
    chunks = max(event.done.chunk for event in own) + 1
    for event in own:
        done = event.done
        name = f"{done.kind} {done.micro_batch}" + (f" of chunk {done.chunk}" if chunks > 1 else "")
        about = {"micro_batch": done.micro_batch, "chunk": done.chunk}
        yield complete(name, "pass", stage.index, "passes", event.start, event.end, **about)
        yield from nested(event, spent_on(stage, done.kind))


def spent_on(stage: StageTime, kind: str) -> Spent:
    """What a pass of a micro-batch is spent on, a backward pass by both of its parts [s]."""
    if kind != BACKWARD:
        found: Spent = getattr(stage, kind)
        return found
    return {name: stage.dgrad.get(name, 0.0) + stage.wgrad.get(name, 0.0) for name in {**stage.dgrad, **stage.wgrad}}


def nested(event: Event, spent: Spent) -> Iterator[Entry]:
    """The parts of a pass, one after another and none beyond its end."""
    whole, taken = sum(spent.values()), 0.0
    if whole <= 0.0:
        return
    length, begin = event.end - event.start, event.start
    for kind, time in spent.items():
        taken += time
        end = min(event.start + length * (taken / whole), event.end)
        yield complete(kind, "part", event.stage, "passes", begin, end, share=time / whole)
        begin = end


def waited(stage: StageTime, found: Timeline) -> Iterator[Entry]:
    """When a stage waits for others."""
    for begin, end in found.idle(stage.index):
        yield complete("bubble", "bubble", stage.index, "waiting for other stages", begin, end)


def after(stage: StageTime, own: tuple[Event, ...], ready: float) -> Iterator[Entry]:
    """What comes once a step: passes slowed by messages, gradients over data-parallel ranks, the update, weights that it shared
    out."""
    end, index = own[-1].end, stage.index
    slow = end + stage.slowed
    if stage.slowed > 0.0:
        yield complete("slowed by messages", "pass", index, "passes", end, slow)
    if stage.sent[0] > 0.0:
        begin = max(slow - (stage.sent[0] - stage.reduced), 0.0)
        exposed = {"exposed_us": stage.reduced * MICRO, "all_us": stage.sent[0] * MICRO}
        yield complete("gradients", "message", index, "gradient messages", begin, slow + stage.reduced, **exposed)
    yield complete("update", "optimizer", index, "optimizer", ready, ready + stage.update)
    if stage.gathered > 0.0:
        begin = ready + stage.update
        exposed = {"exposed_us": stage.gathered * MICRO, "all_us": stage.sent[1] * MICRO}
        yield complete("weights", "message", index, "weight messages", begin, begin + stage.gathered, **exposed)


def save(e: TrainingEstimate, path: str) -> None:
    """Write the trace of a step to a file.

    raises BadInput for a path that cannot be written
    """
    import json
    import os

    if Path(path).suffix != ".json":
        raise BadInput(f"{path[:200]}: traces are written as .json; expected such as step.json")
    text = json.dumps(chrome_trace(e), allow_nan=False)
    try:
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise BadInput(f"{path[:200]}: cannot be written ({why}); choose another path") from None
