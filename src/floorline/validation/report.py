"""Measured kernels and cases against what is computed: a row each, a summary by source, and what beats its floor."""

from __future__ import annotations

import csv
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from floorline.calibrate.expected import Expected, expected
from floorline.calibrate.residuals import missed
from floorline.catalogue.accelerators import load_accelerator
from floorline.errors import BadInput, FloorlineError
from floorline.kernels import table
from floorline.kernels.floors import floor as kernel_floor
from floorline.result import Result
from floorline.validation import cases as case_table
from floorline.validation.case_denoise import expected as expected_denoising
from floorline.validation.case_denoise import floor as denoising_floor
from floorline.validation.case_floors import floor as case_floor
from floorline.validation.case_memory import METRICS, Verdicts, verdicts
from floorline.validation.case_memory import expected as expected_memory
from floorline.validation.case_times import expected as expected_time
from floorline.validation.case_training import expected as expected_training
from floorline.validation.questions import question
from floorline.validation.regret import Regret, regret

One = TypeVar("One")
Key = TypeVar("Key", bound=Hashable)

ROUNDING = 1e-9
"""Share by which a measured value may be beyond its bound: both are rounded."""


@dataclass(frozen=True)
class Row(Result):
    """One measured value and its bound.

    case      its name; of a kernel, its row in the file, the first 1
    source    who measured it; of a kernel, its device, operator and format
    metric    what was measured
    measured  its value, SI
    floor     the bound in the metric's own unit: the least time, or the highest rate; None where it cannot be priced
    beaten    whether it is beyond its bound
    reason    why it cannot be priced
    expected, low, high  median and 90 % interval of a shipped calibration, where there is one [the metric's unit]
    error     ln(expected / measured)
    kernels   the fitted model that it comes from
    question  which kind of question a run answers
    judged    whether it counts: it has all that decides it
    """

    case: str
    source: str
    metric: str
    measured: float
    floor: float | None
    beaten: bool
    reason: str
    is_rate: bool = False
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    error: float | None = None
    kernels: str = ""
    question: str = ""
    judged: bool = True

    @property
    def is_priced(self) -> bool:
        """Whether there is a bound or an expected value."""
        return self.floor is not None or self.expected is not None

    @property
    def share(self) -> float | None:
        """The bound's share of the measured time: 1 at the floor, more where it is beaten."""
        if self.floor is None:
            return None
        return self.measured / self.floor if self.is_rate else self.floor / self.measured


@dataclass(frozen=True, repr=False)
class Validation(Result):
    """All rows of a file.

    rows    in the order of the file
    memory  which inference runs are said to fit, where the file has such
    regret  of training plans, where the file has several for a question
    """

    rows: tuple[Row, ...]
    memory: Verdicts | None = None
    regret: Regret | None = None

    @property
    def beaten(self) -> tuple[Row, ...]:
        """Rows that are beyond their bound: an error in us or in the data."""
        return tuple(row for row in self.rows if row.beaten)

    def answer(self) -> Mapping[str, Any]:
        """The rows, and a summary by source and metric."""
        return {
            "cases": self.rows,
            "summary": list(self.summary()),
            "rows": len(self.rows),
            "priced": sum(row.is_priced for row in self.rows),
            "beats_floor": [row.case for row in self.beaten],
            "out_of_memory": self.memory,
            "questions": list(self.questions()),
            "regret": self.regret,
        }

    def questions(self) -> Iterable[dict[str, Any]]:
        """For each kind of question, and for all times together, what judged runs miss by; beside it the medians of its sources,
        and their median."""
        judged = [row for row in self.rows if row.question and row.judged and row.error is not None]
        groups = grouped(judged, lambda row: row.question)
        times = [row for row in judged if "memory" not in row.question]
        groups |= {"all times": times} if times else {}
        for name, found in groups.items():
            sources = grouped(found, lambda row: row.source)
            medians = {source: accuracy(rows)["median_error"] for source, rows in sources.items()}
            middle = float(np.median([x for x in medians.values() if x is not None])) if medians else None
            yield {
                "question": name,
                "n": len(found),
                **accuracy(found),
                "by_source": medians,
                "median_of_sources": middle,
            }

    def summary(self) -> Iterable[dict[str, Any]]:
        """For each source and metric: rows, those that are priced, the median share of the floor, those that beat it, and why
        some cannot be priced."""
        for (source, metric), found in grouped(self.rows, lambda row: (row.source, row.metric)).items():
            shares = [row.share for row in found if row.share is not None]
            reasons = [row.reason for row in found if row.reason]
            yield {
                "source": source,
                "metric": metric,
                "n": len(found),
                "priced": sum(row.is_priced for row in found),
                "median_floor_share": float(np.median(shares)) if shares else None,
                "beats_floor": [row.case for row in found if row.beaten],
                "not_priced": {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)},
                **accuracy(found),
            }


def grouped(found: Iterable[One], key: Callable[[One], Key]) -> dict[Key, list[One]]:
    """Rows by a key, in the order in which they come.

    >>> grouped([3, 1, 5, 2], lambda number: number % 2)
    {1: [3, 1, 5], 0: [2]}
    """
    groups: dict[Key, list[One]] = {}
    for one in found:
        groups.setdefault(key(one), []).append(one)
    return groups


def accuracy(found: list[Row]) -> dict[str, float | None]:
    """What expected times miss by: median and 90th percentile of |ln(expected / measured)|, bias, and the share of measured values
    inside their interval; None where nothing is expected."""
    errors = np.array([row.error for row in found if row.error is not None])
    if not len(errors):
        return dict.fromkeys(("median_error", "p90_error", "bias", "coverage"))
    inside = [row.low <= row.measured <= row.high for row in found if row.low is not None and row.high is not None]
    median, tenth = missed(errors)
    return {
        "median_error": median,
        "p90_error": tenth,
        "bias": float(np.median(errors)),
        "coverage": float(np.mean(inside)),
    }


def validate(path: str | Path, models: str | Path | None = None) -> Validation:
    """A file of measured kernels or of whole runs against its floors.

    path    a CSV of either form (``.csv`` or, of kernels, ``.csv.xz``)
    models  folder of the configurations that its cases name; else "models" beside the file's folder, where there is one, else
            the catalogue's
    raises  BadInput for a file that is neither
    """
    given = Path(path)
    if not given.is_file():
        raise BadInput(f"{given}: there is no such file; expected a CSV of measured kernels or cases")
    if given.suffix != ".xz" and "case" in header(given):
        beside = given.resolve().parent.parent / "models"
        folder = Path(models) if models else beside if beside.is_dir() else None
        if folder is not None and not folder.is_dir():
            raise BadInput(f"{folder}: there is no such folder; expected one that holds NAME.json of each model")
        cases = case_table.read(given)
        served = [case for case in cases if case.word("kind") == "inference" and case.word("judged") != "no"]
        rows = tuple(of_case(case, folder) for case in cases)
        pairs = (
            (c, r.expected) for c, r in zip(cases, rows, strict=True) if r.expected is not None and r.error is not None
        )
        plans = regret((c, e) for c, e in pairs if c.metric in ("step_time_s", "tokens_per_s_per_device"))
        return Validation(rows, verdicts(served, folder) if served else None, plans)
    return Validation(tuple(of_kernels(table.read(given))))


def header(path: Path) -> list[str]:
    """The column names of a CSV.

    raises BadInput for a file that cannot be read
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return next(csv.reader(line for line in lines if not line.startswith("#")), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(
            f"{path}: cannot be read ({str(error)[:80]}); expected a CSV of measured kernels or cases"
        ) from None


def of_case(case: case_table.Case, folder: Path | None) -> Row:
    """A case and its bound; what cannot be priced has a reason."""
    head = (case.name, case.word("source"), case.metric)
    value = float("nan")
    try:
        value = case.value
        if not 0.0 < value < float("inf"):
            raise BadInput(f"value is {case.word('value')!r}; expected more than zero and less than infinity")
        if case.metric in METRICS:
            return of_memory(case, folder)
        bound, _ = FLOORS.get(case.word("kind"), case_floor)(case, folder)
        if not 0.0 <= bound < float("inf"):
            raise BadInput("its bound is no finite number: does the plan or the length break a rule of the model?")
    except FloorlineError as error:
        return Row(*head, value, None, False, str(error), case.is_rate)
    except ArithmeticError:
        return Row(*head, value, None, False, "a number goes beyond what can be computed", case.is_rate)
    beaten = value > bound * (1.0 + ROUNDING) if case.is_rate else value < bound * (1.0 - ROUNDING)
    row = Row(*head, value, bound, beaten, "", case.is_rate)
    row = replace(row, question=question(case), judged=case.word("judged") != "no")
    known = EXPECTED.get(case.word("kind"))
    return row if known is None else of_time(row, case, folder, known)


EXPECTED: dict[str, Callable[[case_table.Case, Path | None], tuple[float, float, float]]] = {
    "inference": expected_time,
    "encoder": expected_time,
    "training": expected_training,
    "diffusion": expected_denoising,
}
"""Kind of case → what is expected of it; of others only the floor is known."""

FLOORS = {"diffusion": denoising_floor}
"""Kind of case → its bound, where that is not told by the metric alone."""


def of_time(
    row: Row,
    case: case_table.Case,
    folder: Path | None,
    known: Callable[[case_table.Case, Path | None], tuple[float, float, float]],
) -> Row:
    """A case with what is expected of its software, never beyond its bound; with a reason where nothing is."""
    try:
        middle, low, high = known(case, folder)
    except FloorlineError as error:
        return replace(row, reason=f"its floor alone: {error}")
    assert row.floor is not None
    bounded = min if row.is_rate else max
    middle, low, high = (bounded(each, row.floor) for each in (middle, low, high))
    return replace(row, expected=middle, low=low, high=high, error=float(np.log(middle / row.measured)))


def of_memory(case: case_table.Case, folder: Path | None) -> Row:
    """A case of memory and what is expected of its software; one that did not fit is expected to be 1, or 0, without an error."""
    if case.word("kind") == "training":
        middle, low, high = expected_training(case, folder)
    else:
        hoped = expected_memory(case, folder)
        middle, low, high = hoped.value, hoped.low, hoped.high
    row = Row(case.name, case.word("source"), case.metric, case.value, None, False, "")
    row = replace(row, question=question(case), judged=case.word("judged") != "no")
    error = None if case.metric == "out_of_memory" else float(np.log(middle / case.value))
    return replace(row, expected=middle, low=low, high=high, error=error)


def of_kernels(kernels: table.Kernels) -> list[Row]:
    """Kernels and their floors, in the order of the file."""
    found: dict[int, Row] = {}
    for (device, op, dtype, _), rows in kernels.groups("device", "op", "dtype", "kv_dtype"):
        part, source = kernels.take(rows), " ".join(filter(None, (device, op, dtype)))
        reason, hoped = "", None
        floors = np.full(len(part), np.nan)
        try:
            accelerator = load_accelerator(device)
            floors, hoped = kernel_floor(part, accelerator).seconds, expected(part, accelerator)
        except FloorlineError as error:
            reason = str(error)
        for i, (row, seconds, bound) in enumerate(zip(rows, part.seconds, floors, strict=True)):
            why = reason or ("" if 0.0 <= bound < float("inf") else "a size that the floor needs is not stated")
            beaten = bool(seconds < bound * (1.0 - ROUNDING))
            made = Row(str(row + 1), source, "latency_s", float(seconds), None if why else float(bound), beaten, why)
            found[int(row)] = with_expected(made, hoped, i) if hoped is not None and not why else made
    return [found[i] for i in range(len(kernels))]


def with_expected(row: Row, hoped: Expected, i: int) -> Row:
    """A kernel with what is expected of it, which is never below its floor."""
    middle, low, high = (float(x[i]) for x in (hoped.median, hoped.low, hoped.high))
    assert row.floor is not None
    if not middle > 0.0:
        return replace(
            row, reason="its floor alone: no model of this kind of kernel, with the sizes that are stated, is known"
        )
    middle, low = max(middle, row.floor), max(low, row.floor)
    error = float(np.log(middle / row.measured))
    return replace(row, expected=middle, low=low, high=max(high, middle), error=error, kernels=hoped.source[i])
