"""The floor under a measured run, whatever its plan and its software: no split of the work over devices beats one device that
has all of their arithmetic, bandwidth and cache together, and sends no message.

Where an engine chooses its own batches, the arithmetic of one request may hide behind the traffic of another, so the floor is
the larger of the two, not their sum phase by phase.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from floorline.catalogue.clusters import load_cluster
from floorline.counts import count
from floorline.errors import BadInput
from floorline.estimates import Estimate, estimate
from floorline.num import Num, maximum, total
from floorline.specs.accelerator import Accelerator
from floorline.specs.cluster import Cluster
from floorline.specs.precision import Precision
from floorline.specs.workload import Decode, Encode, Generate, Prefill, Train
from floorline.validation.case_plan import plain_format, plain_model
from floorline.validation.cases import Case

Found = tuple[float, str]
"""The bound in the metric's own unit, and what the run is bound by."""


def as_one(device: Accelerator, devices: float) -> Accelerator:
    """One device with the arithmetic, the memory and the bandwidth of many.

    >>> float(as_one(load_cluster("h100-sxm").accelerator, 8.0).memory_bandwidth)
    26800000000000.0
    """
    return replace(
        device,
        name=f"{devices:g} × {device.name}",
        peaks={form: rate * devices for form, rate in device.peaks.items()},
        memory=device.memory * devices,
        usable_memory=device.usable * devices,
        memory_bandwidth=device.memory_bandwidth * devices,
        last_level_cache=device.last_level_cache * devices,
        links=(),
    )


def precision_of(case: Case) -> Precision:
    """Formats of a case; the arithmetic is that of its activations."""
    weights = plain_format(case.word("weights"), "bf16")
    activations = plain_format(case.word("activations"), weights)
    return Precision(
        weights=weights, activations=activations, kv_cache=plain_format(case.word("kv_cache"), activations)
    )


def machine_of(case: Case) -> Cluster:
    """All devices of a case as one."""
    device = load_cluster(case.word("accelerator")).accelerator
    many = Cluster(device, case.number("devices", 1.0))  # complains of a senseless count
    return Cluster(as_one(device, float(many.devices)))


def priced(case: Case, work: Prefill | Generate | Encode | Decode, folder: Path | None) -> Estimate:
    """The estimate of a workload on all devices as one."""
    return estimate(plain_model(case, folder), work, machine_of(case), precision=precision_of(case))


def batch_of(case: Case) -> float:
    """The batch where all requests are one, else a single request: the engine chooses."""
    return case.number("batch") if case.word("load") == "static" else 1.0


def time_to_first_token(case: Case, folder: Path | None) -> Found:
    """A prefill of the whole batch where all requests are one, else of one request."""
    e = priced(case, Prefill(batch=batch_of(case), prompt_len=case.number("input_len")), folder)
    return float(e.latency.floor), str(e.bound)


def generation(case: Case, batch: float) -> Generate:
    """The requests of a case in one batch."""
    return Generate(batch=batch, prompt_len=case.number("input_len"), output_len=case.number("output_len"))


def time_per_token(case: Case, folder: Path | None) -> Found:
    """The mean step of the batch, or of one request where the engine chooses."""
    e = priced(case, generation(case, batch_of(case)), folder)
    time = e.tpot
    if time is None:
        raise BadInput("one output token has no time per later token")
    return float(time.floor), str(e.phases[-1].bound)


def latency(case: Case, folder: Path | None) -> Found:
    """From the first token of the prompt to the last that is made, of the batch, or of one request where the engine chooses; an
    encoder's one pass."""
    if case.word("kind") == "encoder":
        return encoding(case, folder)
    e = priced(case, generation(case, batch_of(case)), folder)
    return float(e.latency.floor), str(e.bound)


def encoding(case: Case, folder: Path | None) -> Found:
    """One forward pass over sequences or pictures."""
    seq_len = case.number("input_len", 1.0)
    e = priced(case, Encode(batch=case.number("batch"), seq_len=seq_len), folder)
    return float(e.latency.floor), str(e.bound)


def pictures(case: Case, folder: Path | None) -> Found:
    """Pictures a second, at most."""
    seconds, bound = encoding(case, folder)
    return case.number("batch") / seconds, bound


def output_rate(case: Case, folder: Path | None) -> Found:
    """Output tokens a second, at most: of one static batch, or of an engine that chooses its batches."""
    if case.word("load") == "static":
        seconds, bound = latency(case, folder)
        return case.number("batch") * case.number("output_len") / seconds, bound
    batch = case.number("batch", 1.0)
    e = priced(case, generation(case, batch), folder)
    compute: Num = 0.0
    memory: Num = 0.0
    for phase in e.phases:
        times = 1.0 if phase.count is None else phase.count
        one, device = phase.floor, e.cluster.accelerator
        compute = compute + one.compute * times
        weights = one.weights if case.word("batch") and phase.name == "decode" else 0.0
        memory = memory + maximum(weights + one.cached - device.last_level_cache, 0.0) / device.memory_bandwidth * times
    seconds = float(maximum(compute, memory))
    return batch * case.number("output_len") / seconds, "compute" if compute >= memory else "memory"


def training_step(case: Case, folder: Path | None) -> Found:
    """Arithmetic of forward and backward, nothing recomputed, over all devices; frozen weights take no gradient."""
    model, formats = plain_model(case, folder), precision_of(case)
    work = Train(micro_batch=1, global_batch=1, seq_len=case.number("seq_len"))
    made = count(model, work, "causal", fusion="flash", precision=replace(formats, kv_cache=formats.activations))
    forward, sequences = made.forward, case.number("global_batch", case.number("micro_batch", 1.0))
    if not case.word("global_batch"):  # one layer alone
        layers = {stack.block.name for stack in model.stacks if stack.is_layer}
        own = [o for o in made.operators if o.part == "forward" and o.name.partition(".")[0] in layers]
        forward = total(o.flops for o in own)
    least = 2.0 * forward if case.word("adapter") else 3.0 * forward
    device = machine_of(case).accelerator
    rate = maximum(device.fastest(formats.activations), device.fastest(formats.weights))
    return float(least * sequences / rate), "compute"


def training_rate(case: Case, folder: Path | None) -> Found:
    """Tokens a second and device, at most."""
    seconds, bound = training_step(case, folder)
    tokens = case.number("global_batch") * case.number("seq_len")
    return tokens / seconds / case.number("devices", 1.0), bound


def training_share(case: Case, folder: Path | None) -> Found:
    """The share of the peak, or the rate, of arithmetic that a source counts, at most: all of it, whatever it counts."""
    device = load_cluster(case.word("accelerator")).accelerator
    formats = precision_of(case)
    rate = maximum(device.fastest(formats.activations), device.fastest(formats.weights))
    whole = 1.0 if case.metric == "mfu" else float(rate)
    return COUNTED_TWICE * whole, "compute"


COUNTED_TWICE = 2.0
"""By how much a source's count may exceed what must be computed: the full square of attention, where a mask leaves half."""

FLOORS: dict[str, Callable[[Case, Path | None], Found]] = {
    "ttft_s": time_to_first_token,
    "tpot_s": time_per_token,
    "latency_s": latency,
    "images_per_s": pictures,
    "output_tokens_per_s": output_rate,
    "step_time_s": training_step,
    "tokens_per_s_per_device": training_rate,
    "mfu": training_share,
    "model_flops_per_device": training_share,
}
"""Metric → its bound."""


def floor(case: Case, folder: Path | None) -> Found:
    """The bound of a case in its metric's own unit: the least time, or the highest rate.

    raises BadInput where it cannot be priced, with the reason
    """
    if case.metric not in FLOORS:
        raise BadInput(f"{case.metric} is no time and no rate of work: it has no floor")
    return FLOORS[case.metric](case, folder)
