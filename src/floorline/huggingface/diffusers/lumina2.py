"""Lumina-Image 2.0: text and picture are refined apart by two layers each, then run through all layers as one sequence.

The library brings every token of the last layer back to latents, those of the text too, and then drops the text's.

Sources: Qin et al. 2025, arXiv:2503.21758; Zhuo et al. 2024 (Lumina-Next: norms before and after, tanh gates),
arXiv:2406.18583; diffusers 0.42, models/transformers/transformer_lumina2.py, models/normalization.py,
LuminaRMSNormZero.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import gated, modulated, modulation
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.conditioning import two_matmuls
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.norm import PLAIN_NORM, RMS_NORM, residual
from floorline.blocks.patchify import patchify, unpatchify
from floorline.blocks.token_refiner import TEXT_ALONE
from floorline.huggingface.config import Config, divide, rounded
from floorline.huggingface.diffusers.common import WAVES, denoiser, ignored, scaled, stack
from floorline.huggingface.diffusers.flux import TOGETHER
from floorline.num import Num, minimum
from floorline.op import contraction, elementwise
from floorline.specs.latent import Latent
from floorline.transformer import Transformer

ATTENTION = Attention(rotary=True, head_norm=HeadNorm(RMS_NORM), cached=False)
FEED_FORWARD = FeedForward("silu", gated=True)
WIDEST = 1024.0
"""Width of the vector that conditions, at most."""


@cache
def start() -> Block:
    """Latents to tokens, the time to a vector, the text to the model's width.

    >>> [op.flops()[0].formula() for op in start().ops if op.flops()]
    ['2·B·w·u', '2·B·u·v', '2·B·M·e·D', '2·B·T·c·i·j·D']
    """
    ops = (
        *two_matmuls("time", "waves[Bw]", "vec[Bv]", "silu"),
        RMS_NORM.op("caption_norm", "text", "told", "BMe", "e"),
        contraction("caption", "told[BMe] Wcaption[eD] -> c[BMD]", bias=True),
        patchify(),
    )
    return block("embedding", "", ops, "x c vec", data="waves[Bw] text[BMe] latent[BTcij]")


@cache
def refiner() -> Block:
    """A layer of the text alone: a norm before and after each branch.

    >>> [op.name for op in refiner().ops if op.name.startswith(("norm", "after"))]
    ['norm1', 'norm_q', 'norm_k', 'after1', 'norm2', 'after2']
    """
    ops = (
        RMS_NORM.op("norm1", "x", "h"),
        *ATTENTION.ops("h", "attn"),
        RMS_NORM.op("after1", "attn", "a"),
        residual("add1", "x", "a", "x1"),
        RMS_NORM.op("norm2", "x1", "h2"),
        *FEED_FORWARD.ops("h2", "ffn"),
        RMS_NORM.op("after2", "ffn", "f"),
        residual("add2", "x1", "f", "y"),
    )
    return block("refiner", "x[BTD]", ops, "y", layer=True)


@cache
def layer() -> Block:
    """The same with two scales and two gates that are made of the time; the gates go through a hyperbolic tangent.

    >>> [op.flops()[0].formula() for op in layer().ops if op.flops()][0]
    '2·B·v·n·D'
    """
    ops = (
        *modulation("mod", "vec", "mod"),
        elementwise("gates", "mod[BnD] -> gates[BnD]", "tanh"),
        modulated(RMS_NORM).op("norm1", "x", "h"),
        *ATTENTION.ops("h", "attn"),
        RMS_NORM.op("after1", "attn", "a"),
        gated("add1", "x", "a", "x1", "gates[BnD]"),
        modulated(RMS_NORM).op("norm2", "x1", "h2"),
        *FEED_FORWARD.ops("h2", "ffn"),
        RMS_NORM.op("after2", "ffn", "f"),
        gated("add2", "x1", "f", "y", "gates[BnD]"),
    )
    return block("block", "x[BTD] vec[Bv]", ops, "y", layer=True)


@cache
def end() -> Block:
    """A norm that the time scales, and the way back to latents."""
    ops = (*modulation("mod", "vec", "mod"), modulated(PLAIN_NORM).op("norm", "x", "h"), unpatchify("h"))
    return block("out", "x[BTD] vec[Bv]", ops, "noise")


def attention_sizes(config: Config) -> dict[str, Num]:
    """D, K, G and H; a head's width is rounded down."""
    wide, count = config.size("hidden_size", 2304.0), config.size("num_attention_heads", 24.0)
    groups = config.maybe("num_kv_heads", 8.0)
    kv = count if groups is None else groups
    return {
        "D": wide,
        "K": kv,
        "G": divide(config, count, kv, "num_attention_heads", "num_kv_heads"),
        "H": rounded(wide / count),
    }


def inner_width(config: Config, wide: Num) -> Num:
    """Four times the width, times a factor, rounded up to a multiple."""
    factor, multiple = config.get("ffn_dim_multiplier"), config.size("multiple_of", 256.0)
    inner = 4.0 * wide if factor is None else scaled(4.0 * wide, factor, config, "ffn_dim_multiplier")
    return multiple * rounded((inner + multiple - 1.0) / multiple)


def read(config: Config) -> Transformer:
    """A configuration of Lumina2Transformer2DModel.

    >>> read(Config({"cap_feat_dim": 2304}, "lumina2-2b")).parameter_count().total
    2609769152.0
    """
    sizes = attention_sizes(config)
    wide, channels, patch = sizes["D"], config.size("in_channels", 16.0), config.size("patch_size", 2.0)
    made, vector = config.given("out_channels"), minimum(sizes["D"], WIDEST)
    sizes |= {"F": inner_width(config, wide), "w": WAVES, "u": vector, "v": vector, "n": 4.0}
    sizes |= {"e": config.size("cap_feat_dim", 1024.0)}
    sizes |= {"c": channels, "o": channels if made is None else made, "i": patch, "j": patch}
    refined = config.count("num_refiner_layers", 2.0)
    ignored(config, "norm_eps", "scaling_factor", "axes_dim_rope", "axes_lens")
    apart = (stack(refiner(), refined, tokens=TEXT_ALONE), stack(layer(), refined)) if refined else ()
    stacks = (
        stack(start()),
        *apart,
        stack(layer(), config.count("num_layers", 26.0, least=1.0), tokens=TOGETHER),
        stack(end(), sizes={"n": 1.0}, tokens=TOGETHER),
    )
    side = 8.0 * config.size("sample_size", 128.0)
    return denoiser(config, sizes, stacks, Latent(patch=patch, height=side, width=side, text=256))
