"""The decoder layer: norm, attention, residual, norm, feed-forward, residual."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from floorline.block import Block, block
from floorline.blocks.attention import attention
from floorline.blocks.feed_forward import feed_forward, gated_feed_forward
from floorline.blocks.norm import dropout, layer_norm, residual, rms_norm
from floorline.op import Op


@dataclass(frozen=True, kw_only=True)
class DecoderKind:
    """What picks the code of a decoder layer; sizes are numbers and live in the model.

    rms             RMS norm instead of layer norm
    norm_bias       bias of the layer norms
    bias, out_bias  biases of the query/key/value projections, of the output projection
    ffn_bias        biases of the feed-forward matmuls
    rotary          rotary positions
    gated           gated feed-forward
    softmax         "softmax", or "softmax_fp32" where it is computed in fp32 and cast back
    activation      "gelu_new", "gelu", "silu", …
    attention_dropout, residual_dropout  dropout in training
    """

    rms: bool
    activation: str
    norm_bias: bool = False
    bias: bool = False
    out_bias: bool = False
    ffn_bias: bool = False
    rotary: bool = False
    gated: bool = False
    softmax: str = "softmax"
    attention_dropout: bool = False
    residual_dropout: bool = False


def normalise(kind: DecoderKind, name: str, source: str, target: str) -> Op:
    """The norm that this kind of layer has."""
    return rms_norm(name, source, target) if kind.rms else layer_norm(name, source, target, bias=kind.norm_bias)


def join(kind: DecoderKind, name: str, stream: str, branch: str, target: str) -> tuple[Op, ...]:
    """The branch, with dropout in training where the model has it, joins the residual stream."""
    if not kind.residual_dropout:
        return (residual(name, stream, branch, target),)
    return (dropout(f"{name}_drop", branch, f"{branch}_drop"), residual(name, stream, f"{branch}_drop", target))


@cache
def decoder(kind: DecoderKind) -> Block:
    """One decoder layer of this kind, from ``x[BTD]`` to ``y[BTD]``.

    >>> len(decoder(DecoderKind(rms=True, activation="silu", gated=True, rotary=True)).ops)
    19
    """
    layer = gated_feed_forward if kind.gated else feed_forward
    ops = (
        normalise(kind, "norm1", "x", "h"),
        *attention(
            "h",
            "attn",
            bias=kind.bias,
            out_bias=kind.out_bias,
            rotary=kind.rotary,
            dropout=kind.attention_dropout,
            softmax=kind.softmax,
        ),
        *join(kind, "add1", "x", "attn", "x1"),
        normalise(kind, "norm2", "x1", "h2"),
        *layer("h2", "ffn", kind.activation, bias=kind.ffn_bias),
        *join(kind, "add2", "x1", "ffn", "y"),
    )
    return block("block", "x[BTD]", ops, "y")
