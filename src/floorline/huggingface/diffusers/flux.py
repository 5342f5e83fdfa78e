"""FLUX.1: nineteen layers of two streams, thirty-eight of one.

Sources: Black Forest Labs 2024, github.com/black-forest-labs/flux, src/flux/model.py; diffusers 0.42,
models/transformers/transformer_flux.py.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import modulated, modulation
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.conditioning import summed, two_matmuls
from floorline.blocks.double_stream import double_stream, single_stream
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.joint_attention import JOINT, JointAttention
from floorline.blocks.norm import PLAIN_NORM, RMS_NORM
from floorline.blocks.patchify import unpatchify
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers.common import WAVES, denoiser, heads, ignored, stack
from floorline.op import contraction
from floorline.specs.latent import Latent
from floorline.transformer import Transformer

TOGETHER = (("T", "T + M"), ("S", "S + M"))
"""A layer of one stream sees picture and text as one sequence."""
HEAD_NORM = HeadNorm(RMS_NORM)


@cache
def conditioning(guided: bool) -> Block:
    """The vector that conditions all layers: of the time, the pooled text, and of the guidance where that is distilled.

    >>> [t.name for t in conditioning(True).inputs]
    ['waves', 'pooled', 'guidance']
    """
    guidance = two_matmuls("guidance", "guidance[Bw]", "guided[Bv]", "silu") if guided else ()
    parts = ("time[Bv]", *(("guided[Bv]",) if guided else ()), "text[Bv]")
    ops = (
        *two_matmuls("time", "waves[Bw]", "time[Bv]", "silu"),
        *guidance,
        *two_matmuls("pooled", "pooled[Bp]", "text[Bv]", "silu"),
        *summed("condition", parts, "vec[Bv]"),
    )
    data = "waves[Bw] pooled[Bp]" + (" guidance[Bw]" if guided else "")
    return block("conditioning", "", ops, "vec", data=data)


@cache
def start() -> Block:
    """Two matmuls: latents to tokens, the encoder's text to the model's width."""
    ops = (
        contraction("patch", "latent[BTcij] Wpatch[cijD] -> x[BTD]", bias=True),
        contraction("context", "text[BMe] Wcontext[eD] -> c[BMD]", bias=True),
    )
    return block("embedding", "", ops, "x c", data="latent[BTcij] text[BMe]")


@cache
def end(bias: bool = True) -> Block:
    """A modulated norm and the way back to latents."""
    ops = (
        *modulation("mod", "vec", "mod", bias=bias),
        modulated(PLAIN_NORM).op("norm", "x", "h"),
        unpatchify("h"),
    )
    return block("out", "x[BTD] vec[Bv]", ops, "noise")


def read(config: Config) -> Transformer:
    """A configuration of FluxTransformer2DModel.

    >>> read(Config({"guidance_embeds": True}, "flux.1-dev")).parameter_count().total
    11901408320.0
    """
    sizes = heads(config, 24.0, 128.0)
    wide, channels, patch = sizes["D"], config.size("in_channels", 64.0), config.size("patch_size", 1.0)
    made = config.given("out_channels")
    sizes |= {"F": 4.0 * wide, "v": wide, "u": wide, "w": WAVES, "n": 6.0, "m": 6.0}
    sizes |= {"c": channels, "i": 1.0, "j": 1.0, "o": channels if made is None else made}
    sizes |= {"e": config.size("joint_attention_dim", 4096.0), "p": config.size("pooled_projection_dim", 768.0)}
    ffn, text_ffn = (FeedForward("gelu_pytorch_tanh", bias=True, name=name) for name in ("", "c"))
    joint = JointAttention(head_norm=HEAD_NORM, text_norm=HEAD_NORM, rotary="both")
    alone = Attention(bias=True, out_bias=True, rotary=True, head_norm=HEAD_NORM, cached=False)
    ignored(config, "axes_dims_rope")
    stacks = (
        stack(conditioning(config.flag("guidance_embeds", False))),
        stack(start()),
        stack(double_stream(joint, ffn, text_ffn), config.count("num_layers", 19.0), tokens=JOINT),
        stack(
            single_stream(alone, FeedForward("gelu_pytorch_tanh", bias=True, down_bias=False)),
            config.count("num_single_layers", 38.0),
            {"n": 3.0},
            TOGETHER,
        ),
        stack(end(), sizes={"n": 2.0, "i": patch, "j": patch}),
    )
    return denoiser(config, sizes, stacks, Latent(patch=2, text=512))
