"""What a measured run is expected to take: its own model, formats, plan and software, on its own machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from floorline.errors import BadInput
from floorline.estimates import Estimate, estimate
from floorline.num import Num
from floorline.phases import Time
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.workload import Encode, Generate, Serve, Workload
from floorline.validation.case_plan import engine_of, machine, model_of, plan_of, precision_of
from floorline.validation.cases import Case

Expected = tuple[float, float, float]
"""Median and ends of the 90 % interval, in the metric's own unit."""


def machine_of(case: Case) -> Cluster:
    """The machine of a case: its accelerators, in nodes as it says, joined by as many adapters a node as it says ("8x200Gb/s").

    raises BadInput for a network that is no number of adapters and their bandwidth
    """
    return machine(case, plan_of(case).devices)


def workload_of(case: Case) -> Workload:
    """What a case asks for: a static batch, or a closed loop of so many requests or of as many as fit."""
    tokens = case.number("input_len", 1.0)
    if case.word("kind") == "encoder":
        return Encode(batch=case.number("batch"), seq_len=tokens)
    made = case.number("output_len", 1.0)
    if case.word("load") == "static":
        return Generate(batch=case.number("batch"), prompt_len=tokens, output_len=made)
    running = case.number("batch") if case.word("batch") else None
    return Serve(concurrency=running, prompt_len=tokens, output_len=made)


def priced(case: Case, folder: Path | None) -> Estimate:
    """The estimate of a case.

    raises BadInput where its plan breaks a rule, or it cannot be read
    """
    engine = engine_of(case)
    apart = case.word("attention") == "unfused" and engine.starts == "operators"
    engine = replace(engine, prefill_fusion="unfused") if apart else engine
    found = estimate(
        model_of(case, folder),
        workload_of(case),
        machine_of(case),
        parallelism=plan_of(case),
        precision=precision_of(case),
        engine=engine,
        assumptions=Assumptions(fusion="unfused") if apart else None,
    )
    if found.reason:
        raise BadInput(found.reason)
    return found


def of_time(case: Case, time: Time | None) -> Expected:
    """A time that is asked for.

    raises BadInput where there is none
    """
    if time is None:
        raise BadInput("one output token has no time per later token")
    return three(case, time.expected, time.low, time.high)


def three(case: Case, middle: Num | None, low: Num | None, high: Num | None) -> Expected:
    """Three numbers.

    raises BadInput where nothing is known of the accelerator's kernels
    """
    if middle is None or low is None or high is None:
        raise BadInput(f"no kernel models are known for {case.word('accelerator')}")
    return float(middle), float(low), float(high)


def rate(case: Case, e: Estimate) -> Expected:
    """Output tokens a second."""
    return three(case, *(e.rates[name] for name in ("expected", "low", "high")))


def pictures(case: Case, e: Estimate) -> Expected:
    """Pictures a second."""
    middle, low, high = of_time(case, e.latency)
    batch = case.number("batch")
    return batch / middle, batch / high, batch / low


METRICS: dict[str, Callable[[Case, Estimate], Expected]] = {
    "ttft_s": lambda case, e: of_time(case, e.ttft),
    "tpot_s": lambda case, e: of_time(case, e.tpot),
    "latency_s": lambda case, e: of_time(case, e.latency),
    "output_tokens_per_s": rate,
    "images_per_s": pictures,
}
"""Metric → what is expected of it."""


def expected(case: Case, folder: Path | None) -> Expected:
    """What is expected of a case in its metric's own unit.

    raises BadInput where it cannot be priced, with the reason
    """
    if case.metric not in METRICS:
        raise BadInput(f"{case.metric} is not priced yet")
    return METRICS[case.metric](case, priced(case, folder))
