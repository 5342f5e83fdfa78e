"""A token refiner: a few layers in which a text's tokens, out of a causal language model, see each other both ways.

Letters: T tokens, here those of the text (a stack binds T to M), ``e`` width of the text as its encoder leaves it, ``v`` width of
the vector that conditions, ``u`` inside its matmuls, ``n`` gates that are made of it: two.

Sources: Kong et al. 2024 (HunyuanVideo), arXiv:2412.03603, "bidirectional token refiner"; diffusers 0.42,
models/transformers/transformer_hunyuan_video.py, HunyuanVideoTokenRefiner.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import gated, modulation
from floorline.blocks.attention import Attention
from floorline.blocks.conditioning import summed, two_matmuls
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.norm import LAYER_NORM
from floorline.op import contraction, elementwise

TEXT_ALONE = (("T", "M"), ("S", "T"))
"""What a stack of such blocks binds its letters to."""


@cache
def refiner_start() -> Block:
    """The text at the model's width, and a vector of the time and of the text's mean that conditions the refiner.

    >>> refiner_start().outputs
    ('c', 'rvec')
    """
    ops = (
        elementwise("pool", "text[BTe] -> pooled[Be]", "mean", reduces="T"),
        *two_matmuls("time", "waves[Bw]", "time[Bv]", "silu"),
        *two_matmuls("pooled", "pooled[Be]", "about[Bv]", "silu"),
        *summed("condition", ("time[Bv]", "about[Bv]"), "rvec[Bv]"),
        contraction("context", "text[BTe] Wcontext[eD] -> c[BTD]", bias=True),
    )
    return block("text", "", ops, "c rvec", data="text[BTe] waves[Bw]")


@cache
def refiner() -> Block:
    """A layer: attention and a feed-forward network, each after a learned norm and before a gate that the time makes.

    >>> [op.name for op in refiner().ops if op.name.startswith(("norm", "mod", "add"))]
    ['norm1', 'mod_act', 'mod', 'add1', 'norm2', 'add2']
    """
    ops = (
        LAYER_NORM.op("norm1", "c", "h"),
        *Attention(bias=True, out_bias=True, cached=False).ops("h", "attn"),
        *modulation("mod", "rvec", "mod"),
        gated("add1", "c", "attn", "c1"),
        LAYER_NORM.op("norm2", "c1", "h2"),
        *FeedForward("silu", bias=True).ops("h2", "ffn"),
        gated("add2", "c1", "ffn", "y"),
    )
    return block("refiner", "c[BTD] rvec[Bv]", ops, "y", layer=True)
