"""The walk that inserts collectives: a message is a change of a tensor's layout along the data flow.

A layout says, for each mesh axis, what its ranks hold of a tensor: a share of a letter, an equal flat share (ZeRO), one
term of a sum (partial), or, where the axis is not named, all of it. Each operator is cut by the plan's letters; its
inputs must come in that layout, and its outputs leave in it, partial where a summed letter was cut. Then

    partial → all    an all-reduce           partial → share  a reduce-scatter
    share → all      an all-gather           share → share of another letter   an all-to-all
    all → share, anything → partial          free

No block and no parallelism says where a message is sent; it follows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from floorline.block import Block
from floorline.letters import Product, without
from floorline.op import CacheWrite, Collective, Elementwise, Op, View
from floorline.parallel.plan import Plan
from floorline.passes import base
from floorline.route import Route
from floorline.tensor import GRADIENT, TOKENS, Tensor

PARTIAL, FLAT = "+", "*"
Layout = dict[str, str]
"""Axis → the letter it divides, ``*`` for a flat share, ``+`` for a partial sum."""

KINDS = ("all_reduce", "reduce_scatter", "all_to_all", "all_gather")


@dataclass(frozen=True, eq=False)
class Placed:
    """An operator with the layout of its work and of its tensors.

    op       the operator, or a Collective
    places   axis → letter that the work is cut by
    layouts  name of a tensor → its layout here
    """

    op: Op
    places: Layout = field(default_factory=dict)
    layouts: dict[str, Layout] = field(default_factory=dict)

    def axes(self, tensor: Tensor) -> tuple[str, ...]:
        """Axes whose ranks divide a tensor."""
        return divided(self.layouts.get(tensor.name, {}))


def divided(layout: Layout) -> tuple[str, ...]:
    """Axes that divide a tensor in this layout, in a fixed order."""
    return tuple(sorted(a for a, state in layout.items() if state != PARTIAL))


def kind(before: str, after: str) -> str:
    """The collective that turns one state of an axis into another, or "" where nothing is sent."""
    if before == after or after == PARTIAL or not before:
        return ""
    if before == PARTIAL:
        return "reduce_scatter" if after else "all_reduce"
    return "all_to_all" if after else "all_gather"


class Walk:
    """Follows operators in order and keeps where every tensor is.

    plan       what cuts the work
    steps      operators and the collectives between them
    where      name of a tensor → the layout that it was made in
    converted  name of a tensor → further layouts that it is there in
    exchanged  those reached by an all-to-all, which are kept for the backward pass: an exchange takes no more memory
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.steps: list[Placed] = []
        self.where: dict[str, Layout] = {}
        self.converted: dict[str, list[Layout]] = {}
        self.exchanged: dict[str, list[Layout]] = {}

    def places(self, op: Op) -> Layout:
        """Axis → letter that an operator is cut by."""
        found: Layout = {}
        taken: set[str] = set()
        for split in self.plan.splits:
            rules = split
            if isinstance(op, Route):  # tokens meet before they part
                rules = replace(split, otherwise=(), letters=split.routes or split.letters)
            own = {a: x for a, x in rules.places(op.letters, base(op.kernel)).items() if a not in taken}
            found.update({a: x for a, x in own.items() if a not in found})
            taken.update(split.instead if own else ())
        return found

    def start(self, tensors: Iterable[Tensor]) -> None:
        """Tensors from outside: integers are wherever they are needed, the residual stream is where norms want it."""
        self.where.update({t.name: self.stream(t) for t in tensors})

    def stream(self, tensor: Tensor) -> Layout:
        """The layout of a tensor between blocks."""
        layout: Layout = {}
        for split in self.plan.splits:
            layout.update(split.places(tensor.letters, ""))
        return layout

    def run(self, ops: Iterable[Op]) -> None:
        """Place each operator, with the messages that it needs before it."""
        for op in ops:
            self.pass_through(op) if isinstance(op, View) else self.place(op)

    def pass_through(self, op: View) -> None:
        """A view keeps the layout of what it looks at; a letter that it renames or drops takes its state along."""
        for source, target in zip(op.inputs * len(op.outputs), op.outputs, strict=False):
            twin = twins(op)
            before = self.where.get(source.name, self.given(source, self.places(op), twin))
            layout = {a: twin.get(x, x) if x not in target.letters else x for a, x in before.items()}
            layout = {a: x if x in target.letters or x in (PARTIAL, FLAT) else PARTIAL for a, x in layout.items()}
            self.make(target, layout)
        self.steps.append(Placed(op))

    def given(self, tensor: Tensor, places: Layout, twin: dict[str, str]) -> Layout:
        """The layout that work cut by ``places`` wants of one of its tensors."""
        named = {a: x if x in tensor.letters else twin.get(x, x) for a, x in places.items()}
        return {a: x for a, x in named.items() if x in tensor.letters}

    def place(self, op: Op) -> None:
        """One operator: convert its inputs, run it, record where its outputs are."""
        places, twin = self.places(op), twins(op) if isinstance(op, (CacheWrite, Route)) else {}
        layouts: dict[str, Layout] = {}
        carried = self.carried(op)
        for t in op.inputs:
            layouts[t.name] = {**self.given(t, places, twin), **({} if t.is_weight else carried)}
            self.need(t, layouts[t.name])
        for t in op.outputs:
            layouts[t.name] = {**made(op, t, places, twin), **carried}
        self.steps.append(Placed(op, places, layouts))
        self.statistics(op, places)
        for t in op.outputs:
            self.make(t, layouts[t.name])

    def carried(self, op: Op) -> Layout:
        """Axes over which what a linear operator reads may stay partial, all of it alike: the sum can wait."""
        scaled = op.scales if isinstance(op, Elementwise) else ""
        if not (scaled or isinstance(op, Route) or (isinstance(op, Elementwise) and op.linear)):
            return {}
        inputs = [t for t in op.activations if t.role != TOKENS and scaled in ("", t.name)]
        before = [self.where.get(t.name, {}) for t in inputs]
        return {a: x for a, x in before[0].items() if all(b.get(a) == PARTIAL for b in before)} if before else {}

    def statistics(self, op: Op, places: Layout) -> None:
        """A reduction along a letter that is cut exchanges its statistics only, in fp32."""
        if not isinstance(op, Elementwise) or not op.statistics[0]:
            return
        row = op.row if not op.function.endswith(".backward") else without(op.inputs[0].letters, op.reduces)
        for group in self.groups([a for a, x in places.items() if x in op.reduces]):
            message = Product(
                float(op.statistics[0]), row, axes=tuple(sorted(a for a, x in places.items() if x in row))
            )
            self.send("all_reduce", Tensor(f"{op.name}.statistics", row, format="fp32"), group, message)

    def make(self, tensor: Tensor, layout: Layout) -> None:
        """Record a tensor. A further contribution to a gradient is added where the first one is."""
        for split in self.plan.splits:
            if split.instead and all(layout.get(a) == PARTIAL for a in split.axes):
                layout = {a: x for a, x in layout.items() if a not in split.axes} | dict.fromkeys(
                    split.instead, PARTIAL
                )
        known = self.where.get(tensor.name)
        if known is None or tensor.name not in self.converted:
            self.where[tensor.name] = layout
            self.converted[tensor.name] = []
            return
        shares = {a: x for a, x in known.items() if x != PARTIAL}
        if shares == {a: x for a, x in layout.items() if x != PARTIAL}:
            self.where[tensor.name] = {**known, **layout}
        else:
            self.change(tensor, layout, known)

    def need(self, tensor: Tensor, layout: Layout) -> None:
        """Make sure that a tensor is there in a layout; each conversion happens once."""
        if tensor.role == TOKENS:
            return
        if tensor.is_weight:
            before = {**dict.fromkeys(self.plan.home, FLAT), **layout}
        elif tensor.name in self.where:
            before = self.where[tensor.name]
        else:
            self.where[tensor.name] = layout
            return
        done = self.converted.setdefault(tensor.name, [])
        if layout not in done and before != layout:
            done.append(layout)
            if "all_to_all" in self.change(tensor, before, layout):
                self.exchanged.setdefault(tensor.name, []).append(layout)

    def change(self, tensor: Tensor, before: Layout, after: Layout) -> set[str]:
        """The messages that turn one layout of a tensor into another: reductions first, then exchanges, then gathers.

        returns the kinds that were sent
        """
        now, sent = dict(before), set()
        axes = sorted({*before, *after})
        for name in KINDS:
            moving = [a for a in axes if kind(before.get(a, ""), after.get(a, "")) == name]
            for group in self.groups(moving):
                rest = {a: x for a, x in now.items() if a not in group or name == "all_to_all"}
                self.send(name, tensor, group, Product(1.0, tensor.letters, axes=divided(rest)))
                sent.add(name)
                for a in group:
                    now.pop(a, None)
                    if a in after:
                        now[a] = after[a]
        return sent

    def groups(self, axes: Iterable[str]) -> list[tuple[str, ...]]:
        """Axes of one parallelism go in one message."""
        found: dict[str, list[str]] = {}
        for axis in axes:
            found.setdefault(self.plan.group(axis), []).append(axis)
        return [tuple(sorted(v)) for v in found.values()]

    def send(self, name: str, tensor: Tensor, group: tuple[str, ...], message: Product) -> None:
        """Record one collective."""
        op = Collective(
            name=f"{tensor.name}.{name}", inputs=(tensor,), outputs=(), kind=name, axes=group, message=message
        )
        self.steps.append(Placed(op))

    def finish_gradients(self, block: Block, shared: frozenset[str]) -> None:
        """Gradients of weights are summed over every rank that keeps the weight, into shares where ZeRO says so."""
        for weight in block.weights():
            gradient = weight.gradient()
            before = self.where.get(gradient.name)
            if before is None or weight.name in shared:
                continue
            flat = {a: FLAT for a in self.plan.gradients if before.get(a) == PARTIAL}
            after = {**{a: x for a, x in before.items() if x not in (PARTIAL, FLAT)}, **flat}
            whole = Tensor(gradient.name, gradient.letters, GRADIENT)
            repeated = {a: PARTIAL for a in self.plan.copies if before.get(a) == PARTIAL}
            if repeated:  # shares first, so that copies sum shares alone
                self.change(whole, before, {**after, **repeated})
                before = {**after, **repeated}
            self.change(whole, before, after)


def made(op: Op, tensor: Tensor, places: Layout, twin: dict[str, str]) -> Layout:
    """The layout that work cut by ``places`` leaves an output in: partial where a letter that was cut is summed over.

    The gradient of a bias sums over the letters of the incoming gradient only; a reduction along a row is finished by
    its statistics.
    """
    summed = op.inputs[0].letters if tensor.name.endswith(".bias") else op.letters
    reduced = op.reduces if isinstance(op, Elementwise) else ""
    layout = {a: x if x in tensor.letters else twin.get(x, PARTIAL) for a, x in places.items()}
    return {a: x for a, x in layout.items() if x != PARTIAL or (places[a] in summed and places[a] not in reduced)}


def twins(op: Op) -> dict[str, str]:
    """The letter that an operator renames, both ways: T and S where tokens become cache, tokens and experts' slots."""
    if isinstance(op, Route):
        return {"B": "C", "T": "C"}
    old, new = op.inputs[0].letters, op.outputs[0].letters
    gone, come = without(old, new), without(new, old)
    return {gone: come, come: gone} if len(gone) == 1 and len(come) == 1 else {}


def forward(block: Block, ops: Iterable[Op], plan: Plan) -> Walk:
    """The forward pass of a block, from the residual stream back to it."""
    walk = Walk(plan)
    walk.start(block.inputs)
    walk.run(ops)
    for t in {t.name: t for op in walk.steps for t in op.op.outputs if t.name in block.outputs}.values():
        walk.need(t, walk.stream(t))
        walk.where[t.name] = walk.stream(t)
    return walk


def backward(walk: Walk, block: Block, ops: Iterable[Op], shared: frozenset[str] = frozenset()) -> Walk:
    """The backward pass after a forward walk: kept tensors are in the layout that they were made in, so what the forward
    pass had gathered of them is gathered again; gradients start where their tensors are.

    shared  weights of the whole model whose gradient another block's pass sends (a tied head)
    """
    after = Walk(walk.plan)
    after.where = dict(walk.where)
    after.converted = {name: list(layouts) for name, layouts in walk.exchanged.items()}
    for name in block.outputs:
        after.where[f"d{name}"] = dict(walk.where[name])
    after.run(ops)
    after.finish_gradients(block, shared)
    return after


def update(block: Block, plan: Plan, shared: frozenset[str] = frozenset()) -> Walk:
    """After the optimizer step: weights that were updated in shares are gathered, unless shares are their home."""
    walk = Walk(plan)
    if plan.gradients:
        for op in block.ops:
            for t in op.weights:
                layout = walk.given(t, walk.places(op), {})
                if t.is_trained and t.name not in walk.converted and t.name not in shared:
                    walk.converted[t.name] = [layout]
                    walk.change(
                        t,
                        {**dict.fromkeys(plan.gradients, FLAT), **layout},
                        {**dict.fromkeys(plan.home, FLAT), **layout},
                    )
    return walk


def is_message(step: Placed) -> bool:
    """Whether a step is a collective."""
    return isinstance(step.op, Collective)
