"""The two ends of a language model: token (and position) embedding, and the head that makes logits."""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.norm import dropout, layer_norm, rms_norm
from floorline.op import Op, contraction, elementwise, lookup


@cache
def embedding(*, positions: bool = False, drop: bool = False) -> Block:
    """Rows of the token table, plus rows of a table of learned positions, plus dropout in training.

    >>> [t.letters for t in embedding(positions=True).weights()]
    ['VD', 'PD']
    """
    ops: tuple[Op, ...]
    last = "y" if not drop else "x0"
    if positions:
        ops = (
            lookup("tokens", "token_ids[BT] /We[VD] -> e[BTD]", "V", "min(B*T/V, 1)"),
            lookup("positions", "position_ids[T] Wp[PD] -> r[TD]", "P", "min(T/P, 1)"),
            elementwise("add", f"e[BTD] r[TD] -> {last}[BTD]", "add", linear=True),
        )
    else:
        ops = (lookup("tokens", f"token_ids[BT] /We[VD] -> {last}[BTD]", "V", "min(B*T/V, 1)"),)
    given = "token_ids[BT] position_ids[T]" if positions else "token_ids[BT]"
    return block("embedding", given, (*ops, *((dropout("drop", last, "y"),) if drop else ())), "y")


@cache
def head(*, tied: bool, rms: bool, norm_bias: bool = False) -> Block:
    """Final norm and the matmul to the vocabulary; a tied head reads the token table. The loss is part of training.

    >>> [str(t) for t in head(tied=True, rms=True).weights()]
    ['Wfinal_norm[D]', '/We[VD]']
    """
    norm = rms_norm("final_norm", "x", "h") if rms else layer_norm("final_norm", "x", "h", bias=norm_bias)
    table = "/We" if tied else "Wu"
    ops = (
        norm,
        contraction("logits", f"h[BTD] {table}[VD] -> z[BTV]"),
        elementwise("loss", "z[BTV] -> nll[BT]", "cross_entropy", phase="train", reduces="V", statistics=(3, 0)),
    )
    return block("head", "x[BTD]", ops, "z")
