"""Data parallelism: the batch over ranks; ZeRO shares out what they would all keep.

Stage 1 shares optimizer state, stage 2 gradients too, stage 3 weights too: gathered before use, forward and backward.
Source: Rajbhandari et al. 2019, arXiv:1910.02054, sections 5 and 7.
"""

from __future__ import annotations

from floorline.num import Num
from floorline.parallel.split import Split

AXES = ("dp",)


def data(zero_stage: int, ranks: tuple[str, ...] = AXES, context: tuple[str, ...] = ()) -> Split:
    """The split by batch, and by the slots of experts that its tokens fill.

    ranks    its axes; of two, groups of ranks along the first keep different experts
    context  axes of context parallelism, whose ranks keep the same weights

    >>> data(3).home
    ('dp',)
    """
    axes, tokens = ranks + context, (("B", ranks), ("C", ranks))
    home, gradients = axes if zero_stage >= 3 else (), axes if zero_stage >= 1 else ()
    if len(ranks) == 1:
        return Split("data", axes, tokens, home=home, gradients=gradients)
    return Split("data", axes, (("CE", ranks[:1]), *tokens), home=home, gradients=gradients, routes=tokens)


def degrees(dp: Num) -> dict[str, Num]:
    """Ranks of the axis."""
    return {"dp": dp}
