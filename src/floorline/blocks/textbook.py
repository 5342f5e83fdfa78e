"""The layer that textbooks and articles price: seven matmul-like kernels and five passes over the width, no biases.

Two published calculators and an article count a layer so: 12·D² parameters with one head width for all, a fused
query/key/value projection, a two-matrix feed-forward of 4·D, and "five layer-norm, residual or GeLU-like passes" of one
read and one write of the width each. Norm weights, biases and embeddings are left out, as there. It is the ground on
which their numbers are reproduced; real models have their own blocks.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.attention import Attention
from floorline.blocks.latent_attention import LatentAttention
from floorline.op import Elementwise, Op, contraction, elementwise


def one_pass(name: str, source: str, target: str) -> Elementwise:
    """One read and one write of the width, with nothing to learn."""
    return elementwise(name, f"{source}[BTD] -> {target}[BTD]", "pass")


@cache
def textbook() -> Block:
    """The layer, from ``x[BTD]`` to ``y[BTD]``: twelve launches where attention is not fused.

    >>> sum(1 for op in textbook().ops if op.name.startswith("pass"))
    5
    """
    attention = Attention()
    ops = (
        *attention.projections("h"),
        *attention.keep("k", "v", "qkv"),
        *attention.core("q"),
        contraction("out", "ctx[BTKGH] Wo[KGHD] -> attn[BTD]"),
    )
    return block("block", "x[BTD]", around(ops), "y", layer=True)


def around(attention: tuple[Op, ...]) -> tuple[Op, ...]:
    """A layer around its attention, which goes from ``h[BTD]`` to ``attn[BTD]``."""
    return (
        one_pass("pass1", "x", "h"),
        *attention,
        one_pass("pass2", "attn", "x1"),
        one_pass("pass3", "x1", "h2"),
        contraction("up", "h2[BTD] Wup[DF] -> u[BTF]"),
        contraction("down", "u[BTF] Wdown[FD] -> ffn[BTD]"),
        one_pass("pass4", "ffn", "x2"),
        one_pass("pass5", "x2", "y"),
    )


@cache
def textbook_latent(absorbed: bool) -> Block:
    """The layer with latent attention, whose norm of the latent is its only other parameter.

    absorbed  whether the latent is read as it is, as while decoding

    >>> sum(1 for op in textbook_latent(True).ops if op.name.startswith("pass"))
    5
    """
    attention = LatentAttention(query_latent=False, absorbed=absorbed)
    return block("block", "x[BTD]", around(attention.ops("h", "attn")), "y", layer=True)


@cache
def textbook_head() -> Block:
    """Logits by the token table, without a final norm."""
    return block("head", "x[BTD]", (contraction("logits", "x[BTD] /We[VD] -> z[BTV]"),), "z")
