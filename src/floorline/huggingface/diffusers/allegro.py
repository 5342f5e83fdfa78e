"""Allegro: every token of a video attends to every other; modulation, cross-attention and gates are PixArt's.

The class never joins frames to one token: ``patch_size_t`` only says how its output is laid out, so it changes no count. Where
norms have weights, a third one is stored and never run.

Sources: Zhou et al. 2024, arXiv:2410.15458; diffusers 0.42, models/transformers/transformer_allegro.py; its
autoencoder leaves a quarter of the frames: pipelines/allegro/pipeline_allegro.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from floorline.block import Block
from floorline.blocks.attention import Attention
from floorline.blocks.cross_attention import CrossAttention
from floorline.blocks.heads import stored
from floorline.blocks.norm import LAYER_NORM
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers.common import WAVES, denoiser, feed_forward, heads, ignored, optional, same, stack
from floorline.huggingface.diffusers.latte import caption
from floorline.huggingface.diffusers.pixart import conditioning, end, layer, start
from floorline.specs.latent import Latent
from floorline.transformer import Transformer


@cache
def with_third_norm(found: Block) -> Block:
    """A layer with the third norm that the class stores and never runs.

    >>> from floorline.blocks.feed_forward import FeedForward
    >>> made = with_third_norm(layer(Attention(cached=False), None, FeedForward("gelu"), LAYER_NORM))
    >>> [str(t) for t in made.weights()[-2:]]
    ['Wnorm3[D]', 'Wnorm3.bias[D]']
    """
    return replace(found, ops=(*found.ops, stored("Wnorm3", "D"), stored("Wnorm3.bias", "D")))


def read(config: Config) -> Transformer:
    """A configuration of AllegroTransformer3DModel.

    >>> read(Config({}, "allegro")).parameter_count().total
    2771907856.0
    """
    sizes = heads(config, 24.0, 96.0)
    wide, channels, patch = sizes["D"], config.size("in_channels", 4.0), config.size("patch_size", 2.0)
    sizes |= {"F": 4.0 * wide, "v": wide, "u": wide, "w": WAVES, "n": 6.0, "i": patch, "j": patch, "c": channels}
    sizes |= {"o": config.size("out_channels", 4.0), "e": config.size("caption_channels", 4096.0)}
    text_width = optional(config, "cross_attention_dim", 2304.0)
    same(config, "cross_attention_dim", wide if text_width is None else text_width, wide)
    bias = config.flag("attention_bias", True)
    attention = Attention(bias=bias, out_bias=True, cached=False, rotary=True)
    cross = CrossAttention(bias=bias, out_bias=True, cached=False)
    affine = config.flag("norm_elementwise_affine", False)
    ffn, count = feed_forward(config, "gelu-approximate"), config.count("num_layers", 32.0, least=1.0)
    ignored(config, "patch_size_t", "dropout", "norm_eps")
    ignored(config, "interpolation_scale_h", "interpolation_scale_w", "interpolation_scale_t")
    block_of = with_third_norm(layer(attention, cross, ffn, LAYER_NORM)) if affine else layer(attention, cross, ffn)
    stacks = (
        stack(conditioning(False)),
        stack(start()),
        stack(caption(True), whole="M"),
        stack(block_of, count, whole="M"),
        stack(end(), sizes={"n": 2.0}),
    )
    height, width = config.size("sample_height", 90.0) * 8.0, config.size("sample_width", 160.0) * 8.0
    length = config.size("sample_frames", 22.0) * 4.0
    return denoiser(
        config, sizes, stacks, Latent(patch=patch, frames=4, height=height, width=width, length=length, text=512)
    )
