"""Parts of a transformer by themselves, with nothing around them: a feed-forward, and each way in which a video's tokens attend.

Further letters: ``a`` frames and ``p`` positions of a frame where tokens meet those of their own frame or position only, ``w``
windows, ``c`` width of a text, ``o`` width of what a feed-forward makes, ``U`` columns of a head's values.

Sources: Vaswani et al. 2017, arXiv:1706.03762; attention in space and in time: Arnab et al. 2021 (ViViT), arXiv:2103.15691,
section 3.3, model 3, and Ma et al. 2024 (Latte), arXiv:2401.03048, section 3.2; windows: Liu et al. 2021 (Swin),
arXiv:2103.14030, section 3.2; linear attention: Katharopoulos et al. 2020, arXiv:2006.16236, eq. 5, and Xie et al. 2024 (SANA),
arXiv:2410.10629, section 2.2.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.attention import Attention
from floorline.blocks.cross_attention import CrossAttention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.streams import relettered
from floorline.op import contraction, elementwise

FRAMES, POSITIONS, WINDOWS = "a", "p", "w"


@cache
def feed_forward(gated: bool) -> Block:
    """Up, activation, down, to any width.

    >>> [op.flops()[0].formula() for op in feed_forward(False).ops if op.flops()]
    ['2·B·T·D·F', '2·B·T·F·o']
    """
    *ahead, _ = FeedForward("silu" if gated else "gelu", gated=gated).ops("x", "y")
    down = contraction("down", "m[BTF] Wdown[Fo] -> y[BTo]")
    return block("feed_forward", "x[BTD]", (*ahead, down), "y", layer=True)


@cache
def self_attention(among: str = "") -> Block:
    """Each token attends to all, or to those that share one of ``among`` (frames, positions, windows).

    >>> [op.flops()[0].formula() for op in self_attention("a").ops if op.name == "scores"]
    ['2·B·a·T·K·G·H·S·visible']
    """
    part = Attention(cached=False)
    ops = (
        *part.projections("x"),
        *part.keep("k", "v", ""),
        *part.core("q"),
        contraction("out", "ctx[BTKGH] Wo[KGHD] -> y[BTD]"),
    )
    return block("self_attention", f"x[B{among}TD]", relettered(ops, {"B": f"B{among}"}), "y", layer=True)


@cache
def cross_attention(frames: str = "") -> Block:
    """Each token attends to a text, whose keys and values are made once for all frames.

    frames  letter of frames beside the tokens of one, or "" where T is all tokens

    >>> [op.flops()[0].formula() for op in cross_attention("a").ops if op.name in ("k", "scores")]
    ['2·B·M·c·K·H', '2·B·a·T·K·G·H·M']
    """
    part = CrossAttention(cached=False, width="c", name="")
    ops = relettered(part.ops("x", "y"), {"T": f"{frames}T"})
    return block("cross_attention", f"x[B{frames}TD] {part.memory}", ops, "y", layer=True)


@cache
def linear_attention() -> Block:
    """Keys meet values first, as a state of H × H for each head that all queries read; a positive function stands for the softmax.

    >>> [op.flops()[0].formula() for op in linear_attention().ops if op.name in ("state", "read", "norm")]
    ['2·B·T·K·H·U', '2·B·T·K·G·H', '2·B·T·K·G·H·U']
    """
    attention = Attention()
    query, key, value = attention.projections("x")
    ops = (
        query,
        key,
        contraction("v", "x[BTD] Wv[DKU] -> v[BTKU]", kernel=value.kernel),
        elementwise("feature_q", "q[BTKGH] -> qf[BTKGH]", "relu"),
        elementwise("feature_k", "k[BTKH] -> kf[BTKH]", "relu"),
        contraction("state", "kf[BTKH] v[BTKU] -> st[BKHU]"),
        elementwise("sum_k", "kf[BTKH] -> sum[BKH]", "sum", reduces="T"),
        contraction("norm", "qf[BTKGH] sum[BKH] -> n[BTKG]"),
        contraction("read", "qf[BTKGH] st[BKHU] -> r[BTKGU]"),
        elementwise("divide", "r[BTKGU] n[BTKG] -> ctx[BTKGU]", "divide"),
        contraction("out", "ctx[BTKGU] Wo[KGUD] -> y[BTD]"),
    )
    return block("linear_attention", "x[BTD]", ops, "y", layer=True)
