"""Wan 2.1 and 2.2: video with text by cross-attention, one modulation for all layers plus a table for each.

A model that starts from a picture attends to it too, with keys and values of its own; it was made for texts of 512 tokens, and the
library tells picture from text by that number. In one of two sizes of autoencoder a latent is 16 pixels wide: its 48 channels tell.
A step has one time for each video; a pipeline that gives each token one of its own (expand_timesteps) embeds more of them.

Sources: Wan Team 2025, arXiv:2503.20314, section 4.2; diffusers 0.42, models/transformers/transformer_wan.py and
pipelines/wan/pipeline_wan.py.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import gated, modulated, shared_modulation
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.conditioning import two_matmuls
from floorline.blocks.cross_attention import CrossAttention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.norm import LAYER_NORM, PLAIN_NORM, RMS_NORM, residual
from floorline.blocks.patchify import patchify, unpatchify
from floorline.blocks.picture_cross_attention import PictureCrossAttention
from floorline.errors import BadInput
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers.common import WAVES, denoiser, heads, ignored, optional, same, stack, video_patch
from floorline.huggingface.diffusers.pixart import caption, conditioning
from floorline.num import Num, all_true, where
from floorline.op import Op, elementwise
from floorline.specs.latent import Latent
from floorline.transformer import Stack, Transformer

ALL_HEADS = HeadNorm(RMS_NORM, scale="KGH", over="KGH")
ATTENTION = Attention(bias=True, out_bias=True, rotary=True, head_norm=ALL_HEADS, cached=False)
TO_TEXT = CrossAttention(bias=True, out_bias=True, cached=False, width="d", head_norm=ALL_HEADS)
TO_BOTH = PictureCrossAttention(bias=True, out_bias=True, width="d", head_norm=ALL_HEADS)
FEED_FORWARD = FeedForward("gelu_pytorch_tanh", bias=True)
PATCH = "clij"
PICTURE_TOKENS = 257.0
"""Patches of a picture and the class token, as CLIP's vision transformer leaves them (pipelines/wan/pipeline_wan_i2v.py)."""
WIDE = 48.0
"""Channels of the latents whose autoencoder makes one of 16 × 16 pixels (Wan 2.2, ti2v-5B)."""


@cache
def start() -> Block:
    """Latents to tokens.

    >>> start().ops[0].flops()[0].formula()
    '2·B·T·c·l·i·j·D'
    """
    return block("patches", "", (patchify(patch=PATCH),), "x", data=f"latent[BT{PATCH}]")


@cache
def picture(placed: bool) -> Block:
    """The picture that a video starts from, as its encoder leaves it, brought to the model's width.

    Letters: ``N`` its tokens, ``a`` width of its encoder, ``b`` width in between, the same.

    placed  whether a table of positions is added: for a first and a last picture

    >>> [op.name for op in picture(False).ops]
    ['picture_norm', 'picture_up', 'picture_act', 'picture_down', 'picture_out_norm']
    """
    table = elementwise("positions", "seen[BNa] Wpositions[Na] -> placed[BNa]", "add_table")
    ops = (
        *((table,) if placed else ()),
        LAYER_NORM.op("picture_norm", "placed" if placed else "seen", "n", "BNa", "a"),
        *two_matmuls("picture", "n[BNa]", "wide[BND]", "gelu", inner="b"),
        LAYER_NORM.op("picture_out_norm", "wide", "picture", "BND", "D"),
    )
    return block("picture", "", ops, "picture", data="seen[BNa]")


def branches(stream: str, cross: CrossAttention | PictureCrossAttention, normed: bool) -> tuple[Op, ...]:
    """What a layer does to its stream: self-attention, cross-attention, feed-forward network.

    stream  the stream ``[BTD]``
    normed  whether a norm of its own stands before the cross-attention
    """
    return (
        *shared_modulation("mod", "all", "mod"),
        modulated(PLAIN_NORM).op("norm1", stream, "h"),
        *ATTENTION.ops("h", "attn"),
        gated("add1", stream, "attn", "x1"),
        *((LAYER_NORM.op("norm2", "x1", "h2"),) if normed else ()),
        *cross.ops("h2" if normed else "x1", "cross"),
        residual("add2", "x1", "cross", "x2"),
        modulated(PLAIN_NORM).op("norm3", "x2", "h3"),
        *FEED_FORWARD.ops("h3", "ffn"),
        gated("add3", "x2", "ffn", "y"),
    )


@cache
def layer(cross: CrossAttention | PictureCrossAttention, normed: bool) -> Block:
    """Self-attention and feed-forward network between a modulated norm and a gate each, cross-attention between them.

    >>> [t.name for t in layer(TO_TEXT, True).inputs]
    ['x', 'all', 'memory']
    """
    return block("block", f"x[BTD] all[BnD] {cross.memory}", branches("x", cross, normed), "y", layer=True)


@cache
def end() -> Block:
    """A norm modulated by the time's vector plus a table, and the way back to latents."""
    ops = (
        elementwise("mod", "vec[Bv] Wmod[nD] -> mod[BnD]", "add_table"),
        modulated(PLAIN_NORM).op("norm", "x", "h"),
        unpatchify("h", patch="lijo"),
    )
    return block("out", "x[BTD] vec[Bv]", ops, "noise")


def letters(config: Config, count: float = 40.0, width: float = 13824.0) -> dict[str, Num]:
    """Sizes of all letters but those of the picture.

    count  heads where that key is left out
    width  of the feed-forward network where that key is left out
    """
    sizes = heads(config, count, 128.0)
    wide, channels, made = sizes["D"], config.size("in_channels", 16.0), optional(config, "out_channels", 16.0)
    frames, side = video_patch(config)
    sizes |= {"F": config.size("ffn_dim", width), "v": wide, "u": wide, "d": wide, "n": 6.0}
    sizes |= {"w": config.size("freq_dim", WAVES), "e": config.size("text_dim", 4096.0)}
    sizes |= {"c": channels, "o": channels if made is None else made, "l": frames, "i": side, "j": side}
    ignored(config, "qk_norm", "eps", "rope_max_seq_len", "pos_embed_seq_len")
    return sizes


def pictures(config: Config, wide: Num) -> tuple[Stack, ...]:
    """The stack of the picture that a video starts from, where there is one.

    raises BadInput where only one of the two keys that make one is set, or a width is not the model's
    """
    width, added = config.given("image_dim"), config.given("added_kv_proj_dim")
    placed = config.given("pos_embed_seq_len")
    if (width is None) != (added is None):
        raise BadInput(f"{config.name}: expected image_dim and added_kv_proj_dim both set, or neither")
    if width is None or added is None:
        return ()
    same(config, "added_kv_proj_dim", added, wide)
    sizes = {"a": width, "b": width, "N": PICTURE_TOKENS if placed is None else placed}
    return (stack(picture(placed is not None), sizes=sizes, whole="N"),)


def seen_with(shown: tuple[Stack, ...]) -> dict[str, Num]:
    """Tokens of the picture, for the layers that attend to it."""
    return {"N": shown[0].sizes["N"]} if shown else {}


def latent(sizes: dict[str, Num], height: float = 480.0, width: float = 832.0, frames: float = 81.0) -> Latent:
    """How pixels become tokens, by the autoencoder that the number of channels tells."""
    is_wide = sizes["o"] == WIDE
    usual = (704.0, 1280.0, 121.0) if all_true(is_wide) else (height, width, frames)
    return Latent(
        down=where(is_wide, 16.0, 8.0),
        frames=4,
        first=1,
        patch=sizes["i"],
        patch_frames=sizes["l"],
        height=usual[0],
        width=usual[1],
        length=usual[2],
        text=512,
    )


def read(config: Config) -> Transformer:
    """A configuration of WanTransformer3DModel.

    >>> small = {"num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960}
    >>> read(Config(small, "wan2.1-t2v-1.3b")).parameter_count().total
    1418996800.0
    """
    sizes = letters(config)
    shown = pictures(config, sizes["D"])
    cross = TO_BOTH if shown else TO_TEXT
    block_of = layer(cross, config.flag("cross_attn_norm", True))
    stacks = (
        stack(conditioning(False)),
        stack(start()),
        stack(caption(), whole="M"),
        *shown,
        stack(block_of, config.count("num_layers", 40.0, least=1.0), seen_with(shown), whole="MN" if shown else "M"),
        stack(end(), sizes={"n": 2.0}),
    )
    return denoiser(config, sizes, stacks, latent(sizes))
