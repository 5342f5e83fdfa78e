"""A training step over growing numbers of devices: strong scaling of a fixed batch, weak scaling of a batch that grows along."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from floorline.catalogue.clusters import load_cluster
from floorline.errors import BadInput, Infeasible
from floorline.feasible import check
from floorline.formulas.scaling import parallel_efficiency, speed_up, weak_efficiency
from floorline.num import Num, number, total
from floorline.phases import Time
from floorline.result import Result
from floorline.rules import reason
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.parallelism import DEVICES, Parallelism
from floorline.specs.precision import Precision
from floorline.specs.recipe import Recipe
from floorline.specs.trainer import Trainer
from floorline.specs.workload import Train
from floorline.training.estimate import TrainingEstimate, estimate_training
from floorline.training.step_time import MESSAGES

KINDS = ("strong", "weak")
GROWN = ("dp", "tp", "pp", "cp")


@dataclass(frozen=True, repr=False)
class Scaling(Result):
    """Steps on growing numbers of devices, each compared with the first.

    kind     strong (the global batch stays) or weak (it grows with the devices)
    grow     the degree of the plan that grows
    devices  [-]
    steps    the estimate of all, its numbers arrays along the devices
    reasons  of the first rule that each breaks, "" for none
    """

    kind: str
    grow: str
    devices: Num
    steps: TrainingEstimate
    reasons: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Scaling({self.kind}, {self.steps.model.name}, {np.size(self.devices)} points)"

    @property
    def step_time(self) -> Time:
        """Of one optimizer step."""
        return Time.made(self.along, self.steps.step_time)

    def along(self, value: Num) -> Num:
        """A number for each count of devices."""
        return number(np.broadcast_to(value, np.shape(self.devices)))

    def known(self, of: Callable[[Num], Num]) -> dict[str, Num | None]:
        """What a function makes of each kind of step time; None where no kernel model is known."""
        t = self.step_time
        times = {"floor": t.floor, "serial": t.serial, "expected": t.expected}
        return {name: None if time is None else of(time) for name, time in times.items()}

    @property
    def tokens_per_s(self) -> dict[str, Num | None]:
        """Of all devices, by each kind of step time."""
        return self.known(lambda time: self.along(self.steps.tokens) / time)

    @property
    def speed_up(self) -> dict[str, Num | None]:
        """How many times as fast as on the first count of devices: the same batch, or as many times the batch."""
        work = self.ratio if self.kind == "weak" else 1.0
        return self.known(lambda time: work * speed_up(first(time), time))

    @property
    def efficiency(self) -> dict[str, Num | None]:
        """Speed-up for each device, over the first count's."""
        if self.kind == "weak":
            return self.known(lambda time: weak_efficiency(first(time), time))
        return self.known(lambda time: parallel_efficiency(first(time), time, self.ratio))

    @property
    def ratio(self) -> Num:
        """Devices over the first count [-]."""
        return self.devices / first(self.devices)

    @property
    def shares(self) -> dict[str, Num]:
        """What of the step is spent on messages that nothing hides, and on waiting for other stages: of the expected one, or the
        serial where none is known [-]."""
        found = self.steps.expected or self.steps.serial
        spent = found.breakdown
        whole = found.seconds
        return {
            "messages": self.along(total(spent.get(name, 0.0) for name in MESSAGES) / whole),
            "bubble": self.along(spent["bubble"] / whole),
        }

    def answer(self) -> Mapping[str, Any]:
        """The curve, column by column."""
        plan = self.steps.parallelism
        return {
            "model": self.steps.model,
            "hardware": self.steps.cluster,
            "kind": self.kind,
            "grow": self.grow,
            "devices": self.devices,
            "degrees": {name: self.along(getattr(plan, name)) for name in GROWN},
            "global_batch": self.along(self.steps.workload.global_batch),
            "micro_batches": self.along(self.steps.micro_batches),
            "step_time_s": self.step_time,
            "tokens_per_s": self.tokens_per_s,
            "speed_up": self.speed_up,
            "efficiency": self.efficiency,
            "exposed_messages": self.shares["messages"],
            "bubble": self.shares["bubble"],
            "peak_memory": self.along(self.steps.peak_memory),
            "fits": np.broadcast_to(self.steps.fits(), np.shape(self.devices)),
            "reasons": list(self.reasons),
        }


def first(values: Num) -> float:
    """The first count's.

    >>> first(number([2.0, 1.0]))
    2.0
    """
    return float(np.asarray(values).flat[0])


def scale(
    model: object,
    workload: Train,
    cluster: Cluster | str,
    devices: Sequence[float],
    *,
    kind: str = "strong",
    grow: str = "dp",
    parallelism: Parallelism | None = None,
    precision: Precision | str | None = None,
    recipe: Recipe | None = None,
    assumptions: Assumptions | None = None,
    engine: Trainer | str | None = None,
) -> Scaling:
    """A training step on growing numbers of devices.

    model        a Transformer, or what ``load_model`` takes
    workload     of the first count; in weak scaling its global batch grows with the devices
    cluster      from ``load_cluster``, or a name: as many of it as there are
    devices      counts; each is compared with the first [-]
    kind         strong or weak
    grow         the degree that grows: dp, tp, pp or cp; the others are the plan's
    parallelism, precision, recipe, assumptions, engine  as in ``estimate``
    raises       BadInput for counts that the other degrees do not divide, Infeasible where the first breaks a rule; a later one
                 that does is nan with a reason

    >>> from floorline.specs.workload import Train
    >>> found = scale("gpt2", Train(global_batch=64, micro_batch=8, seq_len=1024), "a100-sxm-80gb", [1, 2, 4, 8])
    >>> [round(float(x), 2) for x in found.speed_up["serial"]]
    [1.0, 1.97, 3.81, 7.16]
    """
    if kind not in KINDS:
        raise BadInput(f"kind is {kind[:40]!r}; expected one of {', '.join(KINDS)}")
    counts = number([*devices])
    plan = grown(parallelism or Parallelism(), grow, counts)
    ratio = counts / first(counts)
    batch = workload.global_batch * ratio if kind == "weak" else workload.global_batch + 0.0 * counts
    asked = replace(workload, global_batch=batch)
    machine = replace(cluster, devices=counts) if isinstance(cluster, Cluster) else load_cluster(cluster, counts)
    steps = estimate_training(
        model,
        asked,
        machine,
        parallelism=plan,
        precision=precision,
        recipe=recipe,
        assumptions=assumptions,
        engine=engine,
    )
    reasons = why(steps, counts)
    if reasons[0]:
        raise Infeasible(f"on {first(counts):g} devices: {reasons[0]}")
    return Scaling(kind, grow, counts, steps, reasons)


def grown(plan: Parallelism, grow: str, counts: Num) -> Parallelism:
    """The plan on each count of devices.

    raises BadInput for a degree that is none, and counts that the others do not divide

    >>> grown(Parallelism(tp=2), "dp", number([2, 8])).dp
    array([1., 4.])
    """
    if grow not in GROWN:
        raise BadInput(f"grow is {grow[:40]!r}; expected one of {', '.join(GROWN)}")
    if np.size(counts) == 0 or np.ndim(counts) != 1:
        raise BadInput("devices is no list of counts; expected such as [1, 2, 4, 8]")
    others = plan.devices / getattr(plan, grow)
    degrees = counts / others
    wrong = np.asarray((counts < 1.0) | (counts > DEVICES) | (np.floor(degrees) != degrees) | (degrees < 1.0))
    if np.any(wrong):
        bad = float(np.asarray(counts)[wrong][0])
        raise BadInput(
            f"{bad:g} devices; expected {float(others):g} (the plan without {grow}) times a whole number, up to {DEVICES:g}"
        )
    degree: dict[str, Any] = {grow: degrees}
    return replace(plan, **degree)


def why(steps: TrainingEstimate, counts: Num) -> tuple[str, ...]:
    """The text of the rule that each count breaks, "" for none."""
    feasible, index, values = check(steps.model, steps.workload, counts, steps.parallelism)
    shape = np.shape(counts)
    broken = np.broadcast_to(np.asarray(index), shape)
    found = []
    for at in range(np.size(counts)):
        point = {name: float(np.broadcast_to(np.asarray(value), shape)[at]) for name, value in values.items()}
        holds = bool(np.broadcast_to(feasible, shape)[at])
        found.append("" if holds else reason(point, int(broken[at]), steps.model.name))
    return tuple(found)
