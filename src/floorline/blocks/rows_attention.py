"""Attention of tokens to those of their own row only: of their frame, of their place along time, of their window.

Letters: T tokens in all, of which ``a`` rows of ``p``; S keys, as many as a row has. A second such attention in the same block has
``b`` rows of ``q``, and ``r`` keys. Rows of a filled-up video may have more tokens together than T.

Sources: Arnab et al. 2021 (ViViT), arXiv:2103.15691, section 3.3, model 3; windows: Liu et al. 2021 (Swin), arXiv:2103.14030,
section 3.2.
"""

from __future__ import annotations

from floorline.blocks.attention import Attention
from floorline.blocks.streams import relettered
from floorline.op import Op, view

ROWS, SECOND_ROWS = "apS", "bqr"
"""Letters of rows, of their tokens, and of the keys."""


def rows_attention(attention: Attention, source: str, target: str, letters: str = ROWS) -> tuple[Op, ...]:
    """From ``source[BTD]`` to ``target[BTD]``, all projections within rows.

    >>> [op.flops()[0].formula() for op in rows_attention(Attention(cached=False), "h", "attn") if op.name == "scores"]
    ['2·B·a·p·K·G·H·S·visible']
    """
    rows, tokens, keys = letters[0], letters[1], letters[2]
    cut = {"B": f"B{rows}", "T": tokens, "S": keys}
    n = attention.name
    return (
        view(f"{n}rows", f"{source}[BTD] -> {n}hr[B{rows}{tokens}D]"),
        *relettered(attention.ops(f"{n}hr", f"{n}ar"), cut),
        view(f"{n}together", f"{n}ar[B{rows}{tokens}D] -> {target}[BTD]"),
    )


def bound(rows: str, tokens: str, letters: str = ROWS) -> tuple[tuple[str, str], ...]:
    """What a stack binds the letters to.

    >>> bound("grid_t", "grid_h*grid_w")
    (('a', 'grid_t'), ('p', 'grid_h*grid_w'), ('S', 'p'))
    """
    return ((letters[0], rows), (letters[1], tokens), (letters[2], letters[1]))
