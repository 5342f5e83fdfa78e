"""The two ends of a language model: token (and position) embedding, and the head that makes logits."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from floorline.block import Block, block
from floorline.blocks.norm import Norm, dropout
from floorline.op import Op, contraction, elementwise, lookup


@cache
def embedding(
    *,
    positions: bool = False,
    types: bool = False,
    drop: bool = False,
    norm: Norm | None = None,
    projected: str = "",
    projection_bias: bool = False,
    early: bool = False,
    name: str = "embedding",
    table: str = "/We",
    position_table: str = "Wp",
    embeds: bool = True,
) -> Block:
    """Rows of the token table, plus rows of further tables, a norm, dropout in training.

    positions  learned (or stored) positions, a table of P rows
    types      token types (segments), a table of Y rows
    norm       of the sum
    projected  letter of the table's own width, where a matmul brings it to the model's
    early      whether that matmul comes first, before the other tables
    embeds     whether parameter counts call the token table an embedding (of CLIP transformers does not)

    >>> [t.letters for t in embedding(positions=True).weights()]
    ['VD', 'PD']
    """
    width = projected or "D"
    tokens = f"token_ids[BT] {table}[V{width}] -> e[BT{width}]"
    ops: list[Op] = [lookup("tokens", tokens, "V", "min(B*T/V, 1)", embeds=embeds)]
    given, parts = ["token_ids[BT]"], [f"e[BT{width}]"]
    if early and projected:
        ops.append(contraction("project", f"e[BT{width}] Wproject[{width}D] -> ed[BTD]", bias=projection_bias))
        width, parts, projected = "D", ["ed[BTD]"], ""
    if positions:
        given.append("position_ids[T]")
        ops.append(
            lookup("positions", f"position_ids[T] {position_table}[P{width}] -> r[T{width}]", "P", "min(T/P, 1)")
        )
        parts.append(f"r[T{width}]")
    if types:
        given.append("type_ids[BT]")
        ops.append(lookup("types", f"type_ids[BT] Wt[Y{width}] -> t[BT{width}]", "Y", "min(B*T/Y, 1)"))
        parts.append(f"t[BT{width}]")
    last = parts[0].partition("[")[0]
    if len(parts) > 1:
        last = "sum"
        ops.append(elementwise("add", f"{' '.join(parts)} -> sum[BT{width}]", "add", linear=True))
    if norm:
        ops.append(norm.op("embedding_norm", last, "normed", f"BT{width}", width))
        last = "normed"
    if drop:
        ops.append(dropout("drop", last, "dropped", f"BT{width}"))
        last = "dropped"
    if projected:
        ops.append(contraction("project", f"{last}[BT{width}] Wproject[{width}D] -> y[BTD]", bias=projection_bias))
        last = "y"
    return block(name, " ".join(given), tuple(renamed(ops, last, "y")), "y")


def renamed(ops: list[Op], old: str, new: str) -> list[Op]:
    """The operators with one tensor's name changed."""

    def change(op: Op) -> Op:
        outputs = tuple(replace(t, name=new) if t.name == old else t for t in op.outputs)
        return replace(op.renamed({old: new}), outputs=outputs)

    return [change(op) for op in ops]


@cache
def head(
    *,
    tied: bool,
    norm: Norm | None = None,
    bias: bool = False,
    narrowed: str = "",
    table: str = "/We",
    name: str = "head",
) -> Block:
    """Final norm and the matmul to the vocabulary; a tied head reads the token table. The loss is part of training.

    norm      before the matmul; None where the layers end with one
    bias      of the logits
    narrowed  letter of the table's own width, where a matmul brings the model's to it

    >>> from floorline.blocks.norm import RMS_NORM
    >>> [str(t) for t in head(tied=True, norm=RMS_NORM).weights()]
    ['Wfinal_norm[D]', '/We[VD]']
    """
    weights = table if tied else "Wu"
    ops: list[Op] = [norm.op("final_norm", "x", "h")] if norm else []
    source, width = ("h" if norm else "x"), "D"
    if narrowed:
        ops.append(contraction("narrow", f"{source}[BTD] Wnarrow[D{narrowed}] -> n[BT{narrowed}]"))
        source, width = "n", narrowed
    ops += [
        contraction(
            "logits", f"{source}[BT{width}] {weights}[V{width}] -> z[BTV]", bias="Wlogits.bias" if bias else False
        ),
        elementwise("loss", "z[BTV] -> nll[BT]", "cross_entropy", phase="train", reduces="V", statistics=(3, 0)),
    ]
    return block(name, "x[BTD]", tuple(ops), "z")


@cache
def final_norm(norm: Norm) -> Block:
    """A last norm, where no head follows.

    >>> from floorline.blocks.norm import RMS_NORM
    >>> final_norm(RMS_NORM).outputs
    ('y',)
    """
    return block("final", "x[BTD]", (norm.op("final_norm", "x", "y"),), "y")
