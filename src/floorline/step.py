"""One step of a model on one rank: which rows run, with which numbers; its cost, its serial time and its floor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

from floorline import passes, program
from floorline.block import Block
from floorline.errors import BadInput
from floorline.formulas.collectives import all_to_all_bytes, least_own_bytes, least_share_bytes, message_time
from floorline.formulas.roofline import kernel_time
from floorline.implementations import implementation
from floorline.letters import Expression, Numbers, Product
from floorline.masks import selected
from floorline.num import Num, all_true, largest, maximum, minimum, number, total
from floorline.parallel.plan import Plan, degrees, plan
from floorline.program import EARLIER, Cost, Piece, Row
from floorline.quantized import element_bytes
from floorline.specs.accelerator import Cluster
from floorline.specs.assumptions import Assumptions
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.workload import (
    Decode,
    Encode,
    Generate,
    Prefill,
    Train,
    Workload,
    decoder_tokens,
    longest,
    source_tokens,
)
from floorline.tensor import CACHE, WEIGHT
from floorline.transformer import SOURCE, Stack, Transformer

LEAST = {
    "all_reduce": (least_share_bytes, least_share_bytes),
    "reduce_scatter": (least_share_bytes, least_own_bytes),
    "all_gather": (least_own_bytes, least_share_bytes),
    "all_to_all": (all_to_all_bytes, all_to_all_bytes),
}
"""What any algorithm must send from a rank, and what must reach it, the network's own adding and copying included."""


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
    decoding     whether each sequence has one new token: layers run as they do then, and context parallelism splits the
                 cache only
    every_logit  whether O is T: logits of all positions, which can be cut by tokens
    source       tokens of the encoder for each sequence, M, where the model does not fix them among its sizes [-]
    evenness     of expert routing: 1 balanced, 0 every token to the same experts [-]
    modalities   of the stacks that run: "" for text, "source" for encoders, "image"
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
    source: Num = 1.0
    evenness: Num = 1.0
    modalities: tuple[str, ...] = ("",)

    @cached_property
    def plan(self) -> Plan:
        """The static part of the plan."""
        return plan(self.parallelism, self.decoding)

    def cut(self, stack: Stack) -> Plan:
        """What cuts a stack: the plan, but single positions stay whole."""
        return self.plan.whole("T") if ("T", "O") in stack.tokens and not self.every_logit else self.plan

    @cached_property
    def stacks(self) -> tuple[tuple[Stack, Numbers], ...]:
        """Each stack with its numbers; stacks that see the same tokens share them, and the products made of them."""
        step = {
            "B": self.batch,
            "T": self.tokens,
            "S": self.earlier + self.tokens,
            EARLIER: self.earlier,
            "before": self.earlier,
            "O": self.logits,
            "M": self.model.sizes.get("M", self.source),
            "visible": 1.0,
            "selected": 1.0,
            "evenness": self.evenness,
        }
        shared: dict[object, Numbers] = {}
        found = []
        for stack in self.running:
            derived = self.block(stack).derived
            stored = element_bytes(self.model, stack, self.precision.bytes(WEIGHT))
            key = (stack.tokens, derived, id(stack.sizes) if stack.sizes else 0, id(stack) if stored else 0)
            if key not in shared:
                values: dict[str, Num] = {**self.model.sizes, **stack.sizes, **step}
                for letter, text in stack.tokens:
                    values[letter] = values[text] if text in values else Expression(text)(values)
                ranks = degrees(self.parallelism, values.get("K", 1.0))
                shared[key] = Numbers(values, ranks, dict(derived), stored)
            found.append((stack, shared[key]))
        return tuple(found)

    @property
    def encoded(self) -> Num:
        """Tokens of each sequence that an encoder reads in this step, beside the decoder's."""
        return self.model.sizes.get("M", self.source) if SOURCE in self.modalities else 0.0

    @property
    def running(self) -> Iterator[Stack]:
        """The stacks that this step runs."""
        return (stack for stack in self.model.stacks if stack.modality in self.modalities)

    def block(self, stack: Stack) -> Block:
        """What a stack runs in this step: some layers do other work while decoding."""
        return stack.decode if self.decoding and stack.decode is not None else stack.block

    def numbers(self, attention: str = "") -> Iterator[tuple[Stack, Numbers]]:
        """Each stack with its numbers, under an attention convention."""
        if (attention or self.attention) == "full":
            yield from self.stacks
            return
        shares: dict[object, Numbers] = {}
        for stack, numbers in self.stacks:
            key = (stack.mask, id(numbers))
            if key not in shares:
                shares[key] = numbers.having("visible", stack.mask(numbers.values))
                if "topk" in numbers.values:  # an indexer selects among the visible ones
                    shares[key] = shares[key].having("selected", selected(numbers.values))
            yield stack, shares[key]

    def rows(self, fusion: str) -> Iterator[tuple[Stack, Numbers, Row]]:
        """Every launch and message of inference under a fusion, in order."""
        software = implementation(fusion)
        for stack, numbers in self.numbers():
            for row in program.inference(self.block(stack), software, self.cut(stack)):
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
            row_time(
                row, program.price(row, numbers, self.precision), cluster, self.rate(row, numbers, cluster), assumptions
            )
            * stack.repeat
            for stack, numbers, row in self.rows(assumptions.fusion)
        )

    def floor(self, cluster: Cluster) -> Floor:
        """What physics allows: the largest of all arithmetic, all compulsory traffic and all messages.

        Arithmetic is what a causal mask leaves, in the last layer only for positions whose logits are asked;
        traffic is each weight and each cached byte once, new cache written,
        less what the last-level cache can hold from the step before; messages are what any algorithm must send.
        """
        flops: Num = 0.0
        weights: Num = 0.0
        cached: Num = 0.0
        sent: Num = 0.0
        received: Num = 0.0
        last = None if self.every_logit or self.decoding else self.model.last_layer
        for stack, shown in self.numbers("causal"):
            least = compulsory(self.block(stack), self.cut(stack))
            numbers = shown.having("evenness", 0.0) if least.routed else shown
            once = total(numbers.value(p) for p in least.flops)
            flops = flops + once * stack.repeat
            if stack is last:
                few = numbers.renewed({"T": self.logits, "visible": 1.0, "selected": 1.0})
                spared = total(numbers.value(p) for p in least.after_cache)
                flops = flops - (spared - minimum(total(few.value(p) for p in least.after_cache), spared))
            weights = weights + self.bytes(least.weights, numbers) * stack.stored
            cached = cached + self.bytes(least.cached, numbers) * stack.repeat
            for row in least.messages:
                out, back = least_moved(row, numbers, self.precision)
                sent, received = sent + out * stack.repeat, received + back * stack.repeat
        device = cluster.accelerator
        moved = maximum(weights + cached - device.last_level_cache, 0.0)
        return Floor(
            compute=flops / self.fastest(cluster),
            memory=moved / device.memory_bandwidth,
            link=maximum(sent, received) / cluster.link.bandwidth,
            flops=flops,
            weights=weights,
            cached=cached,
            message=maximum(sent, received),
        )

    def fastest(self, cluster: Cluster) -> Num:
        """The arithmetic rate that no launch exceeds: that of the activations' format, or of quantised matmuls [FLOP/s]."""
        own = self.model.quantization
        usual = cluster.accelerator.peak(self.precision.activations)
        return usual if own is None or not own.arithmetic else maximum(usual, cluster.accelerator.peak(own.arithmetic))

    def rate(self, row: Row, numbers: Numbers, cluster: Cluster) -> Num:
        """The arithmetic rate of a launch: that of quantised matmuls where it reads a weight that is quantised [FLOP/s]."""
        own = self.model.quantization
        if own is None or not own.arithmetic:
            return self.fastest(cluster)
        plain = self.precision.bytes(WEIGHT)
        narrow = any(not all_true(number(numbers.stored.get(p.tensor.name, plain)) >= plain) for p in row.reads)
        return self.fastest(cluster) if narrow else cluster.accelerator.peak(self.precision.activations)

    def bytes(self, pieces: tuple[Piece, ...], numbers: Numbers) -> Num:
        """Bytes of some pieces of tensors."""
        return total(count(p, numbers) * program.element_bytes(p.tensor, numbers, self.precision) for p in pieces)


def count(piece: Piece, numbers: Numbers) -> Num:
    """Elements of a piece of a tensor."""
    elements = numbers.value(piece.elements)
    return elements if piece.less is None else elements - numbers.value(piece.less)


@dataclass(frozen=True)
class Floor:
    """The three times of which the largest is the floor, and the amounts that they come from.

    compute, memory, link  times [s]
    flops                  the least arithmetic [FLOP]
    weights, cached        bytes that must move: weights once, cache once and what is new of it [B]
    message                the larger of what must leave a rank and what must reach it [B]
    """

    compute: Num
    memory: Num
    link: Num
    flops: Num
    weights: Num
    cached: Num
    message: Num

    @property
    def times(self) -> dict[str, Num]:
        """The three times by name."""
        return {"compute": self.compute, "memory": self.memory, "link": self.link}

    @property
    def seconds(self) -> Num:
        """The floor."""
        return largest((self.compute, self.memory, self.link))


def reach(model: Transformer, workload: Workload) -> Num:
    """Tokens of the longest sequence of a workload, which a table of positions must cover: of both sides, where the encoder's
    input has no fixed length."""
    if not model.has_encoder:
        return longest(workload)
    own = decoder_tokens(workload)
    return own if "M" in model.sizes else maximum(own, source_tokens(workload))


def generating(model: Transformer, what: str) -> None:
    """Hold a model to what needs one that generates.

    raises BadInput for an encoder alone
    """
    if not model.generates:
        raise BadInput(
            f"{model.name} is an encoder: it generates nothing and keeps no cache, so there is no {what}; use 'floorline flops', "
            "or count() and estimate() with Encode"
        )


def sourced(model: Transformer, workload: Workload) -> None:
    """Hold an encoder–decoder's workload to saying how much the encoder reads, and that of another model to not saying it.

    raises BadInput where it does not
    """
    if not model.has_encoder:
        if isinstance(workload, Decode | Prefill | Generate) and not all_true(number(workload.source_len) == 0.0):
            raise BadInput(f"{model.name} has no encoder that reads {workload.source_len} tokens; leave out source_len")
        return
    if "M" not in model.sizes and not all_true(number(source_tokens(workload)) >= 1.0):
        raise BadInput(
            f"{model.name} has an encoder: source_len is 0; expected the tokens that it reads, such as source_len=512"
        )


def trained(model: Transformer, workload: Train, plan: Parallelism, precision: Precision, attention: str) -> Step:
    """The forward pass of one micro-batch on every data-parallel rank; an encoder–decoder's has two lengths."""
    tokens = workload.decoder_len if model.has_encoder else workload.seq_len
    batch = workload.micro_batch * plan.dp
    step = Step(model, batch, tokens, 0.0, tokens, plan, precision, attention, every_logit=True)
    text_alone = model.generates and not model.has_encoder
    return replace(step, source=workload.seq_len, modalities=("",) if text_alone else model.modalities)


def single(model: Transformer, workload: Workload, plan: Parallelism, precision: Precision, attention: str) -> Step:
    """The step of a workload that is one pass: a prefill, the decoding of one token, or a pass over both sides.

    raises BadInput for a workload of many steps, one that an encoder alone does not have, or one without an encoder's length
    """
    sourced(model, workload)
    if isinstance(workload, Decode):
        generating(model, "decoding")
        step = Step(model, workload.batch, 1.0, workload.context_len, 1.0, plan, precision, attention, decoding=True)
        return replace(step, source=workload.source_len)
    if isinstance(workload, Encode):
        tokens = workload.decoder_len if model.has_encoder else workload.seq_len
        step = Step(model, workload.batch, tokens, 0.0, tokens, plan, precision, attention, every_logit=True)
        return replace(step, source=workload.seq_len, modalities=model.modalities)
    if isinstance(workload, Prefill):
        if not all_true(number(workload.cached_len) == 0.0):
            generating(model, "cache before the prompt")
        every = workload.logits == "all"
        logits = workload.prompt_len if every else 1.0
        tokens, earlier = workload.prompt_len, workload.cached_len
        step = Step(model, workload.batch, tokens, earlier, logits, plan, precision, attention, every_logit=every)
        return replace(step, source=workload.source_len, modalities=("", SOURCE) if model.has_encoder else ("",))
    raise BadInput(f"{type(workload).__name__} is many steps; count its Prefill and its Decode steps one by one")


@dataclass(frozen=True, eq=False)
class Least:
    """What a block cannot do without: arithmetic, weights and cache once, messages.

    after_cache  the arithmetic that no later token needs: in the last layer only positions with logits must do it
    routed       whether some weights are experts that tokens choose
    """

    flops: tuple[Product, ...]
    after_cache: tuple[Product, ...]
    weights: tuple[Piece, ...]
    cached: tuple[Piece, ...]
    messages: tuple[Row, ...]
    routed: bool


@cache
def compulsory(block: Block, cut: Plan) -> Least:
    """The least of a block. Rows that a lookup reads of the model's own table are left out: a tied head reads them anyway,
    and a floor may be low by a few rows."""
    rows = program.inference(block, implementation("compulsory"), cut)
    read = [p for row in rows for p in row.reads]
    written = [p for row in rows for p in row.writes if p.tensor.role == CACHE]
    weights = tuple(p for p in read if p.tensor.role == WEIGHT and not (p.tensor.touched and p.tensor.is_shared))
    cached = tuple(p for p in read if p.tensor.role == CACHE)
    kept = {op.name for op in passes.before_cache(block)}
    flops = [pair for row in rows for pair in row.flops]
    after = tuple(p for name, p in flops if name not in kept)
    messages = tuple(row for row in rows if row.message is not None)
    routed = any("evenness" in p.tensor.touched for p in weights)
    return Least(tuple(p for _, p in flops), after, weights, (*cached, *written), messages, routed)


def least_moved(row: Row, numbers: Numbers, precision: Precision) -> tuple[Num, Num]:
    """Bytes that any algorithm for this message must send from a rank, and must bring to it."""
    assert row.message is not None
    buffer, ranks = program.message_size(row.message, numbers, precision)
    send, receive = LEAST[row.message.kind]
    return send(buffer, ranks), receive(buffer, ranks)


def row_time(row: Row, cost: Cost, cluster: Cluster, rate: Num, assumptions: Assumptions) -> Num:
    """Time of one launch, at an arithmetic rate, or of one message in the textbook sum [s]."""
    if row.message is not None:
        return message_time(
            cost.sent, cluster.link.bandwidth, maximum(cluster.link.latency, assumptions.message_latency)
        )
    device = cluster.accelerator
    return kernel_time(
        cost.flops,
        cost.bytes,
        rate * assumptions.compute_efficiency,
        device.memory_bandwidth * assumptions.memory_efficiency,
        assumptions.launch_time,
    )
