"""Weights of each part of the model on one rank: how many, and over how many ranks ZeRO shares them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from floorline.adapters import PACKED, SCALES
from floorline.block import Block
from floorline.blocks.stage import STAGE
from floorline.layout import Walk
from floorline.letters import Numbers, Product
from floorline.num import Num, number, total, where
from floorline.parallel.plan import Plan
from floorline.step import Step
from floorline.tensor import Tensor


@dataclass(frozen=True, eq=False)
class Held:
    """Weights that are alike.

    count   on one rank, before anything is shared [-]
    ranks   over which ZeRO shares them [-]
    bytes   of them as the model reads them [B]
    beside  scales of quantised ones, which are no parameters and so are never shared [B]
    frozen  whether they have neither gradients nor optimizer state
    """

    count: Num
    ranks: Num
    bytes: Num
    beside: Num = 0.0
    frozen: bool = False

    @property
    def trained(self) -> Num:
        """How many of them have a gradient [-]."""
        return 0.0 if self.frozen else self.count


@dataclass(frozen=True, eq=False)
class Holdings:
    """Weights by the part of the model.

    layer, embedding, head  groups of weights; those of one layer, on average
    """

    layer: tuple[Held, ...]
    embedding: tuple[Held, ...]
    head: tuple[Held, ...]


@cache
def local_weights(block: Block, cut: Plan) -> tuple[tuple[Tensor, tuple[str, ...], tuple[str, ...]], ...]:
    """Each weight of a block with the axes that divide it where it computes, and those over which its state is shared."""
    walk = Walk(cut)
    found: dict[str, tuple[Tensor, tuple[str, ...], tuple[str, ...]]] = {}
    for op in block.ops:
        for t in op.weights:
            layout = walk.given(t, walk.places(op), {})
            axes = tuple(sorted(layout))
            found.setdefault(t.name, (t, axes, tuple(a for a in cut.gradients if a not in layout)))
    return tuple(found.values())


def held(block: Block, step: Step, numbers: Numbers, cut: Plan, times: Num, known: frozenset[str]) -> Iterator[Held]:
    """The weights of a block, those that go together as one; one of the whole model is held where it is known first."""
    groups: dict[tuple[tuple[str, ...], bool, bool], list[tuple[Num, Num]]] = {}
    for t, axes, shared in local_weights(block, cut):
        if t.name not in known:
            copies = 1.0 if t.is_shared else times
            count = numbers.value(Product(1.0, t.letters, axes=axes)) * copies
            size = count * step.precision.bytes(t.role, t.format)
            groups.setdefault((shared, t.frozen, t.format == PACKED), []).append((count, size))
    for (shared, frozen, packed), found in groups.items():
        count = total(count for count, _ in found)
        ranks = numbers.ranks(shared) if shared else 1.0
        yield Held(count, ranks, total(size for _, size in found), count * SCALES if packed else 0.0, frozen)


def copied(block: Block, step: Step, numbers: Numbers, cut: Plan, times: Num, known: frozenset[str]) -> Iterator[Held]:
    """Weights of the whole model that another stage has too."""
    for t, axes, shared in local_weights(block, cut):
        if t.is_shared and t.name in known:
            ranks = numbers.ranks(shared) if shared else 1.0
            count = numbers.value(Product(1.0, t.letters, axes=axes)) * times
            yield Held(count, ranks, count * step.precision.bytes(t.role, t.format), frozen=t.frozen)


def holdings(step: Step) -> Holdings:
    """The weights of a model on one rank; where a pipeline has several stages, a tied head has its own copy of the table.

    Source: Megatron-LM, megatron/core/models/common/language_module/language_module.py, setup_embeddings_and_output_layer.
    """
    layers = step.model.layers()
    layer: list[Held] = []
    before: list[Held] = []
    after: list[Held] = []
    known: frozenset[str] = frozenset()
    seen = False
    for stack, numbers in step.stacks:
        if stack.block is STAGE:
            continue
        if stack.is_layer:
            layer += held(stack.block, step, numbers, step.cut(stack), stack.stored / layers, known)
            seen = True
        else:
            (after if seen else before).extend(held(stack.block, step, numbers, step.cut(stack), stack.stored, known))
            if seen:
                again = where(number(step.parallelism.pp) > 1.0, 1.0, 0.0)
                after += copied(stack.block, step, numbers, step.cut(stack), again, known)
        known = known | {t.name for t in stack.block.weights() if t.is_shared}
    return Holdings(tuple(layer), tuple(before), tuple(after))
