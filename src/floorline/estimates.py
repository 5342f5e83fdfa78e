"""From a model, a workload and a cluster to times and memory: the whole pipeline on one screen.

phases  a workload becomes steps: a prefill, decode steps at growing contexts
step    each step is priced: rows of launches and messages, its floor and its serial sum
memory  weights, cache and activations of one device
rules   points that break one are nan, with a reason
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from floorline.catalogue.load import load_model
from floorline.errors import BadInput
from floorline.launches import Launch, launches
from floorline.memory import STEP_TOKENS, Memory, inference_memory
from floorline.num import Array, Num, all_true, ceil, maximum, number, where
from floorline.result import Result
from floorline.rules import RULES, broken, reason
from floorline.specs.accelerator import Cluster
from floorline.specs.assumptions import Assumptions
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.workload import Decode, Generate, Prefill, Train, Workload
from floorline.step import Floor, Step
from floorline.transformer import Transformer

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOUNDS = ("compute", "memory", "link")


@dataclass(frozen=True)
class Time(Result):
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
        """The time of doing it ``factor`` times; never doing it takes none."""
        return Time(where(factor > 0.0, self.floor * factor, 0.0), where(factor > 0.0, self.serial * factor, 0.0))


@dataclass(frozen=True, eq=False)
class Contexts:
    """The contexts of a generation on a leading axis.

    offsets  tokens after the first context [-]
    present  1 where a point has this context, 0 where its generation is over
    count    contexts of each point [-]
    """

    offsets: Array
    present: Array
    count: Num

    @staticmethod
    def of(count: Num, behind: int) -> Contexts:
        """As many contexts as the longest generation has, on an axis before ``behind`` others."""
        longest_run = int(np.max(count))
        offsets = np.arange(longest_run, dtype=np.float64).reshape((longest_run,) + (1,) * behind)
        return Contexts(offsets, np.asarray(offsets < count, dtype=np.float64), count)

    def mean(self, values: Num) -> Num:
        """The mean over each point's contexts, added one after the other so that padding changes no bit; nan for none."""
        summed: Num = np.cumsum(np.asarray(values) * self.present, axis=0)[-1][()]
        return where(number(self.count) > 0.0, summed / maximum(self.count, 1.0), np.nan)


@dataclass(frozen=True)
class Phase:
    """A part of a workload.

    name   "prefill" or "decode" (the mean step)
    time   of one step
    step   what runs; for a decode phase the first step
    parts  the three times of which the largest is the floor, for each context of a generation
    steps  how many contexts each point has and which; None: a single step
    """

    name: str
    time: Time
    step: Step
    parts: Floor
    steps: Contexts | None = None

    @cached_property
    def floor(self) -> Floor:
        """The three times of the mean step."""
        if self.steps is None:
            return self.parts
        return Floor(*(self.steps.mean(x) for x in (self.parts.compute, self.parts.memory, self.parts.link)))

    @property
    def bound(self) -> object:
        """What the floor is bound by: a word, or an array of words."""
        parts = np.stack(np.broadcast_arrays(self.floor.compute, self.floor.memory, self.floor.link))
        return np.take(np.asarray(BOUNDS), np.argmax(parts, axis=0))


@dataclass(frozen=True)
class Estimate(Result):
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

    @property
    def bound(self) -> object:
        """What the floor of the last phase is bound by; where a point generates one token only, that is its prefill."""
        last = self.phases[-1]
        if last.steps is None:
            return last.bound
        first, then = np.asarray(self.phases[0].bound), np.asarray(last.bound)
        return np.where(np.asarray(last.steps.count) > 0.0, then, first)

    def launches(self, phase: Phase) -> tuple[Launch, ...]:
        """The operator table of a phase; for decode, of its first step."""
        return launches(phase.step, self.cluster, self.assumptions)

    def answer(self) -> Mapping[str, Any]:
        """Times, throughput, memory and what bounds each phase."""
        rate = {"ceiling": self.output_tokens_per_s, "serial": self.output_tokens / self.latency.serial}
        return {
            "ttft_s": self.ttft,
            "tpot_s": self.tpot,
            "latency_s": self.latency,
            "output_tokens_per_s": {**rate, "expected": None, "low": None, "high": None},
            "memory": self.memory,
            "fits": self.memory.total <= self.cluster.accelerator.usable,
            "bound": {p.name: p.bound for p in self.phases},
            "phases": {
                p.name: {"time_s": p.time, "floor_s": p.floor, "bound": p.bound, "operators": self.launches(p)}
                for p in self.phases
            },
        }


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
    >>> bool(4.5e-3 < e.tpot.floor < 4.8e-3)  # 15 GB of weights at 3.35 TB/s
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
        "product": plan.devices,
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
        every = workload.logits == "all"
        logits = workload.prompt_len if every else 1.0
        held = spread(workload.batch, plan.dp)
        step = Step(
            model, held, workload.prompt_len, workload.cached_len, logits, plan, precision, attention, every_logit=every
        )
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
        return Phase(run.name, Time(masked(floor.seconds, feasible), masked(serial, feasible)), step, floor)
    many = Contexts.of(run.contexts, axes(step, cluster, assumptions, run.contexts))
    each = replace(step, earlier=step.earlier + many.offsets)
    floor = each.floor(cluster)
    seconds, serial = many.mean(floor.seconds), many.mean(each.serial(cluster, assumptions))
    return Phase(run.name, Time(masked(seconds, feasible), masked(serial, feasible)), step, floor, many)


def axes(step: Step, cluster: Cluster, assumed: Assumptions, count: Num) -> int:
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
        assumed.compute_efficiency,
        assumed.memory_efficiency,
        assumed.launch_time,
    )
    sizes = (
        *step.model.sizes.values(),
        *(s.repeat for s in step.model.stacks),
        *device.peaks.values(),
        cluster.link.bandwidth,
    )
    return max(np.ndim(x) for x in (*inputs, *sizes))


def masked(value: Num, feasible: object) -> Num:
    """nan where a rule is broken."""
    return where(feasible, value, np.nan)


__all__ = ["RULES", "Estimate", "Phase", "Time", "estimate"]
