"""Tensor parallelism: heads, feed-forward width and vocabulary over ranks of one group.

Query heads are N = K·G. Up to K ranks take whole key/value heads; beyond, groups of query heads are split and each
key/value head is kept by several ranks. So the group has two axes, ``tpk`` of min(tp, K) and ``tpg`` of tp / min(tp, K).
Source: Shoeybi et al. 2019, arXiv:1909.08053, section 3; sequence parallel: Korthikanti et al. 2022, arXiv:2205.05198, section 4.2.
"""

from __future__ import annotations

from dataclasses import replace

from floorline.num import Num, minimum
from floorline.parallel.split import Split

AXES = ("tpk", "tpg")
TENSOR = Split(
    "tensor",
    AXES,
    (("K", ("tpk",)), ("G", ("tpg",)), ("F", AXES), ("f", AXES), ("s", AXES), ("h", AXES), ("I", AXES), ("V", AXES)),
)
SEQUENCE = replace(TENSOR, otherwise=(("T", AXES),))


def tensor(sequence_parallel: bool) -> Split:
    """The split; with sequence parallel, operators between the matmuls are cut by tokens.

    >>> tensor(True).places("BTD", "")
    {'tpk': 'T', 'tpg': 'T'}
    """
    return SEQUENCE if sequence_parallel else TENSOR


def degrees(tp: Num, kv_heads: Num) -> dict[str, Num]:
    """Ranks of the two axes.

    >>> {k: float(v) for k, v in degrees(16.0, 8.0).items()}
    {'tpk': 8.0, 'tpg': 2.0}
    """
    heads = minimum(tp, kv_heads)
    return {"tpk": heads, "tpg": tp / heads}
