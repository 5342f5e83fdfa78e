"""From a model, a workload and a cluster to times and memory: the whole pipeline on one screen.

phases  a workload becomes steps: a prefill, decode steps at growing contexts
step    each step is priced: rows of launches and messages, its floor and its serial sum
memory  weights, cache and activations of one device
rules   points that break one are nan, with a reason
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from floorline.capacity import at_once, held_tokens
from floorline.catalogue.clusters import load_cluster
from floorline.catalogue.engines import load_engine
from floorline.catalogue.load import load_model
from floorline.denoising.estimate import DenoiseEstimate, estimate_denoising
from floorline.errors import BadInput
from floorline.feasible import check
from floorline.launches import Launch, launches
from floorline.memory import Memory, encoding_memory, inference_memory
from floorline.num import Num, maximum, number, where
from floorline.phases import Phase, Time
from floorline.result import Result, exact
from floorline.rules import reason
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.denoise_plan import DenoisePlan
from floorline.specs.engine import Engine
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.recipe import Recipe
from floorline.specs.trainer import Trainer
from floorline.specs.workload import Denoise, Encode, Serve, Train, Workload, longest
from floorline.training.estimate import TrainingEstimate, estimate_training
from floorline.transformer import Transformer
from floorline.workload_steps import served, steps, tokens_made

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, repr=False)
class Estimate(Result):
    """What a workload costs on a cluster.

    phases    prefill and decode, as far as the workload has them, or encode
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
    output_tokens: Num
    most_tokens: Num
    feasible: NDArray[np.bool_]
    rule: NDArray[np.int_]
    reason: str = ""

    def __repr__(self) -> str:
        times = ", ".join(
            f"{n} {t!r}" for n, t in (("ttft", self.ttft), ("tpot", self.tpot), ("latency", self.latency)) if t
        )
        return f"Estimate({self.model.name}, {self.cluster!r}, {times})"

    @property
    def prefill(self) -> Phase | None:
        """The phase that makes the first token."""
        return self.phases[0] if self.phases[0].name == "prefill" else None

    @property
    def decode(self) -> Phase | None:
        """The phase that makes the others."""
        return self.phases[-1] if self.phases[-1].name == "decode" else None

    @property
    def ttft(self) -> Time | None:
        """Time to first token."""
        return self.prefill.time if self.prefill else None

    @property
    def tpot(self) -> Time | None:
        """Mean time of each later token."""
        return self.decode.time if self.decode else None

    @property
    def latency(self) -> Time:
        """Time until the last token."""
        known = [phase.time for phase in self.phases]
        if any(time.expected is None for time in known):
            return Time(self.whole("floor_s"), self.whole("serial_s"))
        middle, low, high = (
            self.summed([getattr(time, name) for time in known]) for name in ("expected", "low", "high")
        )
        return Time(self.whole("floor_s"), self.whole("serial_s"), middle, low, high)

    def whole(self, kind: str) -> Num:
        """The floor ("floor_s") or the serial sum ("serial_s") of all phases, each as often as it runs [s]."""
        return self.summed([getattr(phase, kind) for phase in self.phases])

    @property
    def expected_whole(self) -> Num | None:
        """The expected time of all phases [s]; None where a kind of kernel has no model."""
        known = [phase.expected_s for phase in self.phases]
        times = [time for time in known if time is not None]
        return self.summed(times) if len(times) == len(known) else None

    def summed(self, times: Sequence[Num]) -> Num:
        """The sum over phases of a time of each, as often as the phase runs."""
        result: Num = 0.0
        for phase, once in zip(self.phases, times, strict=True):
            many: Num = 1.0 if phase.count is None else phase.count
            result = result + where(number(many) > 0.0, once * many, 0.0)
        return result

    @cached_property
    def memory(self) -> Memory:
        """Memory of one device, by kind."""
        if isinstance(self.workload, Encode):
            return encoding_memory(self.phases[0].step, self.assumptions.fusion, self.engine.footprint)
        return inference_memory(
            self.phases[0].step,
            held_tokens(self.workload, self.engine) if isinstance(self.workload, Serve) else longest(self.workload),
            self.assumptions.fusion,
            self.most_tokens,
            self.engine.footprint,
        )

    @property
    def engine(self) -> Engine:
        """The software that the memory and the expected times are of."""
        return self.phases[0].engine

    @property
    def output_tokens_per_s(self) -> Num:
        """Tokens a second of the whole batch if it ran at its floor: no engine makes more."""
        return self.output_tokens / self.least_s

    @property
    def least_s(self) -> Num:
        """The least time in which all of the batch's tokens are made; in a closed loop the arithmetic of some requests may hide
        behind the traffic of others, and a prompt's weights be read for later tokens [s]."""
        if not isinstance(self.workload, Serve):
            return self.whole("floor_s")
        compute = self.summed([phase.floor.compute for phase in self.phases])
        prompts, tokens = (phase.floor for phase in self.phases)
        later, device = self.workload.output_len - 1.0, self.cluster.accelerator
        moved = prompts.cached + (tokens.weights + tokens.cached) * later
        kept = device.last_level_cache * (later + 1.0)
        return maximum(compute, maximum(moved - kept, 0.0) / device.memory_bandwidth)

    @property
    def rates(self) -> dict[str, Num | None]:
        """Tokens a second of the whole batch: at most, by the serial sum, and expected with its interval."""
        t = self.latency
        found = {"ceiling": self.least_s, "serial": t.serial, "expected": t.expected, "low": t.high, "high": t.low}
        return {name: None if time is None else self.output_tokens / time for name, time in found.items()}

    @property
    def room(self) -> Num:
        """Memory of one device that the engine may use [B]."""
        return self.cluster.accelerator.usable * self.engine.memory_share

    def fits(self, utilisation: Num | None = None) -> NDArray[np.bool_]:
        """Whether the plan breaks no rule and its memory is within the share that an engine may use."""
        room = self.room if utilisation is None else self.cluster.accelerator.usable * utilisation
        within = np.asarray(self.memory.total <= room)
        both: NDArray[np.bool_] = self.feasible & within
        return both

    @property
    def bound(self) -> object:
        """What the floor of the last phase is bound by; where a point generates one token only, that is its prefill."""
        last = self.phases[-1]
        if last.count is None:
            return last.bound
        first, then = np.asarray(self.phases[0].bound), np.asarray(last.bound)
        return np.where(np.asarray(last.count) > 0.0, then, first)

    def launches(self, phase: Phase) -> tuple[Launch, ...]:
        """The operator table of a phase; for decode, of its first step."""
        return launches(phase.step, self.cluster, self.assumptions, phase.engine)

    def answer(self) -> Mapping[str, Any]:
        """Times, throughput, memory and what bounds each phase."""
        rates = self.rates
        return {
            "model": self.model,
            "hardware": self.cluster,
            "workload": {"kind": type(self.workload).__name__, **exact(self.workload)},
            "ttft_s": self.ttft,
            "tpot_s": self.tpot,
            "latency_s": self.latency,
            "output_tokens_per_s": rates,
            "memory": self.memory,
            "fits": self.fits(),
            "bound": {p.name: p.bound for p in self.phases},
            "phases": {
                p.name: {
                    "time_s": p.time,
                    "floor_s": p.floor.times,
                    "bound": p.bound,
                    "expected": p.expectation,
                    "mfu": p.mfu,
                    "mbu": p.mbu,
                    "operators": self.launches(p),
                }
                for p in self.phases
            },
            "engine": self.engine,
        }


@overload
def estimate(  # type: ignore[overload-overlap]
    model: object,
    workload: Train,
    cluster: Cluster | str,
    *,
    parallelism: Parallelism | None = None,
    precision: Precision | str | None = None,
    assumptions: Assumptions | None = None,
    engine: Engine | Trainer | str | None = None,
    max_num_batched_tokens: Num | None = None,
    recipe: Recipe | None = None,
) -> TrainingEstimate: ...


@overload
def estimate(
    model: object,
    workload: Denoise,
    cluster: Cluster | str,
    *,
    parallelism: DenoisePlan | None = None,
    precision: Precision | str | None = None,
    assumptions: Assumptions | None = None,
    engine: Engine | Trainer | str | None = None,
    max_num_batched_tokens: Num | None = None,
    recipe: Recipe | None = None,
) -> DenoiseEstimate: ...


@overload
def estimate(
    model: object,
    workload: Workload,
    cluster: Cluster | str,
    *,
    parallelism: Parallelism | None = None,
    precision: Precision | str | None = None,
    assumptions: Assumptions | None = None,
    engine: Engine | Trainer | str | None = None,
    max_num_batched_tokens: Num | None = None,
    recipe: Recipe | None = None,
) -> Estimate: ...


def estimate(
    model: object,
    workload: Workload | Denoise,
    cluster: Cluster | str,
    *,
    parallelism: Parallelism | DenoisePlan | None = None,
    precision: Precision | str | None = None,
    assumptions: Assumptions | None = None,
    engine: Engine | Trainer | str | None = None,
    max_num_batched_tokens: Num | None = None,
    recipe: Recipe | None = None,
) -> Estimate | TrainingEstimate | DenoiseEstimate:
    """Times and memory of a workload: of one optimizer step for ``Train``, of pictures or videos for ``Denoise``.

    model        a Transformer, or what ``load_model`` takes (a Pipeline, or what ``load_pipeline`` takes)
    workload     Prefill, Decode, Generate, Serve, Encode, Train or Denoise; numbers may be arrays that broadcast
    cluster      from ``load_cluster``, or a name: as many of it as the plan takes
    parallelism  degrees: a Parallelism, of Denoise a DenoisePlan; the default is one device
    precision    formats; the default is the model's own
    assumptions  of the serial time
    engine       of the expected time and the memory, or its name; default: the median over engines, in a captured graph
    recipe       of training: optimizer, recomputation, offload, adapters
    raises       BadInput for values that make no sense; a plan that breaks a rule is nan with a reason instead

    >>> import floorline
    >>> e = floorline.estimate("llama-3.1-8b", floorline.Decode(context_len=1024), "h100-sxm")
    >>> bool(4.5e-3 < e.tpot.floor < 4.8e-3)  # 15 GB of weights at 3.35 TB/s
    True
    """
    known(workload)
    if isinstance(workload, Denoise):
        return denoised(model, workload, cluster, parallelism, precision, assumptions, engine, recipe)
    if isinstance(parallelism, DenoisePlan):
        raise BadInput(f"a DenoisePlan goes with Denoise, not with {type(workload).__name__}; expected a Parallelism")
    if isinstance(workload, Train):
        if isinstance(engine, Engine):
            raise BadInput(f"{engine.name} serves; expected a framework that trains, such as engine='megatron-core'")
        return estimate_training(
            model,
            workload,
            cluster,
            parallelism=parallelism,
            precision=precision,
            recipe=recipe,
            assumptions=assumptions,
            engine=engine,
        )
    if isinstance(engine, Trainer) or recipe is not None:
        raise BadInput(f"a recipe or a framework that trains goes with Train, and this is {type(workload).__name__}")
    made, software = load_model(model), load_engine(engine)
    if made.latent is not None or software.makes == "pictures":
        what = f"{made.name} denoises" if made.latent is not None else f"engine {software.name!r} makes"
        raise BadInput(
            f"{what} pictures, and this is {type(workload).__name__}; expected Denoise or Train of such a model"
        )
    plan = parallelism or Parallelism()
    formats = Precision.of(precision) if isinstance(precision, str) else precision or Precision.of(made.format)
    budget = software.footprint.step_tokens if max_num_batched_tokens is None else max_num_batched_tokens
    found = load_cluster(cluster, plan.devices)
    return inferred(made, workload, found, plan, formats, assumptions or Assumptions(), software, budget)


def denoised(
    model: object,
    workload: Denoise,
    cluster: Cluster | str,
    plan: Parallelism | DenoisePlan | None,
    precision: Precision | str | None,
    assumptions: Assumptions | None,
    engine: Engine | Trainer | str | None,
    recipe: Recipe | None,
) -> DenoiseEstimate:
    """Times and memory of pictures or videos.

    raises BadInput for what belongs to another workload
    """
    if isinstance(plan, Parallelism):
        raise BadInput(
            "denoising is split by a DenoisePlan (ulysses, ring, guidance, patches, tp, dp), not by a Parallelism"
        )
    if isinstance(engine, Trainer) or recipe is not None:
        raise BadInput("a recipe or a framework that trains goes with Train, and this is Denoise")
    return estimate_denoising(
        model, workload, cluster, plan=plan, precision=precision, assumptions=assumptions, engine=engine
    )


def inferred(
    made: Transformer,
    workload: Workload,
    cluster: Cluster,
    plan: Parallelism,
    formats: Precision,
    assumed: Assumptions,
    software: Engine,
    budget: Num,
) -> Estimate:
    """Times and memory of inference."""
    feasible, index, values = check(made, workload, cluster.devices, plan)
    if isinstance(workload, Serve):
        most = at_once(made, workload, cluster, plan, formats, assumed.fusion, budget, software)
        workload = replace(workload, concurrency=most) if workload.concurrency is None else workload
        phases = served(made, workload, cluster, plan, formats, assumed, software, budget, most, feasible)
    else:
        phases = tuple(
            Phase(name, replace(step, evenness=assumed.expert_evenness), cluster, assumed, feasible, many, software)
            for name, step, many in steps(made, workload, plan, formats, assumed.attention)
        )
    why = reason(values, int(index), made.name) if np.ndim(feasible) == 0 and not feasible else ""
    return Estimate(
        made,
        workload,
        cluster,
        plan,
        formats,
        assumed,
        phases,
        tokens_made(workload),
        budget,
        feasible,
        index,
        why,
    )


def known(workload: object) -> None:
    """Hold a workload to the kinds that there are; anything else raises BadInput."""
    if not isinstance(workload, Workload | Denoise):
        kinds = "Prefill, Decode, Generate, Serve, Encode, Train or Denoise"
        raise BadInput(f"the workload is a {type(workload).__name__}; expected {kinds}")
