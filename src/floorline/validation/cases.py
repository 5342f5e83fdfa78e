"""The table of measured whole runs: one row a measurement, cells as text until they are asked for.

The format is a CSV with comment lines (``#``) first; an empty cell means not stated; numbers are SI.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from floorline.errors import BadInput

NEEDED = ("case", "source", "kind", "model", "accelerator", "metric", "value")

RATES = (
    "output_tokens_per_s",
    "decode_tokens_per_s",
    "prefill_tokens_per_s",
    "tokens_per_s_per_device",
    "images_per_s",
    "mfu",
    "model_flops_per_device",
)
"""Metrics that are larger where a run is faster."""


@dataclass(frozen=True)
class Case:
    """One measured run.

    cells  column → text
    """

    cells: Mapping[str, str]

    def word(self, column: str) -> str:
        """A text, "" where it is not stated."""
        return self.cells.get(column, "")

    def number(self, column: str, default: float | None = None) -> float:
        """A number.

        raises BadInput where it is no number, or not stated and there is no default
        """
        text = self.word(column)
        if not text and default is not None:
            return default
        try:
            return float(text)
        except ValueError:
            raise BadInput(f"{column} is {text[:40]!r}; expected a number") from None

    @property
    def name(self) -> str:
        """Its unique name."""
        return self.word("case")

    @property
    def metric(self) -> str:
        """What was measured."""
        return self.word("metric")

    @property
    def value(self) -> float:
        """The measured value, SI."""
        return self.number("value")

    @property
    def is_rate(self) -> bool:
        """Whether more is faster."""
        return self.metric in RATES


def read(path: Path) -> list[Case]:
    """The cases of a file.

    raises BadInput for a file that cannot be read, a missing column, a row that is cut off, or a name that is used twice
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.reader(line for line in lines if not line.startswith("#")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path}: cannot be read ({str(error)[:80]}); expected a CSV of measured cases") from None
    head, body = (rows[0], rows[1:]) if rows else ([], [])
    for column in NEEDED:
        if column not in head:
            raise BadInput(
                f"{path}: the column {column!r} is missing; expected {', '.join(NEEDED)} and those of the run"
            )
    for i, row in enumerate(body):
        if len(row) != len(head):
            raise BadInput(f"{path}: row {i + 1} has {len(row)} cells; expected {len(head)} as in the header")
    found = [Case(dict(zip(head, row, strict=True))) for row in body]
    seen: set[str] = set()
    for case in found:
        if case.name in seen:
            raise BadInput(f"{path}: the case {case.name[:60]!r} is there twice; expected a name for each")
        seen.add(case.name)
    return found
