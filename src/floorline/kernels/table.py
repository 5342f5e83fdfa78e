"""The table of measured kernels: one row a measurement, columns as arrays.

The format is a CSV with comment lines (``#``) first and the header ``COLUMNS``; an empty cell means not applicable or not
stated, and is nan among numbers. Compressed files end in ``.xz``.
"""

from __future__ import annotations

import csv
import lzma
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from floorline.errors import BadInput, near
from floorline.num import Array

SHAPES = ("m", "n", "k", "batch", "heads", "kv_heads", "head_dim", "seq_q", "seq_kv", "bytes", "gpus", "latency_us")
NUMBERS = (*SHAPES, "window", "tp", "ep", "node_size")
WORDS = ("device", "op", "dtype", "framework", "version", "kernel", "kv_dtype", "routing", "network")
SOFTWARE = ("framework", "version", "kernel", "kv_dtype")
COLUMNS = ("device", "op", "dtype", *SHAPES, *SOFTWARE, "window", "tp", "ep", "routing", "node_size", "network")
APART = "\x1f"
"""Joins the texts of a group; no cell may have it."""

LARGEST = 1e15
NEEDED = ("device", "op", "latency_us")


@dataclass(frozen=True, eq=False)
class Kernels:
    """Rows of measured kernels.

    words    column → text of each row
    numbers  column → value of each row, nan where the cell is empty
    name     of the file
    """

    words: Mapping[str, np.ndarray[Any, Any]]
    numbers: Mapping[str, Array]
    name: str = ""

    def __len__(self) -> int:
        return len(self.numbers["latency_us"])

    @property
    def seconds(self) -> Array:
        """The measured time [s]."""
        return self.numbers["latency_us"] * 1e-6

    def take(self, rows: np.ndarray[Any, Any]) -> Kernels:
        """Some of the rows."""
        return Kernels(
            {k: v[rows] for k, v in self.words.items()}, {k: v[rows] for k, v in self.numbers.items()}, self.name
        )

    def with_seconds(self, seconds: Array) -> Kernels:
        """The same rows with other times."""
        return Kernels(self.words, {**self.numbers, "latency_us": seconds * 1e6}, self.name)

    def groups(self, *columns: str) -> Iterator[tuple[tuple[str, ...], np.ndarray[Any, Any]]]:
        """Distinct texts of some columns, each with the indices of its rows."""
        joined = np.asarray([APART.join(row) for row in zip(*(self.words[c] for c in columns), strict=True)])
        keys, inverse = np.unique(joined, return_inverse=True)
        for i, key in enumerate(keys):
            yield tuple(str(key).split(APART)), np.flatnonzero(inverse == i)


LEAST = {"gpus": 1.0, "node_size": 1.0, "tp": 1.0, "ep": 1.0}
"""The least that some columns may hold; others zero."""


def read(path: Path) -> Kernels:
    """The kernels of a file.

    raises BadInput for a file that cannot be read, a wrong header, or a cell that is no number
    """
    try:
        with (
            lzma.open(path, "rt", encoding="utf-8")
            if path.suffix == ".xz"
            else path.open(encoding="utf-8-sig") as lines
        ):
            rows = list(csv.reader(line for line in lines if not line.startswith("#")))
    except (OSError, UnicodeDecodeError, lzma.LZMAError, csv.Error) as error:
        raise BadInput(f"{path}: cannot be read ({str(error)[:80]}); expected a CSV of measured kernels") from None
    if not rows:
        raise BadInput(f"{path}: holds no row; expected the header {','.join(COLUMNS[:4])},… first")
    head, *body = rows
    for column in head:
        if column not in COLUMNS:
            raise BadInput(f"{path}: unknown column {column[:40]!r}; {near(column, COLUMNS)}")
    for column in NEEDED:
        if column not in head:
            raise BadInput(f"{path}: the column {column!r} is missing; expected {', '.join(COLUMNS)}")
    for i, row in enumerate(body):
        if any(APART in cell for cell in row):
            raise BadInput(f"{path}: row {i + 1} has a control character; expected plain text")
        if len(row) != len(head):
            raise BadInput(f"{path}: row {i + 1} has {len(row)} cells; expected {len(head)} as in the header")
    columns = dict(zip(head, zip(*body, strict=True), strict=True)) if body else {}
    empty = ("",) * len(body)
    words = {name: np.asarray(columns.get(name, empty), dtype=str) for name in WORDS}
    numbers = {name: column_of(path, name, columns.get(name, empty)) for name in NUMBERS}
    return Kernels(words, numbers, path.name)


def column_of(path: Path, name: str, cells: tuple[str, ...]) -> Array:
    """A column of numbers, nan where a cell is empty.

    raises BadInput for text, and for a time that is not above zero
    """
    try:
        values = np.asarray([float(cell) if cell else np.nan for cell in cells], dtype=np.float64)
    except ValueError as error:
        raise BadInput(f"{path}: column {name!r}: {str(error)[:60]}; expected numbers") from None
    least = LEAST.get(name, 0.0)
    wrong = ~((values >= least) & (values <= LARGEST)) & ~(np.isnan(values) & (name != "latency_us"))
    wrong |= (values == 0.0) & (name == "latency_us")
    if np.any(wrong):
        row = int(np.argmax(wrong))
        raise BadInput(
            f"{path}: row {row + 1}: {name} is {cells[row]!r}; expected a number from {least:g} to {LARGEST:g}"
        )
    return values
