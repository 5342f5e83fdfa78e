"""Linear attention at several scales, and a gated feed-forward network with a depthwise convolution: EfficientViT.

Letters: ``K`` heads of width ``H``, ``r`` queries, keys and values, ``m`` scales, ``T`` pixels; ``z`` a head's width and one more,
0 where attention is quadratic, and ``S`` pixels, 0 where it is linear; ``c`` channels, ``l`` ``n`` eight and four times as many.

Sources: Cai et al. 2022 (EfficientViT), arXiv:2205.14756; Chen et al. 2024 (DC-AE), arXiv:2410.10733;
diffusers 0.42, models/attention_processor.py, SanaMultiscaleLinearAttention, models/transformers/sana_transformer.py, GLUMBConv.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.autoencoder import ChannelNorm
from floorline.blocks.norm import residual
from floorline.convolution import convolution
from floorline.op import Op, contraction, elementwise, view

WINDOWS = (("a", "b"), ("d", "e"), ("g", "q"))
"""Letters of the height and width of each scale's window."""
LINEAR = "min(max(T - H, 0), 1)"
"""1 where there are more pixels than a head is wide: then it pays to multiply keys and values first."""
TOKENS = (("T", "y*x"), ("z", f"(H + 1)*{LINEAR}"), ("S", f"T*(1 - {LINEAR})"))


@cache
def multiscale_attention(norm: ChannelNorm, scales: int = 1) -> Block:
    """Queries, keys and values as they are and after a depthwise and a grouped convolution each, all attended to alike.

    scales  of convolutions, besides the plain one

    >>> from floorline.blocks.autoencoder import GroupNorm
    >>> attention = multiscale_attention(GroupNorm(32))
    >>> [op.flops()[0].formula() for op in attention.ops if op.name in ("depthwise0", "grouped0", "kv")]
    ['2·B·r·K·H·y·x·a·b', '2·B·r·K·H·y·x·w', '2·B·m·K·z·T·H']
    """
    made = [f"p{k}[BrKHyx]" for k in range(scales)]
    ops = (
        *(contraction(name, f"x[Bcyx] W{name}[cKH] -> {name}[BKHyx]", kernel="qkv") for name in "qkv"),
        elementwise("stack", "q[BKHyx] k[BKHyx] v[BKHyx] -> qkv[BrKHyx]", "concatenate"),
        *(op for k in range(scales) for op in scale(k)),
        elementwise("scales", f"{' '.join(('qkv[BrKHyx]', *made))} -> all[BrmKHyx]", "concatenate"),
        elementwise("relu", "all[BrmKHyx] -> positive[BrmKHyx]", "relu"),
        view("queries", "positive[BrmKHyx] -> mq[BmKHT]"),
        view("keys", "positive[BrmKHyx] -> mk[BmKHT]"),
        view("values", "positive[BrmKHyx] -> mv[BmKHT]"),
        *linear(),
        *quadratic(),
        elementwise("divide", "linear[BmKzT] quadratic[BmKHT] -> ctx[BmKHT]", "divide"),
        contraction("out", "ctx[BmKHT] Wo[mKHc] -> attn[BTc]"),
        view("picture", "attn[BTc] -> raw[Bcyx]"),
        *norm.ops("norm", "raw", "n", "c", "yx"),
        residual("add", "x", "n", "out", "Bcyx"),
    )
    return block("attention", "x[Bcyx]", ops, "out", (("m", f"{scales + 1}"), ("w", "H")), layer=True)


def scale(k: int) -> tuple[Op, ...]:
    """One scale: each channel by itself over a window, then the channels of each head."""
    window = "".join(WINDOWS[k])
    return (
        convolution(f"depthwise{k}", f"qkv[BrKHyx] Wdepthwise{k}[rKH{window}] -> w{k}[BrKHyx]"),
        convolution(f"grouped{k}", f"w{k}[BrKHyx] Wgrouped{k}[rKHw] -> p{k}[BrKHyx]"),
    )


def linear() -> tuple[Op, ...]:
    """Values times keys, then times queries; a row of ones beside the values makes the denominator."""
    return (
        elementwise("pad", "mv[BmKHT] -> padded[BmKzT]", "pad"),
        contraction("kv", "padded[BmKzT] mk[BmKHT] -> kv[BmKzH]"),
        contraction("linear", "kv[BmKzH] mq[BmKHT] -> linear[BmKzT]"),
    )


def quadratic() -> tuple[Op, ...]:
    """Scores of all pairs of pixels, then values."""
    return (
        view("as_keys", "mk[BmKHT] -> ks[BmKHS]"),
        view("as_values", "mv[BmKHT] -> vs[BmKHS]"),
        contraction("scores", "mq[BmKHT] ks[BmKHS] -> s[BmKTS]"),
        elementwise("normalise", "s[BmKTS] -> weights[BmKTS]", "divide", reduces="S", statistics=(1, 1)),
        contraction("weighted", "weights[BmKTS] vs[BmKHS] -> quadratic[BmKHT]"),
    )


@cache
def gated_convolution(norm: ChannelNorm) -> Block:
    """A matmul to eight times the channels, a depthwise convolution, half gates the other, and back.

    >>> from floorline.blocks.autoencoder import GroupNorm
    >>> [op.name for op in gated_convolution(GroupNorm(32)).ops]
    ['inverted', 'act', 'depth', 'gate', 'point', 'norm', 'add']
    """
    ops = (
        contraction("inverted", "x[Bcyx] Winverted[lc] -> i[Blyx]", bias=True),
        elementwise("act", "i[Blyx] -> a[Blyx]", "silu"),
        convolution("depth", "a[Blyx] Wdepth[lij] -> g[Blyx]", bias=True),
        elementwise("gate", "g[Blyx] -> m[Bnyx]", "gated_silu"),
        contraction("point", "m[Bnyx] Wpoint[cn] -> r[Bcyx]"),
        *norm.ops("norm", "r", "normed", "c", "yx"),
        residual("add", "x", "normed", "out", "Bcyx"),
    )
    return block("feed_forward", "x[Bcyx]", ops, "out", (("l", "8*c"), ("n", "4*c")), layer=True)
