"""``floorline validate``: measured kernels and whole runs against what is computed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from floorline.cli.command import Argument, Command, Flag, Given
from floorline.cli.model import JSON
from floorline.cli.output import bold, note, print_json, table
from floorline.report import envelope

if TYPE_CHECKING:
    from floorline.validation.report import Validation

MODELS = Flag("models", ("--models",), "folder of the configurations that cases name", "../models, else the catalogue")
PLOT = Flag("plot", ("--plot",), "write predicted against measured as a chart: Vega-Lite JSON, .svg or .png", "")
FLAGS = (JSON, MODELS, PLOT)
LISTED = 20


def validate(path: str, given: Given) -> None:
    """A CSV of measured kernels or of whole runs against its floors, and kernels against the shipped calibrations: a summary by
    source (the floor's share, |ln(expected / measured)|, how many are inside the 90 % interval), and every row that beats its
    floor, which is an error in the data or in the floor."""
    from floorline.validation.report import validate as computed

    found = computed(path, given["models"])
    if given["plot"]:
        from floorline.charts import predicted, save

        save(predicted(found), given["plot"])
    if given["json"]:
        print_json(envelope("validate", {"path": path, **given}, found.to_dict()))
        return
    show(path, found)


def show(path: str, found: Validation) -> None:
    """The answer as tables, and what stands out."""
    priced = sum(row.is_priced for row in found.rows)
    print(bold(f"{path}: {len(found.rows)} measured, {priced} priced, {len(found.beaten)} beat their floor"))
    show_sources(found)
    show_questions(found)
    for row in found.beaten[:LISTED]:
        print(f"beats its floor: {row.case} ({row.source}), measured {row.measured:.4g}, bound {row.floor:.4g}")
    if len(found.beaten) > LISTED:
        print(f"and {len(found.beaten) - LISTED} more; --json lists all")
    if found.memory is not None:
        m = found.memory
        seen = m.failed - len(m.missed)
        print(f"out of memory: {seen} of {m.failed} runs found, {len(m.called)} of {m.ran} others called so")
    for reason, count in Counter(row.reason for row in found.rows if row.reason).items():
        note(f"not priced, {count}: {reason}")


def show_sources(found: Validation) -> None:
    """A line for each source and metric."""
    rows = [
        (
            s["source"],
            s["metric"],
            s["n"],
            s["priced"],
            "–" if s["median_floor_share"] is None else f"{s['median_floor_share']:.0%}",
            len(s["beats_floor"]),
            *("–" if s[key] is None else f"{s[key]:.1%}" for key in ("median_error", "p90_error", "coverage")),
        )
        for s in found.summary()
    ]
    head = ["source", "metric", "rows", "priced", "floor of measured", "beat it", "error", "p90", "inside"]
    print(table(head, rows, left=2))


def show_questions(found: Validation) -> None:
    """A line for each kind of question, where judged runs are of more than one."""
    keys = ("median_error", "p90_error", "coverage", "median_of_sources")
    rows = [(s["question"], s["n"], *(f"{s[key]:.1%}" for key in keys)) for s in found.questions()]
    if len(rows) > 1:
        head = ["\njudged runs by question", "rows", "error", "p90", "inside", "median of sources"]
        print(table(head, rows, left=1))


command = Command(validate, FLAGS, Argument("path", "a CSV of measured kernels (.csv or .csv.xz) or of cases"))
