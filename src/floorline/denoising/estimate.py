"""How long a picture or a video takes, what it needs, and where the time goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from floorline.autoencoder_memory import autoencoder_memory
from floorline.autoencoder_step import DECODE, Clip, autoencoder_runs
from floorline.catalogue.clusters import load_cluster
from floorline.catalogue.engines import load_engine
from floorline.catalogue.pipelines import load_pipeline
from floorline.denoise_step import Grid, given, grid, step_of
from floorline.denoising.memory import DenoiseMemory, Part, framework, part
from floorline.denoising.patches import patch_step, sending_time, stale_bytes
from floorline.denoising.rules import RULES, check, most_heads
from floorline.denoising.splits import parallelism
from floorline.host_link import host_rate
from floorline.launches import Launch, launches
from floorline.num import Num, ceil, maximum, number
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
from floorline.specs.workload import Denoise, Encode
from floorline.step import Step, single
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
        """Steps that compute something, others taking an earlier one's result [-]."""
        return given(self.workload.steps, self.pipeline.steps) * (1.0 - self.workload.reused)

    @property
    def patched_steps(self) -> Num:
        """Of those, the steps that go through a pipeline of patches [-]."""
        return 0.0 if self.patch is None else maximum(self.steps - self.plan.warmup, 0.0)

    @cached_property
    def denoising(self) -> Time:
        """All steps together."""
        if self.patch is None:
            return times(self.step.time, self.steps)
        whole, patched = self.steps - self.patched_steps, self.patched_steps
        sent = sending_time(self.patch.step, self.cluster, self.plan)
        each = plus(self.patch.time, sent)
        return Time.made(lambda a, b: a * whole + b * patched, self.step.time, each)

    @property
    def step_time(self) -> Time:
        """The mean of the steps that compute something."""
        return times(self.denoising, 1.0 / self.steps)

    @cached_property
    def encoding(self) -> Time | None:
        """All encoders of the text, one after another."""
        return Time.made(lambda *each: sum(each), *(phase.time for phase in self.texts)) if self.texts else None

    @cached_property
    def decoding(self) -> Time | None:
        """From latents to pixels."""
        if not self.pixels:
            return None
        return Time.made(lambda *each: sum(each), *(times(phase.time, often) for often, phase in self.pixels))

    @cached_property
    def moving_s(self) -> Num:
        """Weights that come from the host's memory [s]."""
        parts = self.memory.parts
        rate = host_rate(self.cluster.accelerator)
        if self.workload.offload == "none":
            return 0.0
        once = sum(p.weights for p in parts) / rate
        again = next(p.weights for p in parts if p.name == self.pipeline.denoiser.name) / rate
        return once + (again * (self.steps - 1.0) if self.workload.offload == "layers" else 0.0)

    @cached_property
    def latency(self) -> Time:
        """From the text to the pixels of the whole batch."""
        parts = [self.denoising, *(t for t in (self.encoding, self.decoding) if t)]
        return plus(Time.made(lambda *each: sum(each), *parts), self.moving_s)

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
        found = {"text": self.encoding, "denoising": self.denoising, "pixels": self.decoding}
        return {name: 0.0 if time is None else time.usual for name, time in found.items()} | {"moving": self.moving_s}

    @property
    def kinds(self) -> dict[str, Num]:
        """A denoising step by kind of kernel [s]: matmul, attention, element-wise, collectives, host; none where nothing is
        expected."""
        found = (self.patch or self.step).expectation
        if found is None:
            return {}
        named = {KINDS.get(kind, kind): share.seconds for kind, share in found.kinds.items()}
        return {**named, "host": found.host}

    @property
    def mfu(self) -> Num | None:
        """Model FLOP utilisation of a denoising step: its arithmetic over what the peak of all devices does in that time."""
        return self.step.mfu if self.patch is None else None

    @cached_property
    def memory(self) -> DenoiseMemory:
        """Memory of one device."""
        fusion, own = self.assumptions.fusion, (self.patch or self.step).step
        stages = replace(own, parallelism=replace(own.parallelism, pp=self.plan.patches))
        denoiser = part(self.pipeline.denoiser.name, stages, fusion)
        parts = [denoiser, *(part(phase.step.model.name, phase.step, fusion) for phase in self.texts)]
        if self.pipeline.autoencoder is not None:
            parts.append(self.autoencoder)
        stale = stale_bytes(own, self.plan)
        around = self.engine.footprint
        return DenoiseMemory(tuple(parts), stale, self.workload.offload, framework(own, around), around.workspace)

    @property
    def autoencoder(self) -> Part:
        """The autoencoder on a device: both of its networks, and the largest run of the decoder."""
        own = self.pipeline.autoencoder
        assert own is not None
        found = autoencoder_memory(
            own,
            DECODE,
            clip_of(self.workload, self.plan),
            tile=self.workload.tiling == "yes",
            fusion=self.assumptions.fusion,
            precision=self.precision,
        )
        weights = own.parameters * self.precision.bytes(WEIGHT)
        return Part("autoencoder", weights, found.activations + found.kv_cache, weights)

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


def plus(time: Time, seconds: Num) -> Time:
    """A time and something that is known exactly, or assumed."""
    return Time.made(lambda t: t + seconds, time)


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
    plan       degrees; the default is one device
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
    split = plan or DenoisePlan()
    formats = Precision.of(precision) if isinstance(precision, str) else precision or Precision.of(pipeline.format)
    software, assumed = load_engine(engine or USUAL_ENGINE), assumptions or Assumptions()
    machine = load_cluster(cluster, split.devices)
    found = grid(pipeline.denoiser, workload)
    asked = filled(pipeline, workload, found)
    feasible, index, values = check(pipeline.denoiser, found, given(asked.passes, 1.0), split, machine.devices)
    why = reason(values, int(index), pipeline.denoiser.name, RULES) if np.ndim(feasible) == 0 and not feasible else ""

    def phase(name: str, step: Step) -> Phase:
        return Phase(name, step, machine, assumed, feasible, None, software)

    whole = denoise_step(pipeline, asked, found, split, formats)
    patched = patch_step(whole, split) if not isinstance(split.patches, float) or split.patches > 1.0 else None
    return DenoiseEstimate(
        pipeline,
        asked,
        machine,
        split,
        formats,
        assumed,
        software,
        found,
        tuple(phase("text", step) for step in text_steps(pipeline, asked, found, split, formats)),
        phase("denoise", whole),
        None if patched is None else phase("patch", patched),
        tuple((often, phase("pixels", run)) for often, run in pixel_runs(pipeline, asked, split, formats)),
        feasible,
        index,
        why,
    )


def filled(pipeline: Pipeline, workload: Denoise, found: Grid) -> Denoise:
    """The workload with what its pipeline has where nothing was said."""
    own = pipeline.denoiser.latent
    assert own is not None
    return replace(
        workload,
        height=given(workload.height, own.height),
        width=given(workload.width, own.width),
        frames=given(workload.frames, own.length),
        steps=given(workload.steps, pipeline.steps),
        passes=given(workload.passes, pipeline.passes),
        text_tokens=found.text,
    )


def denoise_step(pipeline: Pipeline, asked: Denoise, found: Grid, split: DenoisePlan, formats: Precision) -> Step:
    """A step over whole pictures, all passes as one batch, each rank having as much as the fullest."""
    ranks = split.guidance * split.dp
    batch = ceil(asked.batch * given(asked.passes, 1.0) / ranks) * ranks
    plan = parallelism(split, most_heads(pipeline.denoiser))
    return step_of(pipeline.denoiser, found, batch, plan, formats, "full")


def text_steps(
    pipeline: Pipeline, asked: Denoise, found: Grid, split: DenoisePlan, formats: Precision
) -> tuple[Step, ...]:
    """A pass of each encoder over the texts of all guidance passes, on every rank alike."""
    texts = ceil(asked.batch / split.dp) * given(asked.passes, 1.0)
    return tuple(
        single(
            text.model,
            Encode(batch=texts, seq_len=maximum(number(given(text.tokens, found.text)), 1.0)),
            Parallelism(),
            formats,
            "full",
        )
        for text in pipeline.texts
    )


def pixel_runs(
    pipeline: Pipeline, asked: Denoise, split: DenoisePlan, formats: Precision
) -> tuple[tuple[Num, Step], ...]:
    """The decoder over the pictures of one replica; none where no decoder is known."""
    own = pipeline.autoencoder
    if own is None:
        return ()
    return autoencoder_runs(own, DECODE, clip_of(asked, split), tile=asked.tiling == "yes", precision=formats)


def clip_of(asked: Denoise, split: DenoisePlan) -> Clip:
    """The pictures that one replica decodes."""
    assert asked.height is not None
    assert asked.width is not None
    assert asked.frames is not None
    return Clip(ceil(asked.batch / split.dp), asked.frames, asked.height, asked.width)
