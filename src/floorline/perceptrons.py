"""The backward pass of a perceptron, operator by operator: which matmuls, of which shapes, with how many FLOP.

Forward and backward operators are those that any block has: a matmul's gradients are two matmuls, by its input and by its weight,
and what nobody needs (the gradient of the data) is not made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from floorline import passes
from floorline.blocks.perceptron import WIDTHS, perceptron
from floorline.errors import BadInput
from floorline.implementations import implementation
from floorline.letters import Numbers, Product
from floorline.num import Num, all_true, number, total
from floorline.op import Contraction, Op
from floorline.result import Result
from floorline.tensor import GRADIENT

PASSES = ("forward", "input gradient", "weight gradient")


@dataclass(frozen=True)
class Part(Result):
    """What one operator does in one pass.

    what     "forward", "input gradient" or "weight gradient"
    pattern  tensors that it reads and makes, in letters: "dz2[Bc] W2[bc] -> dh1[Bb]"
    shape    (m, k, n) of a matmul that takes [m, k] · [k, n]; None for element-wise work
    formula  FLOP in letters
    flops    [FLOP]
    read     elements [-]
    written  elements [-]
    """

    what: str
    pattern: str
    shape: tuple[Num, Num, Num] | None
    formula: str
    flops: Num
    read: Num
    written: Num


@dataclass(frozen=True)
class OperatorPasses(Result):
    """An operator with what it is in each pass.

    name   "linear1", "relu1"
    parts  those that there are
    """

    name: str
    parts: tuple[Part, ...]

    def part(self, what: str) -> Part | None:
        """One of the passes, None where there is none."""
        return next((p for p in self.parts if p.what == what), None)

    def flops(self, *what: str) -> Num:
        """FLOP of some passes."""
        return total(p.flops for p in self.parts if p.what in what)

    @property
    def ratio(self) -> Num | None:
        """Backward over forward; None for what has no FLOP."""
        ahead = self.flops(PASSES[0])
        return None if all_true(number(ahead) == 0.0) else self.flops(*PASSES[1:]) / ahead

    def answer(self) -> Mapping[str, Any]:
        """The passes and their ratio."""
        return {"name": self.name, "ratio": self.ratio, "passes": self.parts}


@dataclass(frozen=True)
class PerceptronCount(Result):
    """A whole perceptron.

    operators  in order
    """

    operators: tuple[OperatorPasses, ...]

    @property
    def forward(self) -> Num:
        """FLOP of the forward pass."""
        return total(op.flops(PASSES[0]) for op in self.operators)

    @property
    def backward(self) -> Num:
        """FLOP of the backward pass."""
        return total(op.flops(*PASSES[1:]) for op in self.operators)

    @property
    def ratio(self) -> Num:
        """Backward over forward [-]."""
        return self.backward / self.forward

    def answer(self) -> Mapping[str, Any]:
        """Totals and operators."""
        return {"forward": self.forward, "backward": self.backward, "ratio": self.ratio, "operators": self.operators}


def count_perceptron(widths: Sequence[Num], batch: Num = 1.0) -> PerceptronCount:
    """FLOP and shapes of each operator, forward and backward; widths and batch may be arrays.

    widths  of the data, of each inner layer and of the result: three layers have four
    raises  BadInput for fewer than two, or sizes below one

    Example: a layer inside has twice the FLOP backward, the first one as many (an article on diffusion transformers and the
    backward pass).

    >>> [float(op.ratio) for op in count_perceptron((784, 512, 512, 10), 64).operators if op.ratio is not None]
    [1.0, 2.0, 2.0]
    """
    if len(widths) < 2:
        raise BadInput(f"a perceptron has two widths or more, not {len(widths)}; expected such as 784,512,512,10")
    sizes = [number(w) for w in (batch, *widths)]
    if not all(all_true(size >= 1.0) for size in sizes):
        raise BadInput("a width or the batch is below 1; expected positive whole numbers")
    block = perceptron(len(widths) - 1)
    numbers = Numbers(dict(zip(f"B{WIDTHS}", sizes, strict=False)))
    back = passes.backward(block, implementation("unfused"))
    return PerceptronCount(
        tuple(
            OperatorPasses(
                op.name,
                tuple(part(x, numbers) for x in (op, *(b for b in back if b.name.startswith(f"{op.name}.")))),
            )
            for op in block.ops
        )
    )


def part(op: Op, numbers: Numbers) -> Part:
    """One operator of one pass."""
    made = any(t.role == GRADIENT for t in op.outputs)
    what = PASSES[2] if made else PASSES[1] if any(t.name.startswith("d") for t in op.outputs) else PASSES[0]
    sides = [" ".join(map(str, tensors)) for tensors in (op.inputs, op.outputs)]
    return Part(
        what,
        " -> ".join(sides),
        shape(op, numbers),
        " + ".join(p.formula() for p in op.flops()),
        total(numbers.value(p) for p in op.flops()),
        total(numbers.value(op.reads(t)) for t in op.inputs),
        total(numbers.value(op.writes(t)) for t in op.outputs),
    )


def shape(op: Op, numbers: Numbers) -> tuple[Num, Num, Num] | None:
    """(m, k, n), rows of the result first."""
    if not isinstance(op, Contraction):
        return None
    _, m, n, k = (numbers.value(Product(1.0, letters)) for letters in op.matmul())
    left = op.operands[0].letters
    return (m, k, n) if op.outputs[0].letters[0] in left else (n, k, m)
