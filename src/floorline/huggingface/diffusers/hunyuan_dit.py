"""Hunyuan-DiT: a layer of the second half joins what a layer of the first half made; two texts, one behind the other.

Both texts are always as long as the configuration says: what is missing is filled with learned vectors, so a workload's tokens of
text change nothing. Letters besides the usual ones: ``g`` tokens of CLIP's text, ``b`` of T5's, M both; ``e`` width of T5's text,
``d`` of CLIP's, to which T5's is brought; ``r`` numbers that say how large the picture is, ``z`` width of all that conditions
besides the time.

Sources: Li et al. 2024, arXiv:2405.08748, section 2.1; diffusers 0.42, models/transformers/hunyuan_transformer_2d.py.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks import attention_pool, long_skip
from floorline.blocks.adaptive_norm import modulated, modulation
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.conditioning import summed, two_matmuls
from floorline.blocks.cross_attention import CrossAttention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.norm import LAYER_NORM, residual
from floorline.errors import BadInput
from floorline.huggingface.config import Config, divide
from floorline.huggingface.diffusers.common import WAVES, denoiser, feed_forward, heads, ignored, same, scaled, stack
from floorline.huggingface.diffusers.flux import end
from floorline.huggingface.diffusers.pixart import start
from floorline.num import Num
from floorline.op import Op, elementwise, lookup
from floorline.specs.latent import Latent
from floorline.transformer import Transformer

HEAD_NORM = HeadNorm(LAYER_NORM)
POOL_HEADS = 8.0
SIZES = 6.0
"""Height and width of the picture as it was, as it is, and where it was cut."""


@cache
def conditioning(styled: bool) -> Block:
    """The vector that conditions all layers: of the time and the pooled text, and of sizes and a style up to version 1.1.

    >>> [t.name for t in conditioning(True).inputs]
    ['style_ids', 't5', 'waves', 'size_waves']
    """
    extra = "pooled[BP]"
    ops: list[Op] = [
        *two_matmuls("time", "waves[Bw]", "time[Bv]", "silu"),
        *attention_pool.attention_pool("t5", "pooled"),
    ]
    if styled:
        extra = "extra[Bz]"
        ops += [
            lookup("style", "style_ids[B] Wstyle[YD] -> style[BD]", "Y", "min(B/Y, 1)", embeds=False),
            elementwise("beside", f"pooled[BP] size_waves[Brw] style[BD] -> {extra}", "concatenate", linear=True),
        ]
    ops += [
        *two_matmuls("extra", extra, "told[Bv]", "silu", inner="y"),
        *summed("condition", ("time[Bv]", "told[Bv]"), "vec[Bv]"),
    ]
    data = "t5[Bbe] waves[Bw]" + (" size_waves[Brw]" if styled else "")
    return block("conditioning", "style_ids[B]" if styled else "", tuple(ops), "vec", attention_pool.DERIVED, data=data)


@cache
def texts() -> Block:
    """T5's text is brought to the width of CLIP's, and stands behind it.

    >>> texts().outputs
    ('memory',)
    """
    ops = (
        *two_matmuls("caption", "t5[Bbe]", "words[Bbd]", "silu", inner="q"),
        elementwise("behind", "clip[Bgd] words[Bbd] -> joined[BMd]", "concatenate", linear=True),
        elementwise("fill", "joined[BMd] Wfill[Md] -> memory[BMd]", "where"),
    )
    return block("texts", "", ops, "memory", data="t5[Bbe] clip[Bgd]")


@cache
def layer(ffn: FeedForward, skips: bool) -> Block:
    """Attention behind a shifted norm, cross-attention, a feed-forward network.

    skips  whether it first joins what an earlier layer made

    >>> [t.name for t in layer(FeedForward("gelu"), True).inputs]
    ['x', 'vec', 'memory', 'earlier']
    """
    attention = Attention(bias=True, out_bias=True, rotary=True, head_norm=HEAD_NORM, cached=False)
    cross = CrossAttention(bias=True, out_bias=True, cached=False, width="d", head_norm=HEAD_NORM, rotary=True)
    stream = "x0" if skips else "x"
    ops = (
        *(long_skip.long_skip("x", "earlier", "x0") if skips else ()),
        *modulation("mod", "vec", "mod"),
        modulated(LAYER_NORM).op("norm1", stream, "h"),
        *attention.ops("h", "attn"),
        residual("add1", stream, "attn", "x1"),
        LAYER_NORM.op("norm2", "x1", "h2"),
        *cross.ops("h2", "cross"),
        residual("add2", "x1", "cross", "x2"),
        LAYER_NORM.op("norm3", "x2", "h3"),
        *ffn.ops("h3", "ffn"),
        residual("add3", "x2", "ffn", "y"),
    )
    inputs = f"x[BTD] vec[Bv] {cross.memory}" + (" earlier[BTD]" if skips else "")
    return block("late" if skips else "early", inputs, ops, "y", long_skip.DERIVED if skips else (), layer=True)


def halves(config: Config) -> tuple[float, float]:
    """Layers that join nothing, and layers that join what an earlier one made: of 40, the last 19.

    raises BadInput where the class has more that join than were kept

    >>> halves(Config({"num_layers": 40}, "hunyuan-dit"))
    (21.0, 19.0)
    """
    count = config.count("num_layers", 28.0, least=1.0)
    if count % 2.0 and count > 1.0:
        raise BadInput(
            f"{config.name}: num_layers is {count:g}; expected an even number, since each late layer joins an early one"
        )
    early = count // 2.0 + 1.0
    return (early, count - early) if count > 1.0 else (1.0, 0.0)


def widths(config: Config) -> dict[str, Num]:
    """Sizes of the letters."""
    sizes = heads(config, 16.0, 88.0)
    wide, channels, patch = sizes["D"], config.size("in_channels"), config.size("patch_size")
    same(config, "hidden_size", config.size("hidden_size", 1152.0), wide)
    sizes |= {
        "F": scaled(wide, config.values.get("mlp_ratio", 4.0), config),
        "v": wide,
        "u": wide,
        "w": WAVES,
        "n": 1.0,
    }
    learns = config.flag("learn_sigma", True)
    sizes |= {"c": channels, "o": 2.0 * channels if learns else channels, "i": patch, "j": patch}
    clip, t5 = config.size("text_len", 77.0), config.size("text_len_t5", 256.0)
    width, pooled = config.size("cross_attention_dim_t5", 2048.0), config.size("pooled_projection_dim", 1024.0)
    sizes |= {"g": clip, "b": t5, "M": clip + t5, "d": config.size("cross_attention_dim", 1024.0), "e": width}
    sizes |= {"q": 4.0 * width, "P": pooled, "y": 4.0 * wide, "X": POOL_HEADS, "Y": 1.0, "r": SIZES}
    sizes["p"] = divide(config, width, POOL_HEADS, "cross_attention_dim_t5", "the pool's heads")
    return {**sizes, "z": pooled + SIZES * WAVES + wide}


def read(config: Config) -> Transformer:
    """A configuration of HunyuanDiT2DModel.

    >>> hunyuan = {"in_channels": 4, "patch_size": 2, "hidden_size": 1408, "num_layers": 40, "mlp_ratio": 4.3637}
    >>> read(Config({**hunyuan, "use_style_cond_and_image_meta_size": False}, "hunyuan-dit-1.2")).parameter_count().total
    1499952032.0
    """
    sizes, (early, late) = widths(config), halves(config)
    ffn, styled = feed_forward(config, "gelu-approximate"), config.flag("use_style_cond_and_image_meta_size", True)
    ignored(config, "mlp_ratio", "norm_type")
    side = config.size("sample_size", 32.0) * 8.0
    stacks = (
        stack(conditioning(styled)),
        stack(start()),
        stack(texts(), whole="M"),
        stack(layer(ffn, False), early, whole="M"),
        *((stack(layer(ffn, True), late, whole="M"),) if late else ()),
        stack(end(), sizes={"n": 2.0}),
    )
    return denoiser(config, sizes, stacks, Latent(patch=sizes["i"], height=side, width=side, text=sizes["M"]))
