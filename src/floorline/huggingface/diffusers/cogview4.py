"""CogView4: as CogView3-Plus, with rotary positions; the activation before modulations runs once for all layers.

The feed-forward network runs on text and picture one after the other, and the last layer runs it on the text for nothing.

Sources: Z.ai 2025, github.com/THUDM/CogView4; diffusers 0.42, models/transformers/transformer_cogview4.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import modulated, modulation
from floorline.blocks.conditioning import summed, two_matmuls
from floorline.blocks.joint_attention import JOINT
from floorline.blocks.norm import PLAIN_NORM
from floorline.blocks.patchify import unpatchify
from floorline.blocks.shared_streams import shared_layer
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers.cogview import ATTENTION, FEED_FORWARD, latent_of, sizes_of
from floorline.huggingface.diffusers.common import denoiser, ignored, stack
from floorline.huggingface.diffusers.flux import start
from floorline.op import elementwise
from floorline.transformer import Transformer


@cache
def conditioning() -> Block:
    """The vector that conditions all layers, of the time and of sizes and crop, with its activation.

    >>> [op.name for op in conditioning().ops][-2:]
    ['condition', 'condition_act']
    """
    ops = (
        *two_matmuls("time", "waves[Bw]", "time[Bv]", "silu"),
        *two_matmuls("sizes", "sizes[Bp]", "sized[Bv]", "silu"),
        *summed("condition", ("time[Bv]", "sized[Bv]"), "condition[Bv]"),
        elementwise("condition_act", "condition[Bv] -> vec[Bv]", "silu"),
    )
    return block("conditioning", "", ops, "vec", data="waves[Bw] sizes[Bp]")


@cache
def end() -> Block:
    """A modulated norm, without an activation before its modulation, and the way back to latents."""
    ops = (
        *modulation("mod", "vec", "mod", act=""),
        modulated(PLAIN_NORM).op("norm", "x", "h"),
        unpatchify("h"),
    )
    return block("out", "x[BTD] vec[Bv]", ops, "noise")


def read(config: Config) -> Transformer:
    """A configuration of CogView4Transformer2DModel.

    >>> published = {"num_layers": 28, "attention_head_dim": 128, "num_attention_heads": 32}
    >>> read(Config(published, "cogview4-6b")).parameter_count().total
    6369118272.0
    """
    sizes = sizes_of(config)
    count, attention = config.count("num_layers", 30.0, least=1.0), replace(ATTENTION, rotary=True)
    layer, last = (shared_layer(attention, FEED_FORWARD, act="", apart=True, read=read) for read in (True, False))
    ignored(config, "pos_embed_max_size", "rope_axes_dim")
    stacks = (
        stack(conditioning()),
        stack(start()),
        *((stack(layer, count - 1.0, tokens=JOINT),) if count > 1.0 else ()),
        stack(last, 1.0, tokens=JOINT),
        stack(end(), sizes={"n": 2.0}),
    )
    return denoiser(config, sizes, stacks, latent_of(config, sizes))
