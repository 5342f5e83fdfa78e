"""Cross-attention: a decoder's tokens look at what an encoder made.

Keys and values come from the M states of the encoder, once: they stay in the cache, and a decoded token reads them there.
Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.3, "encoder-decoder attention".
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.blocks.attention import HeadNorm
from floorline.blocks.norm import dropout as drop_elements
from floorline.blocks.streams import relettered
from floorline.op import Op, cache_write, contraction, elementwise, view

MEMORY = "memory[BMD]"
"""What a block with cross-attention is given: the encoder's last states."""


@dataclass(frozen=True, kw_only=True)
class CrossAttention:
    """Attention over the encoder's states.

    bias      of the query, key and value projections
    key_bias  of the keys', where it differs
    out_bias  of the output projection
    dropout   of the attention weights, in training
    held      whether keys and values are in the cache already: while decoding
    cached    whether they are kept for later tokens; where a picture attends to a text they are made anew in each step
    width     letter of the width of what is attended to, where that is not the model's
    head_norm norm of queries and keys
    rotary    positions turned into the queries alone
    name      prefix of names

    >>> [op.name for op in CrossAttention().ops("h2", "cross")]
    ['xq', 'xk', 'xv', 'xcache_k', 'xcache_v', 'xscores', 'xsoftmax', 'xvalues', 'xout']
    >>> [op.name for op in CrossAttention(held=True).ops("h2", "cross")]
    ['xq', 'xscores', 'xsoftmax', 'xvalues', 'xout']
    """

    bias: bool = False
    key_bias: bool | None = None
    out_bias: bool = False
    dropout: bool = False
    held: bool = False
    cached: bool = True
    width: str = "D"
    head_norm: HeadNorm | None = None
    rotary: bool = False
    name: str = "x"

    @property
    def memory(self) -> str:
        """What a block is given to attend to."""
        return f"memory[BM{self.width}]"

    @property
    def caches(self) -> str:
        """What a block that decodes finds in the cache."""
        return f"{self.name}kc[BMKH] {self.name}vc[BMKH]" if self.held else ""

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From normalised states ``source[BTD]`` to the branch ``target[BTD]``."""
        n = self.name
        query, key = f"{n}q", f"{n}k"
        norms = self.head_norm.ops(n, query, key) if self.head_norm else ()
        norms = (norms[0], relettered((norms[1],), {"T": "M"})[0]) if norms else ()
        query, key = (f"{n}qn", f"{n}kn") if norms else (query, key)
        turn = elementwise(f"{n}rope_q", f"{query}[BTKGH] -> {n}qr[BTKGH]", "rope", kernel=f"{n}rope")
        return (
            contraction(f"{n}q", f"{source}[BTD] W{n}q[DKGH] -> {n}q[BTKGH]", bias=self.bias),
            *(() if self.held else (*self.keys_and_values(), *norms, *self.keep(key))),
            *((turn,) if self.rotary else ()),
            *self.core(f"{n}qr" if self.rotary else query),
            contraction(f"{n}out", f"{n}ctx[BTKGH] W{n}o[KGHD] -> {target}[BTD]", bias=self.out_bias),
        )

    def keys_and_values(self) -> tuple[Op, ...]:
        """Made of the encoder's states."""
        n, label, wide = self.name, f"{self.name}kv", self.width
        key_bias = self.bias if self.key_bias is None else self.key_bias
        return (
            contraction(f"{n}k", f"{self.memory} W{n}k[{wide}KH] -> {n}k[BMKH]", kernel=label, bias=key_bias),
            contraction(f"{n}v", f"{self.memory} W{n}v[{wide}KH] -> {n}v[BMKH]", kernel=label, bias=self.bias),
        )

    def keep(self, key: str) -> tuple[Op, ...]:
        """Kept, where later tokens read them again; each has a name of its own either way."""
        n, label = self.name, f"{self.name}kv"
        if not self.cached:
            return (view(f"{n}see_k", f"{key}[BMKH] -> {n}kc[BMKH]"), view(f"{n}see_v", f"{n}v[BMKH] -> {n}vc[BMKH]"))
        return (
            cache_write(f"{n}cache_k", f"{key}[BMKH] -> {n}kc[BMKH]", kernel=label),
            cache_write(f"{n}cache_v", f"{n}v[BMKH] -> {n}vc[BMKH]", kernel=label),
        )

    def core(self, query: str) -> tuple[Op, ...]:
        """Scores, softmax and weighted values, over all of the encoder's states."""
        n, label = self.name, "attention"
        weights = f"{n}pd" if self.dropout else f"{n}p"
        return (
            contraction(f"{n}scores", f"{query}[BTKGH] {n}kc[BMKH] -> {n}s[BTKGM]", kernel=label),
            elementwise(
                f"{n}softmax",
                f"{n}s[BTKGM] -> {n}p[BTKGM]",
                "softmax",
                kernel=label,
                reduces="M",
                statistics=(2, 1),
            ),
            *((drop_elements(f"{n}drop_p", f"{n}p", weights, "BTKGM", kernel=label),) if self.dropout else ()),
            contraction(f"{n}values", f"{weights}[BTKGM] {n}vc[BMKH] -> {n}ctx[BTKGH]", kernel=label),
        )
