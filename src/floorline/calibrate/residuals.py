"""By how much measured times are spread around predicted ones: 90 % intervals by regime, from shapes that no fit saw."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from floorline.num import Array, Num

EACH, MOST = 60, 4
"""Shapes that a regime has at least, and the number of regimes at most."""

TAIL = 0.05
"""Share beyond either end of an interval."""


@dataclass(frozen=True)
class Residuals:
    """Intervals of ln(measured / predicted) by predicted time, which tells launch-bound kernels from large ones.

    up_to  end of each regime but the last [s]
    low    5th percentile in each
    high   95th
    """

    up_to: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def interval(self, predicted: Num) -> tuple[Num, Num]:
        """Both ends around a predicted time, as logarithms."""
        regime = np.searchsorted(np.asarray(self.up_to), np.asarray(predicted), side="right")
        return np.asarray(self.low)[regime][()], np.asarray(self.high)[regime][()]


def residuals(predicted: Array, found: Array) -> Residuals:
    """From predicted times and ln(measured / predicted) of shapes that were held out; as many shapes in each regime.

    >>> found = residuals(np.linspace(1e-6, 1e-3, 400), np.tile([-0.1, 0.1], 200))
    >>> found.low, found.high, len(found.up_to)
    ((-0.1, -0.1, -0.1, -0.1), (0.1, 0.1, 0.1, 0.1), 3)
    """
    order = np.argsort(predicted, kind="stable")
    groups = np.array_split(order, max(1, min(MOST, len(order) // EACH)))
    ends = [float(np.sqrt(predicted[a[-1]] * predicted[b[0]])) for a, b in itertools.pairwise(groups)]
    low, high = ([quantile(found[g], share) for g in groups] for share in (TAIL, 1.0 - TAIL))
    return Residuals(rounded(ends), rounded(low), rounded(high))


def missed(errors: Array) -> tuple[float, float]:
    """Median and 90th percentile of absolute errors.

    >>> missed(np.array([0.1, -0.1, 0.1]))
    (0.1, 0.1)
    """
    size = np.abs(errors)
    return float(np.median(size)), float(np.quantile(size, 0.9))


def quantile(values: Array, share: float) -> float:
    """A quantile of what further values will be, not of those at hand: a little further out, as conformal intervals are.

    Source: Lei et al. 2018, arXiv:1604.04173, section 2.
    """
    wider = 0.5 + (share - 0.5) * (len(values) + 1.0) / len(values)
    return float(np.quantile(values, min(max(wider, 0.0), 1.0)))


def rounded(values: list[float]) -> tuple[float, ...]:
    """As a file has them."""
    return tuple(float(f"{x:.4g}") for x in values)
