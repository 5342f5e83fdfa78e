"""Attention that reads the keys and values of an earlier layer: it has none of its own, and caches nothing.

Source: Brandon et al. 2024 (cross-layer attention), arXiv:2405.12981, section 3; as Gemma 3n and Gemma 4 do it: transformers,
modeling_gemma4.py, Gemma4TextAttention.
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.blocks.attention import Attention
from floorline.op import Op, contraction, elementwise

LENT = "kc[BSKH] vc[BSKH]"
"""What such a layer is given: the ``caches`` of its block."""


@dataclass(frozen=True, kw_only=True)
class BorrowingAttention(Attention):
    """Queries of its own, over keys and values that it is given.

    >>> [op.name for op in BorrowingAttention(rotary=True).ops("h", "attn")]
    ['q', 'rope_q', 'scores', 'softmax', 'values', 'out']
    """

    def projections(self, source: str) -> tuple[Op, ...]:
        """Queries alone."""
        n = self.name
        return (contraction(f"{n}q", f"{source}[BTD] W{n}q[DKGH] -> {n}q[BTKGH]", bias=self.bias),)

    def queries_and_keys(self) -> tuple[tuple[Op, ...], str, str, str]:
        """Norm and rotation of the queries; the keys had theirs when they were made."""
        n, query = self.name, f"{self.name}q"
        ops: list[Op] = []
        if self.head_norm:
            own = self.head_norm
            ops.append(own.norm.op(f"{n}norm_q", query, f"{n}qn", "BTKGH", own.over, own.scale))
            query = f"{n}qn"
        if self.rotary:
            ops.append(elementwise(f"{n}rope_q", f"{query}[BTKGH] -> {n}qr[BTKGH]", "rope"))
            query = f"{n}qr"
        return tuple(ops), query, f"{n}kc", f"{n}vc"

    def keep(self, key: str, value: str, label: str) -> tuple[Op, ...]:
        """Nothing: they are in the cache already."""
        return ()
