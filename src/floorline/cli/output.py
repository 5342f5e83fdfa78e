"""Printing: tables for people, JSON for programs; data to stdout, notes to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def print_json(answer: Any) -> None:
    """One JSON document."""
    print(json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False))


def note(text: str) -> None:
    """A remark, to stderr."""
    print(text, file=sys.stderr)


def bold(text: str) -> str:
    """A heading: bold on a terminal that takes colours (NO_COLOR is honoured)."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return text if plain else f"\033[1m{text}\033[0m"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """Aligned columns: the first ``left`` to the left, numbers to the right.

    >>> print(table(["name", "n"], [["a", 1], ["bb", 22]]))
    name   n
    a      1
    bb    22
    """
    cells = [[str(c) for c in row] for row in rows]
    widths = [max(len(r[i]) for r in [list(head), *cells]) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        parts = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        return "  ".join(parts).rstrip()

    return "\n".join([bold(line(list(head))), *(line(row) for row in cells)])


def scalar(value: object) -> float:
    """A number of a single answer as a plain float."""
    return float(np.asarray(value))
