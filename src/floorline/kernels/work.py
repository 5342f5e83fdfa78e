"""What a kernel must do, whatever the software: arithmetic, weights and other operands to move, a message to send.

Each function takes the columns of rows of one operator and one format, and gives the least that any implementation does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from floorline.formulas.attention import visible_share, window_share
from floorline.kernels.formats import Format
from floorline.num import Array, Num, ceil, maximum, minimum, where

Columns = Mapping[str, Array]


@dataclass(frozen=True)
class Work:
    """The least of a kernel.

    flops    arithmetic [FLOP]
    bytes    operands once, results once [B]
    message  buffer of a collective, 0 for none [B]
    kind     of the collective, "" for none
    """

    flops: Num
    bytes: Num
    message: Num = 0.0
    kind: str = ""


def stated(values: Array, default: float | Array) -> Array:
    """A column with a default where it is empty."""
    return np.where(np.isnan(values), default, values)


def matmul(c: Columns, form: Format, cache: Format) -> Work:
    """C[m,n] = A[m,k]·B[k,n], ``batch`` times: a weight for each where they are grouped."""
    del cache
    batch = stated(c["batch"], 1.0)
    m, n, k = c["m"], c["n"], c["k"]
    moved = form.weights * k * n + form.activations * m * k + form.result * m * n
    return Work(2.0 * batch * m * n * k, batch * moved)


def grouped_matmul(c: Columns, form: Format, cache: Format) -> Work:
    """A matmul for each of ``batch`` groups of m rows; or, where ``heads`` is given, m tokens, each to ``heads`` of the groups,
    of which at least that many are read."""
    groups = matmul(c, form, cache)
    m, n, k, chosen = c["m"], c["n"], c["k"], stated(c["heads"], 1.0)
    rows = m * chosen
    read = minimum(c["batch"], chosen)
    routed = form.weights * read * k * n + form.activations * m * k + form.result * rows * n
    has = ~np.isnan(c["heads"])
    return Work(where(has, 2.0 * rows * n * k, groups.flops), where(has, routed, groups.bytes))


def experts(c: Columns, form: Format, cache: Format) -> Work:
    """Gated experts on one rank: three matmuls of n × k for each token and expert. A rank gets its share of the tokens; where
    routing is skewed, the measured rank is taken to be the fullest, which has no less. The experts that are read are the
    fewest that routing allows."""
    del cache
    ranks, slices = stated(c["ep"], 1.0), stated(c["tp"], 1.0)
    m, n, k, chosen, count = c["m"], c["n"] / slices, c["k"], c["heads"], c["batch"] / ranks
    pairs = m * chosen / ranks
    least = maximum(1.0, minimum(count, ceil(chosen / ranks)))
    weights = form.weights * 3.0 * least * n * k
    return Work(6.0 * pairs * n * k, weights + 2.0 * form.activations * minimum(m, pairs) * k)


def pairs(c: Columns) -> Num:
    """Query–key pairs that a mask leaves, of one head of one sequence."""
    queries, keys = c["seq_q"], c["seq_kv"]
    window = stated(c["window"], 0.0)
    causal = visible_share(queries, keys)
    narrow = window_share(queries, keys - queries, where(window > 0.0, window, keys), keys)
    return queries * keys * where(window > 0.0, narrow, where(c["causal"] > 0.0, causal, 1.0))


def attention(c: Columns, form: Format, cache: Format) -> Work:
    """Scores and weighted values over the visible pairs; keys and values that anybody sees, queries and outputs once."""
    batch, heads, width = c["batch"], c["heads"], c["head_dim"]
    value_width = stated(c["value_width"], width)
    window = stated(c["window"], 0.0)
    seen = where(window > 0.0, minimum(c["seq_kv"], window + c["seq_q"] - 1.0), c["seq_kv"])
    kept = cache.activations * batch * seen * c["kv_heads"] * (width + value_width)
    own = batch * c["seq_q"] * heads * (form.activations * width + form.result * value_width)
    return Work(2.0 * batch * heads * (width + value_width) * pairs(c), kept + own)


def attention_backward(c: Columns, form: Format, cache: Format) -> Work:
    """Five matmuls where forward has two: the scores again, and gradients of queries, keys, values and weights; all operands
    and their gradients once."""
    ahead = attention(c, form, cache)
    return Work(2.5 * ahead.flops, 2.0 * ahead.bytes)


def attention_both(c: Columns, form: Format, cache: Format) -> Work:
    """Forward and backward together."""
    ahead = attention(c, form, cache)
    return Work(3.5 * ahead.flops, 2.0 * ahead.bytes)


def latent_decode(c: Columns, form: Format, cache: Format) -> Work:
    """Latent attention with its projections absorbed: scores over latent and rotary parts, values over the latent."""
    batch, heads, latent, rotary = c["batch"], c["heads"], c["kv_heads"], c["head_dim"]
    kept = cache.activations * batch * c["seq_kv"] * (latent + rotary)
    own = batch * c["seq_q"] * heads * (form.activations * (latent + rotary) + form.result * latent)
    return Work(2.0 * batch * heads * (2.0 * latent + rotary) * pairs(c), kept + own)


def latent_prefill(c: Columns, form: Format, cache: Format) -> Work:
    """Latent attention with keys and values written out: heads of width kv_heads and head_dim more of rotary part."""
    batch, heads, width, rotary = c["batch"], c["heads"], c["kv_heads"], c["head_dim"]
    kept = cache.activations * batch * c["seq_kv"] * heads * 2.0 * width
    own = batch * c["seq_q"] * heads * (form.activations * (width + rotary) + form.result * width)
    return Work(2.0 * batch * heads * (2.0 * width + rotary) * pairs(c), kept + own)


def rows_through(reads: float, writes: float) -> Callable[[Columns, Format, Format], Work]:
    """An element-wise operator on m rows of n: so many operands read and written."""

    def work(c: Columns, form: Format, cache: Format) -> Work:
        del cache
        return Work(0.0 * c["m"], (reads * form.activations + writes * form.result) * c["m"] * c["n"])

    return work


def collective(kind: str) -> Callable[[Columns, Format, Format], Work]:
    """A message of ``bytes``, as nccl-tests counts them: the whole buffer of a rank."""

    def work(c: Columns, form: Format, cache: Format) -> Work:
        del form, cache
        return Work(0.0 * c["bytes"], 0.0 * c["bytes"], stated(c["bytes"], 0.0), kind)

    return work


def expert_exchange(c: Columns, form: Format, cache: Format) -> Work:
    """Tokens to the ranks of their experts, or back: where a rank holds fewer experts than a token chooses, copies must go to
    others; which is all that must."""
    del cache
    ranks = maximum(c["gpus"], 1.0)
    held = c["batch"] / ranks
    others = maximum(ceil(c["n"] / held) - 1.0, 0.0)
    sent = c["m"] * c["k"] * form.activations * others
    return Work(0.0 * sent, 0.0 * sent, sent * ranks / maximum(ranks - 1.0, 1.0), "all_to_all")


WORK: dict[str, Callable[[Columns, Format, Format], Work]] = {
    "gemm": matmul,
    "grouped_gemm": grouped_matmul,
    "moe": experts,
    "attention_prefill": attention,
    "attention_decode": attention,
    "attention_forward": attention,
    "attention_backward": attention_backward,
    "attention_forward_backward": attention_both,
    "mla_decode": latent_decode,
    "mla_prefill": latent_prefill,
    "rmsnorm": rows_through(1.0, 1.0),
    "rope": rows_through(1.0, 1.0),
    "activation": rows_through(1.0, 0.5),
    "add": rows_through(1.0, 1.0),
    "embedding": rows_through(0.0, 1.0),
    "all_reduce": collective("all_reduce"),
    "all_gather": collective("all_gather"),
    "reduce_scatter": collective("reduce_scatter"),
    "all_to_all": collective("all_to_all"),
    "send_recv": collective("send_recv"),
    "moe_dispatch": expert_exchange,
    "moe_combine": expert_exchange,
}
"""Operator → its work."""
