"""A search for the positive numbers with which a model's times come nearest to measured ones: Levenberg–Marquardt on logarithms.

Source of the method: Marquardt 1963, SIAM J. Appl. Math. 11(2), 431–441; errors are weighted as in iteratively reweighted least
squares, so that what is made least is close to the mean of absolute errors, and no outlier decides.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from floorline.num import Array

SOFT, TALL, EXCESS = 0.03, 0.1, 0.3
"""Errors are rounded below the first; what is above the second counts so much more."""

ROUNDS, TRIES, SLIGHT = 60, 8, 1e-5
"""Of the search, at most; of a step's damping; and the share of the loss below which a gain ends it."""

Weights = tuple[float, float, float]
"""Of the median, the 90th percentile and the mean of the errors, in what fits are judged by."""

USUAL: Weights = (1.0, 0.35, 0.2)

FIRST_STEP, LAST_STEP, LONGER, SHORTER = 0.1, 0.003, 1.3, 0.6
"""Of the last search: logarithms, and factors on a step that helped or did not."""

NUDGE, LONGEST = 1e-3, 1.0
"""Logarithms by which a number is changed for its slope, and at most in a step."""


def loss_of(errors: Array) -> float:
    """Mean of absolute errors, rounded near zero; tall ones count more.

    >>> round(loss_of(np.array([0.5, -0.5])), 3)
    0.591
    """
    size = np.abs(errors)
    rounded = np.sqrt(size * size + SOFT * SOFT) - SOFT
    return float(np.mean(rounded + EXCESS * np.maximum(size - TALL, 0.0)))


def better_of(
    errors: Callable[[Array], Array], at: Array, low: Array, high: Array, rounds: int, weights: Weights = USUAL
) -> tuple[Array, float]:
    """A last, small search by what fits are judged by: one number at a time, by factors, as long as it helps.

    errors     of the logarithms of the numbers
    at         where it starts
    low, high  bounds
    rounds     over all numbers, at most
    weights    of the median of absolute errors, their 90th percentile and their mean

    >>> off = lambda logs: np.array([logs[0] - 1.0, logs[1]])
    >>> found, loss = better_of(off, np.ones(2), np.full(2, 0.1), np.full(2, 9.0), 40)
    >>> np.round(np.log(found), 1).tolist(), loss < 0.02
    ([1.0, 0.0], True)
    """
    best, low, high = np.log(at), np.log(low), np.log(high)
    value, steps = judged(errors(best), weights), np.full(len(at), FIRST_STEP)
    for _ in range(rounds):
        for i in range(len(best)):
            for sign in (1.0, -1.0):
                trial = best.copy()
                trial[i] = min(max(trial[i] + sign * steps[i], low[i]), high[i])
                found = judged(errors(trial), weights)
                if found < value:
                    best, value = trial, found
                    steps[i] *= LONGER
                    break
            else:
                steps[i] *= SHORTER
        if steps.max() < LAST_STEP:
            break
    return np.exp(best), value


def judged(errors: Array, weights: Weights) -> float:
    """What fits are judged by: the median of absolute errors, their 90th percentile and their mean, weighted."""
    size = np.abs(errors)
    parts = (np.median(size), np.quantile(size, 0.9), np.mean(size))
    return float(sum(weight * part for weight, part in zip(weights, parts, strict=True)))


def slopes(errors: Callable[[Array], Array], at: Array, found: Array, high: Array) -> Array:
    """How each error changes with each logarithm."""
    columns = []
    for i in range(len(at)):
        nudge = NUDGE if at[i] + NUDGE <= high[i] else -NUDGE
        moved = at.copy()
        moved[i] += nudge
        columns.append((errors(moved) - found) / nudge)
    return np.stack(columns, axis=1)


def nearest(
    errors: Callable[[Array], Array], start: Array, low: Array, high: Array, rounds: int = ROUNDS
) -> tuple[Array, float]:
    """The numbers at which errors are least, near a start and within bounds, and their loss.

    errors     of the logarithms of the numbers
    start      all above zero
    low, high  bounds
    rounds     at most

    >>> x = np.linspace(1.0, 9.0, 40)
    >>> model = lambda logs: np.log(np.exp(logs[0]) + np.exp(logs[1]) * x) - np.log(2.0 + 0.5 * x)
    >>> found, loss = nearest(model, np.ones(2), np.full(2, 0.01), np.full(2, 100.0))
    >>> np.round(found, 3).tolist(), loss < 1e-6
    ([2.0, 0.5], True)
    """
    low, high = np.log(low), np.log(high)
    at = np.clip(np.log(start), low, high)
    found = errors(at)
    loss, damping = loss_of(found), 1e-2
    for _ in range(rounds):
        slope, size = slopes(errors, at, found, high), np.abs(found)
        weight = 1.0 / np.sqrt(found * found + SOFT * SOFT) + EXCESS * (size > TALL) / np.maximum(size, 1e-9)
        square, gradient = slope.T @ (slope * weight[:, None]), slope.T @ (weight * found)
        scale = np.maximum(np.diag(square), 1e-6 * np.diag(square).max() + 1e-12)
        for _ in range(TRIES):
            step = -np.linalg.solve(square + np.diag(damping * scale + 1e-9), gradient)
            trial = np.clip(at + np.clip(step, -LONGEST, LONGEST), low, high)
            tried = errors(trial)
            if loss_of(tried) < loss:
                break
            damping *= 4.0
        else:
            break
        gain, at, found = 1.0 - loss_of(tried) / loss, trial, tried
        loss, damping = loss_of(tried), max(damping / 5.0, 1e-6)
        if gain < SLIGHT:
            break
    return np.exp(at), loss
