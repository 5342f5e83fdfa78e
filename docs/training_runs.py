"""What the accuracy page says of training runs beside the tables: wide and narrow models, runs that did not fit, plans compared."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from measured_runs import Run, Table, figures, runs, validation

from floorline.validation.case_plan import plain_model
from floorline.validation.cases import read as read_cases

CASES = Path(__file__).parent.parent / "validation" / "cases" / "training.csv"
WIDE = 2048.0
"""Width above which a model's kernels, not its host, decide."""


def widths() -> dict[str, float]:
    """Case → width of its model."""
    folder = CASES.parent.parent / "models"
    return {case.name: float(np.asarray(plain_model(case, folder).sizes["D"])) for case in read_cases(CASES)}


def section(table: Table) -> list[str]:
    """The paragraphs and the table."""
    known = widths()
    judged = [run for run in runs("training") if run.row.judged]
    times = [run for run in judged if "memory" not in run.row.question]
    groups: list[tuple[str, Sequence[Run]]] = [
        (f"times, models wider than {WIDE:g}", [run for run in times if known[run.row.case] > WIDE]),
        (f"times, width up to {WIDE:g}", [run for run in times if known[run.row.case] <= WIDE]),
        ("peaks of memory", [run for run in judged if run.row.metric == "peak_memory_bytes"]),
    ]
    rows = [(name, *figures(found)) for name, found in groups]
    verdicts = [row for row in validation("training").rows if row.metric == "out_of_memory"]
    found = [row for row in verdicts if row.expected == 1.0]
    missed = ", ".join(row.case for row in verdicts if row.expected != 1.0) or "none"
    regret = validation("training").regret
    assert regret is not None
    return [
        "### Training",
        "Narrow models are bound by the host, which is modelled and differs from machine to machine; a run that does not "
        "say what it "
        "recomputes is priced with the least that fits, and its interval reaches over all that fit.",
        table(("runs", "judged", "median", "p90", "bias", "inside"), rows),
        f"Of {len(verdicts)} runs that ran out of memory {len(found)} are found (missed: {missed}).",
        f"Where runs try at least three plans of one model, device count and batch ({regret.questions} questions), the "
        f"plan predicted "
        f"best is on average {regret.mean:.1%} slower than the one that was measured best; in {regret.none:.0%} of the "
        f"questions it is "
        "that one.",
    ]
