"""Open-Sora 1.0, STDiT: each layer attends within a frame, then along time without a norm, then to the text.

The video's size is part of the configuration, in latents: positions are tables of that size.

Sources: Zheng et al. 2024, arXiv:2412.20404; github.com/hpcaitech/Open-Sora at v1.2.0, opensora/models/stdit/stdit.py.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import gated, modulated, shared_modulation
from floorline.blocks.attention import Attention
from floorline.blocks.norm import PLAIN_NORM, residual
from floorline.blocks.rows_attention import SECOND_ROWS, rows_attention
from floorline.errors import BadInput
from floorline.huggingface.config import Config, as_whole
from floorline.huggingface.diffusers.common import denoiser, ignored, stack
from floorline.huggingface.diffusers.open_sora import (
    CROSS,
    FFN,
    caption,
    end,
    length_of_text,
    patches,
    refused,
    start,
    widths,
)
from floorline.huggingface.diffusers.open_sora_stdit2 import ROWS
from floorline.huggingface.diffusers.pixart import conditioning
from floorline.specs.latent import Latent
from floorline.transformer import Transformer


@cache
def layer(own: Attention, along: Attention) -> Block:
    """Attention within frames behind a modulated norm, attention along time without one, both behind the same gate.

    >>> layer(Attention(cached=False), Attention(cached=False, name="t")).outputs
    ('y',)
    """
    ops = (
        *shared_modulation("mod", "all", "mod"),
        modulated(PLAIN_NORM).op("norm1", "x", "h"),
        *rows_attention(own, "h", "attn"),
        gated("add1", "x", "attn", "x1"),
        *rows_attention(along, "x1", "tattn", SECOND_ROWS),
        gated("add_time", "x1", "tattn", "x2"),
        *CROSS.ops("x2", "cross"),
        residual("add2", "x2", "cross", "x3"),
        modulated(PLAIN_NORM).op("norm2", "x3", "h2"),
        *FFN.ops("h2", "ffn"),
        gated("add3", "x3", "ffn", "y"),
    )
    return block("block", f"x[BTD] all[BnD] {CROSS.memory}", ops, "y", layer=True)


def extent(config: Config) -> tuple[float, float, float]:
    """Latent frames, height and width.

    raises BadInput where these are no three whole numbers

    >>> extent(Config({"input_size": [16, 64, 64]}, "open-sora-1.0"))
    (16.0, 64.0, 64.0)
    """
    value = config.get("input_size")
    found = (1, 32, 32) if value is None else tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(found) != 3 or any(as_whole(v, 1.0) is None for v in found):
        raise BadInput(
            f"{config.name}: input_size is {str(value)[:40]!r}; expected three whole numbers, such as [16, 64, 64]"
        )
    return float(found[0]), float(found[1]), float(found[2])


def read(config: Config) -> Transformer:
    """A configuration of STDiT.

    >>> read(Config({}, "open-sora-1.0")).parameter_count().total
    759620768.0
    """
    sizes, count = widths(config), config.count("depth", 28.0, least=1.0)
    refused(config, "freeze")
    ignored(config, "no_temporal_pos_emb", "space_scale", "time_scale")
    block_of = layer(*(Attention(bias=True, out_bias=True, cached=False, name=name) for name in ("", "t")))
    stacks = (
        stack(conditioning(False)),
        stack(start()),
        stack(caption(), whole="M"),
        stack(block_of, count, tokens=ROWS, whole="M"),
        stack(end(), sizes={"n": 2.0}),
    )
    frames, tall, wide = extent(config)
    text = length_of_text(config, 120.0)
    latent = Latent(**patches(sizes), height=tall * 8.0, width=wide * 8.0, length=frames, text=text)
    return denoiser(config, sizes, stacks, latent)
