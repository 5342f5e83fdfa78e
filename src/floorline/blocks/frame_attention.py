"""Attention of each pixel to itself in earlier frames; a single frame sees nothing but its own values.

Letters: ``c`` channels, ``K`` heads of width ``H``, ``t`` ``y`` ``x`` frames, height and width; ``T`` ``S`` frames that see each
other: all of them, or none where there is one only.
Sources: Arnab et al. 2021 (ViViT), arXiv:2103.15691, section 3.3, model 3; diffusers 0.42, models/attention_processor.py,
MochiVaeAttnProcessor2_0.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.autoencoder import ChannelNorm
from floorline.blocks.norm import Norm, residual
from floorline.blocks.streams import relettered
from floorline.op import contraction, view

TOKENS = (("T", "t*max(min(t - 1, 1), 0)"), ("S", "T"))
"""A single frame has neither queries nor keys."""
UNIT = HeadNorm(Norm("l2_norm", weight=False))
"""Queries and keys of length one. Source: Henry et al. 2020, arXiv:2010.04245."""


@cache
def frame_attention(norm: ChannelNorm) -> Block:
    """Attention along time, beside the input.

    >>> from floorline.blocks.autoencoder import GroupNorm
    >>> [op.flops()[0].formula() for op in frame_attention(GroupNorm(32, "t")).ops if op.name in ("q", "v", "scores")]
    ['2·B·y·x·T·c·K·G·H', '2·B·c·t·y·x·K·H', '2·B·y·x·T·K·G·H·S·visible']
    """
    queries, keys = (
        contraction("q", "many[ByxTc] Wq[cKGH] -> q[ByxTKGH]", kernel="qkv"),
        contraction("k", "many[ByxTc] Wk[cKH] -> k[ByxTKH]", kernel="qkv"),
    )
    attention = Attention(head_norm=UNIT, cached=False)
    normed, query, key, _ = attention.queries_and_keys()
    ops = (
        *norm.ops("norm", "x", "n", "c", "tyx"),
        view("frames", "n[Bctyx] -> many[ByxTc]"),
        queries,
        keys,
        contraction("v", "n[Bctyx] Wv[cKH] -> v[BKHtyx]", kernel="qkv"),
        *relettered(normed, {"B": "Byx"}),
        view("keys", f"{key}[ByxTKH] -> kc[ByxSKH]"),
        view("seen", "v[BKHtyx] -> vc[ByxSKH]"),
        *relettered(attention.core(query), {"B": "Byx"}),
        view("either", "ctx[ByxTKGH] v[BKHtyx] -> heads[BKHtyx]"),
        contraction("out", "heads[BKHtyx] Wo[KHc] -> r[Bctyx]", bias=True),
        residual("add", "x", "r", "out", "Bctyx"),
    )
    return block("attention", "x[Bctyx]", ops, "out", layer=True)
