"""A measured run of a diffusion pipeline: what it is expected to take, and the floor under it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from floorline.catalogue.clusters import load_cluster
from floorline.catalogue.engines import load_engine
from floorline.catalogue.pipelines import load_pipeline
from floorline.denoising.estimate import DenoiseEstimate, estimate_denoising
from floorline.errors import BadInput, NotFound
from floorline.phases import Time
from floorline.pipeline import Pipeline
from floorline.specs.cluster import Cluster
from floorline.specs.denoise_plan import DenoisePlan
from floorline.specs.engine import Engine
from floorline.specs.workload import Denoise
from floorline.validation.case_floors import as_one
from floorline.validation.case_plan import machine, plain_model, precision_of
from floorline.validation.cases import Case

ENGINES = {"xdit": "xdit", "diffusers": "diffusers"}
"""How a case names its software → the catalogue's engine, where the host starts operators one by one."""


@lru_cache(maxsize=64)
def pipeline_of(name: str, folder: Path | None) -> Pipeline:
    """The pipeline of the catalogue that has a model's name, with the denoiser of the case's own configuration; the denoiser alone
    where the catalogue has none."""
    denoiser = plain_model(Case({"model": name}), folder)
    try:
        return replace(load_pipeline(name), denoiser=denoiser)
    except NotFound:
        return load_pipeline(denoiser)


def engine_of(case: Case) -> Engine:
    """The software of a case: compiled or eager; diffusers where nobody knows it."""
    said = case.word("engine").lower()
    name = next((name for start, name in ENGINES.items() if said.startswith(start)), "diffusers")
    return load_engine(f"{name}-compiled" if case.word("launch") in ("compiled", "graph") else name)


def workload_of(case: Case) -> Denoise:
    """What a case makes: what it does not state is as its pipeline has it."""

    def stated(column: str) -> float | None:
        return case.number(column) if case.word(column) else None

    return Denoise(
        batch=case.number("batch", 1.0),
        height=stated("height"),
        width=stated("width"),
        frames=stated("frames"),
        steps=stated("steps"),
        passes=stated("cfg_passes"),
        text_tokens=stated("text_tokens"),
        offload="model" if "idle-models" in case.word("offload") else "none",
    )


def plan_of(case: Case) -> DenoisePlan:
    """The split of a case; where a sequence is split and nothing says how, by heads."""
    ulysses, ring = case.number("ulysses", 0.0), case.number("ring", 0.0)
    both = case.number("cp", 1.0)
    return DenoisePlan(
        ulysses=ulysses or (both / ring if ring else both),
        ring=ring or 1.0,
        guidance=case.number("cfg_parallel", 1.0),
        patches=case.number("pipefusion", 1.0),
        tp=case.number("tp", 1.0),
        dp=case.number("dp", 1.0),
    )


def priced(case: Case, folder: Path | None, cluster: Cluster, plan: DenoisePlan) -> DenoiseEstimate:
    """The estimate of a case.

    raises BadInput where its plan breaks a rule, or it cannot be read
    """
    found = estimate_denoising(
        pipeline_of(case.word("model"), folder),
        workload_of(case),
        cluster,
        plan=plan,
        precision=precision_of(case),
        engine=engine_of(case),
    )
    if found.reason:
        raise BadInput(found.reason)
    return found


def asked(case: Case, found: DenoiseEstimate) -> Time:
    """The time that a case measured: of a step, or of the whole.

    raises BadInput for another metric
    """
    times = {
        "step_time_s": lambda: found.step_time,
        "latency_s": lambda: found.latency,
        "images_per_s": lambda: found.latency,
    }
    if case.metric not in times:
        raise BadInput(f"{case.metric} of a diffusion model is not priced yet; expected one of {', '.join(times)}")
    return times[case.metric]()


def expected(case: Case, folder: Path | None) -> tuple[float, float, float]:
    """Median and ends of the 90 % interval, in the metric's own unit.

    raises BadInput where it cannot be priced, with the reason
    """
    plan = plan_of(case)
    time = asked(case, priced(case, folder, machine(case, plan.devices), plan))
    if time.expected is None or time.low is None or time.high is None:
        raise BadInput(f"no kernel models are known for {case.word('accelerator')}")
    middle, low, high = float(time.expected), float(time.low), float(time.high)
    if case.metric != "images_per_s":
        return middle, low, high
    batch = case.number("batch", 1.0)
    return batch / middle, batch / high, batch / low


def floor(case: Case, folder: Path | None) -> tuple[float, str]:
    """The bound of a case, whatever its plan, and what it is bound by: all devices as one.

    raises BadInput where it cannot be priced, with the reason
    """
    device = load_cluster(case.word("accelerator")).accelerator
    many = Cluster(as_one(device, case.number("devices", 1.0)))
    found = priced(case, folder, many, DenoisePlan())
    least = float(asked(case, found).floor)
    return (case.number("batch", 1.0) / least if case.metric == "images_per_s" else least), str(found.bound)
