"""Exact counts of a workload: FLOP, bytes moved and saved activations, by operator. No hardware is involved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from floorline import passes, program
from floorline.catalogue.load import load_model
from floorline.denoise_step import denoising
from floorline.errors import BadInput
from floorline.implementations import implementation
from floorline.letters import Numbers, Product
from floorline.num import Num, all_true, number, total
from floorline.program import Row
from floorline.result import Result
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.workload import Denoise, Train, Workload
from floorline.step import Step, reach, single
from floorline.tensor import GRADIENT, TOKENS, Tensor
from floorline.train_step import resolved, trained
from floorline.transformer import Stack


@dataclass(frozen=True)
class OperatorCount(Result):
    """One operator over a whole pass.

    name     "block.q", "block.q.dgrad"
    part     "forward" or "backward"
    formula  its FLOP in letters, for one run
    repeat   times that it runs [-]
    flops    of all runs together [FLOP]
    """

    name: str
    part: str
    formula: str
    repeat: Num
    flops: Num


@dataclass(frozen=True)
class Message(Result):
    """One collective of a plan.

    name    the tensor and what is done with it: "attn.all_reduce"
    part    "forward", "backward" or "update" (after the optimizer step)
    kind    all_reduce, reduce_scatter, all_gather or all_to_all
    ranks   of its group [-]
    bytes   of the buffer: reduced, gathered, scattered or exchanged [B]
    sent    by each rank, in a ring [B]
    repeat  times that it is sent [-]
    """

    name: str
    part: str
    kind: str
    ranks: Num
    bytes: Num
    sent: Num
    repeat: Num


@dataclass(frozen=True)
class Count(Result):
    """What a workload counts.

    flops      forward and backward [FLOP]
    forward    of the forward pass [FLOP]
    backward   of the backward pass, recomputation included [FLOP]
    bytes      read and written, each launch its own [B]
    attention  the convention: "full" counts the whole query × key square, "causal" what a mask leaves
    fusion     which operators are one launch; it decides bytes, and what the backward pass computes again
    operators  those with FLOP
    messages   collectives that one rank takes part in, those of a single rank left out
    """

    flops: Num
    forward: Num
    backward: Num
    bytes: Num
    attention: str
    fusion: str
    operators: tuple[OperatorCount, ...]
    messages: tuple[Message, ...] = ()

    def answer(self) -> Mapping[str, Any]:
        """The counts, all of them together as "total"."""
        head = {"forward": self.forward, "backward": self.backward, "total": self.flops, "bytes": self.bytes}
        return {
            **head,
            "attention": self.attention,
            "fusion": self.fusion,
            "operators": self.operators,
            "messages": self.messages,
        }


def count(
    model: object,
    workload: Workload | Denoise,
    attention: str = "full",
    *,
    fusion: str = "unfused",
    recompute: str = "none",
    precision: Precision | None = None,
    parallelism: Parallelism | None = None,
) -> Count:
    """FLOP, traffic and messages, exactly; with a plan, those of one rank.

    model      a Transformer, or what ``load_model`` takes
    workload   Prefill, Decode, Encode, Denoise (one denoising step), or Train (forward and backward of the whole global batch, no
               optimizer); a Prefill counts the logits of the positions that it asks for
    attention  "full" or "causal"
    fusion     "unfused", "flash" or "compulsory"
    recompute  "none", "selective" or "full", in training
    parallelism  the plan; gradients are accumulated over the micro-batches and sent once
    raises     BadInput for a workload without a single step (Generate: count its Prefill and Decode)

    Source of the convention: a multiply-add is two; biases, norms, softmax and activations count none, as PyTorch's
    FlopCounterMode. Example: GPT-2 without biases, one sequence of 1024 (nanoGPT, transformer_sizing.ipynb).

    >>> from floorline.specs.workload import Prefill
    >>> nano = {"model_type": "gpt2", "bias": False}
    >>> count(nano, Prefill(prompt_len=1024, logits="all")).flops
    291648307200.0
    """
    made = load_model(model)
    words(attention, recompute)
    formats = precision or Precision.of(made.format)
    workload = resolved(made, workload) if isinstance(workload, Train) else workload
    needed = 0.0 if isinstance(workload, Denoise) else reach(made, workload)
    if made.learned_positions and not all_true(number(needed) <= number(made.max_positions)):
        raise BadInput(
            f"{made.name} has {plain(made.max_positions)} learned positions; shorten the sequence of {plain(needed)} tokens"
        )
    plan = parallelism or Parallelism()
    if isinstance(workload, Train):
        formats = formats.in_training()
        step = trained(made, workload, plan, formats, attention)
        times, parts = workload.global_batch / step.batch, list(training(step, fusion, recompute))
    else:
        if isinstance(workload, Denoise):
            step = denoising(made, workload, plan, formats, attention)
        else:
            step = single(made, workload, plan, formats, attention)
        times, parts = 1.0, list(inference(step, fusion))
    operators = tuple(o for part in parts for o in part_operators(part, times))
    forward = total(o.flops for o in operators if o.part == "forward")
    backward = total(o.flops for o in operators if o.part == "backward")
    moved = total(
        program.price(row, p.numbers, formats).bytes * p.stack.repeat * times for p in parts for row in p.rows
    )
    messages = tuple(m for part in parts for m in part_messages(part, times, formats))
    return Count(
        forward + backward, forward, backward, moved, attention, implementation(fusion).name, operators, messages
    )


def words(attention: str, recompute: str) -> None:
    """Raises BadInput for a word that nobody knows."""
    if attention not in ("full", "causal"):
        raise BadInput(f"attention is {attention[:40]!r}; expected full or causal")
    if recompute not in ("none", "selective", "full"):
        raise BadInput(f"recompute is {recompute[:40]!r}; expected none, selective or full")


def plain(value: Num | None) -> str:
    """The largest of some numbers, for an error's text."""
    return f"{float(np.max(np.asarray(value))):g}"


@dataclass(frozen=True, eq=False)
class Part:
    """One pass over one stack, with its numbers."""

    name: str
    stack: Stack
    numbers: Numbers
    rows: tuple[Row, ...]


def inference(step: Step, fusion: str) -> Iterator[Part]:
    """The forward pass of inference."""
    for stack, numbers in step.numbers():
        yield Part(
            "forward", stack, numbers, program.inference(step.block(stack), implementation(fusion), step.cut(stack))
        )


def training(step: Step, fusion: str, recompute: str) -> Iterator[Part]:
    """Forward, backward with what it computes again, and after the optimizer step; layers recompute, the two ends do not.

    A weight of the whole model is sent by the first block that has it.
    """
    software = implementation(fusion)
    sent: frozenset[str] = frozenset()
    for stack, numbers in step.numbers():
        policy = recompute if stack.is_layer else "none"
        parts = program.training(stack.block, software, step.plan, policy, sent)
        for name, rows in zip(("forward", "backward", "update"), parts, strict=True):
            yield Part(name, stack, numbers, rows)
        sent = sent | {t.name for t in stack.block.weights() if t.is_shared}


def part_operators(part: Part, times: Num) -> Iterator[OperatorCount]:
    """The operators of a pass that have FLOP."""
    repeat = part.stack.repeat * times
    for row in part.rows:
        for name, product in row.flops:
            flops = part.numbers.value(product) * repeat
            yield OperatorCount(f"{part.stack.block.name}.{name}", part.name, product.formula(), repeat, flops)


def part_messages(part: Part, times: Num, precision: Precision) -> Iterator[Message]:
    """The collectives of a pass that have more than one rank."""
    for row in part.rows:
        if row.message is None:
            continue
        tensor = row.message.inputs[0]
        buffer, ranks = program.message_size(row.message, part.numbers, precision)
        if all_true(number(ranks) == 1.0):
            continue
        once = tensor.role == GRADIENT or part.name == "update"
        sent = program.price(row, part.numbers, precision).sent
        copies = 1.0 if tensor.is_shared else part.stack.stored
        repeat = copies if once else part.stack.repeat * times
        yield Message(f"{part.stack.block.name}.{row.name}", part.name, row.message.kind, ranks, buffer, sent, repeat)


def saved_bytes(
    model: object,
    workload: Train,
    *,
    fusion: str = "unfused",
    recompute: str = "none",
    precision: Precision | None = None,
) -> dict[str, Num]:
    """Bytes of the activations that one micro-batch keeps between forward and backward, by block, for one run of it.

    Distinct tensors, each once; token ids and what the caller holds anyway are left out.

    Source of the example: autograd's saved tensors of GPT-2's layer, eager on the meta device (512 tokens, width 768).

    >>> gpt2 = {"model_type": "gpt2", "attn_pdrop": 0.0, "resid_pdrop": 0.0}
    >>> saved_bytes(gpt2, Train(seq_len=512))["block"]
    28319744.0
    """
    made = load_model(model)
    formats = (precision or Precision.of(made.format)).in_training()
    step = trained(made, workload, Parallelism(), formats, "full")
    software = implementation(fusion)
    found: dict[str, Num] = {}
    blocks: dict[str, object] = {}
    for stack, numbers in step.numbers():
        name = stack.block.name
        while blocks.setdefault(name, stack.block) is not stack.block:  # another block of the same name
            name += "'"
        kept = passes.stored(stack.block, software, recompute if stack.is_layer else "none")
        found[name] = distinct_bytes(kept, numbers, formats)
    return found


def distinct_bytes(tensors: Iterable[Tensor], numbers: Numbers, precision: Precision) -> Num:
    """Bytes of some tensors; a cast to the format that the tensor has already is no copy."""
    found: dict[str, Num] = {}
    for t in tensors:
        alias = t.copy_of and precision.bytes(t.role) == precision.bytes(t.role, t.format)
        if t.role != TOKENS or t.name == "position_ids":
            elements = numbers.value(Product(1.0, t.letters))
            found[t.copy_of if alias else t.name] = elements * precision.bytes(t.role, t.format)
    return total(found.values())
