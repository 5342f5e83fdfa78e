"""A training step from its parts: micro-batches through the slowest stage, what stages wait for each other, what messages leave
exposed, the optimizer's update, and the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from floorline.expected import Expectation
from floorline.formulas import schedules
from floorline.formulas.optimizer import update_bytes
from floorline.formulas.overlap import exposed_time, sharing_time
from floorline.num import Num, ceil, maximum, number, total, where
from floorline.specs.parallelism import Parallelism
from floorline.specs.trainer import Trainer
from floorline.training.holdings import Holdings
from floorline.training.parts import Parts
from floorline.training.pricing import Pricing
from floorline.training.stages import Stage, Stages
from floorline.training.updates import State
from floorline.training.work import NOTHING, Tally, Work

BUBBLES: Mapping[str, Callable[[Num, Num, Num, Num], Num]] = {
    "1f1b": schedules.one_forward_one_backward_bubble,
    "gpipe": schedules.gpipe_bubble,
    "zero-bubble-1p": schedules.zero_bubble_one_bubble,
    "zero-bubble-2p": schedules.zero_bubble_two_bubble,
    "v-half": schedules.half_memory_bubble,
    "dualpipe": schedules.dualpipe_bubble,
}
"""Schedule → what stages wait for each other."""

SHARE = 20.0 / 132.0
"""Share of the multiprocessors that messages take while they overlap with work: DeepSeek-V3's 20 of 132 (arXiv:2412.19437,
section 3.2.2); NCCL's default of 16 to 32 channels is as much."""

PIECES = 4.0
"""Pieces in which messages of tensor parallelism overlap with the matmul beside them: one is exposed. Transformer Engine cuts a
message into as many as there are ranks, or fewer (transformer_engine/pytorch/module/base.py, initialize_ub)."""


@dataclass(frozen=True, eq=False)
class StepTime:
    """What a step takes, piece by piece.

    busy       the slowest stage's work on all micro-batches, its messages included
    bubble     what it waits for other stages
    exposed    messages once a step that nothing hides, by kind
    slowed     what work takes longer beside messages
    update     of the weights
    waiting    for the host [s]
    offloading for activations that are in the host's memory [s]
    slowest    the stage
    micro_batches  on each data-parallel rank [-]
    """

    busy: Expectation
    bubble: Expectation
    exposed: Expectation
    slowed: Expectation
    update: Expectation
    waiting: Num
    offloading: Num
    slowest: Stage
    micro_batches: Num

    @property
    def whole(self) -> Expectation:
        """All of it."""
        parts = self.busy + self.bubble + self.exposed + self.slowed + self.update
        return replace(parts, host=self.waiting + self.offloading, asked="training")

    @property
    def seconds(self) -> Num:
        """The step [s]."""
        return self.whole.seconds

    @property
    def breakdown(self) -> dict[str, Num]:
        """Seconds by what they are spent on; they add up to the step."""
        found = {kind: share.seconds for kind, share in self.busy.kinds.items()}
        for kind, share in self.exposed.kinds.items():
            found[kind] = found.get(kind, 0.0) + share.seconds
        rest = {
            "bubble": self.bubble.kernels,
            "slowed by messages": self.slowed.kernels,
            "optimizer": self.update.kernels,
            "offload": self.offloading,
            "host": self.waiting,
        }
        return {**found, **rest}


def overlapped(work: Work, trainer: Trainer) -> Work:
    """Work whose messages between operators go on beside them, as far as the framework does that."""
    shares = {
        "tensor messages": 1.0 / PIECES if trainer.tensor_messages == "overlapped" else 1.0,
        "expert messages": 1.0 / PIECES if trainer.expert_messages == "overlapped" else 1.0,
    }

    def less(whole: Expectation) -> Expectation:
        kinds = dict(whole.kinds)
        for kind, share in shares.items():
            if kind in kinds and share < 1.0:
                kinds[kind] = whole.only((kind,)).times(share).kinds[kind]
        return replace(whole, kinds=kinds)

    return replace(work, forward=less(work.forward), dgrad=less(work.dgrad), wgrad=less(work.wgrad))


def gathered_beside(
    whole: Expectation, kinds: tuple[str, ...], pieces: Num, further: Num = 0.0
) -> tuple[Expectation, Num]:
    """A pass whose gathered weights (and reduced gradients) go on beside it and further work, and how much longer that takes
    [s]."""
    messages, work = whole.only(kinds).kernels, whole.without(kinds).kernels + further
    if not whole.only(kinds).kinds:
        return whole, 0.0
    left = exposed_time(messages, work, pieces) / maximum(number(messages), 1e-30)
    share = where(number(messages) > 0.0, left, 0.0)
    return whole.without(kinds) + whole.only(kinds).times(share), sharing_time(messages, work, SHARE)


def beside_messages(
    parts: Parts, layers: Num, plan: Parallelism, trainer: Trainer
) -> tuple[dict[str, Work], dict[str, Num]]:
    """The parts of a model with what is left of messages that overlap with work, and how much longer that work takes [s]."""
    units = {name: overlapped(getattr(parts, name), trainer) for name in ("layer", "embedding", "head")}
    shares: dict[str, Work] = {}
    slowed: dict[str, Num] = {}
    for name, unit in units.items():
        pieces = layers / plan.pp if name == "layer" else 1.0
        # of one part alone its own pieces; a layer's messages hide behind the layers beside it
        forward, longer = gathered_beside(unit.forward, ("weight messages",), maximum(pieces, 1.0))
        beside = unit.wgrad.kernels
        dgrad, again = gathered_beside(
            unit.dgrad, ("weight messages", "gradient messages"), maximum(pieces, 1.0), beside
        )
        shares[name] = replace(unit, forward=forward, dgrad=dgrad)
        slowed[name] = longer + again
    return shares, slowed


def step_time(
    parts: Parts,
    found: Stages,
    layers: Num,
    micro_batches: Num,
    plan: Parallelism,
    trainer: Trainer,
    launch_time: Num,
    moved: Callable[[Stage, Work], Num],
) -> StepTime:
    """A step.

    parts          work of one micro-batch
    found          how layers are dealt out
    layers         of the model [-]
    micro_batches  on each data-parallel rank [-]
    launch_time    what the host takes for an operator, 0 where it starts a graph [s]
    moved          what a micro-batch of a stage waits for activations that are in the host's memory [s]
    """
    shares, slowed = beside_messages(parts, layers, plan, trainer)
    starting = Starting.by(trainer, launch_time)
    slowest = slowest_stage(found, shares, starting)
    stage = of_stage(slowest, shares)
    whole_model = shares["layer"].times(layers) + shares["embedding"] + shares["head"]
    others = whole_model + stage.times(-1.0)
    handing = parts.handed.times(where(number(plan.pp) > 1.0, 1.0, 0.0))
    sends = handing.times(trainer.sends * plan.virtual_stages)
    between = sends.times(where(hidden_sends(plan, trainer), 0.0, 1.0))
    host = host_waiting(stage, starting)
    offloading = moved(slowest, stage)
    waited = BUBBLES[plan.schedule](
        others.forward.seconds + host_elsewhere(found, shares, layers, starting) - host,
        others.dgrad.seconds,
        others.wgrad.seconds,
        plan.virtual_stages,
    )
    passed = number(plan.pp) - 1.0
    filling = handing.times(passed * 2.0)
    share = where(others.seconds > 0.0, waited / maximum(others.seconds, 1e-30), 0.0)
    busy = (stage.once + between).times(micro_batches)
    beside = total(slowed[name] * count for name, count in counted(slowest).items())
    reduced, gathered = once_a_step(stage, slowest, trainer)
    return StepTime(
        busy,
        others.once.times(share) + filling,
        reduced[0] + gathered[0],
        slower(stage, beside * micro_batches + (reduced[1] + gathered[1])),
        NOTHING,
        host * micro_batches,
        offloading * micro_batches,
        slowest,
        micro_batches,
    )


MESSAGES = (
    "tensor messages",
    "context messages",
    "expert messages",
    "weight messages",
    "gradient messages",
    "data messages",
    "stage messages",
)
"""Kinds that are no work of the device's own."""


def hidden_sends(plan: Parallelism, trainer: Trainer) -> Any:
    """Whether messages between stages go on beside work: with one chunk a stage there is nothing to do meanwhile.

    Source: Megatron-LM, megatron/training/arguments.py: --overlap-p2p-communication is for the interleaved schedule.
    """
    return (number(plan.virtual_stages) > 1.0) & (trainer.stage_messages == "overlapped")


def slower(stage: Work, extra: Num) -> Expectation:
    """What a stage's own work takes longer, so much in all [s]."""
    own = stage.once.without(MESSAGES)
    return own.times(extra / maximum(own.kernels, 1e-30))


def counted(stage: Stage) -> dict[str, Num]:
    """How many of each part a stage has."""
    return {"layer": stage.layers, "embedding": stage.embedding, "head": stage.head}


def of_stage(stage: Stage, parts: Mapping[str, Work]) -> Work:
    """What a stage does in a micro-batch."""
    result = Work()
    for name, count in counted(stage).items():
        result = result + parts[name].times(count)
    return result


def slowest_stage(found: Stages, parts: Mapping[str, Work], starting: Starting) -> Stage:
    """The stage that takes longest, what it waits for its host included."""

    def taken(stage: Stage) -> Num:
        own = of_stage(stage, parts)
        return own.seconds + host_waiting(own, starting)

    best, longest = found.first, taken(found.first)
    for stage in (found.middle, found.last):
        seconds = taken(stage)
        longer = (seconds > longest) & (number(stage.exists) > 0.0)
        best, longest = stage.picked(longer, best), where(longer, seconds, longest)
    return best


@dataclass(frozen=True)
class Starting:
    """How a host starts kernels.

    time    for each, with the operators around it; 0 where it starts a graph [s]
    blocks  whether it waits for each before it starts the next
    """

    time: Num
    blocks: bool = False

    @staticmethod
    def by(trainer: Trainer, launch_time: Num) -> Starting:
        """How a framework's does, which takes so long for an operator."""
        return Starting(launch_time * trainer.operators, trainer.blocks == "yes")


def host_waiting(stage: Work, starting: Starting) -> Num:
    """What the device waits for the host in one micro-batch: each pass starts as it can, one after the other [s]."""
    ahead, back = host_waits(stage, starting)
    return ahead + back


def host_waits(stage: Work, starting: Starting) -> tuple[Num, Num]:
    """The same of the forward and of the backward pass; all that the host does, where it waits for each kernel [s]."""
    ahead, back = stage.forward_starts * starting.time, stage.backward_starts * starting.time
    if starting.blocks:
        return ahead, back
    behind = stage.dgrad.seconds + stage.wgrad.seconds
    return maximum(ahead - stage.forward.seconds, 0.0), maximum(back - behind, 0.0)


def host_elsewhere(found: Stages, parts: Mapping[str, Work], layers: Num, starting: Starting) -> Num:
    """The same of all stages, one after another: as many between the first and the last as there are layers for [s]."""
    first, middle, last = (host_waiting(of_stage(stage, parts), starting) for stage in found.all)
    between = maximum(layers - found.first.layers - found.last.layers, 0.0) / maximum(number(found.middle.layers), 1.0)
    return first + middle * between + last


def once_a_step(stage: Work, slowest: Stage, trainer: Trainer) -> tuple[Left, Left]:
    """What is left of messages that are sent once a step: of gradients beside the last backward pass, and of weights that were
    updated in shares beside the first forward pass."""
    pieces = maximum(number(slowest.layers), 1.0)
    behind = stage.dgrad.seconds + stage.wgrad.seconds
    return (
        left_over(stage.reduced, behind, pieces, trainer.reduces),
        left_over(stage.gathered, stage.forward.seconds, pieces, trainer.gathers),
    )


Left = tuple[Expectation, Num]
"""What of messages nothing hides, and how much longer the work beside them takes [s]."""


def left_over(messages: Expectation, work: Num, pieces: Num, how: str) -> Left:
    """What is left of messages beside so much work, where they go on beside it."""
    if not messages.kinds or how != "overlapped":
        return messages, 0.0
    sent = messages.kernels
    share = where(number(sent) > 0.0, exposed_time(sent, work, pieces) / maximum(number(sent), 1e-30), 0.0)
    return messages.times(share), sharing_time(sent, work, SHARE)


def trained_weights(holdings: Holdings, stage: Stage, whole: bool = False) -> Num:
    """Weights that a rank of a stage updates, or with ``whole`` keeps gradients of before they are shared out [-]."""
    counts = counted(stage).values()
    kept = zip((holdings.layer, holdings.embedding, holdings.head), counts, strict=True)
    return total((h.trained if whole else h.trained / h.ranks) * many for part, many in kept for h in part)


def own_bytes(holdings: Holdings, stage: Stage, plan: Parallelism) -> Num:
    """Bytes of a stage's weights at home on a rank, scales of quantised ones aside [B]."""
    counts = counted(stage).values()
    kept = zip((holdings.layer, holdings.embedding, holdings.head), counts, strict=True)
    shared = plan.zero_stage == "3"
    return total((h.bytes / h.ranks if shared else h.bytes) * many for part, many in kept for h in part)


def updating(
    holdings: Holdings, stage: Stage, bytes_each: State, plan: Parallelism, trainer: Trainer, price: Pricing
) -> Expectation:
    """The update of one stage's weights: the optimizer's own traffic, a norm of all gradients and their scaling, copies, and
    zeros."""
    own, every = trained_weights(holdings, stage), trained_weights(holdings, stage, whole=True)
    gradient = bytes_each.copied or bytes_each.gradient
    moved = update_bytes(
        bytes_each.weight if bytes_each.master else 0.0,
        gradient,
        bytes_each.master or bytes_each.weight,
        bytes_each.moments,
    )
    moved = moved * (PASSES if trainer.optimizer == "apart" else 1.0)
    clipping = 3.0 * gradient if trainer.clips == "yes" else 0.0
    copying = bytes_each.gradient + bytes_each.copied if bytes_each.copied else 0.0
    sharded = own if plan.zero_stage in ("2", "3") else every
    tally = Tally()
    launches = ceil(number(stage.layers)) * 2.0
    tally.add("optimizer", price.traffic(own * (moved + clipping + copying) + sharded * bytes_each.gradient, launches))
    return tally.whole


PASSES = 3.0
"""How often an optimizer of several kernels goes over what it reads and writes: PyTorch's foreach AdamW multiplies, adds, takes
roots and divides in turn (torch/optim/adamw.py, _multi_tensor_adamw)."""
