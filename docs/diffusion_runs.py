"""What the accuracy page says of pictures and videos beside the tables: each model on one device and on several."""

from collections.abc import Sequence

from measured_runs import FILES, VALIDATION, Run, Table, figures, runs

from floorline.validation.cases import read as read_cases
from floorline.validation.report import grouped

CASES = VALIDATION / "cases" / f"{FILES[-1]}.csv"


def section(table: Table) -> list[str]:
    """The paragraph and the table."""
    cells = {case.name: case for case in read_cases(CASES)}

    def group(run: Run) -> tuple[str, str]:
        case = cells[run.row.case]
        return case.word("model"), "one" if case.number("devices", 1.0) == 1.0 else "several"

    found: dict[tuple[str, str], Sequence[Run]] = dict(sorted(grouped(list(runs(FILES[-1])), group).items()))
    return [
        "### Pictures and videos",
        "Whole pipelines, text to pixels, or a denoising step alone, by model. On one device kernels decide; on several, the host "
        "often does: FLUX.1 was measured to take 2.6 times as long on four H100 started operator by operator as compiled.",
        table(
            ("model", "devices", "runs", "median", "p90", "bias", "inside"),
            [(*key, *figures(found_runs)) for key, found_runs in found.items()],
        ),
    ]
