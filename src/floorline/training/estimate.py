"""A training step from end to end: its parts, its stages, its time and its memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from floorline.adapters import trainable
from floorline.catalogue.clusters import load_cluster
from floorline.catalogue.load import load_model
from floorline.catalogue.trainers import load_trainer
from floorline.denoise_step import suits
from floorline.errors import NoModel
from floorline.expected import Expectation
from floorline.feasible import check
from floorline.formulas.training import model_flops_utilisation
from floorline.num import Num, ceil, maximum, where
from floorline.phases import Time
from floorline.result import Result, exact
from floorline.rules import reason
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.engine import Engine
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import BYTES, Precision
from floorline.specs.recipe import Recipe
from floorline.specs.trainer import Trainer
from floorline.specs.workload import Train
from floorline.step import Step
from floorline.train_step import resolved, trained
from floorline.training.conventions import Flops, flops
from floorline.training.floors import least_time
from floorline.training.holdings import Holdings, holdings
from floorline.training.memory import Kept, TrainingMemory, fullest, kept, training_memory
from floorline.training.offload import on_host, updating_on_host, waiting
from floorline.training.parts import Parts, parts
from floorline.training.pricing import Expected, Pricing, Serial
from floorline.training.products import multiplying
from floorline.training.software import engine as engine_of
from floorline.training.software import fusion as fusion_of
from floorline.training.software import with_adapters
from floorline.training.stages import Stage, Stages, stages
from floorline.training.step_time import StepTime, own_bytes, step_time, trained_weights, updating
from floorline.training.updates import State, state
from floorline.training.work import Work
from floorline.transformer import Transformer

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, repr=False)
class TrainingEstimate(Result):
    """What a training step costs on a cluster.

    feasible  whether the plan breaks no rule
    reason    of the first rule that it breaks, "" where none is broken or the point is an array
    """

    model: Transformer
    workload: Train
    cluster: Cluster
    parallelism: Parallelism
    precision: Precision
    recipe: Recipe
    trainer: Trainer
    assumptions: Assumptions
    feasible: NDArray[np.bool_]
    rule: NDArray[np.int_]
    reason: str = ""

    def __repr__(self) -> str:
        return f"TrainingEstimate({self.model.name}, {self.cluster!r}, {self.step_time!r})"

    @cached_property
    def adapted(self) -> Transformer:
        """The model as it is trained: with adapters, where the recipe has them."""
        return with_adapters(self.model, self.recipe, self.trainer)

    @property
    def trained_parameters(self) -> Num:
        """Parameters that have gradients [-]."""
        return trainable(self.adapted)

    @cached_property
    def step(self) -> Step:
        """The forward pass of one micro-batch on all data-parallel ranks."""
        made = trained(self.adapted, self.workload, self.parallelism, self.precision, self.assumptions.attention)
        return replace(made, evenness=self.assumptions.expert_evenness, document_len=self.recipe.document_len)

    @property
    def micro_batches(self) -> Num:
        """Of a step on each data-parallel rank [-]."""
        w = self.workload
        return ceil(w.global_batch / (w.micro_batch * self.parallelism.dp))

    @property
    def fusion(self) -> str:
        """The implementation whose launches are priced."""
        return fusion_of(self.trainer)

    @cached_property
    def stages(self) -> Stages:
        """How layers are dealt out."""
        return stages(self.model.layers(), self.parallelism)

    @cached_property
    def holdings(self) -> Holdings:
        """Weights by the part of the model, on one rank."""
        return holdings(self.step)

    @property
    def state(self) -> State:
        """Bytes of a parameter by kind."""
        return state(self.recipe, self.precision, self.trainer)

    @cached_property
    def engine(self) -> Engine:
        """The framework as the models of kernels see it."""
        return engine_of(self.trainer, self.cluster.accelerator)

    @property
    def measured(self) -> Expected:
        """Launches priced by models fitted to measured kernels."""
        return Expected(self.step, self.cluster, self.engine, self.trainer)

    @property
    def textbook(self) -> Serial:
        """Launches priced by the roofline."""
        return Serial(self.step, self.cluster, self.assumptions)

    @property
    def started(self) -> Num:
        """What the host takes for an operator that it starts, 0 where it starts a graph [s]."""
        return 0.0 if self.trainer.launch == "graph" else self.trainer.launch_time

    def parts(self, price: Pricing) -> Parts:
        """Work of one micro-batch, part by part."""
        return parts(self.step, self.recipe, self.fusion, price, self.engine)

    @property
    def layer(self) -> Work | None:
        """What one layer is expected to take in one micro-batch."""
        try:
            return self.parts(self.measured).layer
        except NoModel:
            return None

    def priced(self, price: Pricing, launch_time: Num) -> StepTime:
        """The step, priced in a way."""
        found, layers, plan = self.parts(price), self.model.layers(), self.parallelism
        time = step_time(
            found, self.stages, layers, self.micro_batches, plan, self.trainer, launch_time, self.waiting_for_host
        )
        return replace(time, update=self.update(time.slowest, price))

    def update(self, stage: Stage, price: Pricing) -> Expectation:
        """The update of one stage's weights."""
        if on_host(self.recipe):
            own = trained_weights(self.holdings, stage)
            return updating_on_host(own, self.state, self.recipe, self.cluster.accelerator)
        moving = updating(self.holdings, stage, self.state, self.parallelism, self.trainer, price)
        return moving + multiplying(self.step, self.recipe.optimizer, stage, self.parallelism, price)

    def waiting_for_host(self, stage: Stage, work: Work) -> Num:
        """What a micro-batch of a stage waits for activations and weights that are in the host's memory [s]."""
        kept_bytes, weight_bytes = self.kept.layer * stage.layers, own_bytes(self.holdings, stage, self.parallelism)
        return waiting(work, kept_bytes, weight_bytes, self.recipe, self.cluster.accelerator)

    @cached_property
    def kept(self) -> Kept:
        """Activations that one rank keeps of a micro-batch."""
        return kept(self.step, self.recipe, self.trainer, self.fusion)

    @cached_property
    def expected(self) -> StepTime | None:
        """What the step is expected to take, piece by piece; None where a kind of kernel has no model."""
        try:
            return self.priced(self.measured, self.started)
        except NoModel:
            return None

    @cached_property
    def serial(self) -> StepTime:
        """The textbook sum of the same pieces."""
        return self.priced(self.textbook, 0.0)

    @property
    def pricing(self) -> tuple[Pricing, Num]:
        """How launches are priced, and what the host takes to start an operator [s]: as expected, or by the textbook where a kind
        of kernel has no model."""
        return (self.textbook, 0.0) if self.expected is None else (self.measured, self.started)

    @cached_property
    def step_time(self) -> Time:
        """One optimizer step."""
        least = self.floor_s
        serial = where(self.feasible, maximum(self.serial.seconds, least), np.nan)
        floor = where(self.feasible, least, np.nan)
        found = self.expected
        if found is None:
            return Time(floor, serial)
        whole = found.whole
        middle = where(self.feasible, maximum(whole.seconds, least), np.nan)
        low = maximum(middle - whole.half("below"), floor)
        return Time(floor, serial, middle, low, middle + whole.half("above"))

    @cached_property
    def floor_s(self) -> Num:
        """What physics allows [s]."""
        plan, formats = self.parallelism, self.precision
        return least_time(self.flops.causal, self.cluster, plan, formats, self.holdings, self.stages.first, self.state)

    @property
    def tokens(self) -> Num:
        """Of a step, over all ranks [-]."""
        return self.workload.global_batch * self.workload.seq_len

    @property
    def tokens_per_s(self) -> dict[str, Num | None]:
        """Tokens a second of all devices: at most, by the serial sum, and expected with its interval."""
        t = self.step_time
        found = {"ceiling": t.floor, "serial": t.serial, "expected": t.expected, "low": t.high, "high": t.low}
        return {name: None if time is None else self.tokens / time for name, time in found.items()}

    @cached_property
    def flops(self) -> Flops:
        """FLOP of a step by convention."""
        return flops(self.model, self.adapted, self.workload, self.precision, self.recipe, self.fusion)

    @property
    def peak(self) -> Num:
        """The arithmetic rate that utilisations are of: that of the activations' format, as the data sheet has it [FLOP/s]."""
        return self.cluster.accelerator.peak(self.precision.activations)

    def utilisation(self, seconds: Num | None = None) -> dict[str, Num]:
        """MFU and HFU by convention at a step's time; the default is the expected one, or the serial where none is known."""
        time = self.step_time.usual if seconds is None else seconds
        devices = self.parallelism.devices
        return {
            name: model_flops_utilisation(amount, time, self.peak, devices)
            for name, amount in self.flops.conventions.items()
        }

    @cached_property
    def memory(self) -> dict[str, TrainingMemory]:
        """Memory of a device, by kind of stage."""
        activations, plan = self.kept, self.parallelism
        return {
            name: training_memory(
                stage,
                self.micro_batches,
                self.holdings,
                activations,
                self.state,
                plan,
                self.recipe,
                self.trainer,
            )
            for name, stage in zip(("first", "middle", "last"), self.stages.all, strict=True)
        }

    @property
    def peak_memory(self) -> Num:
        """Bytes on the device that holds most, as the driver sees it [B]."""
        return fullest(self.stages, self.memory)

    def fits(self) -> NDArray[np.bool_]:
        """Whether the plan breaks no rule and its memory is there."""
        within: NDArray[np.bool_] = self.feasible & np.asarray(self.peak_memory <= self.cluster.accelerator.usable)
        return within

    @property
    def checkpoint(self) -> Num:
        """Size of a checkpoint: one copy of each trained parameter in its widest form, and its moments [B]."""
        each = self.state
        return self.trained_parameters * ((each.master or each.weight) + each.moments)

    def answer(self) -> Mapping[str, Any]:
        """Times, rates, utilisation and memory."""
        found = self.expected or self.serial
        used = self.utilisation()
        exists = {n: s.exists for n, s in zip(("first", "middle", "last"), self.stages.all, strict=True)}
        return {
            "model": self.model,
            "hardware": self.cluster,
            "workload": {"kind": "Train", **exact(self.workload)},
            "step_time_s": self.step_time,
            "tokens_per_s": self.tokens_per_s,
            "mfu": {n: v for n, v in used.items() if not n.startswith("hardware")},
            "hfu": {n: v for n, v in used.items() if n.startswith("hardware")},
            "flops": self.flops,
            "micro_batches": self.micro_batches,
            "memory": {n: m for n, m in self.memory.items() if np.ndim(exists[n]) or exists[n]},
            "peak_memory": self.peak_memory,
            "fits": self.fits(),
            "breakdown": found.breakdown,
            "checkpoint_bytes": self.checkpoint,
            "recipe": self.recipe,
            "engine": self.trainer,
        }


def estimate_training(
    model: object,
    workload: Train,
    cluster: Cluster | str,
    *,
    parallelism: Parallelism | None = None,
    precision: Precision | str | None = None,
    recipe: Recipe | None = None,
    assumptions: Assumptions | None = None,
    engine: Trainer | str | None = None,
) -> TrainingEstimate:
    """A training step.

    model        a Transformer, or what ``load_model`` takes
    workload     numbers may be arrays that broadcast
    cluster      from ``load_cluster``, or a name: as many of it as the plan takes
    parallelism  degrees, ZeRO stage, schedule; the default is one device
    precision    formats; the default is 16 bits, gradients as the framework sums them
    recipe       optimizer, recomputation, offload, adapters
    engine       the framework, or its name
    raises       BadInput for values that make no sense; a plan that breaks a rule is nan with a reason instead
    """
    made = load_model(model)
    if made.latent is not None:
        suits(made, workload)
    workload = resolved(made, workload)
    plan, software = parallelism or Parallelism(), load_trainer(engine)
    how = recipe or Recipe()
    formats = training_precision(precision, software, made.format, how.master_weights == "yes")
    found = load_cluster(cluster, plan.devices)
    feasible, index, values = check(made, workload, found.devices, plan)
    why = reason(values, int(index), made.name) if np.ndim(feasible) == 0 and not feasible else ""
    assumed = assumptions or Assumptions()
    return TrainingEstimate(made, workload, found, plan, formats, how, software, assumed, feasible, index, why)


def training_precision(
    precision: Precision | str | None, trainer: Trainer, published: str, has_masters: bool = True
) -> Precision:
    """Formats of a run: weights and activations in 16 bits where nothing else is said, linear layers in 8 where that is asked,
    gradients as the framework sums them."""
    if isinstance(precision, Precision):
        return precision.in_training()
    own = published if published in ("bf16", "fp16", "fp32") else "bf16"
    name = precision or own
    narrow = BYTES.get(name, 2.0) < 2.0
    wide = "bf16" if narrow else name
    sums_wide = {"fp32": True, "fp32 for bf16": wide == "bf16", "as updated": has_masters}.get(trainer.gradients, False)
    gradients = "fp32" if sums_wide else wide
    formats = Precision(weights=wide, activations=wide, kv_cache=wide, gradients=gradients)
    return replace(formats, matmuls=name) if narrow else formats
