"""Which split so many devices take where none is named: of all that compute the same picture, the one that is expected first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import product

import numpy as np

from floorline.denoising.rules import usual_plan
from floorline.num import Num
from floorline.specs.denoise_plan import DenoisePlan
from floorline.transformer import Transformer

SHARES = ("guidance", "ulysses", "ring")
"""Degrees that are tried. A patch pipeline computes another picture, replicas make other ones, and tensor parallelism, which saves
memory, is not in the software for every model: these must be named."""

ALIKE = 0.99
"""A split must take less than this share of the usual one's time to be taken instead."""


def choices(model: Transformer, devices: float, passes: Num) -> tuple[DenoisePlan, ...]:
    """Every split of one picture over so many devices, the usual one first; which of them break a rule is said elsewhere.

    passes  guidance passes of a step [-]

    >>> from floorline.catalogue.load import load_model
    >>> len(choices(load_model("flux.1-dev"), 4.0, 1.0))  # 4 as a product of ulysses and ring
    3
    """
    usual = usual_plan(model, devices, passes)
    most = int(np.max(passes))
    found = [
        DenoisePlan(**dict(zip(SHARES, map(float, degrees), strict=True)))
        for degrees in factorings(int(devices), len(SHARES))
        if most % degrees[0] == 0
    ]
    return (usual, *(plan for plan in found if plan != usual))


def factorings(whole: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Every ordered product of so many whole numbers.

    >>> list(factorings(4, 2))
    [(1, 4), (2, 2), (4, 1)]
    """
    divisors = [d for d in range(1, whole + 1) if whole % d == 0]
    for first in product(divisors, repeat=parts - 1):
        rest, left = divmod(whole, int(np.prod(first)))
        if left == 0:
            yield (*first, rest)


def side_by_side(plans: tuple[DenoisePlan, ...]) -> DenoisePlan:
    """Several plans as one, of arrays."""
    return DenoisePlan(**{f.name: np.array([getattr(plan, f.name) for plan in plans]) for f in fields(DenoisePlan)})


def best(seconds: Num, fits: object) -> int:
    """The split that is done first, of those that fit where any does; the first one where others gain next to nothing.

    >>> best(np.array([10.0, 9.95, 7.0]), np.array([True, True, False]))
    0
    """
    times = np.where(np.isnan(seconds), np.inf, seconds)
    usable = np.where(np.asarray(fits), times, np.inf)
    times = usable if np.any(np.isfinite(usable)) else times
    first = int(np.argmin(times))
    return first if times[first] < ALIKE * times[0] else 0
