"""Exact counts of a workload: FLOP, bytes moved and saved activations, by operator. No hardware is involved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from floorline import passes, program
from floorline.catalogue.load import load_model
from floorline.errors import BadInput
from floorline.implementations import implementation
from floorline.letters import Numbers, Product
from floorline.num import Num, total
from floorline.op import Op
from floorline.parallel.plan import Plan
from floorline.program import Row
from floorline.result import Result
from floorline.specs.precision import Precision
from floorline.specs.workload import Decode, Prefill, Train, Workload
from floorline.step import Step
from floorline.tensor import TOKENS, Tensor
from floorline.transformer import Stack, Transformer


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
class Count(Result):
    """What a workload counts.

    flops      forward and backward [FLOP]
    forward    of the forward pass [FLOP]
    backward   of the backward pass, recomputation included [FLOP]
    bytes      read and written, each launch its own [B]
    attention  the convention: "full" counts the whole query × key square, "causal" what a mask leaves
    fusion     which operators are one launch; it decides bytes, and what the backward pass computes again
    operators  those with FLOP
    """

    flops: Num
    forward: Num
    backward: Num
    bytes: Num
    attention: str
    fusion: str
    operators: tuple[OperatorCount, ...]

    def answer(self) -> Mapping[str, Any]:
        """The counts, all of them together as "total"."""
        head = {"forward": self.forward, "backward": self.backward, "total": self.flops, "bytes": self.bytes}
        return {**head, "attention": self.attention, "fusion": self.fusion, "operators": self.operators}


def count(
    model: object,
    workload: Workload,
    attention: str = "full",
    *,
    fusion: str = "unfused",
    recompute: str = "none",
    precision: Precision | None = None,
) -> Count:
    """FLOP and traffic, exactly.

    model      a Transformer, or what ``load_model`` takes
    workload   Prefill, Decode, or Train (forward and backward of the whole global batch, no optimizer); a Prefill
               counts the logits of the positions that it asks for
    attention  "full" or "causal"
    fusion     "unfused", "flash" or "compulsory"
    recompute  "none", "selective" or "full", in training
    raises     BadInput for a workload without a single step (Generate: count its Prefill and Decode)

    Source of the convention: a multiply-add is two; biases, norms, softmax and activations count none, as PyTorch's
    FlopCounterMode. Example: GPT-2 without biases, one sequence of 1024 (nanoGPT, transformer_sizing.ipynb).

    >>> nano = {"model_type": "gpt2", "bias": False}
    >>> count(nano, Prefill(prompt_len=1024, logits="all")).flops
    291648307200.0
    """
    made = load_model(model)  # type: ignore[arg-type]
    if attention not in ("full", "causal"):
        raise BadInput(f"attention is {attention[:40]!r}; expected full or causal")
    if recompute not in ("none", "selective", "full"):
        raise BadInput(f"recompute is {recompute[:40]!r}; expected none, selective or full")
    formats = precision or Precision.of(made.format)
    if isinstance(workload, Train):
        formats = formats.in_training()
        step = Step(
            made, workload.micro_batch, workload.seq_len, 0.0, workload.seq_len, precision=formats, attention=attention
        )
        times = workload.global_batch / workload.micro_batch
        parts = list(training(step, fusion, recompute))
    else:
        step = inference_step(made, workload, formats, attention)
        times, parts = 1.0, list(inference(step, fusion))
    operators = tuple(o for part in parts for o in part_operators(part, times))
    forward = total(o.flops for o in operators if o.part == "forward")
    backward = total(o.flops for o in operators if o.part == "backward")
    moved = total(row_bytes(row, p.numbers, formats) * p.stack.repeat * times for p in parts for row in p.rows)
    return Count(forward + backward, forward, backward, moved, attention, implementation(fusion).name, operators)


@dataclass(frozen=True, eq=False)
class Part:
    """One pass over one stack, with its numbers."""

    name: str
    stack: Stack
    numbers: Numbers
    ops: tuple[Op, ...]
    rows: tuple[Row, ...]


def inference_step(model: Transformer, workload: Workload, precision: Precision, attention: str) -> Step:
    """The step of a single pass."""
    if isinstance(workload, Prefill):
        logits = workload.prompt_len if workload.logits == "all" else 1.0
        return Step(
            model,
            workload.batch,
            workload.prompt_len,
            workload.cached_len,
            logits,
            precision=precision,
            attention=attention,
        )
    if isinstance(workload, Decode):
        return Step(model, workload.batch, 1.0, workload.context_len, 1.0, precision=precision, attention=attention)
    raise BadInput(f"{type(workload).__name__} is many steps; count its Prefill and its Decode steps one by one")


def inference(step: Step, fusion: str) -> Iterator[Part]:
    """The forward pass of inference."""
    for stack, numbers in step.numbers():
        rows = program.inference(stack.block, implementation(fusion), Plan())
        yield Part("forward", stack, numbers, passes.inference(stack.block), rows)


def training(step: Step, fusion: str, recompute: str) -> Iterator[Part]:
    """Forward, then backward with what it computes again; layers recompute, the two ends do not."""
    software = implementation(fusion)
    for stack, numbers in step.numbers():
        policy = recompute if stack.is_layer else "none"
        ahead, back, _ = program.training(stack.block, software, Plan(), policy, frozenset())
        yield Part("forward", stack, numbers, stack.block.ops, ahead)
        yield Part("backward", stack, numbers, passes.backward(stack.block, software, policy), back)


def part_operators(part: Part, times: Num) -> Iterator[OperatorCount]:
    """The operators of a pass that have FLOP."""
    for op in part.ops:
        products = op.flops()
        if products:
            once = total(part.numbers.value(p) for p in products)
            formula = " + ".join(p.formula() for p in products)
            repeat = part.stack.repeat * times
            yield OperatorCount(f"{part.stack.block.name}.{op.name}", part.name, formula, repeat, once * repeat)


def row_bytes(row: Row, numbers: Numbers, precision: Precision) -> Num:
    """Bytes that a launch reads and writes."""
    return program.price(row, numbers, precision).bytes


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
    made = load_model(model)  # type: ignore[arg-type]
    formats = (precision or Precision.of(made.format)).in_training()
    step = Step(made, workload.micro_batch, workload.seq_len, 0.0, workload.seq_len, precision=formats)
    software = implementation(fusion)
    return {
        stack.block.name: distinct_bytes(
            passes.stored(stack.block, software, recompute if stack.is_layer else "none"), numbers, formats
        )
        for stack, numbers in step.numbers()
    }


def distinct_bytes(tensors: Iterable[Tensor], numbers: Numbers, precision: Precision) -> Num:
    """Bytes of some tensors; a cast to the format that the tensor has already is no copy."""
    found: dict[str, Num] = {}
    for t in tensors:
        alias = t.copy_of and precision.bytes(t.role) == precision.bytes(t.role, t.format)
        if t.role != TOKENS or t.name == "position_ids":
            elements = numbers.value(Product(1.0, t.letters))
            found[t.copy_of if alias else t.name] = elements * precision.bytes(t.role, t.format)
    return total(found.values())
