"""Low-rank adapters: two narrow trained matrices beside each frozen linear layer.

h·W becomes h·W + (h·A)·B with A of d × ρ and B of ρ × d′; of the model nothing else is trained, so that its weights have no
gradients and no optimizer state, and what only those gradients would need is not kept.
Sources: Hu et al. 2021 (LoRA), arXiv:2106.09685, section 4.1; Dettmers et al. 2023 (QLoRA), arXiv:2305.14314, section 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from floorline.block import Block
from floorline.blocks.norm import dropout
from floorline.errors import BadInput
from floorline.huggingface.quantization import NF4_DOUBLE
from floorline.num import Num, all_true, number
from floorline.op import Contraction, Elementwise, Op
from floorline.quantized import KEPT
from floorline.tensor import WEIGHT, Tensor
from floorline.transformer import Transformer

RANK = "ρ"
"""The letter of the adapters' rank."""
PACKED = "nf4"
"""The format of frozen weights in 4 bits, without their scales."""
SCALES = NF4_DOUBLE.bytes_per_parameter - NF4_DOUBLE.bits / 8.0
"""Bytes of scales of a parameter in that format: one byte for 64, and four for 256 of these."""


@dataclass(frozen=True)
class Kind:
    """Which adapters a model has, but for their rank.

    output   whether attention's output projection has one
    dropout  whether they see their input through dropout
    packed   whether frozen linear layers are stored in 4 bits
    """

    output: bool = True
    dropout: bool = False
    packed: bool = False


def adapted(model: Transformer, rank: Num, kind: Kind) -> Transformer:
    """The model with adapters beside the linear layers of its layers, and everything else frozen; the model itself at rank 0.

    rank    of the adapters [-]
    raises  BadInput for an array of ranks that has zeros beside others: they are two models

    >>> from floorline.catalogue.load import load_model
    >>> trainable(adapted(load_model("llama-3.1-8b"), 16, Kind()))  # as PEFT prints for all linear layers
    41943040.0
    """
    none = np.asarray(rank) <= 0.0
    if all_true(none):
        return model
    if np.any(none):
        raise BadInput(
            "lora_rank has zeros beside other ranks; without adapters all weights are trained: ask for them apart"
        )
    stacks = tuple(replace(s, block=adapted_block(s.block, kind)) for s in model.stacks)
    return replace(model, stacks=stacks, sizes={**model.sizes, RANK: number(rank)})


def trainable(model: Transformer) -> Num:
    """Parameters that have gradients [-]."""
    frozen = {str(t) for _, _, t in model.weights() if t.frozen}
    result: Num = 0.0
    for module in model.parameter_count().modules:
        result = result + (0.0 if module.tensor in frozen else module.parameters)
    return result


@cache
def adapted_block(block: Block, kind: Kind) -> Block:
    """A block with its weights frozen, and with adapters where it is a layer.

    Adapters of matmuls that are one launch come after it.
    """
    found: list[Op] = []
    waiting: list[Op] = []
    label = ""
    for op in block.ops:
        if waiting and (op.kernel != label or not isinstance(op, Contraction)):
            found, waiting = [*found, *waiting], []
        label = op.kernel
        base = frozen(op, kind.packed and block.layer)
        if not (block.layer and linear(op) and (kind.output or not op.name.endswith("out"))):
            found.append(base)
            continue
        assert isinstance(base, Contraction)
        made = base.outputs[0]
        part = replace(made, name=f"{made.name}.base")
        found.append(replace(base, outputs=(part,)))
        waiting += beside(base, part, made, kind.dropout)
        if not label:
            found, waiting = [*found, *waiting], []
    return replace(block, ops=(*found, *waiting))


def frozen(op: Op, packed: bool) -> Op:
    """An operator whose weights are not trained, matrices stored in 4 bits where that is asked."""

    def kept(t: Tensor) -> Tensor:
        form = PACKED if packed and matrix(op, t) else t.format
        return replace(t, frozen=True, format=form)

    return replace(op, inputs=tuple(kept(t) if t.is_weight else t for t in op.inputs)) if op.weights else op


def matrix(op: Op, tensor: Tensor) -> bool:
    """Whether a weight is one of a linear layer that methods quantise."""
    called = tensor.name.lstrip("/").removeprefix("W")
    return isinstance(op, Contraction) and not tensor.name.endswith(".bias") and called not in KEPT


def linear(op: Op) -> bool:
    """Whether an operator is a linear layer of all tokens: an activation by a matrix that is no router's and no expert's."""
    if not isinstance(op, Contraction) or len(op.operands) != 2 or len(op.weights) - len(biases(op.weights)) != 1:
        return False
    source, weight = parts(op)
    shared = set(source.letters) & set(weight.letters) & set(op.outputs[0].letters)
    return matrix(op, weight) and not (shared or weight.is_shared or weight.touched or "E" in weight.letters)


def biases(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Those that are added."""
    return tuple(t for t in tensors if t.name.endswith(".bias"))


def parts(op: Contraction) -> tuple[Tensor, Tensor]:
    """Input and matrix of a linear layer."""
    left, right = op.operands
    return (right, left) if left.is_weight else (left, right)


def beside(base: Contraction, part: Tensor, made: Tensor, dropped: bool) -> tuple[Op, ...]:
    """The adapter of a linear layer, and its sum with what that makes."""
    source, weight = parts(base)
    inputs = "".join(x for x in weight.letters if x in source.letters)
    outputs = "".join(x for x in weight.letters if x not in source.letters)
    rows = "".join(x for x in source.letters if x not in inputs)
    seen = Tensor(f"{base.name}.seen", source.letters) if dropped else source
    narrow = Tensor(f"{base.name}.narrow", rows + RANK)
    added = Tensor(f"{base.name}.added", made.letters)
    down = Tensor(f"{weight.name}.A", inputs + RANK, WEIGHT)
    up = Tensor(f"{weight.name}.B", RANK + outputs, WEIGHT)
    drop = dropout(f"{base.name}.drop", source.name, seen.name, source.letters) if dropped else None
    return (
        *((drop,) if drop else ()),
        Contraction(name=f"{base.name}.A", inputs=(seen, down), outputs=(narrow,)),
        Contraction(name=f"{base.name}.B", inputs=(narrow, up), outputs=(added,)),
        Elementwise(name=f"{base.name}.add", inputs=(part, added), outputs=(made,), function="add", linear=True),
    )
