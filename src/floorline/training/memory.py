"""What one device holds while it trains: weights, gradients, optimizer state, activations of the micro-batches in flight,
logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from floorline import layout, passes, program
from floorline.adapters import PACKED
from floorline.block import Block
from floorline.blocks.stage import STAGE
from floorline.formulas import schedules
from floorline.implementations import implementation
from floorline.letters import Numbers, Product
from floorline.num import Num, largest, maximum, minimum, number, total, where
from floorline.parallel.plan import Plan
from floorline.program import Piece
from floorline.result import Result
from floorline.specs.parallelism import Parallelism
from floorline.specs.recipe import Recipe
from floorline.specs.trainer import Trainer
from floorline.step import Step
from floorline.tensor import ACTIVATION, TOKENS, Tensor
from floorline.training.holdings import Held, Holdings
from floorline.training.parts import policies
from floorline.training.stages import Stage, Stages
from floorline.training.updates import State

HELD: Mapping[str, Callable[[Num, Num, Num, Num], Num]] = {
    "1f1b": schedules.one_forward_one_backward_held,
    "gpipe": schedules.gpipe_held,
    "zero-bubble-1p": schedules.one_forward_one_backward_held,
    "zero-bubble-2p": schedules.zero_bubble_two_held,
    "v-half": schedules.half_memory_held,
    "dualpipe": schedules.dualpipe_held,
}
"""Schedule → micro-batches that a stage holds."""

COPIES = {"dualpipe": 2.0}
"""Schedules that keep weights more than once."""


@dataclass(frozen=True)
class TrainingMemory(Result):
    """Bytes on a device of one stage at the peak of a step, by kind.

    weights       as the model reads them [B]
    gradients     as they are summed [B]
    optimizer     wide copies and moments [B]
    activations   kept between forward and backward, of all micro-batches in flight [B]
    working       tensors of the backward pass of one layer, what it computes again, gathered weights; or of the head; or of the
                  update, whichever is most [B]
    workspace     of matmul libraries [B]
    fragmentation what the allocator holds besides [B]
    framework     the driver's context and buffers for messages [B]
    """

    weights: Num
    gradients: Num
    optimizer: Num
    activations: Num
    working: Num
    workspace: Num = 0.0
    fragmentation: Num = 0.0
    framework: Num = 0.0

    @property
    def kinds(self) -> dict[str, Num]:
        """Each kind by name."""
        return {name: getattr(self, name) for name in KIND_NAMES}

    @property
    def static(self) -> Num:
        """What stays from step to step."""
        return self.weights + self.gradients + self.optimizer

    @property
    def allocated(self) -> Num:
        """At the peak, as the framework's allocator counts what is in use."""
        return self.static + self.activations + self.working + self.workspace

    @property
    def reserved(self) -> Num:
        """What it has taken from the driver."""
        return self.allocated + self.fragmentation

    @property
    def total(self) -> Num:
        """As the driver sees it."""
        return self.reserved + self.framework

    def answer(self) -> Mapping[str, Any]:
        """Each kind, and sums of them."""
        return {**self.kinds, "allocated": self.allocated, "reserved": self.reserved, "total": self.total}


KIND_NAMES = (
    "weights",
    "gradients",
    "optimizer",
    "activations",
    "working",
    "workspace",
    "fragmentation",
    "framework",
)


@cache
def kept_pieces(block: Block, fusion: str, cut: Plan, policy: str) -> tuple[Piece, ...]:
    """What one rank keeps of a block between its passes; what is gathered for a matmul is gathered again."""
    walk = layout.forward(block, block.ops, cut)
    made = {step.op.name: step for step in walk.steps if not layout.is_message(step)}
    found = []
    for t in passes.stored(block, implementation(fusion), policy):
        if t.role == TOKENS:
            continue
        name = t.copy_of or t.name
        maker = made.get(t.name.rpartition(".")[0])
        if name in walk.where:
            axes = layout.divided(walk.where[name])
        else:
            places = maker.places if maker is not None else {}
            axes = tuple(sorted(a for a, x in places.items() if x in t.letters))
        found.append(Piece(t, Product(1.0, t.letters, axes=axes)))
    return tuple(found)


@cache
def working_pieces(block: Block, fusion: str, cut: Plan, policy: str) -> tuple[tuple[Piece, ...], ...]:
    """Gradients of activations, and what is not kept, that each launch of the backward pass reads and writes."""
    software = implementation(fusion)
    kept = {t.copy_of or t.name for t in passes.stored(block, software, policy)} | {
        t.name for t in passes.stored(block, software, policy)
    }
    _, back, _ = program.training(block, software, cut, policy, frozenset())
    return tuple(
        tuple(
            p
            for p in {piece.tensor.name: widened(piece) for piece in row.moved}.values()
            if p.tensor.role == ACTIVATION and p.tensor.name not in kept
        )
        for row in back
        if row.message is None
    )


def widened(piece: Piece) -> Piece:
    """A matrix in 4 bits as its matmul reads it: a copy in the activations' format.

    Source: bitsandbytes, autograd/_functions.py, MatMul4Bit.
    """
    t = piece.tensor
    return replace(piece, tensor=Tensor(f"{t.name}@wide", t.letters)) if t.format == PACKED else piece


def piece_bytes(step: Step, pieces: tuple[Piece, ...], numbers: Numbers) -> Num:
    """Bytes of some pieces, each tensor once: a cast to the format that it has already is no copy."""
    found: dict[str, Num] = {}
    for p in pieces:
        t: Tensor = p.tensor
        same = t.copy_of and step.precision.bytes(t.role) == step.precision.bytes(t.role, t.format)
        found[t.copy_of if same else t.name] = numbers.value(p.elements) * step.precision.bytes(t.role, t.format)
    return total(found.values())


@dataclass(frozen=True, eq=False)
class Kept:
    """Bytes of activations of one micro-batch.

    layer, embedding, head  kept between the passes; of one layer on average [B]
    layer_working           of the backward pass of one layer, what it computes again included [B]
    head_working            of the backward pass of the head [B]
    """

    layer: Num
    embedding: Num
    head: Num
    layer_working: Num
    head_working: Num


def kept(step: Step, recipe: Recipe, trainer: Trainer, fusion: str) -> Kept:
    """What one rank keeps of a micro-batch."""
    layers = step.model.layers()
    layer: list[Num] = []
    before: list[Num] = []
    after: list[Num] = []
    working: list[Num] = []
    head: list[Num] = []
    seen = False
    for stack, numbers in step.stacks:
        if stack.block is STAGE:
            continue
        cut = step.cut(stack)
        if not stack.is_layer:
            own = ends_bytes(step, kept_pieces(stack.block, fusion, cut, "none"), numbers, recipe)
            (after if seen else before).append(own * stack.repeat)
            if "z" in {t.name for op in stack.block.ops for t in op.outputs}:
                head.append(logit_bytes(step, numbers, trainer) * chunk_share(step, recipe))
            continue
        seen = True
        everything = piece_bytes(step, kept_pieces(stack.block, fusion, cut, "none"), numbers)
        for policy, share in policies(recipe, layers):
            own = piece_bytes(step, kept_pieces(stack.block, fusion, cut, policy), numbers)
            layer.append(own * share * stack.repeat / layers)
            pieces = working_pieces(stack.block, fusion, cut, policy)
            most = largest(piece_bytes(step, p, numbers) for p in pieces)
            again = maximum(everything - own, 0.0) if policy == "full" else 0.0
            working.append(where(number(share) > 0.0, most + again, 0.0))
    return Kept(total(layer), total(before), total(after), largest(working), largest(head))


def ends_bytes(step: Step, pieces: tuple[Piece, ...], numbers: Numbers, recipe: Recipe) -> Num:
    """Bytes of what is kept of a part before or after the layers: of logits those of one chunk."""
    logits = tuple(p for p in pieces if "V" in p.tensor.letters)
    others = tuple(p for p in pieces if "V" not in p.tensor.letters)
    return piece_bytes(step, others, numbers) + piece_bytes(step, logits, numbers) * chunk_share(step, recipe)


def chunk_share(step: Step, recipe: Recipe) -> Num:
    """Share of a micro-batch's tokens on a rank whose logits are there at once: those of a chunk are gone before the next one's.

    Source: torchtune, LinearCrossEntropyLoss (docs.pytorch.org/torchtune); Liger-Kernel, fused_linear_cross_entropy.
    """
    tokens, chunk = step.sequences * step.tokens / step.parallelism.cp, number(recipe.loss_chunk)
    return where(chunk > 0.0, minimum(chunk / tokens, 1.0), 1.0)


def logit_bytes(step: Step, numbers: Numbers, trainer: Trainer) -> Num:
    """Copies of the logits beside what the loss keeps: in 16 bits, in fp32, and their gradient."""
    axes = tuple(a for split in step.plan.splits if split.group == "tensor" for a in split.axes)
    data = tuple(a for split in step.plan.splits for x, own in split.letters if x in ("B", "T") for a in own)
    elements = numbers.value(Product(1.0, "BTV", axes=tuple(sorted({*axes, *data}))))
    return elements * (step.precision.bytes(ACTIVATION) + 4.0 * trainer.logit_copies)


def training_memory(
    stage: Stage,
    micro_batches: Num,
    holdings: Holdings,
    activations: Kept,
    each: State,
    plan: Parallelism,
    recipe: Recipe,
    trainer: Trainer,
) -> TrainingMemory:
    """Memory of one device of a stage, at the peak of a step."""
    parts: tuple[tuple[tuple[Held, ...], Num], ...] = (
        (holdings.layer, stage.layers),
        (holdings.embedding, stage.embedding),
        (holdings.head, stage.head),
    )
    stages, chunks = number(plan.pp), plan.virtual_stages
    in_flight = where(stages > 1.0, HELD[plan.schedule](micro_batches, stages, stage.index, chunks), 1.0)

    def amount(shared_by: str, what: Callable[[Held], Num]) -> Num:
        """Of the stage on a rank, shared out if ZeRO's stage is one of these."""
        share = plan.zero_stage in shared_by
        return total((what(h) / h.ranks if share else what(h)) * many for part, many in parts for h in part)

    here = 0.0 if recipe.offload_parameters == "yes" else 1.0
    stays = 0.0 if recipe.offload_optimizer == "yes" else here
    scales = amount("", lambda h: h.beside)
    stay = 0.0 if trainer.narrow_copy == "no" and each.master else here
    weights = (amount("3", lambda h: h.bytes) * stay + scales) * COPIES.get(plan.schedule, 1.0)
    gradients = amount("23", lambda h: h.trained) * each.gradient * here
    state = amount("123", lambda h: h.trained) * (each.master + each.moments) * stays
    held = activations.layer * stage.layers * in_flight + activations.embedding * stage.embedding * in_flight
    kept_here = held * (1.0 - recipe.offload_activations) + activations.head * stage.head
    back = maximum(activations.layer_working, activations.head_working * stage.head)
    if plan.zero_stage == "3" or recipe.offload_parameters == "yes":
        back = back + gathered_bytes(holdings, stage, each, trainer)
    update = amount("123", lambda h: h.trained) * (each.copied + each.passing) * stays
    anew = where(micro_batches <= 1.0, 1.0, 0.0) if trainer.between_steps == "freed" else 0.0
    start = kept_here + back + gradients * (1.0 - anew)
    end = gradients + maximum(update, activations.layer_working * anew)
    late = where(end > start, anew, 0.0)  # the peak comes when all that was kept has become gradients
    kept_here, gradients = kept_here * (1.0 - late), gradients * (1.0 - anew + late)
    working = maximum(start, end) - kept_here - gradients
    allocated = weights + state + maximum(start, end)
    return TrainingMemory(
        weights=weights,
        gradients=gradients,
        optimizer=state,
        activations=kept_here,
        working=working,
        workspace=trainer.workspace,
        fragmentation=allocated * trainer.fragmentation,
        framework=trainer.framework,
    )


def gathered_bytes(holdings: Holdings, stage: Stage, each: State, trainer: Trainer) -> Num:
    """Whole weights of two layers, gathered for their passes, and the gradients of one, where shares of weights are at home; with
    the ends where the framework keeps them from one pass to the other."""
    layers = total(h.bytes for h in holdings.layer) * 2.0 + total(h.trained for h in holdings.layer) * each.gradient
    if trainer.ends == "used":
        return layers
    ends = ((holdings.embedding, stage.embedding), (holdings.head, stage.head))
    return layers + total(h.bytes * many for part, many in ends for h in part)


def fullest(found: Stages, memories: Mapping[str, TrainingMemory]) -> Num:
    """Bytes of the stage that holds most [B]."""
    pairs = ((found.first, memories["first"]), (found.middle, memories["middle"]), (found.last, memories["last"]))
    return largest(where(np.asarray(stage.exists) > 0.0, memory.total, 0.0) for stage, memory in pairs)
