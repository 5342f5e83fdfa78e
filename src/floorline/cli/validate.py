"""``floorline validate``: measured kernels and whole runs against what is computed."""

from __future__ import annotations

from floorline.cli.command import Argument, Command, Flag, Given
from floorline.cli.model import JSON
from floorline.cli.output import bold, note, print_json, table
from floorline.report import envelope

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
    priced = sum(row.is_priced for row in found.rows)
    print(bold(f"{path}: {len(found.rows)} measured, {priced} priced, {len(found.beaten)} beat their floor"))
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
    print(
        table(
            ["source", "metric", "rows", "priced", "floor of measured", "beat it", "error", "p90", "inside"],
            rows,
            left=2,
        )
    )
    asked = [
        (
            s["question"],
            s["n"],
            *(f"{s[key]:.1%}" for key in ("median_error", "p90_error", "coverage", "median_of_sources")),
        )
        for s in found.questions()
    ]
    if len(asked) > 1:
        print(
            table(["\njudged runs by question", "rows", "error", "p90", "inside", "median of sources"], asked, left=1)
        )
    for row in found.beaten[:LISTED]:
        print(f"beats its floor: {row.case} ({row.source}), measured {row.measured:.4g}, bound {row.floor:.4g}")
    if len(found.beaten) > LISTED:
        print(f"and {len(found.beaten) - LISTED} more; --json lists all")
    if found.memory is not None:
        m = found.memory
        print(
            f"out of memory: {m.failed - len(m.missed)} of {m.failed} runs found, {len(m.called)} of {m.ran} others called so"
        )
    reasons: dict[str, int] = {}
    for one in found.rows:
        if one.reason:
            reasons[one.reason] = reasons.get(one.reason, 0) + 1
    for reason, count in reasons.items():
        note(f"not priced, {count}: {reason}")


command = Command(validate, FLAGS, Argument("path", "a CSV of measured kernels (.csv or .csv.xz) or of cases"))
