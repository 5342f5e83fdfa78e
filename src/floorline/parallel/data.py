"""Data parallelism: the batch over ranks; ZeRO shares out what they would all keep.

Stage 1 shares optimizer state, stage 2 gradients too, stage 3 weights too: gathered before use, forward and backward.
Source: Rajbhandari et al. 2019, arXiv:1910.02054, sections 5 and 7. Hybrid sharding shares over a few ranks near each other
only and repeats that over the others: Zhao et al. 2023 (PyTorch FSDP), arXiv:2304.11277, section 3.2.2.
"""

from __future__ import annotations

from floorline.num import Num
from floorline.parallel.split import Split

AXES = ("dp",)
COPIES = ("dpr",)
"""The axis of ranks that repeat what others share out."""


def data(
    zero_stage: int, ranks: tuple[str, ...] = AXES, context: tuple[str, ...] = (), copies: tuple[str, ...] = ()
) -> Split:
    """The split by batch, and by the slots of experts that its tokens fill.

    ranks    its axes; of two, groups of ranks along the first keep different experts
    context  axes of context parallelism, whose ranks keep the same weights
    copies   axes of further ranks that share nothing out among themselves

    >>> data(3).home
    ('dp',)
    """
    all_ranks, shares = ranks + copies, ranks + context
    axes, tokens = all_ranks + context, (("B", all_ranks), ("C", all_ranks))
    home, gradients = shares if zero_stage >= 3 else (), shares if zero_stage >= 1 else ()
    if len(ranks) == 1:
        return Split("data", axes, tokens, home=home, gradients=gradients)
    return Split("data", axes, (("CE", ranks[:1]), *tokens), home=home, gradients=gradients, routes=tokens)


def degrees(dp: Num) -> dict[str, Num]:
    """Ranks of the axis."""
    return {"dp": dp}


def copies(dp: Num, shard_ranks: Num) -> dict[str, Num]:
    """Ranks of the axis of copies, which are placed outside of those that share.

    >>> copies(16.0, 8.0)
    {'dpr': 2.0}
    """
    return {"dpr": dp / shard_ranks}
