"""Memory of a measured run: what its software is expected to take of a device, and whether it fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from floorline.catalogue.accelerators import load_accelerator
from floorline.errors import FloorlineError
from floorline.feasible import hold, spread
from floorline.memory import Memory, encoding_memory, inference_memory
from floorline.num import maximum
from floorline.result import Result
from floorline.specs.workload import Encode, Generate
from floorline.step import Step, single
from floorline.validation.case_plan import engine_of, model_of, plan_of, precision_of
from floorline.validation.cases import Case

METRICS = ("peak_memory_bytes", "out_of_memory")

WHOLE = ("fastertransformer", "transformers", "eager", "compiled", "torchscript", "xla", "gpt-fast")
"""Software that runs the batch that it is given, or none: others queue requests for which there is no room."""


@dataclass(frozen=True)
class Expected(Result):
    """Memory that a run is expected to take.

    The interval: software may reuse memory until next to nothing is left of a step's tensors, or keep them twice; contexts that
    were measured on one card differ by four times with how libraries load their kernels, so half and twice are both likely.

    value, low, high  in the metric's unit: bytes; 1 where it does not fit, else 0
    memory            by kind
    """

    value: float
    low: float
    high: float
    memory: Memory


def memory(case: Case, folder: Path | None) -> Memory:
    """Memory of one device of a case.

    raises BadInput where the case lacks a length, or its plan breaks a rule
    """
    engine, plan = engine_of(case), plan_of(case)
    model, precision = model_of(case, folder), precision_of(case)
    fusion = "unfused" if case.word("attention") == "unfused" else "flash"
    if case.word("kind") == "encoder":
        step = single(
            model, Encode(batch=case.number("batch"), seq_len=case.number("input_len", 1.0)), plan, precision, "full"
        )
        return encoding_memory(step, fusion, engine.footprint)
    prompt, made = case.number("input_len"), case.number("output_len", 1.0)
    batch = case.number("batch") if case.word("load") == "static" or engine.name in WHOLE else 1.0
    work = Generate(batch=batch, prompt_len=prompt, output_len=maximum(made, 1.0))
    hold(model, work, plan.devices, plan)
    step = Step(model, spread(batch, plan.dp), prompt, 0.0, 1.0, plan, precision)
    return inference_memory(step, prompt + made, fusion, None, engine.footprint)


def expected(case: Case, folder: Path | None) -> Expected:
    """What is expected of a case of one of the two metrics.

    raises BadInput where it cannot be priced, with the reason
    """
    found = memory(case, folder)
    if case.metric == "out_of_memory":
        verdict = float(not fits(case, found))
        return Expected(verdict, verdict, verdict, found)
    own = case.word("memory_kind") == "allocated"
    value = float(found.allocated if own else found.total)
    alive, context = float(found.activations), 0.0 if own else float(found.framework)
    return Expected(value, value - alive - context / 2.0, value + alive + context, found)


def fits(case: Case, found: Memory) -> bool:
    """Whether memory is within what the device has."""
    return bool(found.total <= load_accelerator(case.word("accelerator")).usable)


@dataclass(frozen=True)
class Verdicts(Result):
    """Whether runs fit, against what happened.

    ran, called    runs that did fit, and those among them that are called out of memory
    failed, missed runs that did not, and those among them that are said to fit
    """

    ran: int
    called: tuple[str, ...]
    failed: int
    missed: tuple[str, ...]


def verdicts(cases: Iterable[Case], folder: Path | None) -> Verdicts:
    """Each inference run once: does it fit? Runs that cannot be priced are left out."""
    seen: dict[bool, dict[tuple[str, ...], str]] = {True: {}, False: {}}
    wrong: dict[bool, list[str]] = {True: [], False: []}
    for case in cases:
        failed = case.metric == "out_of_memory"
        run = tuple(text for column, text in case.cells.items() if column not in ("case", "metric", "value", "note"))
        if run in seen[failed]:
            continue
        try:
            said = not fits(case, memory(case, folder))
        except FloorlineError:
            continue
        seen[failed][run] = case.name
        if said is not failed:
            wrong[failed].append(case.name)
    return Verdicts(len(seen[False]), tuple(wrong[False]), len(seen[True]), tuple(wrong[True]))
