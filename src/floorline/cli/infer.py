"""``floorline infer``: time, bound and memory of serving."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from floorline.calibrate.files import digests
from floorline.capacity import usual_source
from floorline.cli.command import Command, Flag, Given
from floorline.cli.cost import COST, cost_of, show_cost
from floorline.cli.flags import ENGINE, FORMAT, HARDWARE, PLAN, build, cluster, of_spec, parallelism, precision, whole
from floorline.cli.loop import LOOP, closed_loop, running, software
from floorline.cli.model import JSON, MODEL, READ, load
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.cli.speculation import SPECULATION, show_speculation, speculated
from floorline.errors import Infeasible
from floorline.estimates import Estimate, estimate
from floorline.network import levels
from floorline.phases import Phase, Time
from floorline.report import envelope
from floorline.serving import Mixture
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.workload import Generate, Serve
from floorline.specs.workload import longest as max_length
from floorline.training.estimate import TrainingEstimate
from floorline.transformer import Transformer
from floorline.units import DECIMAL, data, flops, gib, integer, scaled, seconds

ASSUMED = of_spec(Assumptions)
MUCH = 0.8
"""Share of a prefill's serial time that a causal mask must leave, else a remark says what it is."""

BATCH = (
    JSON,
    *READ,
    *of_spec(Generate),
    *HARDWARE,
    *PLAN,
    *FORMAT,
    *ASSUMED,
    *COST,
    ENGINE,
    Flag("operators", ("--operators",), "print each launch with its bound", switch=True),
)
"""What a static batch is asked with."""

FLAGS = (*BATCH, *LOOP, *SPECULATION)


def prompt(model: Transformer, given: Given) -> str | None:
    """The prompt: as given, else the usual one, or what learned positions leave beside the output; a decoder that has an
    encoder starts with one token."""
    if given.get("prompt_len") is not None:
        return str(given["prompt_len"])
    if model.has_encoder:
        return "1"
    if not model.learned_positions or model.max_positions is None:
        return None
    asked = build(Generate, given)
    rest = scalar(model.max_positions) - (asked.output_len + asked.cached_len)
    return repr(max(1.0, min(1024.0, float(rest))))


def source(model: Transformer, given: Given) -> str | None:
    """What the encoder reads: as given, else the usual length."""
    if given.get("source_len") is not None or not model.has_encoder:
        return given.get("source_len")
    return repr(float(scalar(usual_source(model))))


def answer(model: str, given: Given) -> Estimate:
    """The estimate that some flags ask for.

    raises Infeasible where the plan breaks a rule
    """
    made = load(model, given)
    plan, formats = parallelism(given), precision(given, made)
    machine = cluster(given, plan, formats.activations)
    asked = {**given, "prompt_len": prompt(made, given), "source_len": source(made, given)}
    result = estimate(
        made,
        build(Generate, asked) if given.get("concurrency") is None else closed_loop(made, asked),
        machine,
        parallelism=plan,
        precision=formats,
        assumptions=build(Assumptions, given),
        engine=software(given),
        max_num_batched_tokens=whole(given, "max_num_batched_tokens"),
    )
    if result.reason:
        raise Infeasible(result.reason)
    return result


def infer(model: str, given: Given) -> None:
    """Time to first token, time per token and latency, with what bounds each phase: of a static batch, or with --max-concurrency of
    so many requests always in flight."""
    e = answer(model, given)
    if given["json"]:
        print_json(as_json(model, given, e))
        return
    faster = speculated(e, given)
    show(e)
    show_cost(cost_of(e, given))
    show_speculation(e, faster)
    if given["operators"]:
        show_operators(e)
    for remark in remarks(e):
        note(remark)


def as_json(model: str, given: Given, e: Estimate) -> dict[str, Any]:
    """The whole answer."""
    names = [name for phase in e.phases if phase.expectation for name in phase.expectation.accelerators]
    return envelope(
        "infer",
        {**given, "model": model},
        {**e.to_dict(), "cost": cost_of(e, given), "speculation": speculated(e, given)},
        **assumed(e, names),
    )


def assumed(e: Estimate | TrainingEstimate, accelerators: Iterable[str]) -> dict[str, Any]:
    """What is told of every estimate's assumptions and sources.

    accelerators  whose calibrations its expected times come from
    """
    return {
        "parallelism": e.parallelism,
        "precision": e.precision,
        "assumptions": e.assumptions,
        "provenance": {
            "model": e.model.source,
            "hardware": e.cluster.accelerator.title,
            "calibrations": digests(accelerators),
        },
    }


def show(e: Estimate) -> None:
    """The answer as tables."""
    w, device, m = e.workload, e.cluster.accelerator, e.memory
    assert isinstance(w, Generate | Serve)
    form = e.precision.weights if e.model.quantization is None else e.model.quantization.label
    machine = f" ({e.cluster.title})" if e.cluster.title else ""
    title = f"{e.model.name} on {scalar(e.parallelism.devices):.0f} × {device.title}{machine}, {form} weights"
    print(bold(title))
    print(f"{running(w)} × ({integer(scalar(w.prompt_len))} in, {integer(scalar(w.output_len))} out)\n")
    named = (
        ("time to first token", e.ttft, e.prefill),
        ("time per output token", e.tpot, e.decode),
        ("latency", e.latency, None),
    )
    rows = [
        (name, seconds(scalar(t.floor)), *hoped(t), seconds(scalar(t.serial)), why(phase))
        for name, t, phase in named
        if t is not None
    ]
    rates = {name: "–" if value is None else f"{scalar(value):.4g} /s" for name, value in e.rates.items()}
    between = "–" if e.rates["low"] is None else f"{scalar(e.rates['low']):.4g} to {scalar(e.rates['high']):.4g}"
    about = "of all of them, prompts included" if isinstance(w, Serve) else "of this one batch, prefill included"
    rows.append(("output tokens", rates["ceiling"], rates["expected"], between, rates["serial"], about))
    print(table(["", "floor", "expected", "90 % interval", "serial", "why"], rows))
    parts = ", ".join(f"{name.replace('kv_', 'KV ')} {gib(scalar(size))}" for name, size in m.kinds.items())
    print(f"\nmemory of each device: {parts}")
    if not e.fits():
        budget = gib(scalar(e.room))
        print(f"does not fit: {gib(scalar(m.total))} of {budget} that may be used; 'floorline fit' says what would")


def hoped(t: Time) -> tuple[str, str]:
    """The expected time and its interval."""
    if t.expected is None or t.low is None or t.high is None:
        return "–", "–"
    return seconds(scalar(t.expected)), f"{seconds(scalar(t.low))} to {seconds(scalar(t.high))}"


def why(phase: Phase | None) -> str:
    """What a phase is bound by, and how much of the device it uses."""
    if phase is None:
        return ""
    if phase.mixture is not None:
        return mixed(phase.mixture, phase.name)
    used = (
        "" if phase.mfu is None or phase.mbu is None else f", MFU {scalar(phase.mfu):.0%}, MBU {scalar(phase.mbu):.0%}"
    )
    return f"{phase.name} bound by {phase.bound}{used}"


def mixed(steps: Mixture, name: str) -> str:
    """What the steps of a closed loop do."""
    if name == "decode":
        return f"{scalar(steps.mixed):.0%} of the steps take up prompts too"
    waits = scalar(steps.pure + steps.mixed - steps.own)
    return f"waits for {waits:.3g} steps, then {scalar(steps.own):.3g} with its prompt"


def remarks(e: Estimate) -> list[str]:
    """What a reader of the numbers should know."""
    found = [
        "floor: no engine runs this batch faster on the data sheet's figures; serial: each launch by the roofline, one after "
        "another",
        *expectations(e),
    ]
    form = e.precision.activations
    if scalar(e.parallelism.devices) > scalar(e.parallelism.dp):
        latency = seconds(scalar(e.assumptions.message_latency))
        found.append(f"messages: {network(e.cluster)}; of each device one way, --message-latency {latency}")
        found += unknown_network(e.cluster)
    if e.prefill is not None and e.assumptions.attention == "full":
        masked = replace(e.prefill, step=replace(e.prefill.step, attention="causal")).serial_s
        if scalar(masked) < MUCH * scalar(e.prefill.serial_s):
            found.append(
                "the serial time counts the whole query-key square; with --attention causal the prefill is "
                f"{seconds(scalar(masked))}"
            )
    own, device = e.model.quantization, e.cluster.accelerator
    if device.computed_in(form) != form:
        found.append(f"{device.name} has no arithmetic in {form}: priced at its {device.computed_in(form)} peak")
    if own is None and scalar(device.fastest(form)) > scalar(device.peak(form)):
        rates = [scaled(scalar(rate), DECIMAL, "FLOP/s") for rate in (device.fastest(form), device.peak(form))]
        found.append(
            f"the floor takes {rates[0]}, accumulating in fp16 where that is faster; the serial time {rates[1]}, in fp32"
        )
    longest = e.model.max_positions
    if longest is not None and scalar(max_length(e.workload)) > scalar(longest):
        found.append(f"{e.model.name} was made for {scalar(longest):g} tokens; this is longer")
    return found


def expectations(e: Estimate) -> list[str]:
    """Where the expected times come from, and what they leave out."""
    known = [phase.expectation for phase in e.phases if phase.expectation is not None]
    device = e.cluster.accelerator
    if len(known) < len(e.phases):
        return [
            f"expected times: no model of {device.name}'s kernels is known; 'floorline calibrate' makes one from measured kernels"
        ]
    sources = dict.fromkeys(name for x in known for name in x.accelerators)
    software = e.phases[0].engine
    found = [
        f"expected: {software.title}; kernel models fitted to measured kernels of {', '.join(sources)}; the interval has 90 % of "
        f"their errors, and a factor of {math.exp(known[-1].form):.2f} either way for what kernels measured alone leave out"
    ]
    if any(x.inherited for x in known):
        found.append(
            f"some kernel models are inherited through the data sheet of {device.name}: the interval is wider ('--operators')"
        )
    if "experts" in {kind for x in known for kind in x.kinds}:
        found.append("expected: tokens choose among equally likely experts")
    return found


def network(cluster: Cluster) -> str:
    """The levels that the devices reach, innermost first, at what so many of them can use."""
    told = []
    for way in levels(cluster):
        rate, reach = scaled(scalar(way.rate), DECIMAL, "B/s"), scalar(way.link.domain)
        how = f" ({way.link.topology})" if way.link.topology != "switch" else ""
        told.append(f"{way.link.name} {rate}" + (f" among {reach:g}" if reach != float("inf") else "") + how)
        if reach >= scalar(cluster.devices):
            break
    return ", then ".join(told)


def unknown_network(cluster: Cluster) -> list[str]:
    """That nothing is known of what joins the devices, where it is so."""
    if cluster.network:
        return []
    if not cluster.accelerator.links:
        return [
            f"no link of {cluster.accelerator.name} to another is known: messages as fast as memory, a floor; "
            "--network says otherwise"
        ]
    inside = [scalar(x.domain) for x in cluster.levels if not x.host]
    if inside and scalar(cluster.devices) > max(inside):
        return [
            "between nodes: the host link's rate, a floor; a machine such as dgx-h100 or --network '400 Gb/s' says more"
        ]
    return []


def show_operators(e: Estimate) -> None:
    """Each launch of each phase."""
    for phase in e.phases:
        print(bold(f"\n{phase.name}, first step ({e.assumptions.fusion}, {e.assumptions.attention} attention)"))
        rows = [
            (
                x.name,
                integer(scalar(x.repeat)),
                flops(scalar(x.flops)),
                data(scalar(x.bytes)),
                data(scalar(x.sent)),
                seconds(scalar(x.serial)),
                x.bound,
                "–" if x.expected is None else seconds(scalar(x.expected)),
                ", ".join(x.kernels),
            )
            for x in e.launches(phase)
        ]
        print(table(["launch", "runs", "FLOP", "moved", "sent", "serial", "bound", "expected", "kernels of"], rows))


command = Command(infer, FLAGS, MODEL)
