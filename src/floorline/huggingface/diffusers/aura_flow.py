"""AuraFlow: four layers of two streams, thirty-two of one; eight learned registers before the text; no biases.

A layer's feed-forward network sees what attention added, and the stream that goes on does not: the library's residual sum starts
from the layer's input again.

Sources: Cloneofsimo and the fal team 2024, blog.fal.ai/auraflow; registers: Darcet et al. 2023, arXiv:2309.16588; diffusers 0.42,
models/transformers/auraflow_transformer_2d.py.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import gated, modulated, modulation
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.conditioning import two_matmuls
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.joint_attention import JOINT, JointAttention
from floorline.blocks.norm import PLAIN_NORM
from floorline.blocks.patchify import patchify, unpatchify
from floorline.blocks.streams import TEXT, relettered
from floorline.errors import BadInput
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers.common import WAVES, denoiser, heads, ignored, optional, same, stack
from floorline.huggingface.diffusers.flux import TOGETHER
from floorline.num import Num, ceil, number
from floorline.op import Op, contraction, elementwise, lookup
from floorline.specs.latent import Latent
from floorline.transformer import Stack, Transformer

REGISTERS = 8.0
"""Learned tokens before the text, which no key changes (AuraFlowTransformer2DModel.__init__)."""
LONGER = ("M", f"M + {REGISTERS:g}")
"""The text with its registers."""
HEAD_NORM = HeadNorm(PLAIN_NORM)


def inner_width(wide: Num) -> Num:
    """Two thirds of four times the width, up to a multiple of 256 (AuraFlowFeedForward).

    >>> inner_width(3072.0)
    8192.0
    """
    return number(ceil(np.floor(8.0 * wide / 3.0) / 256.0) * 256.0)


@cache
def conditioning() -> Block:
    """The vector that conditions all layers: of the time alone."""
    return block("conditioning", "", two_matmuls("time", "waves[Bw]", "vec[Bv]", "silu"), "vec", data="waves[Bw]")


@cache
def start() -> Block:
    """Patches with learned positions, a window of their table; the text behind its registers.

    Letters: ``r`` registers, N text with registers, ``q`` places of the table.

    >>> [op.name for op in start().ops]
    ['patch', 'place', 'positions', 'context', 'registers']
    """
    ops = (
        patchify(target="patches"),
        lookup("place", "place_ids[T] Wplace[qD] -> places[TD]", "q", "min(T/q, 1)", embeds=False),
        elementwise("positions", "patches[BTD] places[TD] -> x[BTD]", "add", linear=True),
        contraction("context", "text[BMe] Wcontext[eD] -> words[BMD]"),
        elementwise("registers", "words[BMD] Wregisters[rD] -> c[BND]", "concatenate"),
    )
    return block("embedding", "place_ids[T]", ops, "x c", data="latent[BTcij] text[BMe]")


def branch(ffn: FeedForward, stream: str, attn: str, target: str, name: str = "") -> tuple[Op, ...]:
    """What follows attention in one stream.

    name  prefix, "c" for the text

    >>> [op.name for op in branch(FeedForward("silu"), "x", "attn", "y")]
    ['add1', 'norm2', 'up', 'act', 'down', 'add2']
    """
    letters, by = ("BMD", "cmod[BmD]") if name else ("BTD", "mod[BnD]")
    return (
        gated(f"{name}add1", stream, attn, f"{name}seen", by, letters),
        modulated(PLAIN_NORM, by).op(f"{name}norm2", f"{name}seen", f"{name}h2", letters),
        *relettered(ffn.ops(f"{name}h2", f"{name}ffn"), TEXT if name else {}),
        gated(f"{name}add2", stream, f"{name}ffn", target, by, letters),
    )


@cache
def double(attention: JointAttention, ffn: FeedForward, text_ffn: FeedForward, read: bool = True) -> Block:
    """A layer of two streams.

    read  whether somebody reads the text afterwards; where no layer of one stream follows it is computed for nothing
    """
    ops = (
        *modulation("mod", "vec", "mod", bias=False),
        *modulation("cmod", "vec", "cmod", letters="mD", bias=False),
        modulated(PLAIN_NORM).op("norm1", "x", "h"),
        modulated(PLAIN_NORM, "cmod[BmD]").op("cnorm1", "c", "ch", "BMD"),
        *attention.ops("h", "attn", "ch", "cattn"),
        *branch(ffn, "x", "attn", "y"),
        *branch(text_ffn, "c", "cattn", "z", "c"),
    )
    return block("double", "x[BTD] c[BMD] vec[Bv]", ops, "y z" if read else "y", layer=True)


@cache
def single(attention: Attention, ffn: FeedForward) -> Block:
    """A layer of one stream: text and picture are one sequence."""
    ops = (
        *modulation("mod", "vec", "mod", bias=False),
        modulated(PLAIN_NORM).op("norm1", "x", "h"),
        *attention.ops("h", "attn"),
        *branch(ffn, "x", "attn", "y"),
    )
    return block("single", "x[BTD] vec[Bv]", ops, "y", layer=True)


@cache
def end() -> Block:
    """Scaled and shifted without a norm, and back to latents."""
    ops = (
        *modulation("mod", "vec", "mod", bias=False),
        elementwise("modulate", "x[BTD] mod[BnD] -> h[BTD]", "modulate"),
        unpatchify("h", bias=False),
    )
    return block("out", "x[BTD] vec[Bv]", ops, "noise")


def layers(config: Config) -> tuple[Stack, ...]:
    """Those of two streams, then those of one.

    raises BadInput where there is none
    """
    two, one = config.count("num_mmdit_layers", 4.0), config.count("num_single_dit_layers", 32.0)
    if not two + one:
        raise BadInput(f"{config.name}: no layers; expected num_mmdit_layers or num_single_dit_layers of 1 or more")
    ffn, text_ffn = (FeedForward("silu", gated=True, name=name) for name in ("", "c"))
    joint = JointAttention(
        bias=False, text_bias=False, out_bias=False, text_out_bias=False, head_norm=HEAD_NORM, text_norm=HEAD_NORM
    )
    followed = two if one else two - 1.0
    found = []
    if followed > 0.0:
        found.append(stack(double(joint, ffn, text_ffn), followed, tokens=(LONGER, *JOINT)))
    if followed < two:
        found.append(stack(double(joint, ffn, text_ffn, read=False), 1.0, tokens=(LONGER, *JOINT)))
    if one:
        alone = single(Attention(head_norm=HEAD_NORM, cached=False), ffn)
        found.append(stack(alone, one, tokens=(LONGER, *TOGETHER)))
    return tuple(found)


def read(config: Config) -> Transformer:
    """A configuration of AuraFlowTransformer2DModel.

    >>> read(Config({"pos_embed_max_size": 9216}, "aura-flow")).parameter_count().total
    6858605568.0
    """
    sizes = heads(config, 12.0, 256.0)
    wide, channels, patch = sizes["D"], config.size("in_channels", 4.0), config.size("patch_size", 2.0)
    made = optional(config, "out_channels", 4.0)
    same(config, "caption_projection_dim", config.size("caption_projection_dim", 3072.0), wide)
    sizes |= {"F": inner_width(wide), "v": wide, "u": wide, "w": WAVES, "n": 6.0, "m": 6.0, "r": REGISTERS}
    sizes |= {"c": channels, "i": patch, "j": patch, "o": channels if made is None else made}
    sizes |= {"e": config.size("joint_attention_dim", 2048.0), "q": config.size("pos_embed_max_size", 1024.0)}
    ignored(config, "sample_size")
    stacks = (
        stack(conditioning()),
        stack(start(), tokens=(("N", LONGER[1]),)),
        *layers(config),
        stack(end(), sizes={"n": 2.0}),
    )
    return denoiser(config, sizes, stacks, Latent(patch=patch, text=256))
