"""Layers of MM-DiT: two streams side by side, and one stream whose attention and feed-forward network run side by side.

Letters: T tokens of the picture, M of the text; ``n`` and ``m`` vectors that modulate each; ``v`` width of what conditions;
``r`` times, or vectors of all layers together.

Sources: Esser et al. 2024 (Stable Diffusion 3), arXiv:2403.03206, figure 2; Black Forest Labs 2024 (FLUX.1), github.com/
black-forest-labs/flux, src/flux/modules/layers.py, DoubleStreamBlock and SingleStreamBlock; Dehghani et al. 2023 (side by side),
arXiv:2302.05442.
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
from floorline.op import Op, view

GIVEN = "given"
"""Modulation that one block makes for all layers: they are given it."""
OWN = "own"
"""Modulation that each layer makes of the conditioning vector."""
PART = "part"
"""Modulation that one block makes, other vectors for each layer: it is given all and takes its own."""
TIMES = "times"
"""As its own, of two times: that of the noise, and zero for tokens that are clean (a first frame, pictures to look at)."""


def made_of(by: str, names: tuple[tuple[str, str], ...], bias: bool, act: str) -> tuple[str, tuple[Op, ...], str]:
    """Where a layer's modulation comes from: the inputs it needs, the operators that make it, letters of its rows.

    names  of each stream's vectors with their letters; the first one's are those of the picture

    >>> made_of(PART, (("mod", "nD"),), True, "silu")[0]
    'all[BrD]'
    """
    if by == GIVEN:
        return " ".join(f"{name}[B{letters}]" for name, letters in names), (), ""
    if by == PART:
        return "all[BrD]", tuple(view(name, f"all[BrD] -> {name}[B{letters}]") for name, letters in names), ""
    if by == OWN:
        own = (modulation(name, "vec", name, letters=letters, bias=bias, act=act) for name, letters in names)
        return "vec[Bv]", tuple(op for ops in own for op in ops), ""
    (name, letters), *others = names
    ops = modulation(name, "vec", name, letters=letters, bias=bias, act=act, rows="r")
    if others:
        ops += (view("noisy", "vec[Brv] -> nvec[Bv]"),)
    for other, wide in others:
        ops += modulation(other, "nvec", other, letters=wide, bias=bias, act=act)
    return "vec[Brv]", ops, "r"


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
    read: bool = True,
    second: Attention | None = None,
) -> Block:
    """Both streams are modulated, attend together, and have a feed-forward network each.

    text_ffn  of the text's stream; None in a last layer, whose text nobody reads
    by        whose modulation it is: "own", "given", "part" or "times"
    bias      of the modulation
    act       before the modulation's matmul; "" for none
    read      whether somebody reads the text afterwards; in a last layer it may be computed for nothing
    second    further attention of the picture's tokens to each other alone, beside the joint one; its keys have letter N

    >>> two = double_stream(JointAttention(), FeedForward("gelu"), FeedForward("gelu", name="c"))
    >>> two.outputs, [t.name for t in two.inputs]
    (('y', 'z'), ['x', 'c', 'vec'])
    """
    letters = attention.letters
    wide = letters.get("D", "D")
    vectors, made, rows = made_of(by, (("mod", "nD"), ("cmod", f"m{wide}")), bias, act)
    mod, text_mod = f"mod[B{rows}nD]", f"cmod[Bm{wide}]"
    ops: list[Op] = [
        *made,
        modulated(norm, mod).op("norm1", "x", "h"),
        *((modulated(norm, mod).op("norm3", "x", "h3"),) if second else ()),
        modulated(norm, text_mod).op("cnorm1", "c", "ch", f"BM{wide}", wide),
        *attention.ops("h", "attn", "ch", "cattn"),
        gated("add1", "x", "attn", "x1", mod),
    ]
    stream = "x1"
    if second:
        ops += [*relettered(second.ops("h3", "attn3"), {"S": "N"}), gated("add3", "x1", "attn3", "x2", mod)]
        stream = "x2"
    ops += [
        modulated(norm, mod).op("norm2", stream, "h2"),
        *ffn.ops("h2", "ffn"),
        gated("add2", stream, "ffn", "y", mod),
    ]
    if text_ffn is not None:
        text = f"BM{wide}"
        ops += [
            gated("cadd1", "c", "cattn", "c1", text_mod, text),
            modulated(norm, text_mod).op("cnorm2", "c1", "ch2", text, wide),
            *relettered(text_ffn.ops("ch2", "cffn"), letters),
            gated("cadd2", "c1", "cffn", "z", text_mod, text),
        ]
    outputs = "y z" if text_ffn and read else "y"
    return block(name, f"x[BTD] c[BM{wide}] {vectors}", tuple(ops), outputs, layer=True)


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
    vectors, made, rows = made_of(by, (("mod", "nD"),), bias, act)
    mod = f"mod[B{rows}nD]"
    ops = (
        *made,
        modulated(norm, mod).op("norm", "x", "h"),
        *attention.ops("h", "attn"),
        *ffn.ops("h", "ffn"),
        residual("both", "attn", "ffn", "sum"),
        gated("add", "x", "sum", "y", mod),
    )
    return block(name, f"x[BTD] {vectors}", ops, "y", layer=True)
