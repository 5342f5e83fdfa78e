"""Attention with K key/value heads, each shared by G query heads: multi-head (G = 1), grouped and multi-query (K = 1).

Sources: Vaswani et al. 2017, arXiv:1706.03762, eq. 1; Shazeer 2019, arXiv:1911.02150 (K = 1); Ainslie et al. 2023,
arXiv:2305.13245 (the general case); Su et al. 2021, arXiv:2104.09864 (rotary positions).
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.blocks.norm import Norm
from floorline.blocks.norm import dropout as drop_elements
from floorline.op import Op, cache_write, contraction, elementwise, view


@dataclass(frozen=True)
class HeadNorm:
    """Normalisation of queries and keys before the scores.

    norm    layer norm or RMS norm
    scale   letters of the learned scale: "H" one for all heads, "KGH" one for each
    over    letters of a row: "H" each head by itself, "KGH" all heads together

    Sources: Dehghani et al. 2023, arXiv:2302.05442, section 2.1; all heads together: OLMo 2, arXiv:2501.00656, section 3.2.
    """

    norm: Norm
    scale: str = "H"
    over: str = "H"

    def ops(self, prefix: str, query: str, key: str) -> tuple[Op, ...]:
        """The norms of queries and of keys, which have no G."""
        k_scale, k_over = self.scale.replace("G", ""), self.over.replace("G", "")
        return (
            self.norm.op(f"{prefix}norm_q", query, f"{prefix}qn", "BTKGH", self.over, self.scale),
            self.norm.op(f"{prefix}norm_k", key, f"{prefix}kn", "BTKH", k_over, k_scale),
        )


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Self-attention.

    bias         of the query, key and value projections
    key_bias     of the keys', where it differs
    out_bias     of the output projection
    rotary       positions turned into queries and keys before the cache
    head_norm    norm of queries and keys
    value_norm   norm of the values, over each head
    norm_last    whether that norm comes after the rotation
    shared_kv    values are the keys before their rotation: one projection for both
    gate         a second projection of the queries' shape whose sigmoid multiplies the output
    sinks        a learned logit for each head in the softmax. Source: Xiao et al. 2023, arXiv:2309.17453
    position_bias  added to the scores: "" none, "made" by this layer from a table of buckets (T5), "given" by an earlier one
    expanded     whether the cache repeats keys and values for each query head, as one library does
    cached       whether keys and values are kept for later tokens; an encoder keeps none
    dropout      of the attention weights, in training
    softmax      "softmax", or "softmax_fp32" where it is computed in fp32 and cast back
    name         prefix of names, where a block has more than one

    >>> [op.name for op in Attention().ops("h", "attn")]
    ['q', 'k', 'v', 'cache_k', 'cache_v', 'scores', 'softmax', 'values', 'out']
    """

    bias: bool = False
    key_bias: bool | None = None
    out_bias: bool = False
    rotary: bool = False
    head_norm: HeadNorm | None = None
    value_norm: Norm | None = None
    norm_last: bool = False
    shared_kv: bool = False
    gate: bool = False
    sinks: bool = False
    position_bias: str = ""
    expanded: bool = False
    cached: bool = True
    dropout: bool = False
    softmax: str = "softmax"
    name: str = ""

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From normalised states ``source[BTD]`` to the branch ``target[BTD]``."""
        n = self.name
        made, query, key, value = self.queries_and_keys()
        gated = f"{n}ctxg" if self.gate else f"{n}ctx"
        gate = (elementwise(f"{n}gate_out", f"{n}ctx[BTKGH] {n}qg[BTKGH] -> {gated}[BTKGH]", "gated_sigmoid"),)
        return (
            *self.projections(source),
            *made,
            *self.keep(key, value, "rope" if key == f"{n}kr" else "qkv" if not self.head_norm else ""),
            *self.core(query),
            *(gate if self.gate else ()),
            contraction(f"{n}out", f"{gated}[BTKGH] W{n}o[KGHD] -> {target}[BTD]", bias=self.out_bias),
        )

    def projections(self, source: str) -> tuple[Op, ...]:
        """Queries, keys and values: contractions, one launch where the weights are stored side by side."""
        n, label, b = self.name, f"{self.name}qkv", self.bias
        kb = b if self.key_bias is None else self.key_bias
        gate = (contraction(f"{n}qgate", f"{source}[BTD] W{n}qg[DKGH] -> {n}qg[BTKGH]", kernel=label, bias=b),)
        value = (contraction(f"{n}v", f"{source}[BTD] W{n}v[DKH] -> {n}v[BTKH]", kernel=label, bias=b),)
        return (
            contraction(f"{n}q", f"{source}[BTD] W{n}q[DKGH] -> {n}q[BTKGH]", kernel=label, bias=b),
            *(gate if self.gate else ()),
            contraction(f"{n}k", f"{source}[BTD] W{n}k[DKH] -> {n}k[BTKH]", kernel=label, bias=kb),
            *(value if not self.shared_kv else ()),
        )

    def queries_and_keys(self) -> tuple[tuple[Op, ...], str, str, str]:
        """What happens to queries, keys and values before the scores, and their names then."""
        n = self.name
        query, key, value = f"{n}q", f"{n}k", f"{n}k" if self.shared_kv else f"{n}v"
        ops: list[Op] = []
        steps = ("rotate", "norm") if self.norm_last else ("norm", "rotate")
        for step in steps:
            if step == "norm" and self.head_norm:
                ops += self.head_norm.ops(n, query, key)
                query, key = f"{n}qn", f"{n}kn"
            if step == "rotate" and self.rotary:
                ops += [
                    elementwise(f"{n}rope_q", f"{query}[BTKGH] -> {n}qr[BTKGH]", "rope", kernel=f"{n}rope"),
                    elementwise(f"{n}rope_k", f"{key}[BTKH] -> {n}kr[BTKH]", "rope", kernel=f"{n}rope"),
                ]
                query, key = f"{n}qr", f"{n}kr"
        if self.value_norm:
            ops.append(self.value_norm.op(f"{n}norm_v", value, f"{n}vn", "BTKH", "H"))
            value = f"{n}vn"
        return tuple(ops), query, key, value

    def keep(self, key: str, value: str, label: str) -> tuple[Op, ...]:
        """Keys and values join those of earlier tokens; without a cache they are only seen as keys."""
        n, kernel = self.name, f"{self.name}{label}" if label and self.cached else ""
        join = cache_write if self.cached else view
        if self.expanded:
            return (
                view(f"{n}repeat_k", f"{key}[BTKH] -> {n}kx[BTKGH]"),
                view(f"{n}repeat_v", f"{value}[BTKH] -> {n}vx[BTKGH]"),
                join(f"{n}cache_k", f"{n}kx[BTKGH] -> {n}kc[BSKGH]"),
                join(f"{n}cache_v", f"{n}vx[BTKGH] -> {n}vc[BSKGH]"),
            )
        return (
            join(f"{n}cache_k", f"{key}[BTKH] -> {n}kc[BSKH]", kernel=kernel),
            join(f"{n}cache_v", f"{value}[BTKH] -> {n}vc[BSKH]", kernel=kernel),
        )

    def core(self, query: str) -> tuple[Op, ...]:
        """Scores, softmax and weighted values: what flash attention makes one launch (Dao et al. 2022, arXiv:2205.14135)."""
        n, label, heads = self.name, "attention", "KGH" if self.expanded else "KH"
        weights = f"{n}pd" if self.dropout else f"{n}p"
        sink = f" W{n}sinks[KG]" if self.sinks else ""
        bias = f" {n}bias[KGTS]" if self.position_bias else ""
        table = elementwise(f"{n}positions", f"{n}bucket_ids[TS] W{n}rel[RKG] -> {n}bias[KGTS]", "lookup")
        return (
            *((table,) if self.position_bias == "made" else ()),
            contraction(f"{n}scores", f"{query}[BTKGH] {n}kc[BS{heads}] -> {n}s[BTKGS]", kernel=label, visible=True),
            elementwise(
                f"{n}softmax",
                f"{n}s[BTKGS]{bias}{sink} -> {n}p[BTKGS]",
                self.softmax,
                kernel=label,
                reduces="S",
                statistics=(2, 1),
            ),
            *((drop_elements(f"{n}drop_p", f"{n}p", weights, "BTKGS", kernel=label),) if self.dropout else ()),
            contraction(
                f"{n}values", f"{weights}[BTKGS] {n}vc[BS{heads}] -> {n}ctx[BTKGH]", kernel=label, visible=True
            ),
        )
