"""PixArt-α and -Σ: text by cross-attention, one modulation for all layers plus a table for each.

Sources: Chen et al. 2023, arXiv:2310.00426, section 2.3; Chen et al. 2024, arXiv:2403.04692; diffusers 0.42,
models/transformers/pixart_transformer_2d.py, models/attention.py, BasicTransformerBlock with norm_type "ada_norm_single".
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import gated, modulated, modulation, shared_modulation
from floorline.blocks.attention import Attention
from floorline.blocks.conditioning import two_matmuls
from floorline.blocks.cross_attention import CrossAttention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.norm import PLAIN_NORM, Norm, residual
from floorline.blocks.patchify import patchify, unpatchify
from floorline.huggingface.config import Config, rounded
from floorline.huggingface.diffusers.common import WAVES, denoiser, feed_forward, heads, ignored, optional, stack
from floorline.op import Op, elementwise, view
from floorline.specs.latent import Latent
from floorline.transformer import Transformer


@cache
def conditioning(sized: bool) -> Block:
    """The modulation of all layers, of the time, and of size and aspect ratio where the model is told those.

    Letters: ``r`` numbers of a size, two, ``s`` width of each number's vector.

    >>> conditioning(False).outputs
    ('all', 'vec')
    """
    time, vec = ("time[Bv]", "time") if sized else ("vec[Bv]", "vec")
    ops: list[Op] = [*two_matmuls("time", "waves[Bw]", time, "silu")]
    if sized:
        ops += two_matmuls("size", "size_waves[Brw]", "size[Brg]", "silu", inner="q")
        ops += two_matmuls("ratio", "ratio_waves[Bw]", "ratio[Bg]", "silu", inner="q")
        ops += [
            view("size_row", "size[Brg] -> sizes[Bv]"),
            view("ratio_row", "ratio[Bg] -> ratios[Bv]"),
            elementwise("condition", f"{vec}[Bv] sizes[Bv] ratios[Bv] -> vec[Bv]", "add", linear=True),
        ]
    ops += modulation("mod", "vec", "all")
    data = "waves[Bw]" + (" size_waves[Brw] ratio_waves[Bw]" if sized else "")
    return block("conditioning", "", tuple(ops), "all vec", data=data)


@cache
def start() -> Block:
    """Latents to tokens."""
    return block("patches", "", (patchify(),), "x", data="latent[BTcij]")


@cache
def caption() -> Block:
    """The text, brought to the model's width.

    >>> caption().ops[0].flops()[0].formula()
    '2·B·M·e·u'
    """
    return block(
        "caption",
        "",
        two_matmuls("caption", "text[BMe]", "memory[BMd]", "gelu_pytorch_tanh"),
        "memory",
        data="text[BMe]",
    )


@cache
def layer(
    attention: Attention, cross: CrossAttention | None, ffn: FeedForward, norm: Norm = PLAIN_NORM, name: str = "block"
) -> Block:
    """Self-attention between a modulated norm and a gate, cross-attention without either, a feed-forward network.

    >>> [t.name for t in layer(Attention(cached=False), CrossAttention(cached=False), FeedForward("gelu")).inputs]
    ['x', 'all', 'memory']
    """
    ops: list[Op] = [
        *shared_modulation("mod", "all", "mod"),
        modulated(norm).op("norm1", "x", "h"),
        *attention.ops("h", "attn"),
        gated("add1", "x", "attn", "x1"),
    ]
    stream = "x1"
    if cross:
        ops += [*cross.ops("x1", "cross"), residual("add2", "x1", "cross", "x2")]
        stream = "x2"
    ops += [
        modulated(norm).op("norm2", stream, "h2"),
        *ffn.ops("h2", "ffn"),
        gated("add3", stream, "ffn", "y"),
    ]
    memory = f" {cross.memory}" if cross else ""
    return block(name, f"x[BTD] all[BnD]{memory}", tuple(ops), "y", layer=True)


@cache
def end() -> Block:
    """A norm modulated by the time's vector plus a table, and the way back to latents."""
    ops = (
        elementwise("mod", "vec[Bv] Wmod[nD] -> mod[BnD]", "add_table"),
        modulated(PLAIN_NORM).op("norm", "x", "h"),
        unpatchify("h"),
    )
    return block("out", "x[BTD] vec[Bv]", ops, "noise")


def read(config: Config) -> Transformer:
    """A configuration of PixArtTransformer2DModel.

    >>> alpha = read(Config({"caption_channels": 4096, "sample_size": 64}, "pixart-alpha"))
    >>> alpha.parameter_count().total
    610856096.0
    """
    sizes = heads(config, 16.0, 72.0)
    wide, channels, patch = sizes["D"], config.size("in_channels", 4.0), config.size("patch_size", 2.0)
    made, text = config.size("out_channels", 8.0), config.given("caption_channels")
    sample, cross_width = config.size("sample_size", 128.0), optional(config, "cross_attention_dim", 1152.0)
    if config.get("out_channels") is None and "out_channels" in config.values:
        made = channels
    sizes |= {"F": 4.0 * wide, "v": wide, "u": wide, "w": WAVES, "n": 6.0, "r": 2.0, "g": rounded(wide / 3.0)}
    sizes |= {"q": rounded(wide / 3.0), "c": channels, "o": made, "i": patch, "j": patch}
    sizes |= {"d": wide if cross_width is None else cross_width, "e": wide if text is None else text}
    told = config.get("use_additional_conditions")
    sized = config.flag("use_additional_conditions", False) if told is not None else sample == 128.0
    bias = config.flag("attention_bias", True)
    norm = (
        Norm("layer_norm", bias=True, statistics=(2, 2))
        if config.flag("norm_elementwise_affine", False)
        else PLAIN_NORM
    )
    cross = CrossAttention(bias=bias, out_bias=True, cached=False, width="d")
    block_of = layer(
        Attention(bias=bias, out_bias=True, cached=False),
        cross if cross_width is not None else None,
        feed_forward(config, "gelu-approximate"),
        norm,
    )
    ignored(config, "norm_num_groups", "num_embeds_ada_norm", "upcast_attention", "norm_type", "norm_eps", "dropout")
    ignored(config, "interpolation_scale", "attention_type", "use_linear_projection", "num_vector_embeds")
    stacks = (
        stack(conditioning(sized)),
        stack(start()),
        *((stack(caption(), whole="M"),) if text is not None else ()),
        stack(block_of, config.count("num_layers", 28.0, least=1.0), whole="M"),
        stack(end(), sizes={"n": 2.0}),
    )
    side = sample * 8.0
    return denoiser(config, sizes, stacks, Latent(patch=patch, height=side, width=side, text=120 if sized else 300))
