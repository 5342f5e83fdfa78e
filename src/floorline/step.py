"""One step of a model on one rank: which rows run, with which numbers; its cost, its serial time and its floor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from floorline import program
from floorline.block import Block
from floorline.blocks.stage import STAGE
from floorline.errors import BadInput
from floorline.floors import Floor, arithmetic, compulsory, count, spared
from floorline.formulas.collectives import message_time
from floorline.formulas.pipeline import micro_batch, pipeline_stretch
from floorline.formulas.roofline import kernel_time
from floorline.implementations import implementation
from floorline.letters import Expression, Numbers
from floorline.masks import Mask, chunk, selected, within_documents
from floorline.network import Level, Talk, levels, sending
from floorline.num import Num, all_true, floor, maximum, number, total
from floorline.op import Collective
from floorline.parallel.plan import Plan, degrees, plan, present
from floorline.program import EARLIER, Cost, Piece, Row
from floorline.quantized import element_bytes
from floorline.specs.accelerator import Link
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.workload import (
    Decode,
    Encode,
    Generate,
    Prefill,
    Workload,
    decoder_tokens,
    longest,
    source_tokens,
)
from floorline.tensor import WEIGHT
from floorline.transformer import SOURCE, Stack, Transformer


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
    document_len tokens of each document of a packed sequence, which sees no other; 0 for one document [-]
    modalities   of the stacks that run: "" for text, "source" for encoders, "image"
    extent       further sizes that stacks bind letters to: latents and tokens of a video along time, height and width [-]
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
    document_len: Num = 0.0
    modalities: tuple[str, ...] = ("",)
    extent: Mapping[str, Num] = field(default_factory=dict)

    @cached_property
    def plan(self) -> Plan:
        """The static part of the plan."""
        return plan(self.parallelism, self.decoding)

    def cut(self, stack: Stack) -> Plan:
        """What cuts a stack: the plan, but single positions stay whole, and what the stack says."""
        single = "T" if ("T", "O") in stack.tokens and not self.every_logit else ""
        found = self.plan
        for letter in single + stack.whole:
            found = found.whole(letter)
        return found

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
            **self.extent,
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
        """The stacks that this step runs, and what pipeline stages hand on between them."""
        yield from (stack for stack in self.model.stacks if stack.modality in self.modalities)
        if present(self.parallelism.pp):
            yield Stack(STAGE, repeat=self.parallelism.pp - 1.0, copies=0.0)

    @property
    def sequences(self) -> Num:
        """Sequences of one data-parallel rank [-]."""
        return self.batch / self.parallelism.dp

    @property
    def micro(self) -> Step:
        """The step of one of the micro-batches that pipeline stages work on at the same time."""
        if not present(self.parallelism.pp):
            return self
        return replace(self, batch=micro_batch(self.sequences, self.parallelism.pp) * self.parallelism.dp)

    @property
    def stretch(self) -> Num:
        """How much longer the batch takes than one micro-batch: while decoding, the others are in the other stages [-]."""
        return 1.0 if self.decoding else pipeline_stretch(self.sequences, self.parallelism.pp)

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
                shares[key] = numbers.having("visible", self.visible(stack.mask, numbers))
                if "topk" in numbers.values:  # an indexer selects among the visible ones
                    shares[key] = shares[key].having("selected", self.visible(selected, numbers))
            yield stack, shares[key]

    def visible(self, mask: Mask, numbers: Numbers) -> Num:
        """The share of query–key pairs that a mask leaves."""
        if all_true(number(self.document_len) == 0.0):
            return mask(numbers.values)
        return within_documents(mask, numbers.values, self.document_len)

    def rows(self, fusion: str) -> Iterator[tuple[Stack, Numbers, Row]]:
        """Every launch and message of inference under a fusion, in order."""
        for stack, numbers in self.numbers():
            for row in self.program(stack, fusion):
                yield stack, numbers, row

    def program(self, stack: Stack, fusion: str) -> tuple[Row, ...]:
        """Launches and messages of one run of a stack in inference."""
        return program.inference(self.block(stack), implementation(fusion), self.cut(stack))

    def cost(self, fusion: str) -> Cost:
        """FLOP, bytes and bytes sent of the whole step, on one rank."""
        result = Cost()
        for stack, numbers, row in self.rows(fusion):
            result = result + program.price(row, numbers, self.precision).times(stack.repeat)
        return result

    def serial(self, cluster: Cluster, assumptions: Assumptions) -> Num:
        """The textbook sum: each launch its larger time, each message its own, one after the other."""
        ways = levels(cluster)
        return total(
            self.time(row, program.price(row, numbers, self.precision), numbers, cluster, assumptions, ways)
            * stack.repeat
            for stack, numbers, row in self.rows(assumptions.fusion)
        )

    def time(
        self,
        row: Row,
        cost: Cost,
        numbers: Numbers,
        cluster: Cluster,
        assumptions: Assumptions,
        ways: tuple[Level, ...],
    ) -> Num:
        """Time of one launch, or of one message level by level, in the textbook sum [s]."""
        if row.message is not None:
            return total(
                message_time(sent, rate, maximum(link.latency, assumptions.message_latency))
                for link, sent, rate in self.sending(row.message, numbers, ways)
            )
        return kernel_time(
            cost.flops,
            cost.bytes,
            self.rate(row, numbers, cluster) * assumptions.compute_efficiency,
            cluster.accelerator.memory_bandwidth * assumptions.memory_efficiency,
            assumptions.launch_time,
        )

    def sending(
        self, message: Collective, numbers: Numbers, ways: tuple[Level, ...]
    ) -> Iterator[tuple[Link, Num, Num]]:
        """A message of a launch level by level, as ``network.sending`` has it."""
        buffer, _ = program.message_size(message, numbers, self.precision)
        return sending(message.kind, buffer, message.axes, numbers, ways)

    def floor(self, cluster: Cluster) -> Floor:
        """What physics allows: the largest of all arithmetic, all compulsory traffic and all messages.

        Arithmetic is what a causal mask leaves, in the last layer only for positions whose logits are asked;
        traffic is each weight and each cached byte once, new cache written,
        less what the last-level cache can hold from the step before; messages are what any algorithm must send. Pipeline stages
        share all of it but the weights, which a token must wait for stage by stage.
        """
        flops: Num = 0.0
        weights: Num = 0.0
        cached: Num = 0.0
        ways = levels(cluster)
        talk = Talk(len(ways))
        last = None if self.every_logit or self.decoding else self.model.last_layer
        for stack, shown in self.numbers("causal"):
            cut, block = self.cut(stack), self.block(stack)
            least = compulsory(block, cut)
            numbers = shown.having("evenness", 0.0) if least.routed else shown
            few = self.only_with_logits(stack, numbers) if stack is last else None
            flops = flops + arithmetic(least, numbers, few, stack.repeat)
            if stack.either and stack.decode is not None and not self.decoding:  # the way of decoding may take less
                flops = flops - spared(least, compulsory(stack.decode, cut), numbers, few, stack.repeat)
            weights = weights + self.bytes(least.weights, numbers) * stack.stored
            if stack.block.caches():  # a cache that another layer wrote is read there already
                cached = cached + self.bytes(least.cached, self.seen(stack, numbers)) * stack.repeat
            for row in least.messages:
                assert row.message is not None
                buffer, _ = program.message_size(row.message, numbers, self.precision)
                talk.add(row.message.kind, row.message.axes, buffer, numbers, ways, stack.repeat)
        device, stages = cluster.accelerator, self.parallelism.pp
        moved = maximum(weights + cached / stages - device.last_level_cache * stages, 0.0)
        link, level, message = talk.slowest()
        return Floor(
            compute=flops / (self.fastest(cluster) * stages),
            memory=moved / device.memory_bandwidth,
            link=link / stages,
            flops=flops,
            weights=weights,
            cached=cached,
            message=message,
            level=level,
        )

    def only_with_logits(self, stack: Stack, numbers: Numbers) -> Numbers:
        """The numbers of the positions whose logits are asked: what a last layer computes after its cache."""
        before = numbers.values["before"] + self.tokens - self.logits
        few = numbers.renewed({"T": self.logits, "before": before, "selected": 1.0})
        return few.having("visible", stack.mask(few.values))

    def seen(self, stack: Stack, numbers: Numbers) -> Numbers:
        """The numbers of the cached tokens that a query sees: a chunk's first token sees none before it."""
        if stack.mask is not chunk:
            return numbers
        before, width = numbers.values["before"], numbers.values["window"]
        return numbers.renewed({EARLIER: before - floor(before / width) * width})

    def fastest(self, cluster: Cluster) -> Num:
        """The arithmetic rate that no launch exceeds, whatever it accumulates in: that of the activations' format, or of
        quantised matmuls [FLOP/s]."""
        own, device = self.model.quantization, cluster.accelerator
        usual = device.fastest(self.precision.activations)
        return usual if own is None or not own.quickest else maximum(usual, device.fastest(own.quickest))

    def usual(self, cluster: Cluster) -> Num:
        """The same, accumulated in fp32 [FLOP/s]."""
        own, device = self.model.quantization, cluster.accelerator
        usual = device.peak(self.precision.activations)
        return usual if own is None or not own.arithmetic else maximum(usual, device.peak(own.arithmetic))

    def rate(self, row: Row, numbers: Numbers, cluster: Cluster) -> Num:
        """The arithmetic rate of a launch: that of quantised matmuls where it reads a weight that is quantised [FLOP/s]."""
        own = self.model.quantization
        if own is None or not own.arithmetic:
            return self.usual(cluster)
        plain = self.precision.bytes(WEIGHT)
        narrow = any(not all_true(number(numbers.stored.get(p.tensor.name, plain)) >= plain) for p in row.reads)
        return self.usual(cluster) if narrow else cluster.accelerator.peak(self.precision.activations)

    def bytes(self, pieces: tuple[Piece, ...], numbers: Numbers) -> Num:
        """Bytes of some pieces of tensors."""
        return total(count(p, numbers) * program.element_bytes(p.tensor, numbers, self.precision) for p in pieces)


def reach(model: Transformer, workload: Workload) -> Num:
    """Tokens of the longest sequence of a workload, which a table of positions must cover: of both sides, where the encoder's
    input has no fixed length."""
    if not model.has_encoder:
        return longest(workload)
    own = decoder_tokens(workload)
    return own if "M" in model.sizes else maximum(own, source_tokens(workload))


def generating(model: Transformer, what: str) -> None:
    """Hold a model to what needs one that generates.

    raises BadInput for an encoder alone, or a diffusion model
    """
    if model.latent is not None:
        raise BadInput(
            f"{model.name} is a diffusion model: it makes pictures or videos, no tokens, so there is no {what}; use 'floorline "
            "denoise', or count() and estimate() with Denoise"
        )
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
            if model.has_encoder:
                raise BadInput(
                    f"{model.name}: a prompt after a cache is not counted with an encoder; leave out cached_len"
                )
        every = workload.logits == "all"
        logits = workload.prompt_len if every else 1.0
        tokens, earlier = workload.prompt_len, workload.cached_len
        step = Step(model, workload.batch, tokens, earlier, logits, plan, precision, attention, every_logit=every)
        return replace(step, source=workload.source_len, modalities=("", SOURCE) if model.has_encoder else ("",))
    raise BadInput(f"{type(workload).__name__} is many steps; count its Prefill and its Decode steps one by one")
