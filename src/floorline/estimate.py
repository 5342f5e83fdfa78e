"""From a model, a workload and a cluster to times and memory: the whole pipeline on one screen.

phases  a workload becomes steps: a prefill, decode steps at growing contexts
step    each step is priced: rows of launches and messages, its floor and its serial sum
memory  weights, cache and activations of one device
rules   points that break one are nan, with a reason
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from floorline.catalogue.load import load_model
from floorline.errors import BadInput
from floorline.memory import STEP_TOKENS, Memory, inference_memory
from floorline.num import Array, Num, all_true, ceil, number, where
from floorline.rules import RULES, broken, reason
from floorline.specs.accelerator import Cluster
from floorline.specs.assumptions import Assumptions
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.workload import Decode, Generate, Prefill, Train, Workload
from floorline.step import Floor, Step
from floorline.transformer import Transformer

BOUNDS = ("compute", "memory", "link")


@dataclass(frozen=True)
class Time:
    """A time with its lower bound and, where a calibration exists, what to expect.

    floor     what physics allows: nothing real is faster [s]
    serial    the textbook sum of each launch's larger time [s]
    expected  median for a named engine [s]; None: no calibration is shipped for this yet
    low, high the 90 % interval around it [s]
    """

    floor: Num
    serial: Num
    expected: Num | None = None
    low: Num | None = None
    high: Num | None = None

    def __add__(self, other: Time) -> Time:
        return Time(self.floor + other.floor, self.serial + other.serial)

    def times(self, factor: Num) -> Time:
        """The time of doing it ``factor`` times."""
        return Time(self.floor * factor, self.serial * factor)


@dataclass(frozen=True)
class Phase:
    """A part of a workload.

    name   "prefill" or "decode" (the mean step)
    time   of one step
    floor  the three times of which the largest is the floor
    step   what runs; for a decode phase the last step
    """

    name: str
    time: Time
    floor: Floor
    step: Step

    @property
    def bound(self) -> object:
        """What the floor is bound by: a word, or an array of words."""
        parts = np.stack(np.broadcast_arrays(self.floor.compute, self.floor.memory, self.floor.link))
        return np.take(np.asarray(BOUNDS), np.argmax(parts, axis=0))


@dataclass(frozen=True)
class Estimate:
    """What a workload costs on a cluster.

    phases    prefill and decode, as far as the workload has them
    ttft      time to first token: the prefill
    tpot      mean time of each later token
    latency   until the last token
    most_tokens  tokens of the largest prefill step
    feasible  whether the plan breaks no rule
    rule      index into ``rules.RULES`` of the first rule that it breaks, −1 for none
    reason    that rule's text, "" where none is broken or the point is an array
    """

    model: Transformer
    workload: Workload
    cluster: Cluster
    parallelism: Parallelism
    precision: Precision
    assumptions: Assumptions
    phases: tuple[Phase, ...]
    ttft: Time | None
    tpot: Time | None
    latency: Time
    output_tokens: Num
    most_tokens: Num
    feasible: NDArray[np.bool_]
    rule: NDArray[np.int_]
    reason: str = ""

    @cached_property
    def memory(self) -> Memory:
        """Memory of one device, by kind."""
        return inference_memory(self.phases[0].step, longest(self.workload), self.assumptions.fusion, self.most_tokens)

    @property
    def output_tokens_per_s(self) -> Num:
        """Tokens a second of the whole batch if it ran at its floor: no engine makes more."""
        return self.output_tokens / self.latency.floor


def estimate(
    model: object,
    workload: Workload,
    cluster: Cluster,
    *,
    parallelism: Parallelism | None = None,
    precision: Precision | None = None,
    assumptions: Assumptions | None = None,
    max_num_batched_tokens: Num = STEP_TOKENS,
) -> Estimate:
    """Times and memory of a workload.

    model        a Transformer, or what ``load_model`` takes
    workload     Prefill, Decode or Generate; numbers may be arrays that broadcast
    cluster      from ``load_cluster``
    parallelism  degrees; the default is one device
    precision    formats; the default is the model's own
    assumptions  of the serial time
    raises       BadInput for values that make no sense; a plan that breaks a rule is nan with a reason instead

    >>> import floorline
    >>> h100 = floorline.load_cluster("h100-sxm")
    >>> e = floorline.estimate("llama-3.1-8b", floorline.Decode(context_len=1024), h100)
    >>> 4.5e-3 < e.tpot.floor < 4.8e-3  # 15 GB of weights at 3.35 TB/s
    True
    """
    made = load_model(model)  # type: ignore[arg-type]
    plan = parallelism or Parallelism()
    formats = precision or Precision.of(made.format)
    assumed = assumptions or Assumptions()
    feasible, index, values = check(made, workload, cluster, plan)
    phases = tuple(
        price(p, cluster, assumed, feasible) for p in steps(made, workload, plan, formats, assumed.attention)
    )
    ttft = phases[0].time if phases[0].name == "prefill" else None
    tpot = phases[-1].time if phases[-1].name == "decode" else None
    later = workload.output_len - 1.0 if isinstance(workload, Generate) else 1.0
    latency = ttft + tpot.times(later) if ttft and tpot else phases[-1].time
    sequences = workload.global_batch if isinstance(workload, Train) else workload.batch
    made_tokens = sequences * (workload.output_len if isinstance(workload, Generate) else 1.0)
    alone = np.ndim(feasible) == 0 and not feasible
    why = reason(values, int(index), made.name) if alone else ""
    return Estimate(
        made,
        workload,
        cluster,
        plan,
        formats,
        assumed,
        phases,
        ttft,
        tpot,
        latency,
        made_tokens,
        max_num_batched_tokens,
        feasible,
        index,
        why,
    )


def longest(workload: Workload) -> Num:
    """Tokens of a sequence at the end of the workload."""
    if isinstance(workload, Generate):
        return workload.cached_len + workload.prompt_len + workload.output_len
    if isinstance(workload, Prefill):
        return workload.cached_len + workload.prompt_len
    if isinstance(workload, Decode):
        return workload.context_len + 1.0
    return workload.seq_len


def check(
    model: Transformer, workload: Workload, cluster: Cluster, plan: Parallelism
) -> tuple[NDArray[np.bool_], NDArray[np.int_], dict[str, Num]]:
    """Whether the plan holds every rule, which it breaks first, and the numbers that say so."""
    sizes = model.sizes
    values: dict[str, Num] = {
        "tp": plan.tp,
        "dp": plan.dp,
        "cp": plan.cp,
        "heads": sizes["K"] * sizes["G"],
        "kv_heads": sizes["K"],
        "ffn": sizes["F"],
        "devices": cluster.devices,
        "exchange": 1.0 if plan.context == "all-to-all" else 0.0,
        "head_dim": sizes["H"],
        "group": sizes["G"],
        "length": longest(workload),
        "positions": model.max_positions if model.learned_positions and model.max_positions is not None else np.inf,
    }
    feasible, index = broken(values)
    return feasible, index, values


@dataclass(frozen=True)
class Run:
    """A phase before it is priced: a step, and how many contexts it is averaged over (None: a single step)."""

    name: str
    step: Step
    contexts: Num | None = None


def steps(
    model: Transformer, workload: Workload, plan: Parallelism, precision: Precision, attention: str
) -> tuple[Run, ...]:
    """The steps of a workload."""
    if isinstance(workload, Decode):
        held = spread(workload.batch, plan.dp)
        step = Step(model, held, 1.0, workload.context_len, 1.0, plan, precision, attention, decoding=True)
        return (Run("decode", step),)
    if isinstance(workload, Prefill):
        logits = workload.prompt_len if workload.logits == "all" else 1.0
        held = spread(workload.batch, plan.dp)
        step = Step(model, held, workload.prompt_len, workload.cached_len, logits, plan, precision, attention)
        return (Run("prefill", step),)
    if isinstance(workload, Generate):
        prompt = Prefill(batch=workload.batch, prompt_len=workload.prompt_len, cached_len=workload.cached_len)
        start = workload.cached_len + workload.prompt_len
        step = Step(model, spread(workload.batch, plan.dp), 1.0, start, 1.0, plan, precision, attention, decoding=True)
        prefill = steps(model, prompt, plan, precision, attention)
        return (*prefill, Run("decode", step, workload.output_len - 1.0)) if several(workload.output_len) else prefill
    raise BadInput(
        "a training step has counts but no time yet: use count() with Train, estimate() with Prefill, Decode, Generate"
    )


def spread(batch: Num, replicas: Num) -> Num:
    """Sequences over all ranks as if each data-parallel rank had as many as the fullest: what one rank's time follows.

    >>> float(spread(9.0, 4.0))
    12.0
    """
    return ceil(batch / replicas) * replicas


def several(output_len: Num) -> bool:
    """Whether any point generates more than the token that its prefill gives."""
    return not all_true(number(output_len) <= 1.0)


def price(run: Run, cluster: Cluster, assumptions: Assumptions, feasible: object) -> Phase:
    """The times of a phase; infeasible points are nan."""
    step = run.step
    if run.contexts is None:
        floor = step.floor(cluster)
        serial = step.serial(cluster, assumptions)
        return Phase(run.name, Time(masked(floor.seconds, feasible), masked(serial, feasible)), floor, step)
    at, weight = contexts(step.earlier, run.contexts, axes(step, cluster, run.contexts))
    each = Step(step.model, step.batch, 1.0, at, 1.0, step.parallelism, step.precision, step.attention, decoding=True)
    floor = each.floor(cluster)
    mean = Floor(*(average(x, weight, run.contexts) for x in (floor.compute, floor.memory, floor.link)))
    time = Time(
        masked(average(floor.seconds, weight, run.contexts), feasible),
        masked(average(each.serial(cluster, assumptions), weight, run.contexts), feasible),
    )
    return Phase(run.name, time, mean, step)


def axes(step: Step, cluster: Cluster, count: Num) -> int:
    """How many axes the answer has: those of its inputs, broadcast."""
    device, plan = cluster.accelerator, step.parallelism
    inputs = (
        step.batch,
        step.earlier,
        count,
        plan.tp,
        plan.dp,
        plan.cp,
        device.memory_bandwidth,
        device.last_level_cache,
    )
    sizes = (
        *step.model.sizes.values(),
        *(s.repeat for s in step.model.stacks),
        *device.peaks.values(),
        cluster.link.bandwidth,
    )
    return max(np.ndim(x) for x in (*inputs, *sizes))


def contexts(start: Num, count: Num, behind: int) -> tuple[Array, Array]:
    """Every context of a generation on an axis before ``behind`` others, and which of them each point has."""
    longest_run = int(np.max(count))
    shape = (longest_run,) + (1,) * behind
    offsets = np.arange(longest_run, dtype=np.float64).reshape(shape)
    return start + offsets, np.asarray(offsets < count, dtype=np.float64)


def average(values: Num, weight: Array, count: Num) -> Num:
    """The mean over a generation's contexts, added one after the other so that padding changes no bit."""
    spread = np.broadcast_to(np.asarray(values), np.broadcast_shapes(np.shape(values), weight.shape)) * weight
    summed: Num = np.cumsum(spread, axis=0)[-1][()]
    return where(number(count) > 0.0, summed / np.maximum(count, 1.0), 0.0)


def masked(value: Num, feasible: object) -> Num:
    """nan where a rule is broken."""
    return where(feasible, value, np.nan)


__all__ = ["RULES", "Estimate", "Phase", "Time", "estimate"]
