"""What each stage of a pipeline takes: a micro-batch there and back, and what comes once a step after its last."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from floorline.errors import BadInput, Infeasible
from floorline.expected import Expectation
from floorline.num import Num, maximum, minimum, number, total
from floorline.training.estimate import TrainingEstimate
from floorline.training.stages import Stage
from floorline.training.step_time import (
    Starting,
    beside_messages,
    counted,
    hidden_sends,
    host_waits,
    of_stage,
    once_a_step,
    slower,
)
from floorline.training.timeline import Seconds, Timeline, timeline
from floorline.training.work import Work

Spent = dict[str, float]
"""Seconds by what they are spent on."""


@dataclass(frozen=True)
class StageTime:
    """One stage; times are of one micro-batch or once a step, by what they are spent on.

    index      from 0 [-]
    layers     of it [-]
    ends       "embedding", "head", of those that it has
    forward    of a micro-batch, messages that are exposed and waiting for the host among them; what waits for tensors in the host's
               memory is in dgrad [s]
    dgrad      its backward pass but for gradients of weights [s]
    wgrad      these [s]
    slowed     what all passes take longer beside messages [s]
    reduced, gathered  messages once a step: gradients, and weights that were updated in shares; what is exposed of them [s]
    sent       gradients and weights, exposed or not [s]
    update     of the weights [s]
    """

    index: int
    layers: float
    ends: tuple[str, ...]
    forward: Spent
    dgrad: Spent
    wgrad: Spent
    slowed: float
    reduced: float
    gathered: float
    sent: tuple[float, float]
    update: float

    @property
    def seconds(self) -> Seconds:
        """The passes of a micro-batch [s]."""
        return Seconds(*(sum(spent.values()) for spent in (self.forward, self.dgrad, self.wgrad)))

    @property
    def after(self) -> float:
        """What comes after the last pass [s]."""
        return self.slowed + self.reduced + self.update + self.gathered


def stage_times(e: TrainingEstimate) -> tuple[StageTime, ...]:
    """Every stage of a step's pipeline, as expected, or by the textbook where nothing is expected.

    raises BadInput for estimates of many plans at once, Infeasible for a plan that breaks a rule

    >>> import floorline
    >>> plan = floorline.Parallelism(pp=4)
    >>> e = floorline.estimate("gpt2", floorline.Train(seq_len=1024, global_batch=8), "a100-sxm-80gb", parallelism=plan)
    >>> [(x.layers, x.ends) for x in stage_times(e)]
    [(3.0, ('embedding',)), (3.0, ()), (3.0, ()), (3.0, ('head',))]
    """
    if e.reason:
        raise Infeasible(e.reason)
    if np.ndim(e.expected.seconds if e.expected else e.serial.seconds):
        raise BadInput("stages of many plans at once; expected one plan: numbers, no arrays")
    price, started = e.pricing
    parts, layers = e.parts(price), e.model.layers()
    shares, slowed = beside_messages(parts, layers, e.parallelism, e.trainer)
    handed = seconds(parts.handed) * float(number(e.parallelism.virtual_stages * e.trainer.sends)) / 2.0
    handed = handed if e.parallelism.pp > 1.0 and not hidden_sends(e.parallelism, e.trainer) else 0.0
    found = []
    for index, stage in enumerate(each(e)):
        work = of_stage(stage, shares)
        longer = total(slowed[name] * count for name, count in counted(stage).items()) * e.micro_batches
        waits = host_waits(work, Starting.by(e.trainer, started))
        moved = float(e.waiting_for_host(stage, work))
        found.append(
            StageTime(
                index=index,
                layers=float(stage.layers),
                ends=tuple(name for name in ("embedding", "head") if float(getattr(stage, name)) > 0.0),
                forward=spent(work.forward, handed, waits[0]),
                dgrad=spent(work.dgrad, handed, waits[1], moved),
                wgrad=spent(work.wgrad),
                update=seconds(e.update(stage, price)),
                **once(e, stage, work, longer),
            )
        )
    return tuple(found)


def each(e: TrainingEstimate) -> list[Stage]:
    """All stages in their order; between the first and the last each is as full as the fullest, as long as there are layers."""
    count, kinds = int(e.parallelism.pp), e.stages
    if count == 1:
        return [kinds.first]
    left = e.model.layers() - kinds.first.layers - kinds.last.layers
    between = []
    for index in range(1, count - 1):
        layers = minimum(number(kinds.middle.layers), maximum(left, 0.0))
        between.append(replace(kinds.middle, layers=layers, index=float(index)))
        left = left - layers
    return [kinds.first, *between, kinds.last]


def once(e: TrainingEstimate, stage: Stage, work: Work, longer: Num) -> dict[str, Any]:
    """What a stage has once a step beside its update."""
    reduced, gathered = once_a_step(work, stage, e.trainer)
    return {
        "slowed": seconds(slower(work, longer + reduced[1] + gathered[1])),
        "reduced": seconds(reduced[0]),
        "gathered": seconds(gathered[0]),
        "sent": (seconds(work.reduced), seconds(work.gathered)),
    }


def spent(whole: Expectation, handed: float = 0.0, host: Num = 0.0, moved: float = 0.0) -> Spent:
    """The seconds of a pass by what they are spent on."""
    found = {kind: float(share.seconds) for kind, share in whole.kinds.items()}
    found["stage messages"] = handed
    found["host"] = float(host)
    found["offload"] = moved
    return {kind: time for kind, time in found.items() if time > 0.0}


def seconds(whole: Expectation) -> float:
    """All of it [s]."""
    return float(whole.kernels)


def laid_out(e: TrainingEstimate, found: tuple[StageTime, ...] | None = None) -> Timeline:
    """The passes of a step as its schedule orders them; messages between stages that are not part of a pass delay the next stage.

    raises BadInput where no order of the schedule is known, or for more passes than can be drawn

    >>> import floorline
    >>> plan = floorline.Parallelism(pp=4)
    >>> e = floorline.estimate("gpt2", floorline.Train(seq_len=1024, global_batch=8), "a100-sxm-80gb", parallelism=plan)
    >>> [round(laid_out(e).held(stage)) for stage in range(4)]
    [4, 3, 2, 1]
    """
    found = found or stage_times(e)
    plan = e.parallelism
    beside = plan.pp > 1.0 and bool(hidden_sends(plan, e.trainer))
    send = seconds(e.parts(e.pricing[0]).handed) if beside else 0.0
    passes = [stage.seconds for stage in found]
    return timeline(plan.schedule, passes, int(e.micro_batches), int(plan.virtual_stages), send)
