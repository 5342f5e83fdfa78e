"""Cross-attention: a decoder's tokens look at what an encoder made.

Keys and values come from the M states of the encoder, once: they stay in the cache, and a decoded token reads them there.
Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.3, "encoder-decoder attention".
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.blocks.norm import dropout as drop_elements
from floorline.op import Op, cache_write, contraction, elementwise

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
    name: str = "x"

    @property
    def caches(self) -> str:
        """What a block that decodes finds in the cache."""
        return f"{self.name}kc[BMKH] {self.name}vc[BMKH]" if self.held else ""

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From normalised states ``source[BTD]`` to the branch ``target[BTD]``."""
        n = self.name
        return (
            contraction(f"{n}q", f"{source}[BTD] W{n}q[DKGH] -> {n}q[BTKGH]", bias=self.bias),
            *(() if self.held else self.keys_and_values()),
            *self.core(),
            contraction(f"{n}out", f"{n}ctx[BTKGH] W{n}o[KGHD] -> {target}[BTD]", bias=self.out_bias),
        )

    def keys_and_values(self) -> tuple[Op, ...]:
        """Made of the encoder's states, and kept."""
        n, label = self.name, f"{self.name}kv"
        key_bias = self.bias if self.key_bias is None else self.key_bias
        return (
            contraction(f"{n}k", f"memory[BMD] W{n}k[DKH] -> {n}k[BMKH]", kernel=label, bias=key_bias),
            contraction(f"{n}v", f"memory[BMD] W{n}v[DKH] -> {n}v[BMKH]", kernel=label, bias=self.bias),
            cache_write(f"{n}cache_k", f"{n}k[BMKH] -> {n}kc[BMKH]", kernel=label),
            cache_write(f"{n}cache_v", f"{n}v[BMKH] -> {n}vc[BMKH]", kernel=label),
        )

    def core(self) -> tuple[Op, ...]:
        """Scores, softmax and weighted values, over all of the encoder's states."""
        n, label = self.name, "attention"
        weights = f"{n}pd" if self.dropout else f"{n}p"
        return (
            contraction(f"{n}scores", f"{n}q[BTKGH] {n}kc[BMKH] -> {n}s[BTKGM]", kernel=label),
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
