"""Attention pooling: a text's mean asks, the text answers, and one vector is left.

Letters: ``b`` tokens of the text and ``e`` their width, ``L`` = b + 1 with the mean before them, ``X`` heads of width ``p``, ``P``
width of the vector.

Sources: Radford et al. 2021 (CLIP), arXiv:2103.00020, section 2.4; of a text: github.com/Tencent/HunyuanDiT,
hydit/modules/poolers.py, AttentionPool; diffusers 0.42, models/embeddings.py, HunyuanDiTAttentionPool.
"""

from __future__ import annotations

from floorline.op import Op, contraction, elementwise, view

DERIVED = (("L", "b + 1"),)
"""What a block with such a pool derives."""


def attention_pool(source: str, target: str) -> tuple[Op, ...]:
    """From a text ``source[Bbe]`` to ``target[BP]``.

    >>> [op.name for op in attention_pool("text", "pooled") if op.flops()]
    ['pool_q', 'pool_k', 'pool_v', 'pool_scores', 'pool_values', 'pool_out']
    """
    core = "attention"
    return (
        elementwise("mean", f"{source}[Bbe] -> mean[Be]", "mean", reduces="b"),
        elementwise("positions", f"mean[Be] {source}[Bbe] Wpositions[Le] -> seen[BLe]", "add_table"),
        view("first", "seen[BLe] -> asks[Be]"),
        contraction("pool_q", "asks[Be] Wpool_q[eXp] -> pool_qs[BXp]", bias=True),
        contraction("pool_k", "seen[BLe] Wpool_k[eXp] -> pool_ks[BLXp]", kernel="pool_kv", bias=True),
        contraction("pool_v", "seen[BLe] Wpool_v[eXp] -> pool_vs[BLXp]", kernel="pool_kv", bias=True),
        contraction("pool_scores", "pool_qs[BXp] pool_ks[BLXp] -> pool_s[BXL]", kernel=core),
        elementwise(
            "pool_softmax", "pool_s[BXL] -> pool_p[BXL]", "softmax", kernel=core, reduces="L", statistics=(2, 1)
        ),
        contraction("pool_values", "pool_p[BXL] pool_vs[BLXp] -> pool_c[BXp]", kernel=core),
        contraction("pool_out", f"pool_c[BXp] Wpool_out[XpP] -> {target}[BP]", bias=True),
    )
