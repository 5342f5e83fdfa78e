"""Layers of MM-DiT: two streams side by side, and one stream whose attention and feed-forward network run side by side.

Letters: T tokens of the picture, M of the text; ``n`` and ``m`` vectors that modulate each; ``v`` width of what conditions.

Sources: Esser et al. 2024 (Stable Diffusion 3), arXiv:2403.03206, figure 2; Black Forest Labs 2024 (FLUX.1), github.com/
black-forest-labs/flux, src/flux/modules/layers.py, DoubleStreamBlock and SingleStreamBlock; Dehghani et al. 2023 (side by side),
arXiv:2302.05442, section 2.1.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import gated, modulated, modulation
from floorline.blocks.attention import Attention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.joint_attention import JointAttention
from floorline.blocks.norm import PLAIN_NORM, Norm, residual
from floorline.blocks.streams import relettered
from floorline.op import Op

GIVEN = "given"
"""Modulation that one block makes for all layers: they are given it."""
OWN = "own"
"""Modulation that each layer makes of the conditioning vector."""


@cache
def double_stream(
    attention: JointAttention,
    ffn: FeedForward,
    text_ffn: FeedForward | None,
    *,
    norm: Norm = PLAIN_NORM,
    by: str = OWN,
    bias: bool = True,
    act: str = "silu",
    name: str = "double",
) -> Block:
    """Both streams are modulated, attend together, and have a feed-forward network each.

    text_ffn  of the text's stream; None in a last layer, whose text nobody reads
    by        whose modulation it is: "own" or "given"
    bias      of the modulation
    act       before the modulation's matmul; "" for none

    >>> two = double_stream(JointAttention(), FeedForward("gelu"), FeedForward("gelu", name="c"))
    >>> two.outputs, [t.name for t in two.inputs]
    (('y', 'z'), ['x', 'c', 'vec'])
    """
    letters = attention.letters
    wide = letters.get("D", "D")
    mod, text_mod = "mod[BnD]", f"cmod[Bm{wide}]"
    made = (
        *modulation("mod", "vec", "mod", bias=bias, act=act),
        *modulation("cmod", "vec", "cmod", letters=f"m{wide}", bias=bias, act=act),
    )
    ops: list[Op] = [
        *(made if by == OWN else ()),
        modulated(norm, mod).op("norm1", "x", "h"),
        modulated(norm, text_mod).op("cnorm1", "c", "ch", f"BM{wide}", wide),
        *attention.ops("h", "attn", "ch", "cattn"),
        gated("add1", "x", "attn", "x1", mod),
        modulated(norm, mod).op("norm2", "x1", "h2"),
        *ffn.ops("h2", "ffn"),
        gated("add2", "x1", "ffn", "y", mod),
    ]
    if text_ffn is not None:
        stream = f"BM{wide}"
        ops += [
            gated("cadd1", "c", "cattn", "c1", text_mod, stream),
            modulated(norm, text_mod).op("cnorm2", "c1", "ch2", stream, wide),
            *relettered(text_ffn.ops("ch2", "cffn"), letters),
            gated("cadd2", "c1", "cffn", "z", text_mod, stream),
        ]
    vectors = "vec[Bv]" if by == OWN else f"{mod} {text_mod}"
    return block(name, f"x[BTD] c[BM{wide}] {vectors}", tuple(ops), "y z" if text_ffn else "y", layer=True)


@cache
def single_stream(
    attention: Attention,
    ffn: FeedForward,
    *,
    norm: Norm = PLAIN_NORM,
    by: str = OWN,
    bias: bool = True,
    act: str = "silu",
    name: str = "single",
) -> Block:
    """Attention and feed-forward network read the same modulated norm, and one gate scales their sum.

    Its two last matmuls are one where their weights are stored together, and so are its first ones.

    >>> one = single_stream(Attention(cached=False), FeedForward("gelu"))
    >>> [op.name for op in one.ops][-4:]
    ['act', 'down', 'both', 'add']
    """
    made = modulation("mod", "vec", "mod", bias=bias, act=act) if by == OWN else ()
    ops = (
        *made,
        modulated(norm).op("norm", "x", "h"),
        *attention.ops("h", "attn"),
        *ffn.ops("h", "ffn"),
        residual("both", "attn", "ffn", "sum"),
        gated("add", "x", "sum", "y"),
    )
    return block(name, f"x[BTD] {'vec[Bv]' if by == OWN else 'mod[BnD]'}", ops, "y", layer=True)
