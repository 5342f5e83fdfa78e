"""Open-Sora 1.1, STDiT2: each layer attends within a frame, then along time with a modulation of its own, then to the text.

Layers are told size and aspect ratio beside the time, attention along time the number of frames and of frames a second.
Letters: ``m`` vectors of that second modulation, three; ``g`` and ``q`` a third of the model's width, ``r`` numbers of a size (in
the layers ``b``, ``q`` and ``r`` are rows, tokens and keys along time).

Sources: Zheng et al. 2024, arXiv:2412.20404; github.com/hpcaitech/Open-Sora at v1.1.0, opensora/models/stdit/stdit2.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import gated, modulated, modulation, shared_modulation
from floorline.blocks.attention import Attention
from floorline.blocks.conditioning import summed, two_matmuls
from floorline.blocks.norm import PLAIN_NORM, residual
from floorline.blocks.rows_attention import SECOND_ROWS, bound, rows_attention
from floorline.huggingface.config import Config, divide, rounded
from floorline.huggingface.diffusers.common import denoiser, ignored, stack
from floorline.huggingface.diffusers.open_sora import (
    CROSS,
    FFN,
    SPACE,
    TIME,
    attention,
    caption,
    end,
    length_of_text,
    patches,
    refused,
    start,
    widths,
)
from floorline.op import view
from floorline.specs.latent import Latent
from floorline.transformer import Transformer

ROWS = (*bound(*SPACE), *bound(*TIME, SECOND_ROWS))
TIME_MOD = "tmod[BmD]"


@cache
def conditioning() -> Block:
    """Two modulations for all layers, and the time's own vector.

    >>> conditioning().outputs
    ('all', 'along', 'vec')
    """
    ops = (
        *two_matmuls("size", "size_waves[Brw]", "size[Brg]", "silu", inner="q"),
        *two_matmuls("ratio", "ratio_waves[Bw]", "ratio[Bg]", "silu", inner="q"),
        view("size_row", "size[Brg] -> sizes[Bv]"),
        view("ratio_row", "ratio[Bg] -> ratios[Bv]"),
        *two_matmuls("count", "count_waves[Bw]", "count[Bv]", "silu"),
        *two_matmuls("rate", "rate_waves[Bw]", "rate[Bv]", "silu"),
        *two_matmuls("time", "waves[Bw]", "vec[Bv]", "silu"),
        *summed("condition", ("vec[Bv]", "sizes[Bv]", "ratios[Bv]"), "place[Bv]"),
        *summed("condition_time", ("vec[Bv]", "count[Bv]", "rate[Bv]"), "pace[Bv]"),
        *modulation("mod", "place", "all"),
        *modulation("tmod", "pace", "along", letters="mD"),
    )
    data = "waves[Bw] size_waves[Brw] ratio_waves[Bw] count_waves[Bw] rate_waves[Bw]"
    return block("conditioning", "", ops, "all along vec", data=data)


@cache
def layer(own: Attention, along: Attention) -> Block:
    """Both attentions between modulated norms and gates, cross-attention without either, a feed-forward network.

    >>> layer(Attention(cached=False), Attention(cached=False, name="t")).outputs
    ('y',)
    """
    ops = (
        *shared_modulation("mod", "all", "mod"),
        *shared_modulation("tmod", "along", "tmod", "mD"),
        modulated(PLAIN_NORM).op("norm1", "x", "h"),
        *rows_attention(own, "h", "attn"),
        gated("add1", "x", "attn", "x1"),
        modulated(PLAIN_NORM, TIME_MOD).op("norm_time", "x1", "ht"),
        *rows_attention(along, "ht", "tattn", SECOND_ROWS),
        gated("add_time", "x1", "tattn", "x2", TIME_MOD),
        *CROSS.ops("x2", "cross"),
        residual("add2", "x2", "cross", "x3"),
        modulated(PLAIN_NORM).op("norm2", "x3", "h2"),
        *FFN.ops("h2", "ffn"),
        gated("add3", "x3", "ffn", "y"),
    )
    return block("block", f"x[BTD] all[BnD] along[BmD] {CROSS.memory}", ops, "y", layer=True)


def read(config: Config) -> Transformer:
    """A configuration of STDiT2.

    >>> read(Config({}, "open-sora-1.1")).layers()
    28.0
    """
    sizes, count = widths(config), config.count("depth", 28.0, least=1.0)
    third = divide(config, sizes["D"], 3.0, "hidden_size", "its three parts")
    sizes |= {"m": 3.0, "g": third, "z": rounded(sizes["H"] / 2.0)}
    refused(config, "freeze")
    ignored(config, "input_size", "no_temporal_pos_emb")
    block_of = layer(attention(config), attention(config, rotary=True, name="t"))
    stacks = (
        stack(conditioning(), sizes={"q": third, "r": 2.0}),
        stack(start(True)),
        stack(caption(), whole="M"),
        stack(block_of, count, tokens=ROWS, whole="M"),
        stack(end(), sizes={"n": 2.0}),
    )
    text = length_of_text(config, 120.0)
    latent = Latent(**patches(sizes), height=480, width=854, length=16, text=text)
    return replace(denoiser(config, sizes, stacks, latent), frozen=sizes["z"])
