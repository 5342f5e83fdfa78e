"""DiT: a class and a time condition every layer; each layer embeds them anew, as diffusers writes it.

Sources: Peebles and Xie 2022, arXiv:2212.09748, section 3.2; diffusers 0.42, models/transformers/dit_transformer_2d.py and
models/normalization.py, AdaLayerNormZero.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import gated, modulated, modulation
from floorline.blocks.attention import Attention
from floorline.blocks.conditioning import two_matmuls
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.norm import PLAIN_NORM, Norm
from floorline.blocks.patchify import patchify, unpatchify
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers.common import WAVES, denoiser, feed_forward, heads, ignored, stack
from floorline.op import Op, elementwise, lookup
from floorline.specs.latent import Latent
from floorline.transformer import Transformer

GIVEN = "class_ids[B]"
TIME = "waves[Bw]"


def embedded(shared: str) -> tuple[Op, ...]:
    """Time and class as one vector.

    shared  "/" for weights that another block reads too
    """
    time = tuple(
        op.renamed({n: f"{shared}{n}" for n in (t.name for t in op.weights)})
        for op in two_matmuls("time", "waves[Bw]", "time[Bv]", "silu")
    )
    return (
        *time,
        lookup("class", f"class_ids[B] {shared}Wclass[Yv] -> class[Bv]", "Y", "min(B/Y, 1)", embeds=False),
        elementwise("condition", "time[Bv] class[Bv] -> vec[Bv]", "add", linear=True),
    )


@cache
def layer(attention: Attention, ffn: FeedForward, norm: Norm, shared: str = "") -> Block:
    """Attention and a feed-forward network, each between a modulated norm and a gate.

    >>> layer(Attention(cached=False), FeedForward("gelu"), PLAIN_NORM).caches()
    ()
    """
    ops = (
        *embedded(shared),
        *modulation("mod", "vec", "mod"),
        modulated(PLAIN_NORM).op("norm1", "x", "h"),
        *attention.ops("h", "attn"),
        gated("add1", "x", "attn", "x1"),
        modulated(norm).op("norm2", "x1", "h2"),
        *ffn.ops("h2", "ffn"),
        gated("add2", "x1", "ffn", "y"),
    )
    return block("block", f"x[BTD] {GIVEN}", ops, "y", layer=True, data=TIME)


@cache
def start() -> Block:
    """Patches; their positions are a table that is computed, not learned."""
    return block("patches", "", (patchify(),), "x", data="latent[BTcij]")


@cache
def end() -> Block:
    """A modulated norm and the way back to latents; the first layer's embedding is computed once more."""
    ops = (
        *embedded("/"),
        *modulation("mod", "vec", "mod"),
        modulated(PLAIN_NORM).op("norm", "x", "h"),
        unpatchify("h"),
    )
    return block("out", f"x[BTD] {GIVEN}", ops, "noise", data=TIME)


def read(config: Config) -> Transformer:
    """A configuration of DiTTransformer2DModel.

    >>> dit = read(Config({"out_channels": 8, "norm_elementwise_affine": False}, "dit-xl-2"))
    >>> dit.parameter_count().total
    749826464.0
    """
    sizes = heads(config, 16.0, 72.0)
    wide, channels, patch = sizes["D"], config.size("in_channels", 4.0), config.size("patch_size", 2.0)
    made = config.given("out_channels")
    sizes |= {"F": 4.0 * wide, "v": wide, "u": wide, "w": WAVES, "n": 6.0}
    sizes |= {"c": channels, "o": channels if made is None else made, "i": patch, "j": patch}
    sizes["Y"] = config.size("num_embeds_ada_norm", 1000.0) + 1.0
    bias, affine = config.flag("attention_bias", True), config.flag("norm_elementwise_affine", False)
    attention = Attention(bias=bias, out_bias=True, cached=False)
    norm = Norm("layer_norm", bias=True, statistics=(2, 2)) if affine else PLAIN_NORM
    ffn, count = feed_forward(config, "gelu-approximate"), config.count("num_layers", 28.0, least=1.0)
    ignored(config, "norm_num_groups", "upcast_attention", "norm_type", "norm_eps", "dropout")
    side = config.size("sample_size", 32.0) * 8.0
    stacks = (
        stack(start()),
        stack(layer(attention, ffn, norm, "/")),
        *((stack(layer(attention, ffn, norm), count - 1.0),) if count > 1.0 else ()),
        stack(end(), sizes={"n": 2.0}),
    )
    return denoiser(config, sizes, stacks, Latent(patch=patch, height=side, width=side))
