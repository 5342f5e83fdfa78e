"""Measured shapes: one time for each, the median over engines of their newest versions, and which shapes are held out."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


def newest(kernels: Kernels, apart: Sequence[str] = ("framework",)) -> Kernels:
    """The rows of the newest version of each engine, or of whatever some words tell apart."""
    kept = np.zeros(len(kernels), dtype=bool)
    for _, rows in kernels.groups(*(apart or ("framework",))):
        versions = [version_key(str(v)) for v in kernels.words["version"][rows]]
        kept[rows] = [v == max(versions) for v in versions]
    return kernels.take(np.flatnonzero(kept))


def shapes(
    kernels: Kernels, sizes: Mapping[str, Array], columns: Sequence[str], apart: Sequence[str] = ("framework",)
) -> Shapes:
    """The shapes of some rows, told apart by some columns of sizes; the time of each is the median over its engines, or over
    whatever some words tell apart."""
    kinds = np.asarray(
        ["/".join(w) for w in zip(*(map(str, kernels.words[c]) for c in apart or ("framework",)), strict=True)]
    )
    values = np.stack([sizes[c] for c in columns], axis=1)
    _, first, inverse = np.unique(np.nan_to_num(values, nan=-1.0), axis=0, return_index=True, return_inverse=True)
    inverse, found = inverse.reshape(-1), values[first]
    _, software = np.unique(kinds, return_inverse=True)
    pair, of_pair = np.unique(inverse * len(kernels) + software.reshape(-1), return_inverse=True)
    each = medians(kernels.seconds, of_pair.reshape(-1))  # of each shape and engine, in the order of shapes
    shape = pair // len(kernels)
    seconds, starts = medians(each, shape), np.flatnonzero(np.diff(shape, prepend=-1))
    spread = np.log(np.maximum.reduceat(each, starts) / np.minimum.reduceat(each, starts))
    held = np.asarray([held_out_of_fits(row) for row in found], dtype=bool)
    return Shapes({c: found[:, j] for j, c in enumerate(columns)}, seconds, spread, held)


def held_out_of_fits(sizes: Array) -> bool:
    """Whether no fit sees a shape: one in five, by a hash of the sizes that are stated."""
    text = ",".join(f"{x:g}" for x in sizes if x == x)
    return zlib.crc32(text.encode()) % HELD_OUT == 0


def medians(values: Array, group: np.ndarray[Any, Any]) -> Array:
    """The median of each group, numbered from 0 with none left out.

    >>> medians(np.array([3.0, 1.0, 2.0, 9.0]), np.array([0, 0, 0, 1])).tolist()
    [2.0, 9.0]
    """
    ordered = values[np.lexsort((values, group))]
    counts = np.bincount(group)
    first = np.cumsum(counts) - counts
    return np.asarray((ordered[first + (counts - 1) // 2] + ordered[first + counts // 2]) / 2.0)
