"""One step of a model on one rank: which rows run, with which numbers; its cost, its serial time and its floor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property

from floorline import program
from floorline.block import Block
from floorline.formulas.collectives import least_reduce_bytes, message_time
from floorline.formulas.inference import visible_share
from floorline.formulas.roofline import kernel_time
from floorline.implementations import implementation
from floorline.letters import Numbers
from floorline.num import Num, largest, maximum, total
from floorline.parallel.plan import Plan, degrees, plan
from floorline.program import EARLIER, Cost, Piece, Row
from floorline.specs.accelerator import Cluster
from floorline.specs.assumptions import Assumptions
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.tensor import CACHE, WEIGHT
from floorline.transformer import Stack, Transformer

LEAST_WIRE = {**program.WIRE, "all_reduce": least_reduce_bytes}
"""As WIRE, but with what any algorithm must send: an all-reduce inside the network."""


@dataclass(frozen=True, eq=False)
class Step:
    """A pass over the whole model, with numbers.

    model        the stacks and their sizes
    batch        sequences, over all ranks [-]
    tokens       new tokens of each sequence, T [-]
    earlier      tokens of each that are in the cache before, so S = earlier + T [-]
    logits       positions of each sequence whose logits are computed, O [-]
    parallelism  the plan
    precision    formats
    attention    "full" or "causal": which query-key pairs are counted
    decoding     whether context parallelism splits the cache only
    every_logit  whether O is T: logits of all positions, which can be cut by tokens
    """

    model: Transformer
    batch: Num
    tokens: Num
    earlier: Num = 0.0
    logits: Num = 1.0
    parallelism: Parallelism = field(default_factory=Parallelism)
    precision: Precision = field(default_factory=Precision)
    attention: str = "full"
    decoding: bool = False
    every_logit: bool = False

    @cached_property
    def plan(self) -> Plan:
        """The static part of the plan."""
        return plan(self.parallelism, self.decoding)

    def cut(self, stack: Stack) -> Plan:
        """What cuts a stack: the plan, but single positions stay whole."""
        return self.plan.whole("T") if stack.tokens and not self.every_logit else self.plan

    @cached_property
    def stacks(self) -> tuple[tuple[Stack, Numbers], ...]:
        """Each stack with its numbers; stacks that see the same tokens share them, and the products made of them."""
        keys = self.earlier + self.tokens
        step = {"B": self.batch, "T": self.tokens, "S": keys, EARLIER: self.earlier, "O": self.logits, "visible": 1.0}
        values: dict[str, Num] = {**self.model.sizes, **step}
        ranks = degrees(self.parallelism, self.model.sizes["K"])
        shared: dict[tuple[tuple[str, str], ...], Numbers] = {}
        for stack in self.model.stacks:
            if stack.tokens not in shared:
                bound = {**values, **{letter: values[stream] for letter, stream in stack.tokens}}
                shared[stack.tokens] = Numbers(bound, ranks, dict(stack.block.derived))
        return tuple((stack, shared[stack.tokens]) for stack in self.model.stacks)

    def numbers(self, attention: str = "") -> Iterator[tuple[Stack, Numbers]]:
        """Each stack with its numbers, under an attention convention."""
        if (attention or self.attention) == "full":
            yield from self.stacks
            return
        share = visible_share(self.tokens, self.earlier + self.tokens)
        for stack, numbers in self.stacks:
            yield stack, numbers.having("visible", share)

    def rows(self, fusion: str) -> Iterator[tuple[Stack, Numbers, Row]]:
        """Every launch and message of inference under a fusion, in order."""
        software = implementation(fusion)
        for stack, numbers in self.numbers():
            for row in program.inference(stack.block, software, self.cut(stack)):
                yield stack, numbers, row

    def cost(self, fusion: str) -> Cost:
        """FLOP, bytes and bytes sent of the whole step, on one rank."""
        result = Cost()
        for stack, numbers, row in self.rows(fusion):
            result = result + program.price(row, numbers, self.precision).times(stack.repeat)
        return result

    def serial(self, cluster: Cluster, assumptions: Assumptions) -> Num:
        """The textbook sum: each launch its larger time, each message its own, one after the other."""
        return total(
            row_time(row, program.price(row, numbers, self.precision), cluster, self.precision, assumptions)
            * stack.repeat
            for stack, numbers, row in self.rows(assumptions.fusion)
        )

    def floor(self, cluster: Cluster) -> Floor:
        """What physics allows: the largest of all arithmetic, all compulsory traffic and all messages.

        Arithmetic is what a causal mask leaves; traffic is each weight and each cached byte once, new cache written,
        less what the last-level cache can hold from the step before; messages are what any algorithm must send.
        """
        flops: Num = 0.0
        moved: Num = 0.0
        sent: Num = 0.0
        for stack, numbers in self.numbers("causal"):
            least = compulsory(stack.block, self.cut(stack))
            flops = flops + total(numbers.value(p) for row in least.rows for p in row.flops) * stack.repeat
            moved = moved + self.bytes(least.weights, numbers) * stack.stored
            moved = moved + self.bytes(least.cached, numbers) * stack.repeat
            for row in least.messages:
                moved_once = least_sent(row, numbers, self.precision)
                sent = sent + moved_once * stack.repeat
        device = cluster.accelerator
        moved = maximum(moved - device.last_level_cache, 0.0)
        return Floor(
            compute=flops / device.peak(self.precision.activations),
            memory=moved / device.memory_bandwidth,
            link=sent / cluster.link.bandwidth,
        )

    def bytes(self, pieces: tuple[Piece, ...], numbers: Numbers) -> Num:
        """Bytes of some pieces of tensors."""
        return total(count(p, numbers) * self.precision.bytes(p.tensor.role, p.tensor.format) for p in pieces)


def count(piece: Piece, numbers: Numbers) -> Num:
    """Elements of a piece of a tensor."""
    elements = numbers.value(piece.elements)
    return elements if piece.less is None else elements - numbers.value(piece.less)


@dataclass(frozen=True)
class Floor:
    """The three times of which the largest is the floor [s]."""

    compute: Num
    memory: Num
    link: Num

    @property
    def seconds(self) -> Num:
        """The floor."""
        return largest((self.compute, self.memory, self.link))


@dataclass(frozen=True, eq=False)
class Least:
    """What a block cannot do without: arithmetic, weights and cache once, messages."""

    rows: tuple[Row, ...]
    weights: tuple[Piece, ...]
    cached: tuple[Piece, ...]
    messages: tuple[Row, ...]


@cache
def compulsory(block: Block, cut: Plan) -> Least:
    """The least of a block: rows of a lookup into a table of the whole model are left out, since the head reads it all."""
    rows = program.inference(block, implementation("compulsory"), cut)
    read = [p for row in rows for p in row.reads]
    written = [p for row in rows for p in row.writes if p.tensor.role == CACHE]
    weights = tuple(p for p in read if p.tensor.role == WEIGHT and not (p.tensor.touched and p.tensor.is_shared))
    cached = tuple(p for p in read if p.tensor.role == CACHE)
    return Least(rows, weights, (*cached, *written), tuple(row for row in rows if row.message is not None))


def least_sent(row: Row, numbers: Numbers, precision: Precision) -> Num:
    """Bytes that any algorithm for this message must send."""
    assert row.message is not None
    tensor = row.message.inputs[0]
    buffer = numbers.value(row.message.message) * precision.bytes(tensor.role, tensor.format)
    return LEAST_WIRE[row.message.kind](buffer, numbers.ranks(row.message.axes))


def row_time(row: Row, cost: Cost, cluster: Cluster, precision: Precision, assumptions: Assumptions) -> Num:
    """Time of one launch or message in the textbook sum [s]."""
    if row.message is not None:
        return message_time(cost.sent, cluster.link.bandwidth, cluster.link.latency)
    device = cluster.accelerator
    return kernel_time(
        cost.flops,
        cost.bytes,
        device.peak(precision.activations) * assumptions.compute_efficiency,
        device.memory_bandwidth * assumptions.memory_efficiency,
        assumptions.launch_time,
    )
