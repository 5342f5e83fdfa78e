"""Measured shapes: one time for each, the median over engines of their newest versions, and which shapes are held out."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from floorline.kernels.table import Kernels
from floorline.num import Array

HELD_OUT = 5
"""One shape in so many is held out."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """Distinct shapes of one kind of kernel.

    sizes    column → size of each shape
    seconds  median over engines, each in its newest version [s]
    spread   of the engines: the largest over the least, as a logarithm; 0 for one engine [-]
    held     whether a shape is held out of a fit
    """

    sizes: dict[str, Array]
    seconds: Array
    spread: Array
    held: np.ndarray[tuple[int], np.dtype[np.bool_]]

    def __len__(self) -> int:
        return len(self.seconds)


def version_key(text: str) -> tuple[int, ...]:
    """A version as numbers, so that 0.10 comes after 0.9.

    >>> version_key("1.3.0rc20") > version_key("1.3.0rc9")
    True
    """
    return tuple(int(x) for x in re.findall(r"\d+", text))


def engines(kernels: Kernels) -> str:
    """The engines of some rows with their versions, for people."""
    words = zip(kernels.words["framework"], kernels.words["version"], strict=True)
    return ", ".join(sorted({f"{framework} {version}".strip() for framework, version in words}))


def shapes(kernels: Kernels, columns: Sequence[str]) -> Shapes:
    """The shapes of some rows, told apart by some columns."""
    values = np.stack([kernels.numbers[c] for c in columns], axis=1)
    found, inverse = np.unique(values, axis=0, return_inverse=True)
    seconds, spread = np.empty(len(found)), np.empty(len(found))
    by_shape: list[list[int]] = [[] for _ in found]
    for row, shape in enumerate(inverse.reshape(-1)):
        by_shape[int(shape)].append(row)
    for i, rows in enumerate(by_shape):
        engines: dict[str, list[tuple[tuple[int, ...], float]]] = {}
        for row in rows:
            version = version_key(str(kernels.words["version"][row]))
            engines.setdefault(str(kernels.words["framework"][row]), []).append((version, float(kernels.seconds[row])))
        newest = [np.median([t for v, t in runs if v == max(v for v, _ in runs)]) for runs in engines.values()]
        seconds[i], spread[i] = np.median(newest), np.log(max(newest) / min(newest))
    held = np.asarray([zlib.crc32(",".join(f"{x:g}" for x in row).encode()) % HELD_OUT == 0 for row in found])
    return Shapes({c: found[:, j] for j, c in enumerate(columns)}, seconds, spread, held)
