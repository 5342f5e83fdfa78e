"""Latte: layers that attend within a frame alternate with layers that attend along time; a frame is a picture of PixArt's.

The text is brought to the model's width once, and repeated for every frame: each layer makes keys and values of it for every frame
anew. With the class's default norm, "layer_norm", layers are not modulated: their modulation is computed and not read.

Sources: Ma et al. 2024, arXiv:2401.03048, section 3.2, variant 1; diffusers 0.42, models/transformers/latte_transformer_3d.py,
models/attention.py, BasicTransformerBlock.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.attention import Attention
from floorline.blocks.conditioning import two_matmuls
from floorline.blocks.cross_attention import CrossAttention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.norm import LAYER_NORM, PLAIN_NORM, Norm, residual
from floorline.errors import BadInput
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers.common import WAVES, denoiser, feed_forward, heads, ignored, optional, same, stack
from floorline.huggingface.diffusers.pixart import conditioning, end, start
from floorline.huggingface.diffusers.pixart import layer as modulated_layer
from floorline.op import Op
from floorline.specs.latent import Latent
from floorline.transformer import Transformer

WITHIN = (("B", "B*grid_t"), ("T", "grid_h*grid_w"), ("S", "T"))
"""A frame attends to itself: each is a row of the batch."""
ALONG = (("B", "B*grid_h*grid_w"), ("T", "grid_t"), ("S", "T"))
"""Each place attends along time."""
SINGLE, PLAIN = "ada_norm_single", "layer_norm"


@cache
def unread() -> Block:
    """The conditioning where layers are not modulated: the modulation is computed, and nobody reads it.

    >>> unread().outputs
    ('vec',)
    """
    return block("conditioning", "", conditioning(False).ops, "vec", data="waves[Bw]")


@cache
def caption(read: bool) -> Block:
    """The text, brought to the model's width, whether layers attend to it or not.

    >>> caption(True).outputs
    ('memory',)
    """
    ops = two_matmuls("caption", "text[BMe]", "memory[BMD]", "gelu_pytorch_tanh")
    return block("caption", "", ops, "memory" if read else "", data="text[BMe]")


@cache
def plain_layer(
    attention: Attention, cross: CrossAttention | None, ffn: FeedForward, norm: Norm, name: str = "block"
) -> Block:
    """Attention, cross-attention and a feed-forward network, each behind a norm that nothing modulates.

    >>> plain_layer(Attention(cached=False), None, FeedForward("gelu"), LAYER_NORM).outputs
    ('y',)
    """
    ops: list[Op] = [
        norm.op("norm1", "x", "h"),
        *attention.ops("h", "attn"),
        residual("add1", "x", "attn", "x1"),
    ]
    stream = "x1"
    if cross:
        ops += [
            norm.op("norm2", "x1", "h2"),
            *cross.ops("h2", "cross"),
            residual("add2", "x1", "cross", "x2"),
        ]
        stream = "x2"
    ops += [norm.op("norm3", stream, "h3"), *ffn.ops("h3", "ffn"), residual("add3", stream, "ffn", "y")]
    return block(name, "x[BTD]" + (f" {cross.memory}" if cross else ""), tuple(ops), "y", layer=True)


def is_modulated(config: Config) -> bool:
    """Whether the norms of the layers are modulated.

    raises BadInput for a norm that the class cannot run
    """
    word = config.text("norm_type", PLAIN)
    if word not in (SINGLE, PLAIN):
        raise BadInput(f"{config.name}: norm_type is {word[:40]!r}; expected {SINGLE} or {PLAIN}")
    return word == SINGLE


def read(config: Config) -> Transformer:
    """A configuration of LatteTransformer3DModel.

    >>> latte = {"attention_head_dim": 72, "in_channels": 4, "out_channels": 8, "num_layers": 28, "cross_attention_dim": 1152}
    >>> latte |= {"attention_bias": True, "patch_size": 2, "activation_fn": "gelu-approximate", "caption_channels": 4096}
    >>> latte |= {"norm_type": "ada_norm_single", "norm_elementwise_affine": False}
    >>> read(Config(latte, "latte-1")).parameter_count().total
    1057246880.0
    """
    sizes = heads(config, 16.0, 88.0)
    wide, channels, patch = sizes["D"], config.size("in_channels"), config.size("patch_size")
    made, cross_width = config.given("out_channels"), optional(config, "cross_attention_dim", None)
    sizes |= {"F": 4.0 * wide, "v": wide, "u": wide, "w": WAVES, "n": 6.0, "i": patch, "j": patch}
    sizes |= {"c": channels, "o": channels if made is None else made, "e": config.size("caption_channels")}
    if cross_width is not None:
        same(config, "cross_attention_dim", cross_width, wide)
    bias = config.flag("attention_bias", False)
    attention = Attention(bias=bias, out_bias=True, cached=False)
    cross = CrossAttention(bias=bias, out_bias=True, cached=False) if cross_width is not None else None
    ffn, norm = (
        feed_forward(config, "geglu"),
        LAYER_NORM if config.flag("norm_elementwise_affine", True) else PLAIN_NORM,
    )
    modulates, count = is_modulated(config), config.count("num_layers", 1.0, least=1.0)
    make = modulated_layer if modulates else plain_layer
    ignored(config, "dropout", "num_embeds_ada_norm", "norm_eps")
    stacks = (
        stack(conditioning(False) if modulates else unread()),
        stack(start()),
        stack(caption(cross is not None), whole="M"),
        stack(make(attention, cross, ffn, norm, "spatial"), count, tokens=WITHIN, whole="M"),
        stack(make(attention, None, ffn, norm, "temporal"), count, tokens=ALONG),
        stack(end(), sizes={"n": 2.0}),
    )
    side = config.size("sample_size", 64.0) * 8.0
    latent = Latent(patch=patch, height=side, width=side, length=config.size("video_length", 16.0), text=120)
    return denoiser(config, sizes, stacks, latent, order=(0, 1) * int(count))
