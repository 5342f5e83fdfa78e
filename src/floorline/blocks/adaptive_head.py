"""The way back to latents: a norm that the conditioning vector scales and shifts, then a matmul.

Source: Peebles and Xie 2022 (DiT), arXiv:2212.09748, section 3.2, "transformer decoder".
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import modulated, modulation
from floorline.blocks.norm import PLAIN_NORM
from floorline.blocks.patchify import unpatchify
from floorline.op import Op, view


@cache
def adaptive_head(patch: str = "ijo", *, bias: bool = True, last_bias: bool = True, given: bool = False) -> Block:
    """The block; ``n`` is two, a scale and a shift.

    patch      letters of what is predicted for each token
    bias       of the modulation
    last_bias  of the way back
    given      whether the modulation is part of what one block made for all layers

    >>> [op.name for op in adaptive_head().ops]
    ['mod_act', 'mod', 'norm', 'unpatch']
    """
    made: tuple[Op, ...] = modulation("mod", "vec", "mod", bias=bias)
    if given:
        made = (view("mod", "all[BrD] -> mod[BnD]"),)
    ops = (*made, modulated(PLAIN_NORM).op("norm", "x", "h"), unpatchify("h", patch=patch, bias=last_bias))
    return block("out", f"x[BTD] {'all[BrD]' if given else 'vec[Bv]'}", ops, "noise")
