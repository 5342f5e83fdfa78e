"""How long a picture or a video takes, what it needs, and where the time goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from floorline.autoencoder_memory import autoencoder_memory
from floorline.autoencoder_step import DECODE
from floorline.catalogue.clusters import load_cluster
from floorline.catalogue.engines import engines, load_engine
from floorline.catalogue.pipelines import load_pipeline
from floorline.denoise_step import Grid, given, grid, suits
from floorline.denoising.choices import best, choices, side_by_side
from floorline.denoising.copies import copying
from floorline.denoising.memory import DenoiseMemory, Part, framework, part
from floorline.denoising.patches import patch_step, sending_time, stale_bytes, waiting_time
from floorline.denoising.rules import RULES, check
from floorline.denoising.steps import beside, clip_of, denoise_step, filled, pixel_runs, text_steps
from floorline.errors import BadInput
from floorline.launches import Launch, launches
from floorline.memory import activation_bytes
from floorline.num import Num, maximum, minimum, where
from floorline.phases import Phase, Time
from floorline.pipeline import Pipeline
from floorline.result import Result, exact
from floorline.rules import reason
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.denoise_plan import DenoisePlan
from floorline.specs.engine import Engine
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.workload import Denoise
from floorline.step import Step
from floorline.tensor import WEIGHT

if TYPE_CHECKING:
    from numpy.typing import NDArray

USUAL_ENGINE = "diffusers"
"""The software where nothing is said."""


@dataclass(frozen=True, repr=False)
class DenoiseEstimate(Result):
    """What pictures or videos cost on a cluster.

    workload   with everything that was left out filled in
    grid       tokens
    texts      a phase for each encoder of the text
    step       a denoising step, all of its guidance passes, over whole pictures
    patch      the same where patches go through a pipeline; None without one
    pixels     the decoder's runs, each with how often it runs: some frames at a time, tile by tile; none where nothing is known
    feasible   whether the plan breaks no rule
    rule       index of the first rule that it breaks, −1 for none
    reason     that rule's text, "" where none is broken or the point is an array
    """

    pipeline: Pipeline
    workload: Denoise
    cluster: Cluster
    plan: DenoisePlan
    precision: Precision
    assumptions: Assumptions
    engine: Engine
    grid: Grid
    texts: tuple[Phase, ...]
    step: Phase
    patch: Phase | None
    pixels: tuple[tuple[Num, Phase], ...]
    feasible: NDArray[np.bool_]
    rule: NDArray[np.int_]
    reason: str = ""

    def __repr__(self) -> str:
        return f"DenoiseEstimate({self.pipeline.name}, {self.cluster!r}, {self.latency!r})"

    @property
    def steps(self) -> Num:
        """Steps that compute something, others taking an earlier one's result: the first one at least [-]."""
        asked = given(self.workload.steps, self.pipeline.steps)
        return maximum(asked * (1.0 - self.workload.reused), minimum(asked, 1.0))

    @property
    def patched_steps(self) -> Num:
        """Of those, the steps that go through a pipeline of patches [-]."""
        return 0.0 if self.patch is None else maximum(self.steps - self.plan.warmup, 0.0)

    @cached_property
    def handing(self) -> Num:
        """What stages of a patch pipeline hand on in a step, hidden behind other patches at best [s]."""
        return 0.0 if self.patch is None else sending_time(self.patch.step, self.cluster, self.plan)

    @cached_property
    def denoising(self) -> Time:
        """All steps together."""
        if self.patch is None:
            return times(self.step.time, self.steps)
        patched, waiting = self.patch.time, waiting_time(self.plan)
        sent = Time(0.0, self.handing, *(self.handing + waiting for _ in range(3)))
        each = replace(joined(patched, sent), floor=maximum(patched.floor, self.handing))
        whole, often = self.steps - self.patched_steps, self.patched_steps
        return Time.made(lambda a, b: a * whole + b * often, self.step.time, each)

    @property
    def step_time(self) -> Time:
        """The mean of the steps that compute something."""
        return times(self.denoising, 1.0 / self.steps)

    @cached_property
    def encoding(self) -> Time | None:
        """All encoders of the text, one after another."""
        return joined(*(phase.time for phase in self.texts)) if self.texts else None

    @cached_property
    def decoding(self) -> Time | None:
        """From latents to pixels."""
        return joined(*(times(phase.time, often) for often, phase in self.pixels)) if self.pixels else None

    @cached_property
    def copying(self) -> Time | None:
        """Weights that come from the host's memory and go back; None where all stay on the device."""
        kind = self.workload.offload
        if kind == "none":
            return None
        denoiser, device = self.pipeline.denoiser.name, self.cluster.accelerator
        return copying(self.memory.parts, denoiser, self.steps, kind, device)

    @cached_property
    def latency(self) -> Time:
        """From the text to the pixels of the whole batch; at best copies from the host are hidden behind the rest."""
        rest = joined(*(t for t in (self.encoding, self.denoising, self.decoding) if t is not None))
        if self.copying is None:
            return rest
        return replace(joined(rest, self.copying), floor=maximum(rest.floor, self.copying.floor))

    @property
    def pictures_per_s(self) -> dict[str, Num | None]:
        """Pictures or videos a second: at most, by the serial sum, and expected with its interval."""
        t, batch = self.latency, self.workload.batch
        found = {"ceiling": t.floor, "serial": t.serial, "expected": t.expected, "low": t.high, "high": t.low}
        return {name: None if time is None else batch / time for name, time in found.items()}

    @property
    def breakdown(self) -> dict[str, Num]:
        """Where the time goes: text, steps, pixels, weights that come from the host [s]; by the expected times, or the serial
        ones where a kind of kernel has no model."""
        found = {"text": self.encoding, "denoising": self.denoising, "pixels": self.decoding, "moving": self.copying}
        return {name: 0.0 if time is None else time.usual for name, time in found.items()}

    @property
    def kinds(self) -> dict[str, Num]:
        """A denoising step by kind of kernel [s]: matmul, attention, element-wise, collectives, what stages hand on, host; the mean
        of the steps that compute something; none where nothing is expected."""
        phases = [(self.step, self.steps - self.patched_steps)]
        phases += [(self.patch, self.patched_steps)] if self.patch is not None else []
        found: dict[str, Num] = {}
        for phase, often in phases:
            expectation = phase.expectation
            if expectation is None:
                return {}
            each = {kind: share.seconds for kind, share in expectation.kinds.items()}
            for kind, seconds in (*each.items(), ("host", expectation.host)):
                name = KINDS.get(kind, kind)
                found[name] = found.get(name, 0.0) + seconds * often / self.steps
        if self.patch is not None:
            found["handed on"] = (self.handing + waiting_time(self.plan)) * self.patched_steps / self.steps
        return found

    @property
    def mfu(self) -> Num | None:
        """Model FLOP utilisation of a denoising step: its arithmetic over what the peak of all devices does in that time."""
        return self.step.mfu if self.patch is None else None

    @cached_property
    def memory(self) -> DenoiseMemory:
        """Memory of one device."""
        fusion = self.assumptions.fusion
        others = (replace(self.denoiser, name=other.name, activations=0.0) for other in self.pipeline.others)
        parts = [self.denoiser, *others, *(part(phase.step.model.name, phase.step, fusion) for phase in self.texts)]
        if self.pipeline.autoencoder is not None:
            parts.append(self.autoencoder)
        around, own = self.engine.footprint, self.step.step
        stale = stale_bytes(own, self.plan)
        return DenoiseMemory(tuple(parts), stale, self.workload.offload, framework(own, around), around.workspace)

    @property
    def denoiser(self) -> Part:
        """The denoiser on a device: its stage's layers, and the larger of its steps, over a patch or over whole pictures."""
        name, fusion, own = self.pipeline.denoiser.name, self.assumptions.fusion, self.step.step
        if self.patch is None:
            return part(name, own, fusion)
        staged = replace(own, parallelism=replace(own.parallelism, pp=self.plan.patches))
        whole, patch = part(name, staged, fusion), activation_bytes(self.patch.step, fusion)
        never = np.asarray(self.steps - self.patched_steps) == 0.0
        return replace(whole, activations=where(never, patch, maximum(whole.activations, patch)))

    @property
    def autoencoder(self) -> Part:
        """The autoencoder on a device: both of its networks, and the largest run of the decoder."""
        own = self.pipeline.autoencoder
        assert own is not None
        found = autoencoder_memory(
            own,
            DECODE,
            clip_of(self.pipeline, self.workload, self.grid, self.plan),
            tile=self.workload.tiling == "yes",
            fusion=self.assumptions.fusion,
            precision=self.beside,
        )
        weights = own.parameters * self.beside.bytes(WEIGHT)
        return Part("autoencoder", weights, found.activations + found.kv_cache, weights)

    @property
    def beside(self) -> Precision:
        """Formats of the text's encoders and of the autoencoder."""
        return beside(self.precision, self.pipeline.format)

    @cached_property
    def work(self) -> dict[str, Num]:
        """FLOP of the texts, of a denoising step (all of its passes) and of the pixels, over all devices of one replica [FLOP]."""
        one = Parallelism()
        step = replace(self.step.step, parallelism=one)
        found: dict[str, Num] = {"text": 0.0, "step": step.cost("unfused").flops, "pixels": 0.0}
        for phase in self.texts:
            found["text"] = found["text"] + phase.step.cost("unfused").flops
        for often, phase in self.pixels:
            found["pixels"] = found["pixels"] + often * phase.step.cost("unfused").flops
        return found

    def fits(self) -> NDArray[np.bool_]:
        """Whether the plan breaks no rule and its memory is there."""
        within = np.asarray(self.memory.total <= self.cluster.accelerator.usable * self.engine.memory_share)
        both: NDArray[np.bool_] = self.feasible & within
        return both

    @property
    def bound(self) -> object:
        """What the floor of a step is bound by."""
        return self.step.bound

    def launches(self) -> tuple[Launch, ...]:
        """The operator table of a step over whole pictures."""
        return launches(self.step.step, self.cluster, self.assumptions, self.engine)

    def answer(self) -> Mapping[str, Any]:
        """Times, rates, where the time goes, memory."""
        return {
            "model": self.pipeline,
            "hardware": self.cluster,
            "workload": {"kind": "Denoise", **exact(self.workload)},
            "tokens": {"picture": self.grid.tokens, "text": self.grid.text},
            "step_time_s": self.step_time,
            "latency_s": self.latency,
            "pictures_per_s": self.pictures_per_s,
            "breakdown": self.breakdown,
            "step_breakdown": self.kinds,
            "flops": self.work,
            "bound": self.bound,
            "mfu": self.mfu,
            "memory": self.memory,
            "fits": self.fits(),
            "plan": self.plan,
            "operators": self.launches(),
            "engine": self.engine,
        }


KINDS = {"prefill_attention": "attention", "scan": "other"}
"""Kind of a kernel's model → what a breakdown calls it."""


def times(time: Time, factor: Num) -> Time:
    """A time so many times."""
    return Time.made(lambda t: t * factor, time)


def joined(*several: Time) -> Time:
    """Times one after another."""
    return Time.made(lambda *each: sum(each), *several)


def estimate_denoising(
    model: object,
    workload: Denoise,
    cluster: Cluster | str,
    *,
    plan: DenoisePlan | None = None,
    precision: Precision | str | None = None,
    assumptions: Assumptions | None = None,
    engine: Engine | str | None = None,
) -> DenoiseEstimate:
    """Times and memory of pictures or videos.

    model      a Pipeline, a name of the catalogue, a folder of diffusers, a transformer's configuration
    workload   what is left out is as the model's pipeline has it
    cluster    from ``load_cluster``, or a name: as many of it as the plan takes
    plan       degrees; the default shares a picture over all devices of the cluster, in the way that is expected first
    precision  formats; the default is the pipeline's own
    engine     the software, or its name; default: diffusers, eager
    raises     BadInput for values that make no sense; a plan that breaks a rule is nan with a reason instead

    Source of the example: HunyuanVideo's denoiser, 129 frames of 720 × 1280 (PyTorch's FlopCounterMode), 50 steps on one H100.

    >>> import floorline
    >>> found = estimate_denoising("hunyuanvideo", floorline.Denoise(height=720, width=1280, frames=129), "h100-sxm")
    >>> bool(50 * 12.07e15 / 990e12 < found.latency.floor < 50 * 12.07e15 / 900e12)
    True
    """
    pipeline = load_pipeline(model)
    software, assumed = paints(load_engine(engine or USUAL_ENGINE)), assumptions or Assumptions()
    formats = Precision.of(precision) if isinstance(precision, str) else precision or Precision.of(pipeline.format)
    suits(pipeline.denoiser, workload)
    found = grid(pipeline.denoiser, workload)
    asked = filled(pipeline, workload, found)

    def priced(split: DenoisePlan) -> DenoiseEstimate:
        return of_plan(pipeline, asked, load_cluster(cluster, split.devices), split, formats, assumed, software, found)

    return priced(plan if plan is not None else split_of(pipeline, asked, cluster, priced))


def split_of(
    pipeline: Pipeline,
    asked: Denoise,
    cluster: Cluster | str,
    priced: Callable[[DenoisePlan], DenoiseEstimate],
) -> DenoisePlan:
    """The split where none is named: one device, or the way of sharing a picture over all of them that is expected first.

    raises BadInput where devices are an array
    """
    devices = cluster.devices if isinstance(cluster, Cluster) else 1.0
    if np.ndim(devices):
        raise BadInput("devices are an array and no plan is given; expected plan=DenoisePlan(ulysses=...) beside them")
    if float(devices) == 1.0:
        return DenoisePlan()
    plans = choices(pipeline.denoiser, float(devices), given(asked.passes, pipeline.passes))
    if any(np.ndim(getattr(asked, f.name)) for f in fields(asked)):
        return plans[0]
    several = priced(side_by_side(plans))
    return plans[best(several.latency.usual, several.fits())]


def of_plan(
    pipeline: Pipeline,
    asked: Denoise,
    machine: Cluster,
    split: DenoisePlan,
    formats: Precision,
    assumed: Assumptions,
    software: Engine,
    found: Grid,
) -> DenoiseEstimate:
    """The estimate of one plan, or of an array of plans."""
    passes = given(asked.passes, pipeline.passes)
    feasible, index, values = check(pipeline.denoiser, found, asked.batch, passes, split, machine.devices)
    why = reason(values, int(index), pipeline.denoiser.name, RULES) if np.ndim(feasible) == 0 and not feasible else ""

    def phase(name: str, step: Step) -> Phase:
        return Phase(name, step, machine, assumed, feasible, None, software)

    whole = denoise_step(pipeline, asked, found, split, formats)
    patched = patch_step(whole, split) if not isinstance(split.patches, float) or split.patches > 1.0 else None
    around = beside(formats, pipeline.format)
    return DenoiseEstimate(
        pipeline,
        asked,
        machine,
        split,
        formats,
        assumed,
        software,
        found,
        tuple(phase("text", step) for step in text_steps(pipeline, asked, found, split, around)),
        phase("denoise", whole),
        None if patched is None else phase("patch", patched),
        tuple((often, phase("pixels", run)) for often, run in pixel_runs(pipeline, asked, found, split, around)),
        feasible,
        index,
        why,
    )


def paints(engine: Engine) -> Engine:
    """The software, if it makes pictures.

    raises BadInput for what serves or trains language models
    """
    if engine.makes == "pictures":
        return engine
    known = ", ".join(name for name, each in engines().items() if each.makes == "pictures")
    raise BadInput(f"engine {engine.name[:40]!r} makes no pictures; expected one of {known}")
