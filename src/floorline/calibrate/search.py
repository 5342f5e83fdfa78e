"""A search for the least of a function of a few positive numbers: one at a time, by factors, as long as it helps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from floorline.num import Array

FIRST_STEP, LAST_STEP = 0.4, 0.004
LONGER, SHORTER = 1.3, 0.6


def least(loss: Callable[[Array], float], start: Array, low: Array, high: Array, rounds: int = 40) -> Array:
    """Where a function is least, near a start and within bounds.

    loss       of the numbers
    start      all above zero
    low, high  bounds
    rounds     over all of them, at most

    >>> found = least(lambda x: float(np.sum(np.log(x / np.array([2.0, 0.5])) ** 2)), np.ones(2), np.full(2, 0.1), np.full(2, 9.0))
    >>> np.round(found, 2).tolist()
    [2.0, 0.5]
    """
    best, value = np.array(start, dtype=np.float64), loss(np.array(start, dtype=np.float64))
    steps = np.full(len(best), FIRST_STEP)
    for _ in range(rounds):
        for i in range(len(best)):
            for sign in (1.0, -1.0):
                trial = best.copy()
                trial[i] = min(max(trial[i] * float(np.exp(sign * steps[i])), low[i]), high[i])
                found = loss(trial)
                if found < value:
                    best, value = trial, found
                    steps[i] *= LONGER
                    break
            else:
                steps[i] *= SHORTER
        if steps.max() < LAST_STEP:
            break
    return best
