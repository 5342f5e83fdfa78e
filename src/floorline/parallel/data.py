"""Data parallelism: the batch over ranks; ZeRO shares out what they would all keep.

Stage 1 shares optimizer state, stage 2 gradients too, stage 3 weights too: gathered before use, forward and backward.
Source: Rajbhandari et al. 2019, arXiv:1910.02054, sections 5 and 7.
"""

from __future__ import annotations

from floorline.num import Num
from floorline.parallel.split import Split

AXES = ("dp",)


def data(zero_stage: int, axes: tuple[str, ...] = AXES) -> Split:
    """The split by batch, and by the slots of experts that its tokens fill; ``axes`` may add those of context parallelism,
    whose ranks keep the same weights.

    >>> data(3).home
    ('dp',)
    """
    letters = (("B", AXES), ("C", AXES))
    home, gradients = axes if zero_stage >= 3 else (), axes if zero_stage >= 1 else ()
    return Split("data", axes, letters, home=home, gradients=gradients)


def degrees(dp: Num) -> dict[str, Num]:
    """Ranks of the axis."""
    return {"dp": dp}
