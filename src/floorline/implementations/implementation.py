"""What software does with a block: which operators share a launch, and what each keeps for the backward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from floorline.convolution import Convolution
from floorline.op import CacheWrite, Contraction, Elementwise, Lookup, Op, View
from floorline.route import Route
from floorline.scan import Scan
from floorline.tensor import TOKENS, Tensor


@dataclass(frozen=True)
class Keep:
    """One tensor that an operator keeps for its backward pass.

    what     "input", "inputs" or "output" for tensors that are there anyway, else a name of its own ("mean", "mask")
    letters  of an own tensor: "output" (an element each), "input", "row" (one number a row) or "none" (one in all)
    format   its format where it differs from the activations' ("fp32" statistics)
    scale    whether only the gradient of the operator's own weight needs it
    """

    what: str
    letters: str = "output"
    format: str = ""
    scale: bool = False

    def tensors(self, op: Op) -> tuple[Tensor, ...]:
        """The tensors, for one operator."""
        there = {"input": op.activations[:1], "inputs": op.activations, "output": op.outputs}.get(self.what)
        if there is not None:
            return tuple(cast(t, self.format) for t in there)
        row = op.row if isinstance(op, Elementwise) else ""
        letters = {"output": op.outputs[0].letters, "input": op.inputs[0].letters, "row": row, "none": ""}[self.letters]
        return (Tensor(f"{op.name}.{self.what}", letters, format=self.format),)


def cast(tensor: Tensor, form: str) -> Tensor:
    """The tensor in another format: a copy, unless the run's format is that one already."""
    if not form:
        return tensor
    return Tensor(f"{tensor.name}@{form}", tensor.letters, tensor.role, format=form, copy_of=tensor.name)


def factor_of_a_gradient(op: Contraction, tensor: Tensor) -> bool:
    """Whether the gradient of another factor is made of this one; a frozen weight has none."""
    return any(t is not tensor and not t.frozen for t in op.operands)


@dataclass(frozen=True, eq=False)
class Implementation:
    """Fusion and saved tensors of one piece of software.

    name              "unfused", "flash", …
    doc               what it stands for, with its source
    fused             kernel labels that are one launch
    saves             function of an elementwise operator → what it keeps
    kernels           label of a fused kernel → what it keeps besides its inputs
    expands           letters that a batched matmul without broadcasting copies onto its operands (G: keys and values
                      repeated for each query head)
    attention_format  format of what unfused attention keeps, where it is not the activations'
    one_launch        everything is one launch: only weights, cache, inputs and outputs move
    reruns            whether full recomputation runs a whole layer again, or stops once the last kept tensor is back
    """

    name: str
    doc: str
    fused: frozenset[str]
    saves: Mapping[str, tuple[Keep, ...]]
    kernels: Mapping[str, tuple[Keep, ...]] = field(default_factory=dict)
    expands: str = ""
    attention_format: str = ""
    one_launch: bool = False
    reruns: bool = False

    def saved(self, op: Op) -> tuple[Tensor, ...]:
        """What an operator keeps for its backward pass, weights left out (they stay anyway).

        Contractions keep the factors of gradients: both, but none beside a frozen weight; elementwise work keeps what the table
        says, or its input where it says nothing.
        """
        if isinstance(op, Contraction):
            return tuple(self.operand(op, t) for t in op.activations if factor_of_a_gradient(op, t))
        if isinstance(op, Convolution) and not op.trained:
            return ()
        if isinstance(op, (Convolution, Scan)):
            return op.activations
        if isinstance(op, Lookup):
            return tuple(t for t in op.inputs if t.role == TOKENS)
        if isinstance(op, (View, CacheWrite, Route)) or (isinstance(op, Elementwise) and op.linear):
            return ()
        assert isinstance(op, Elementwise)
        keeps = self.saves.get(op.function, (Keep("input"),))
        kept = tuple(
            t for keep in keeps if not (keep.scale and op.weights and not op.trained) for t in keep.tensors(op)
        )
        return tuple(cast(t, self.attention_format) for t in kept) if op.kernel == "attention" else kept

    def operand(self, op: Contraction, tensor: Tensor) -> Tensor:
        """A factor as it is kept: copied to more letters, or to another format, where this software does so."""
        form = self.attention_format if op.kernel == "attention" else ""
        more = "".join(x for x in self.expands if x in op.letters and x not in tensor.letters and "S" in tensor.letters)
        widened = Tensor(tensor.name, tensor.letters + more, tensor.role) if more else tensor
        return cast(widened, form)
