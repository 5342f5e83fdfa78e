"""Heads of encoders: what stands on the last layer, on every token or on the first alone.

    pooler           the first token through one matmul and tanh       BERT, section 3 "[CLS]"
    classification   the same, or every token, to as many numbers as there are labels
    masked tokens    a matmul, an activation and a norm, then the token table

Letters besides the project's: Q the model's width again, L labels, N the token table's own width.
Source: Devlin et al. 2018 (BERT), arXiv:1810.04805, sections 3.1 and 4; transformers, models/*/modeling_*.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from floorline.block import Block, block
from floorline.blocks.norm import Norm
from floorline.op import Op, contraction, elementwise, view

SAME = (("Q", "D"),)
"""Q is D: a weight from a width to the same width has two letters for it."""


@dataclass(frozen=True, kw_only=True)
class Dense:
    """A matmul of every row, then an activation, then a norm.

    name        of the weight and of what it makes: "pooled", "labels"
    to          letter of the new width
    activation  "tanh", "gelu", …; "" for none
    norm        of the rows, or None
    bias        of the matmul

    >>> [op.name for op in Dense(name="pooled", to="Q", activation="tanh").ops("x", "B", "D")[0]]
    ['pooled', 'pooled_act']
    """

    name: str
    to: str = "Q"
    activation: str = ""
    norm: Norm | None = None
    bias: bool = True

    def ops(self, source: str, rows: str, width: str) -> tuple[list[Op], str]:
        """The operators from ``source`` with letters ``rows`` and ``width``, and the name of what they make."""
        n, out = self.name, f"{rows}{self.to}"
        ops: list[Op] = [
            contraction(n, f"{source}[{rows}{width}] W{n}[{width}{self.to}] -> {n}[{out}]", bias=self.bias)
        ]
        last = n
        if self.activation:
            ops.append(elementwise(f"{n}_act", f"{last}[{out}] -> {n}_active[{out}]", self.activation))
            last = f"{n}_active"
        if self.norm:
            ops.append(self.norm.op(f"{n}_norm", last, f"{n}_normed", out, self.to))
            last = f"{n}_normed"
        return ops, last


@cache
def on_tokens(*steps: Dense, name: str = "head") -> Block:
    """Matmuls on every token.

    >>> on_tokens(Dense(name="labels", to="L")).outputs
    ('labels',)
    """
    return chain(name, steps, [], "x", "BT")


@cache
def on_one(*steps: Dense, name: str = "head") -> Block:
    """Matmuls on one vector a sequence: its first token, or the mean or the last of them.

    >>> str(on_one(Dense(name="pooled", activation="tanh"), name="pooler").ops[1].outputs[0])
    'pooled[BQ]'
    """
    return chain(name, steps, [view("pick", "x[BTD] -> one[BD]")], "one", "B")


def chain(name: str, steps: tuple[Dense, ...], ops: list[Op], source: str, rows: str) -> Block:
    """Matmuls one after the other."""
    width = "D"
    for step in steps:
        made, source = step.ops(source, rows, width)
        ops += made
        width = step.to
    return block(name, "x[BTD]", tuple(ops), source, SAME)


@cache
def on_masked(step: Dense, *, tied: bool, bias: bool = True, spare: bool = False) -> Block:
    """A matmul, an activation and a norm, then logits of every token; the loss is part of training.

    tied   whether the logits read the token table, whose width the step must make: Q for the model's, N for its own
    bias   of the logits
    spare  whether a second bias is stored that nothing reads: some classes do where the head is not tied

    >>> [str(t) for t in on_masked(Dense(name="transform", norm=Norm("layer_norm")), tied=True).weights()]
    ['Wtransform[DQ]', 'Wtransform.bias[Q]', 'Wtransform_norm[Q]', '/We[VD]', 'Wlogits.bias[V]']
    """
    ops, last = step.ops("x", "BT", "D")
    width = step.to
    if width == "Q":
        ops.append(view("again", f"{last}[BTQ] -> again[BTD]"))
        last, width = "again", "D"
    table = "/We" if tied else "Wu"
    ops.append(
        contraction("logits", f"{last}[BT{width}] {table}[V{width}] -> z[BTV]", bias="Wlogits.bias" if bias else False)
    )
    if spare:
        ops.append(stored("Wspare.bias", "V"))
    ops.append(elementwise("loss", "z[BTV] -> nll[BT]", "cross_entropy", phase="train", reduces="V", statistics=(3, 0)))
    return block("head", "x[BTD]", tuple(ops), "z", SAME)


def stored(weight: str, letters: str) -> Op:
    """A parameter that is stored and that nothing reads, but that counts.

    >>> stored("Wspare.bias", "V").weights[0].letters
    'V'
    """
    name = weight.lstrip("/").removeprefix("W").replace(".", "_")
    return view(f"{name}_stored", f"{weight}[{letters}] -> {name}_unread[{letters}]")


@cache
def unread_table(width: str = "D") -> Block:
    """A token table that is stored beside those that are looked up: an untied encoder–decoder in transformers has one.

    >>> str(unread_table().weights()[0])
    'Wshared[VD]'
    """
    return block("shared", "", (stored("Wshared", f"V{width}"),), "")
