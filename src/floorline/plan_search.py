"""Every way of training a model on so many devices: plans by the hundred thousand, each priced or with the reason why it cannot
be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from floorline.catalogue.clusters import load_cluster
from floorline.catalogue.load import load_model
from floorline.errors import BadInput
from floorline.estimates import estimate
from floorline.num import Array
from floorline.rules import RULES
from floorline.specs.cluster import Cluster
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.recipe import POLICIES, Recipe
from floorline.specs.trainer import Trainer
from floorline.specs.workload import Train
from floorline.sweeps import CHUNK, Sweep
from floorline.training.estimate import TrainingEstimate

POWERS = (1, 2, 4, 8)
"""Usual degrees."""

FULL_MEMORY = "memory"
"""The reason of a plan that breaks no rule and does not fit."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a search tries: numbers go as arrays, words one after the other.

    pp, virtual_stages  where they do not go into the layers, the last stage has fewer
    recompute           policies; names of parts joined by + are "selective" of these
    """

    tp: Sequence[int] = POWERS
    pp: Sequence[int] = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
    virtual_stages: Sequence[int] = (1, 2, 3, 4, 6, 8, 12)
    cp: Sequence[int] = (1, 2, 4)
    ep: Sequence[int] = (1,)
    micro_batch: Sequence[int] = POWERS
    zero_stage: Sequence[str] = ("0", "1", "2", "3")
    sequence_parallel: Sequence[str] = ("no", "yes")
    recompute: Sequence[str] = ("none", "selective", "mlp_act+layernorm", "full")
    offload_optimizer: Sequence[str] = ("no", "yes")
    schedule: Sequence[str] = ("1f1b",)
    further: dict[str, Sequence[float]] = field(default_factory=dict)


def numeric(choices: Choices, devices: float) -> dict[str, Array]:
    """Every combination of degrees as columns: those of which data parallelism takes a whole number of the devices that are
    left."""
    names = ("tp", "pp", "virtual_stages", "cp", "ep", "micro_batch")
    mesh = np.meshgrid(*(np.asarray(getattr(choices, n), dtype=np.float64) for n in names), indexing="ij")
    columns = dict(zip(names, (m.ravel() for m in mesh), strict=True))
    inner = columns["tp"] * columns["pp"] * columns["cp"]
    keep = (np.mod(devices, inner) == 0.0) & ((columns["virtual_stages"] == 1.0) | (columns["pp"] > 1.0))
    found = {name: column[keep] for name, column in columns.items()}
    return {**found, "dp": devices / inner[keep]}


def words(choices: Choices) -> Iterator[dict[str, str]]:
    """Every combination of what picks code."""
    names = ("zero_stage", "sequence_parallel", "recompute", "offload_optimizer", "schedule")
    for chosen in product(*(getattr(choices, name) for name in names)):
        yield dict(zip(names, chosen, strict=True))


def recipe_of(base: Recipe, said: dict[str, str]) -> Recipe:
    """The recipe of some words."""
    policy = said["recompute"]
    plain = policy in POLICIES
    return replace(
        base,
        recompute=policy if plain else "selective",
        recompute_modules="" if plain else policy,
        offload_optimizer=said["offload_optimizer"],
    )


def plans(
    model: object,
    workload: Train,
    cluster: Cluster | str,
    *,
    choices: Choices | None = None,
    precision: Precision | str | None = None,
    recipe: Recipe | None = None,
    engine: Trainer | str | None = None,
) -> Sweep:
    """Every plan of some choices on all devices of a cluster, each with its expected step, its memory, and why it cannot be.

    workload  its micro-batch is one of the choices
    returns   a Sweep: ``.best("step_expected_s")``, ``.pareto("step_expected_s", "memory_bytes")``, ``.columns["reason"]``
    raises    BadInput where no choice goes into the devices

    >>> from floorline.catalogue.clusters import load_cluster
    >>> few = Choices(pp=(1, 2), virtual_stages=(1,), recompute=("full",), offload_optimizer=("no",))
    >>> found = plans("gpt2", Train(global_batch=64, seq_len=1024), load_cluster("a100", devices=8), choices=few)
    >>> len(found) > 100 and len(found.best("step_expected_s")) == 1
    True
    """
    made, machine = load_model(model), load_cluster(cluster)
    asked, base = choices or Choices(), recipe or Recipe()
    degrees = numeric(asked, float(np.asarray(machine.devices)))
    if not degrees["dp"].size:
        raise BadInput(
            f"none of the degrees goes into {machine.devices:g} devices; expected tp·pp·cp that divides them"
        )
    parts = [
        part
        for said in words(asked)
        for part in priced(made, workload, machine, degrees, said, precision, recipe_of(base, said), engine)
    ]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Sweep(joined, (*degrees, *parts[0].keys() - degrees.keys()))


def priced(
    model: Any,
    workload: Train,
    cluster: Cluster,
    degrees: dict[str, Array],
    said: dict[str, str],
    precision: Precision | str | None,
    recipe: Recipe,
    engine: Trainer | str | None,
) -> Iterator[dict[str, Any]]:
    """All degrees under some words, chunk by chunk."""
    for start in range(0, len(degrees["dp"]), CHUNK):
        chunk = {name: column[start : start + CHUNK] for name, column in degrees.items()}
        plan = Parallelism(
            tp=chunk["tp"],
            pp=chunk["pp"],
            dp=chunk["dp"],
            cp=chunk["cp"],
            ep=chunk["ep"] if np.any(chunk["ep"] > 1.0) else 1.0,
            virtual_stages=chunk["virtual_stages"],
            zero_stage=said["zero_stage"],
            sequence_parallel=said["sequence_parallel"],
            schedule=said["schedule"],
        )
        work = replace(
            workload,
            micro_batch=chunk["micro_batch"],
            global_batch=np.maximum(workload.global_batch, chunk["micro_batch"])
            // chunk["micro_batch"]
            * chunk["micro_batch"],
        )
        e = estimate(model, work, cluster, parallelism=plan, precision=precision, recipe=recipe, engine=engine)
        yield columns(e, workload, chunk, said)


def columns(e: TrainingEstimate, workload: Train, chunk: dict[str, Array], said: dict[str, str]) -> dict[str, Any]:
    """What is told of each plan."""
    count = len(chunk["dp"])
    whole = np.mod(workload.global_batch, chunk["micro_batch"] * chunk["dp"]) == 0.0
    names = np.asarray([*(rule.name for rule in RULES), ""], dtype=object)
    broken = np.where(whole, names[np.broadcast_to(np.asarray(e.rule), (count,))], "batch∤ranks")
    memory = np.broadcast_to(np.asarray(e.peak_memory), (count,))
    room = e.cluster.accelerator.usable
    fits = memory <= room
    t = e.step_time
    good = broken == ""
    times = {
        "step_floor_s": t.floor,
        "step_serial_s": t.serial,
        "step_expected_s": t.expected,
        "step_low_s": t.low,
        "step_high_s": t.high,
    }
    found = {
        name: np.where(good, np.broadcast_to(np.asarray(value), (count,)), np.nan)
        for name, value in times.items()
        if value is not None
    }
    usual = found.get("step_expected_s", found["step_serial_s"])
    return {
        **chunk,
        **{name: np.full(count, word, dtype=object) for name, word in said.items()},
        **found,
        "tokens_per_s": e.tokens / usual,
        "memory_bytes": memory,
        "feasible": good,
        "fits": fits,
        "reason": np.where(good, np.where(fits, "", FULL_MEMORY), broken).astype(object),
    }
