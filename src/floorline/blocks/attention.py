"""Attention with K key/value heads, each shared by G query heads: multi-head (G = 1), grouped and multi-query (K = 1).

Sources: Vaswani et al. 2017, arXiv:1706.03762, eq. 1; Shazeer 2019, arXiv:1911.02150 (K = 1); Ainslie et al. 2023,
arXiv:2305.13245 (the general case); Su et al. 2021, arXiv:2104.09864 (rotary positions).
"""

from __future__ import annotations

from floorline.blocks.norm import dropout as drop_elements
from floorline.op import Op, cache_write, contraction, elementwise


def attention(
    source: str,
    target: str,
    *,
    bias: bool = False,
    out_bias: bool = False,
    rotary: bool = False,
    dropout: bool = False,
    softmax: str = "softmax",
) -> tuple[Op, ...]:
    """From normalised states ``source[BTD]`` to the branch ``target[BTD]``.

    bias, out_bias  biases of the query/key/value projections and of the output projection
    rotary          positions turned into queries and keys before the cache
    dropout         of the attention weights, in training
    softmax         "softmax", or "softmax_fp32" where it is computed in fp32 and cast back

    >>> [op.name for op in attention("h", "attn")]
    ['q', 'k', 'v', 'cache_k', 'cache_v', 'scores', 'softmax', 'values', 'out']
    """
    return (
        *projections(source, bias),
        *(rotate() if rotary else keep("k", "qkv")),
        *core("qr" if rotary else "q", dropout, softmax),
        contraction("out", f"ctx[BTKGH] Wo[KGHD] -> {target}[BTD]", bias=out_bias),
    )


def projections(source: str, bias: bool) -> tuple[Op, ...]:
    """Queries, keys and values: three contractions, one launch where the weights are stored side by side."""
    return (
        contraction("q", f"{source}[BTD] Wq[DKGH] -> q[BTKGH]", kernel="qkv", bias=bias),
        contraction("k", f"{source}[BTD] Wk[DKH] -> k[BTKH]", kernel="qkv", bias=bias),
        contraction("v", f"{source}[BTD] Wv[DKH] -> v[BTKH]", kernel="qkv", bias=bias),
    )


def keep(key: str, kernel: str) -> tuple[Op, ...]:
    """Keys and values join those of earlier tokens."""
    return (
        cache_write("cache_k", f"{key}[BTKH] -> kc[BSKH]", kernel=kernel),
        cache_write("cache_v", "v[BTKH] -> vc[BSKH]", kernel=kernel),
    )


def rotate() -> tuple[Op, ...]:
    """Rotary positions on queries and keys, with the write to the cache in the same launch."""
    return (
        elementwise("rope_q", "q[BTKGH] -> qr[BTKGH]", "rope", kernel="rope"),
        elementwise("rope_k", "k[BTKH] -> kr[BTKH]", "rope", kernel="rope"),
        *keep("kr", "rope"),
    )


def core(query: str, dropout: bool, softmax: str = "softmax") -> tuple[Op, ...]:
    """Scores, softmax and weighted values: what flash attention makes one launch (Dao et al. 2022, arXiv:2205.14135)."""
    weights = "pd" if dropout else "p"
    return (
        contraction("scores", f"{query}[BTKGH] kc[BSKH] -> s[BTKGS]", kernel="attention", visible=True),
        elementwise("softmax", "s[BTKGS] -> p[BTKGS]", softmax, kernel="attention", reduces="S", statistics=(2, 1)),
        *((drop_elements("drop_p", "p", "pd", "BTKGS", kernel="attention"),) if dropout else ()),
        contraction("values", f"{weights}[BTKGS] vc[BSKH] -> ctx[BTKGH]", kernel="attention", visible=True),
    )
