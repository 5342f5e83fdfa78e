"""What a measured training run is expected to take: its model, formats, plan, recipe and framework, on its own machine.

What a case leaves open is taken from what its framework does by default; where recomputation is not stated, the least of it that
fits is priced, and the interval reaches over all that fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from floorline.catalogue.trainers import trainers
from floorline.errors import BadInput
from floorline.num import number
from floorline.specs.assumptions import Assumptions
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.recipe import Recipe
from floorline.specs.trainer import Trainer
from floorline.specs.workload import Train
from floorline.training.estimate import TrainingEstimate, estimate_training, training_precision
from floorline.training.memory import TrainingMemory
from floorline.validation.case_plan import machine, plain_format, plain_model
from floorline.validation.cases import Case

FRAMEWORKS = {
    "megatron-deepspeed": "megatron-deepspeed",
    "megatron-core": "megatron-core",
    "megatron-bridge": "megatron-bridge",
    "megatron-kwai": "megatron-kwai",
    "megatron-lm": "megatron-lm-2021",
    "nemo megatron": "nemo-2022",
    "nemo automodel": "fsdp2",
    "llm-foundry": "llm-foundry",
    "fsdp_qlora": "fsdp-qlora",
    "nanogpt": "nanogpt",
    "llm.c": "llm.c",
    "pytorch": "modded-nanogpt",
}
"""How a case names its framework → the catalogue's."""

SOURCES = {"bloom_sizing": "megatron-deepspeed-blocking"}
"""Sources that say of all of their runs how the software was set: BigScience's ran with CUDA_LAUNCH_BLOCKING=1, without which
large ones hung (bigscience-workshop/bigscience, train/tr11-176B-ml/chronicles-prequel.md)."""

OPTIMIZERS = (("soap", "soap"), ("muon", "muon"), ("adamw", "adamw"))
"""Words of a note → the optimizer."""


def trainer_of(case: Case) -> Trainer:
    """The framework of a case, with the launches and the attention that the case names."""
    said = case.word("engine").lower()
    name = next((name for start, name in FRAMEWORKS.items() if said.startswith(start)), "any")
    name = SOURCES.get(case.word("source"), name)
    found = trainers()[name if name in trainers() else "any"]
    attention = case.word("attention")
    if attention == "unfused":
        found = replace(found, attention="apart")
    elif attention == "flash" and found.attention == "apart":
        found = replace(found, attention="flash-2")
    launch = case.word("launch")
    return replace(found, launch=launch) if launch == "graph" else found


def plan_of(case: Case, layers: float) -> Parallelism:
    """The split of a case; degrees that it does not state are 1."""
    tp, pp, dp, cp, ep, vpp = (case.number(name, 1.0) for name in ("tp", "pp", "dp", "cp", "ep", "vpp"))
    recent = case.word("engine").lower().startswith(RECENT)
    zero = case.word("zero") or ("1" if recent else "0")
    parallel = case.word("sequence_parallel") or ("yes" if recent and tp > 1.0 else "no")
    schedule = case.word("pipeline_schedule")
    uneven = layers % pp != 0.0 and (layers + 2.0) % pp == 0.0
    return Parallelism(
        tp=tp,
        pp=pp,
        dp=dp,
        cp=cp,
        ep=ep,
        virtual_stages=vpp,
        zero_stage=zero,
        sequence_parallel=parallel,
        schedule=schedule if schedule not in ("", "interleaved") else "1f1b",
        ends_as_layers="yes" if uneven else "no",
    )


RECENT = ("megatron-core", "megatron-bridge")
"""Frameworks that share out the optimizer's state, and norms over tensor-parallel ranks, in all of their recipes."""


def recipes_of(case: Case, layers: float) -> tuple[Recipe, ...]:
    """What a case does beside its plan; several, where it does not say what it recomputes."""
    offload = case.word("offload")
    share = float(offload.partition(":")[2]) if re.fullmatch(r"activations:[0-9.]+", offload) else 0.0
    adapter = case.word("adapter")
    rank = re.search(r"lora-r(\d+)", adapter)
    note = case.word("note").lower()
    modules = case.word("recompute_modules")
    base = Recipe(
        optimizer=next((name for word, name in OPTIMIZERS if word in note), "adamw"),
        offload_activations=share,
        offload_parameters="yes" if offload == "parameters" else "no",
        offload_optimizer="yes" if offload in ("optimizer", "parameters") else "no",
        lora_rank=float(rank[1]) if rank else 32.0 if adapter else 0.0,
        frozen_weights="nf4" if adapter and case.word("weights") == "nf4" else "same",
        master_weights="no" if case.word("engine").lower().startswith(NARROW) else "yes",
    )
    said = case.word("recompute")
    if not said:
        return tuple(replace(base, recompute=policy) for policy in ("none", "selective", "full"))
    if modules == "core_attn-partial":
        return tuple(replace(base, recompute=policy) for policy in ("selective", "none"))
    if modules == "every-2nd-layer":
        return (replace(base, recompute="full", recompute_layers=layers / 2.0),)
    return (replace(base, recompute=said, recompute_modules=modules if said == "selective" else ""),)


NARROW = ("fsdp_qlora",)
"""Frameworks that keep trained weights and the optimizer's moments in 16 bits alone: AnswerDotAI/fsdp_qlora, train.py, whose
--precision is bf16."""


def precision_of(case: Case, trainer: Trainer) -> Precision:
    """Formats: weights and activations in 16 bits, what linear layers multiply in 8 where the case says so."""
    activations = plain_format(case.word("activations"), "bf16")
    return training_precision(activations, trainer, "bf16")


def workload_of(case: Case, plan: Parallelism) -> Train:
    """The batch of a case; of one layer alone one micro-batch."""
    micro = case.number("micro_batch", 1.0)
    return Train(
        micro_batch=micro,
        global_batch=case.number("global_batch", micro * float(plan.dp)),
        seq_len=case.number("seq_len"),
    )


def estimates(case: Case, folder: Path | None) -> Iterator[TrainingEstimate]:
    """A case as each of its recipes has it, the least recomputation first.

    raises BadInput where its plan breaks a rule, or it cannot be read
    """
    model = plain_model(case, folder)
    plan = plan_of(case, float(model.layers()))
    software = trainer_of(case)
    for recipe in recipes_of(case, float(model.layers())):
        found = estimate_training(
            model,
            workload_of(case, plan),
            machine(case, plan.devices),
            parallelism=plan,
            precision=precision_of(case, software),
            recipe=recipe,
            engine=software,
            assumptions=Assumptions(),
        )
        if found.reason:
            raise BadInput(found.reason)
        yield found


@lru_cache(maxsize=64)
def priced(text: tuple[tuple[str, str], ...], folder: Path | None) -> tuple[TrainingEstimate, ...]:
    """All estimates of a run that fit its device; all of them, where none does."""
    every = tuple(estimates(Case(dict(text)), folder))
    if len(every) == 1:
        return every
    fitting = tuple(e for e in every if bool(e.fits()))
    return fitting or every[-1:]


def of(case: Case, folder: Path | None) -> tuple[TrainingEstimate, ...]:
    """The same of a case."""
    return priced(tuple(sorted((k, v) for k, v in case.cells.items() if k not in ("case", "metric", "value"))), folder)


Three = tuple[float, float, float]


def seconds(case: Case, folder: Path | None) -> Three:
    """A step, or of a run of one layer alone that layer's passes [s]."""
    found = of(case, folder)
    if not case.word("global_batch"):
        return layer_alone(found[0])
    times = [e.step_time for e in found]
    ends = [(t.expected, t.low, t.high) for t in times]
    if any(x is None for end in ends for x in end):
        raise BadInput(f"no kernel models are known for {case.word('accelerator')}")
    known = [tuple(float(number(x)) for x in end if x is not None) for end in ends]
    return known[0][0], min(k[1] for k in known), max(k[2] for k in known)


def layer_alone(e: TrainingEstimate) -> Three:
    """Forward and backward of one layer."""
    found = e.layer
    if found is None:
        raise BadInput(f"no kernel models are known for {e.cluster.accelerator.name}")
    whole = found.once
    middle = float(whole.seconds)
    return middle, middle - float(whole.half("below")), middle + float(whole.half("above"))


def rate(case: Case, folder: Path | None) -> Three:
    """Tokens a second and device."""
    middle, low, high = seconds(case, folder)
    tokens = case.number("global_batch") * case.number("seq_len") / case.number("devices", 1.0)
    return tokens / middle, tokens / high, tokens / low


def used(case: Case, folder: Path | None) -> Three:
    """The share of the peak, or the rate, that a case's own count of FLOP gives."""
    middle, low, high = seconds(case, folder)
    found = of(case, folder)[0]
    amount = float(found.flops.causal if "causal" in case.word("flop_convention") else found.flops.full)
    whole = float(found.peak) if case.metric == "mfu" else 1.0
    share = amount / float(found.parallelism.devices) / whole
    return share / middle, share / high, share / low


def memory_of(case: Case, e: TrainingEstimate) -> TrainingMemory:
    """The memory that a case reports: of the last rank where its note says so, else of the stage that holds most."""
    memories = [m for s, m in zip(e.stages.all, e.memory.values(), strict=True) if float(s.exists) > 0.0]
    if "last rank" in case.word("note"):
        return memories[-1]
    return max(memories, key=lambda m: float(m.total))


def peak(case: Case, folder: Path | None) -> Three:
    """Bytes of a device at the peak of a step, as the case counts them."""
    values = []
    for e in of(case, folder):
        found = memory_of(case, e)
        kind = case.word("memory_kind")
        amount = {"allocated": found.allocated, "reserved": found.reserved}.get(kind, found.total)
        moving = float(found.working + found.workspace) + 0.1 * float(found.activations)
        spare = float(found.framework) / 2.0 + float(found.fragmentation)
        values.append((float(amount), float(amount) - moving - spare, float(amount) + moving + spare))
    return values[0][0], min(v[1] for v in values), max(v[2] for v in values)


def out_of_memory(case: Case, folder: Path | None) -> Three:
    """1 where it does not fit, else 0."""
    verdict = float(not any(bool(e.fits()) for e in estimates(case, folder)))
    return verdict, verdict, verdict


METRICS: dict[str, Callable[[Case, Path | None], Three]] = {
    "step_time_s": seconds,
    "tokens_per_s_per_device": rate,
    "mfu": used,
    "model_flops_per_device": used,
    "peak_memory_bytes": peak,
    "out_of_memory": out_of_memory,
}
"""Metric → what is expected of it."""


def expected(case: Case, folder: Path | None) -> Three:
    """What is expected of a training run in its metric's own unit.

    raises BadInput where it cannot be priced, with the reason
    """
    if case.metric not in METRICS:
        raise BadInput(f"{case.metric} is not priced for training")
    return METRICS[case.metric](case, folder)
