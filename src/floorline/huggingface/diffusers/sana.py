"""Sana: linear attention, a feed-forward network with a convolution, text by cross-attention.

Letters besides the usual ones: ``h`` heads of the cross-attention and ``p`` their width, ``x`` ``y`` the convolution's window.

Sources: Xie et al. 2024, arXiv:2410.10629, section 2 (2.1: its autoencoder leaves a 32nd of each side); Chen et al. 2025
(Sana-Sprint, which is told its guidance), arXiv:2503.09641; diffusers 0.42, models/transformers/sana_transformer.py.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import gated, modulated, modulation, shared_modulation
from floorline.blocks.attention import HeadNorm
from floorline.blocks.conditioning import summed, two_matmuls
from floorline.blocks.cross_attention import CrossAttention
from floorline.blocks.gated_convolution import GatedConvolution
from floorline.blocks.linear_attention import DERIVED, LinearAttention
from floorline.blocks.norm import LAYER_NORM, PLAIN_NORM, RMS_NORM, Norm, residual
from floorline.blocks.patchify import patchify
from floorline.blocks.streams import relettered
from floorline.errors import BadInput
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers.common import WAVES, denoiser, heads, ignored, optional, same, scaled, stack
from floorline.huggingface.diffusers.pixart import end
from floorline.specs.latent import Latent
from floorline.transformer import Transformer

CROSS = {"K": "h", "H": "p"}
"""Cross-attention has heads of its own."""
HEAD_NORMS = {
    "layer_norm_across_heads": HeadNorm(LAYER_NORM, scale="KGH", over="KGH"),
    "rms_norm_across_heads": HeadNorm(RMS_NORM, scale="KGH", over="KGH"),
    "l2": HeadNorm(Norm("l2_norm", weight=False), over="KGH"),
}
"""Norms of queries and keys that the class can run: before heads are told apart, so of all of them together."""


@cache
def conditioning(guided: bool) -> Block:
    """The modulation of all layers, of the time and, where that is distilled, the guidance.

    >>> [t.name for t in conditioning(True).inputs]
    ['waves', 'guidance']
    """
    time = "time[Bv]" if guided else "vec[Bv]"
    guidance = (
        *two_matmuls("guidance", "guidance[Bw]", "guided[Bv]", "silu"),
        *summed("condition", (time, "guided[Bv]"), "vec[Bv]"),
    )
    ops = (
        *two_matmuls("time", "waves[Bw]", time, "silu"),
        *(guidance if guided else ()),
        *modulation("mod", "vec", "all"),
    )
    return block("conditioning", "", ops, "all vec", data="waves[Bw]" + (" guidance[Bw]" if guided else ""))


@cache
def start() -> Block:
    """Latents to tokens, and the text brought to the model's width and normalised.

    >>> start().outputs
    ('x', 'memory')
    """
    ops = (
        patchify(),
        *two_matmuls("caption", "text[BMe]", "words[BMD]", "gelu_pytorch_tanh"),
        RMS_NORM.op("caption_norm", "words", "memory", "BMD"),
    )
    return block("embedding", "", ops, "x memory", data="latent[BTcij] text[BMe]")


@cache
def layer(attention: LinearAttention, cross: CrossAttention, norm: Norm) -> Block:
    """Linear attention between a modulated norm and a gate, cross-attention without either, the network with a convolution.

    >>> layer(LinearAttention(), CrossAttention(cached=False), PLAIN_NORM).caches()
    ()
    """
    ops = (
        *shared_modulation("mod", "all", "mod"),
        modulated(PLAIN_NORM).op("norm1", "x", "h"),
        *attention.ops("h", "attn"),
        gated("add1", "x", "attn", "x1"),
        *relettered(cross.ops("x1", "cross"), CROSS),
        residual("add2", "x1", "cross", "x2"),
        modulated(norm).op("norm2", "x2", "h2"),
        *GatedConvolution().ops("h2", "ffn"),
        gated("add3", "x2", "ffn", "y"),
    )
    return block("block", f"x[BTD] all[BnD] {cross.memory}", ops, "y", DERIVED, layer=True)


def head_norm(config: Config) -> HeadNorm | None:
    """The norm of queries and keys that a word names.

    raises BadInput for one that the class cannot run
    """
    word = config.get("qk_norm")
    if word is not None and (not isinstance(word, str) or word not in HEAD_NORMS):
        raise BadInput(f"{config.name}: qk_norm is {str(word)[:40]!r}; expected null or one of {', '.join(HEAD_NORMS)}")
    return HEAD_NORMS[word] if word is not None else None


def read(config: Config) -> Transformer:
    """A configuration of SanaTransformer2DModel.

    >>> read(Config({}, "sana-1.6b")).parameter_count().total
    1604462752.0
    """
    sizes = heads(config, 70.0, 32.0)
    wide, channels, patch = sizes["D"], config.size("in_channels", 32.0), config.size("patch_size", 1.0)
    made = config.given("out_channels") if "out_channels" in config.values else 32.0
    sizes |= {"v": wide, "u": wide, "w": WAVES, "n": 6.0, "x": 3.0, "y": 3.0}
    sizes |= {"F": scaled(wide, config.values.get("mlp_ratio", 2.5), config), "i": patch, "j": patch}
    sizes |= {"c": channels, "o": channels if made is None else made, "e": config.size("caption_channels", 2304.0)}
    sizes["h"] = config.size("num_cross_attention_heads", 20.0)
    sizes["p"] = config.size("cross_attention_head_dim", 112.0)
    text_width = optional(config, "cross_attention_dim", 2240.0)
    same(config, "cross_attention_dim", 0.0 if text_width is None else text_width, wide)
    norm = (
        Norm("layer_norm", bias=True, statistics=(2, 2))
        if config.flag("norm_elementwise_affine", False)
        else PLAIN_NORM
    )
    own = head_norm(config)
    attention = LinearAttention(bias=config.flag("attention_bias", False), head_norm=own)
    cross = CrossAttention(bias=True, out_bias=True, cached=False, head_norm=own)
    ignored(
        config, "mlp_ratio", "dropout", "norm_eps", "interpolation_scale", "guidance_embeds_scale", "timestep_scale"
    )
    side = config.size("sample_size", 32.0) * 32.0
    stacks = (
        stack(conditioning(config.flag("guidance_embeds", False))),
        stack(start(), whole="M"),
        stack(layer(attention, cross, norm), config.count("num_layers", 20.0, least=1.0), whole="M"),
        stack(end(), sizes={"n": 2.0}),
    )
    return denoiser(config, sizes, stacks, Latent(down=32, patch=patch, height=side, width=side, text=300))
