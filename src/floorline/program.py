"""What one rank does in one pass of a block: launches and messages, as products of letters.

A program is static and made once for each block, pass, implementation and plan; numbers come in when it is priced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, cached_property

from floorline import layout, passes
from floorline.block import Block
from floorline.blocks.stage import STAGE, STREAM
from floorline.formulas.collectives import all_to_all_bytes, one_message_bytes, ring_all_reduce_bytes, ring_gather_bytes
from floorline.implementations.implementation import Implementation
from floorline.implementations.operations import passed, started
from floorline.kernel_sizes import Sized, sized
from floorline.letters import Numbers, Product
from floorline.num import Num
from floorline.op import CacheWrite, Collective, Op, View
from floorline.parallel.plan import Plan
from floorline.specs.precision import Precision
from floorline.tensor import CACHE, WEIGHT, Tensor

WIRE = {
    "all_reduce": ring_all_reduce_bytes,
    "all_gather": ring_gather_bytes,
    "reduce_scatter": ring_gather_bytes,
    "all_to_all": all_to_all_bytes,
    "stage_send": one_message_bytes,
}
"""Bytes that a rank sends, by kind of collective, for a ring."""

EARLIER = "σ"
"""The letter for tokens that were in the cache before this pass: S − T."""


@dataclass(frozen=True)
class Piece:
    """Elements of one tensor that a launch reads or writes, or that are in memory.

    tensor    what
    elements  how many, on one rank
    less      how many of them are counted elsewhere already
    """

    tensor: Tensor
    elements: Product
    less: Product | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """One launch, or one message.

    name     of the kernel, or "h.all_gather"
    ops      names of its operators
    flops    arithmetic: name of an operator, and its FLOP as a product
    reads, writes  pieces of tensors that cross the memory bus
    message  the collective, if this is one
    sized    what kind of kernel it is, with its sizes; several where it does several
    starts   operators that an eager framework starts for it
    passes   bytes that those move over what one launch moves, of element-wise work [-]
    """

    name: str
    ops: tuple[str, ...]
    flops: tuple[tuple[str, Product], ...] = ()
    reads: tuple[Piece, ...] = ()
    writes: tuple[Piece, ...] = ()
    message: Collective | None = None
    sized: tuple[Sized, ...] = ()
    starts: tuple[Product, ...] = ()
    passes: float = 1.0

    @cached_property
    def moved(self) -> tuple[Piece, ...]:
        """Everything that crosses the memory bus."""
        return (*self.reads, *self.writes)


@dataclass(frozen=True)
class Cost:
    """Amounts of work; costs add.

    flops    floating-point operations [FLOP]
    bytes    read and written [B]
    sent     put on the wire [B]

    >>> (Cost(1.0, 2.0) + Cost(3.0, 4.0)).flops
    4.0
    """

    flops: Num = 0.0
    bytes: Num = 0.0
    sent: Num = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes, self.sent + other.sent)

    def times(self, factor: Num) -> Cost:
        """The cost of doing it ``factor`` times."""
        return Cost(self.flops * factor, self.bytes * factor, self.sent * factor)


def price(row: Row, numbers: Numbers, precision: Precision) -> Cost:
    """The amounts of one row."""
    flops: Num = 0.0
    for _, product in row.flops:
        flops = flops + numbers.value(product)
    moved: Num = 0.0
    for piece in row.moved:
        moved = moved + numbers.value(piece.elements) * element_bytes(piece.tensor, numbers, precision)
    if row.message is None:
        return Cost(flops, moved)
    buffer, ranks = message_size(row.message, numbers, precision)
    return Cost(flops, moved, WIRE[row.message.kind](buffer, ranks))


def element_bytes(tensor: Tensor, numbers: Numbers, precision: Precision) -> Num:
    """Bytes an element: as the weight is quantised, else in its own or its role's format."""
    quantized = numbers.stored.get(tensor.name) if tensor.role == WEIGHT else None
    return precision.bytes(tensor.role, tensor.format) if quantized is None else quantized


def message_size(message: Collective, numbers: Numbers, precision: Precision) -> tuple[Num, Num]:
    """Bytes of a collective's buffer, and the ranks of its group."""
    tensor = message.inputs[0]
    buffer = numbers.value(message.message) * element_bytes(tensor, numbers, precision)
    return buffer, numbers.ranks(message.axes)


@cache
def inference(block: Block, implementation: Implementation, plan: Plan) -> tuple[Row, ...]:
    """The forward pass of inference: nothing is kept but the cache."""
    if block is STAGE:
        return (handed_on(plan),)
    ops = passes.inference(block)
    walk = layout.forward(block, ops, plan)
    return rows(walk.steps, block.outputs, implementation, frozenset())


def handed_on(plan: Plan) -> Row:
    """What a pipeline stage sends to the next: the residual stream, as its ranks hold it."""
    axes = layout.divided(layout.Walk(plan).stream(STREAM))
    message = Product(1.0, STREAM.letters, axes=axes)
    name = f"{STREAM.name}.stage_send"
    return Row(
        name,
        (name,),
        message=Collective(name=name, inputs=(STREAM,), outputs=(), kind="stage_send", axes=("pp",), message=message),
    )


@cache
def training(
    block: Block, implementation: Implementation, plan: Plan, recompute: str, shared: frozenset[str]
) -> tuple[tuple[Row, ...], ...]:
    """Forward, backward and after the optimizer step.

    shared  weights of the whole model that an earlier block's pass already sends
    """
    ahead = layout.forward(block, block.ops, plan)
    back = layout.backward(ahead, block, passes.backward(block, implementation, recompute), shared)
    after = layout.update(block, plan, shared)
    kept = frozenset(t.name for t in passes.saved(block, implementation).tensors)
    gradients = (f"d{t.name}" for t in block.inputs)
    made = {t.name for step in back.steps for t in step.op.outputs if t.role == "gradients"}
    return (
        rows(ahead.steps, block.outputs, implementation, kept),
        rows(back.steps, (*gradients, *made), implementation, frozenset()),
        rows(after.steps, (), implementation, frozenset()),
    )


def rows(
    steps: Iterable[layout.Placed], outputs: Iterable[str], implementation: Implementation, kept: frozenset[str]
) -> tuple[Row, ...]:
    """Launches and messages in order; a message comes before the launch that needs it."""
    placed: dict[str, layout.Placed] = {}
    before: dict[str, list[Row]] = {}
    waiting: list[Row] = []
    for step in steps:
        if isinstance(step.op, Collective):
            waiting.append(Row(step.op.name, (step.op.name,), message=step.op))
        else:
            placed[step.op.name] = step
            before[step.op.name] = waiting
            waiting = []
    found: list[Row] = []
    for kernel in passes.kernels(
        [p.op for p in placed.values()], (*outputs, *kept), implementation, implementation.one_launch
    ):
        for op in kernel.ops:
            found += before[op.name]
        if any(not isinstance(op, View) for op in kernel.ops):
            found.append(launch(kernel, placed, kept, implementation))
    return (*found, *waiting)


def launch(
    kernel: passes.Kernel, placed: dict[str, layout.Placed], kept: frozenset[str], implementation: Implementation
) -> Row:
    """One launch: each tensor from outside is read once, each that others see is written once."""
    flops: list[tuple[str, Product]] = []
    reads: dict[str, Piece] = {}
    writes: dict[str, Piece] = {}
    inside = {t.name for op in kernel.ops for t in op.outputs}
    seen_through = {op.outputs[0].name: op.inputs[0] for op in kernel.ops if isinstance(op, View)}
    for op in kernel.ops:
        if isinstance(op, View):
            continue
        step = placed[op.name]
        flops += [(op.name, p.split(tuple(sorted(step.places)))) for p in op.flops()]
        for t in op.inputs:
            source = seen_through.get(t.name, t)
            if source.name not in inside:
                reads.setdefault(source.name, Piece(source, local(op.reads(t), t, step)))
            elif t.role == CACHE:
                reads.setdefault(t.name, Piece(t, earlier(t).split(step.axes(t))))
        for t in (*op.outputs, *own(op, kept, implementation)):
            if t.name not in kernel.inside or isinstance(op, CacheWrite):
                axes = step.axes(t if t.name in step.layouts else op.outputs[0])
                writes.setdefault(t.name, Piece(t, op.writes(t).split(axes)))
    return Row(
        kernel.name,
        tuple(op.name for op in kernel.ops),
        tuple(flops),
        tuple(reads.values()),
        tuple(writes.values()),
        sized=sized(kernel, placed),
        starts=started(kernel.ops, kernel.name in implementation.fused),
        passes=passed(kernel.ops),
    )


def local(elements: Product, tensor: Tensor, step: layout.Placed) -> Product:
    """What one rank reads of a tensor: a share that follows from tokens follows from its own tokens."""
    shares = elements.shares
    for axis, letter in sorted(step.places.items()):
        letter = "B" if letter == "C" else letter  # slots of experts are filled by tokens
        if letter not in tensor.letters:
            shares = tuple(re.sub(rf"\b{letter}\b", f"({letter}/{axis})", text) for text in shares)
    return replace(elements, shares=shares, axes=step.axes(tensor))


def earlier(tensor: Tensor) -> Product:
    """The part of a cache that this launch did not just make."""
    return Product(1.0, tensor.letters.replace("S", EARLIER))


def own(op: Op, kept: frozenset[str], implementation: Implementation) -> tuple[Tensor, ...]:
    """Further tensors that an operator writes because the backward pass will read them: statistics, masks, copies."""
    made = {t.name for t in (*op.inputs, *op.outputs)}
    return tuple(t for t in implementation.saved(op) if t.name in kept and t.name not in made) if kept else ()
