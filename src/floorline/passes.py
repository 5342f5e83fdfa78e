"""From a block's forward operators to the passes over it: inference, forward, backward, recompute.

All of it is static: it depends on names and letters, never on sizes, and is derived once for each block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from floorline.block import Block
from floorline.implementations.implementation import Implementation, Keep
from floorline.op import Contraction, Elementwise, Op, pieces
from floorline.recomputation import discarded
from floorline.tensor import GRADIENT, TOKENS, Tensor


@dataclass(frozen=True, eq=False)
class Kernel:
    """Operators that are one launch.

    name    the label they share, or the operator's own name
    ops     in order
    inside  names that are made and used only here: they stay on chip
    """

    name: str
    ops: tuple[Op, ...]
    inside: frozenset[str] = frozenset()

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What it makes and others see."""
        return tuple(t for op in self.ops for t in op.outputs if t.name not in self.inside)


def base(label: str) -> str:
    """The label of a forward kernel that a part of the backward pass belongs to."""
    return label.split(".")[0]


def kernels(
    ops: Iterable[Op], outputs: Iterable[str], implementation: Implementation, whole: bool = False
) -> tuple[Kernel, ...]:
    """Operators grouped into launches: neighbours that share a label which the implementation fuses, or all of them."""
    groups: list[list[Op]] = []
    for op in ops:
        fuses = (
            bool(groups)
            and bool(op.kernel)
            and groups[-1][-1].kernel == op.kernel
            and base(op.kernel) in implementation.fused
        )
        if fuses or (groups and whole):
            groups[-1].append(op)
        else:
            groups.append([op])
    return grouped(groups, frozenset(outputs))


def grouped(groups: list[list[Op]], outputs: frozenset[str]) -> tuple[Kernel, ...]:
    """Kernels of groups, with the names that never leave each; of what is made twice (once more for the backward pass) what is
    read is the latest."""
    latest: dict[str, int] = {}
    users: dict[tuple[int, str], set[int]] = {}
    for i, group in enumerate(groups):
        for op in group:
            for t in op.inputs:
                users.setdefault((latest.get(t.name, -1), t.name), set()).add(i)
            latest.update((t.name, i) for t in op.outputs)
    found = []
    for i, group in enumerate(groups):
        made = {t.name for op in group for t in op.outputs}
        inside = frozenset(n for n in made if users.get((i, n)) == {i} and n not in outputs)
        name = group[0].kernel if len(group) > 1 and group[0].kernel else group[0].name
        found.append(Kernel(name, tuple(group), inside))
    return tuple(found)


@cache
def inference(block: Block) -> tuple[Op, ...]:
    """The operators without those of training alone (dropout, loss): what they would have changed passes through."""
    names: dict[str, str] = {}
    kept: list[Op] = []
    for op in block.ops:
        if op.phase == "train":
            names[op.outputs[0].name] = names.get(op.inputs[0].name, op.inputs[0].name)
        else:
            kept.append(op.renamed(names) if names else op)
    back = {v: k for k, v in names.items() if k in block.outputs}
    return (
        tuple(replace(op, outputs=tuple(replace(t, name=back.get(t.name, t.name)) for t in op.outputs)) for op in kept)
        if back
        else tuple(kept)
    )


@cache
def before_cache(block: Block) -> tuple[Op, ...]:
    """The operators that later tokens depend on: those that the cache needs."""
    ops = inference(block)
    return ancestors(ops, [t.name for t in block.caches()], {}, [t.name for t in block.inputs])


@cache
def read_later(block: Block) -> frozenset[str]:
    """Names that what leaves the block depends on, or the loss. The text's stream of a last layer may be none of them: it is
    computed, nobody reads it, and no gradient comes back.
    """
    found = {*block.outputs, *(t.name for t in block.caches())}
    for op in reversed(block.ops):
        if op.phase == "train" or any(t.name in found for t in op.outputs):
            found |= {t.name for t in (*op.inputs, *op.outputs)}
    return frozenset(found)


@cache
def differentiable(block: Block) -> frozenset[str]:
    """Names through which gradients flow: inputs that are not integers, and whatever depends on them or on trained weights,
    where somebody reads it."""
    found = {t.name for t in block.inputs if t.role != TOKENS}
    for op in block.ops:
        if op.trained or any(t.name in found for t in op.activations):
            found |= {t.name for t in op.outputs}
    return frozenset(found) & read_later(block)


@dataclass(frozen=True, eq=False)
class Saved:
    """What a block keeps between its forward and its backward pass.

    tensors  each once
    maker    name of a kept tensor → the operator that makes it; the block's inputs have none
    by       name of an operator → what its backward pass reads of them
    """

    tensors: tuple[Tensor, ...]
    maker: dict[str, Op]
    by: dict[str, tuple[Tensor, ...]]


@cache
def saved(block: Block, implementation: Implementation) -> Saved:
    """What autograd keeps for the backward pass of a block, each tensor once.

    Operators keep what the implementation's table says. A kernel that computes its inside again in the backward pass
    (flash attention) keeps its inputs and a few statistics instead.
    """
    given = {t.name for t in block.inputs}
    maker = {t.name: op for op in block.ops for t in op.outputs}
    found: dict[str, Tensor] = {}
    by = {op.name: implementation.saved(op) for op in block.ops}
    flows = differentiable(block)
    for kernel in kernels(block.ops, block.outputs, implementation):
        for op, tensor in kept(kernel, implementation):
            if not any(t.name in flows for t in op.outputs):
                continue  # no gradient comes back through it
            found[tensor.name] = tensor
            if tensor.name not in given:
                maker.setdefault(tensor.name, op)
        if recomputes(kernel, implementation):
            by.update(read_again(kernel, implementation, by))
    return Saved(tuple(found.values()), maker, by)


def recomputes(kernel: Kernel, implementation: Implementation) -> bool:
    """Whether the backward pass of a kernel computes its inside again instead of reading it."""
    return len(kernel.ops) > 1 and kernel.name in implementation.kernels


def kept(kernel: Kernel, implementation: Implementation) -> Iterator[tuple[Op, Tensor]]:
    """Tensors that one kernel keeps, with the operator that keeps them."""
    if not recomputes(kernel, implementation):
        yield from ((op, t) for op in kernel.ops for t in implementation.saved(op))
        return
    made = {t.name for op in kernel.ops for t in op.outputs}
    yield from ((op, t) for op in kernel.ops for t in op.activations if t.name not in made)
    row = row_operator(kernel)
    for keep in implementation.kernels[kernel.name]:
        yield from ((row, t) for t in statistics(keep, kernel, row))


def read_again(
    kernel: Kernel, implementation: Implementation, by: dict[str, tuple[Tensor, ...]]
) -> dict[str, tuple[Tensor, ...]]:
    """What the backward pass of such a kernel reads: its inside as it was computed again, and its statistics."""
    there = {t.name: t for op in kernel.ops for t in (*op.inputs, *op.outputs)}
    row = row_operator(kernel)
    kept_rows = tuple(t for keep in implementation.kernels[kernel.name] for t in statistics(keep, kernel, row))
    found = {
        op.name: tuple(there[t.copy_of or t.name] for t in by[op.name] if (t.copy_of or t.name) in there)
        for op in kernel.ops
    }
    return {**found, row.name: found[row.name] + kept_rows}


def row_operator(kernel: Kernel) -> Elementwise:
    """The operator of a kernel that reduces rows, whose statistics the kernel keeps."""
    return next(op for op in kernel.ops if isinstance(op, Elementwise) and op.reduces)


def statistics(keep: Keep, kernel: Kernel, row: Elementwise) -> tuple[Tensor, ...]:
    """What a kernel that computes its inside again keeps besides its inputs."""
    return kernel.outputs if keep.what == "output" else keep.tensors(row)


def ancestors(ops: tuple[Op, ...], wanted: Iterable[str], maker: dict[str, Op], have: Iterable[str]) -> tuple[Op, ...]:
    """Operators to run again so that the names in ``wanted`` exist, given those in ``have``; no more than these."""
    present = set(have)
    missing = {n for n in wanted if n not in present}
    chosen: list[Op] = []
    for op in reversed(ops):
        if any(t.name in missing for t in op.outputs) or any(maker.get(n) is op for n in missing):
            chosen.append(op)
            missing |= {t.name for t in op.activations if t.name not in present}
    return tuple(reversed(chosen))


def again(op: Op, word: str, label: str) -> Op:
    """An operator that runs a second time, under another name and in the kernel that it then belongs to."""
    return replace(op, name=f"{op.name}.{word}", kernel=label)


@cache
def dropped(block: Block, implementation: Implementation, recompute: str) -> frozenset[str]:
    """Kept tensors that a recompute policy gives up: all of them (full), or those inside some parts of the layer (selective,
    which is the attention core, or names of parts joined by +)."""
    everything = saved(block, implementation)
    if recompute == "none":
        return frozenset()
    if recompute == "full":
        return frozenset(t.name for t in everything.tensors) - {t.name for t in block.inputs}
    return discarded(block, implementation, recompute, everything.tensors, everything.maker)


@cache
def stored(block: Block, implementation: Implementation, recompute: str) -> tuple[Tensor, ...]:
    """What stays in memory between forward and backward under a recompute policy."""
    lost = dropped(block, implementation, recompute)
    kept_tensors = tuple(t for t in saved(block, implementation).tensors if t.name not in lost)
    return tuple(t for t in block.inputs if t.role != TOKENS) if recompute == "full" else kept_tensors


@cache
def backward(block: Block, implementation: Implementation, recompute: str = "none") -> tuple[Op, ...]:
    """The backward pass: what is run again, then gradients in reverse order, those of inputs before those of weights.

    Source of the rule for full recomputation: torch.utils.checkpoint, non-reentrant, which stops once the last kept tensor
    is back; reentrant checkpoints run all of a layer again (Megatron-LM, megatron/core/tensor_parallel/random.py,
    CheckpointFunction.backward).
    """
    keeps, flows = saved(block, implementation), differentiable(block)
    lost = dropped(block, implementation, recompute)
    have = {t.name for t in keeps.tensors if t.name not in lost} | {t.name for t in block.inputs}
    needed = ancestors(block.ops, [t.name for t in keeps.tensors if t.name in lost], keeps.maker, have)
    if recompute == "full" and needed:
        # the layer runs again from its start until the last kept tensor is back, side branches included
        needed = block.ops if implementation.reruns else block.ops[: block.ops.index(needed[-1]) + 1]
    found: list[Op] = [again(op, "recompute", op.kernel) for op in needed]
    for kernel in reversed(kernels(block.ops, block.outputs, implementation)):
        found += inside_again(kernel, implementation, keeps)
        reached = [op for op in reversed(kernel.ops) if any(t.name in flows for t in op.outputs)]
        parts = [g for op in reached for g in op.backward(flows, keeps.by[op.name])]
        found += sorted(
            parts, key=lambda op: any(t.role == GRADIENT for t in op.outputs) and isinstance(op, Contraction)
        )
    return tuple(found)


def inside_again(kernel: Kernel, implementation: Implementation, keeps: Saved) -> list[Op]:
    """What a kernel's backward pass computes again of its own inside: flash attention its scores."""
    if not recomputes(kernel, implementation):
        return []
    inside = {t.name for op in kernel.ops for t in op.outputs} - {t.name for t in kernel.outputs}
    needed = [t.name for op in kernel.ops for t in keeps.by[op.name] if t.name in inside]
    have = {t.name for op in kernel.ops for t in op.activations if t.name not in inside}
    return [
        again(op, "inside", pieces(op.kernel, "backward")) for op in ancestors(kernel.ops, needed, keeps.maker, have)
    ]
