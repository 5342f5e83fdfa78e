"""Linear attention: keys and values are summed into one matrix a head, which queries then read; no scores of token pairs.

A row of ones under the values sums the keys too, and what it gives divides the rest: softmax's denominator, without softmax.
Letters: K heads of width H (G is one), ``J`` = H + 1 rows of the values with that row.

Sources: Katharopoulos et al. 2020, arXiv:2006.16236, eq. 5 and 6; with ReLU: Cai et al. 2022 (EfficientViT), arXiv:2205.14756;
Xie et al. 2024 (Sana), arXiv:2410.10629, section 2.2; diffusers, models/attention_processor.py, SanaLinearAttnProcessor2_0.
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.blocks.attention import Attention, HeadNorm
from floorline.op import Op, contraction, elementwise

DERIVED = (("J", "H + 1"),)
"""What a block with linear attention derives."""


@dataclass(frozen=True, kw_only=True)
class LinearAttention:
    """Attention whose kernel is ReLU of queries times ReLU of keys.

    bias       of the query, key and value projections
    out_bias   of the output projection
    head_norm  norm of queries and keys

    >>> ops = {op.name: op for op in LinearAttention().ops("h", "attn")}
    >>> list(ops)
    ['q', 'k', 'v', 'act_q', 'act_k', 'ones', 'state', 'read', 'divide', 'out']
    >>> ops["state"].flops()[0].formula(), ops["read"].flops()[0].formula()
    ('2·B·T·K·J·H', '2·B·K·J·H·T·G')
    """

    bias: bool = False
    out_bias: bool = True
    head_norm: HeadNorm | None = None

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From normalised states ``source[BTD]`` to the branch ``target[BTD]``."""
        own = Attention(bias=self.bias, head_norm=self.head_norm)
        made, query, key, value = own.queries_and_keys()
        return (
            *own.projections(source),
            *made,
            elementwise("act_q", f"{query}[BTKGH] -> qa[BTKGH]", "relu"),
            elementwise("act_k", f"{key}[BTKH] -> ka[BTKH]", "relu"),
            elementwise("ones", f"{value}[BTKH] -> v1[BTKJ]", "pad", linear=True),
            contraction("state", "v1[BTKJ] ka[BTKH] -> kv[BKJH]"),
            contraction("read", "kv[BKJH] qa[BTKGH] -> sums[BTKGJ]"),
            elementwise("divide", "sums[BTKGJ] -> ctx[BTKGH]", "divide"),
            contraction("out", f"ctx[BTKGH] Wo[KGHD] -> {target}[BTD]", bias=self.out_bias),
        )
