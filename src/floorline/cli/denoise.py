"""``floorline denoise``: how long a picture or a video takes, where the time goes, and what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from floorline.calibrate.files import digests
from floorline.catalogue.pipelines import load_pipeline
from floorline.cli.cases import cases
from floorline.cli.command import Argument, Command, Flag, Given
from floorline.cli.denoise_columns import show_columns
from floorline.cli.flags import HARDWARE, SYNONYMS, build, cluster, of_spec, whole
from floorline.cli.infer import network, unknown_network
from floorline.cli.model import JSON, SET, load
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.denoising.estimate import USUAL_ENGINE, DenoiseEstimate, estimate_denoising
from floorline.denoising.rules import usual_plan
from floorline.errors import BadInput, Infeasible
from floorline.phases import Time
from floorline.pipeline import Pipeline
from floorline.report import envelope
from floorline.specs.assumptions import Assumptions
from floorline.specs.denoise_plan import DenoisePlan
from floorline.specs.parallelism import DEVICES, Parallelism
from floorline.specs.precision import FORMATS, Precision
from floorline.specs.workload import Denoise
from floorline.units import gib, integer, seconds

GUIDANCE = {"none": 1.0, "distilled": 1.0, "two": 2.0}
"""Words for guidance → forward passes of a step."""
FLAGS = (
    JSON,
    SET,
    *of_spec(Denoise),
    Flag(
        "guidance_kind",
        ("--guidance",),
        "none, distilled (one pass a step) or two (classifier-free)",
        "the model's own",
    ),
    *(f for f in HARDWARE if f.name != "devices"),
    Flag(
        "devices",
        ("--devices",),
        "how many; without degrees they share guidance passes, then tokens",
        "the product of the degrees",
    ),
    *of_spec(DenoisePlan),
    Flag("dtype", ("--dtype",), f"format of weights and activations: {', '.join(FORMATS)}", "the pipeline's own"),
    *of_spec(Assumptions, skip=("fusion", "attention", "expert_evenness")),
    Flag(
        "engine",
        ("--engine",),
        "software whose kernels and host are assumed: diffusers, diffusers-compiled, xdit, xdit-compiled",
        USUAL_ENGINE,
    ),
    Flag("operators", ("--operators",), "print each launch of a step with its bound", switch=True),
    Flag("check", ("--check",), "exit with 1 where it does not fit", switch=True),
)


def pipeline_of(model: str, given: Given) -> Pipeline:
    """The pipeline, its denoiser with other sizes where ``--set`` gives some."""
    found = load_pipeline(model)
    return replace(found, denoiser=load(model, given)) if given.get("set") else found


def workload(given: Given) -> Denoise:
    """What is to be made.

    raises BadInput where guidance is told twice, or by a word that nobody knows
    """
    word = given.get("guidance_kind")
    if word is not None and word not in GUIDANCE:
        raise BadInput(f"--guidance is {word[:40]!r}; expected one of {', '.join(GUIDANCE)}")
    if word is not None and given.get("passes") is not None:
        raise BadInput("--guidance and --guidance-passes say the same; leave one of them out")
    asked: Denoise = build(Denoise, given)
    return asked if word is None else replace(asked, passes=GUIDANCE[word])


def plan_of(pipeline: Pipeline, asked: Denoise, given: Given) -> DenoisePlan:
    """The split: as given, or the usual one of so many devices.

    raises Infeasible where the degrees and ``--devices`` contradict each other
    """
    plan: DenoisePlan = build(DenoisePlan, given)
    devices = whole(given, "devices", most=DEVICES)
    degrees = ("ulysses", "ring", "guidance", "patches", "tp", "dp")
    if devices is None or plan.devices == devices:
        return plan
    if any(given.get(name) is not None for name in degrees):
        raise Infeasible(
            f"the product of the degrees is {plan.devices:g} and --devices is {devices:g}; expected the same: leave one of "
            "them out"
        )
    passes = pipeline.passes if asked.passes is None else asked.passes
    return usual_plan(pipeline.denoiser, devices, passes)


def answer(model: str, given: Given) -> DenoiseEstimate:
    """The estimate that some flags ask for.

    raises Infeasible where the plan breaks a rule
    """
    pipeline, asked = pipeline_of(model, given), workload(given)
    plan = plan_of(pipeline, asked, given)
    name = given.get("dtype") or pipeline.format
    name = SYNONYMS.get(name, name)
    if name not in FORMATS:
        raise BadInput(f"--dtype is {name[:40]!r}; expected one of {', '.join(FORMATS)}")
    result = estimate_denoising(
        pipeline,
        asked,
        cluster(given, Parallelism(dp=plan.devices), name),
        plan=plan,
        precision=Precision.of(name),
        assumptions=build(Assumptions, given),
        engine=given.get("engine"),
    )
    if result.reason:
        raise Infeasible(result.reason)
    return result


def denoise(*arguments: object) -> int:
    """How long pictures or videos take from the text to the pixels: text encoders, denoising steps, decoder; where a step's time
    goes, what several devices give, and the memory of each part. MODEL is a pipeline of the catalogue, a folder of diffusers,
    or a transformer's config.json alone. Several models, or flags that hold lists (--frames 33,65,129, --devices 1,8), stand
    side by side."""
    *names, given = arguments
    assert isinstance(given, Mapping)
    if not names:
        raise BadInput("denoise needs a MODEL; expected such as: denoise hunyuanvideo --frames 129 --hardware h100-sxm")
    wanted = cases([str(name) for name in names], given)
    columns = [(name, model, own, answer(model, own)) for name, model, own in wanted]
    if len(columns) == 1:
        show_one(*columns[0][1:])
    elif given["json"]:
        rows = [{"name": name, **result_of(e)} for name, _, _, e in columns]
        print_json(envelope("denoise", {**given, "models": list(names)}, {"columns": rows}))
    else:
        show_columns([(name, e) for name, _, _, e in columns])
    return 1 if given["check"] and not all(e.fits() for *_, e in columns) else 0


def show_one(model: str, given: Given, e: DenoiseEstimate) -> None:
    """One answer, as tables or as JSON."""
    if given["json"]:
        print_json(as_json(model, given, e))
        return
    show(e)
    show_step(e)
    show_memory(e)
    if given["operators"]:
        show_operators(e)
    for remark in remarks(e):
        note(remark)


def result_of(e: DenoiseEstimate) -> dict[str, Any]:
    """What is computed, with the speed-up over one device."""
    return {**e.to_dict(), "speed_up": speed_up(e)}


def as_json(model: str, given: Given, e: DenoiseEstimate) -> dict[str, Any]:
    """The whole answer."""
    return envelope(
        "denoise",
        {**given, "model": model},
        result_of(e),
        parallelism=e.plan,
        precision=e.precision,
        assumptions=e.assumptions,
        provenance={
            "model": e.pipeline.source or e.pipeline.denoiser.source,
            "hardware": e.cluster.accelerator.title,
            "calibrations": digests(accelerators(e)),
        },
    )


def accelerators(e: DenoiseEstimate) -> tuple[str, ...]:
    """Those whose measured kernels the expected times come from."""
    return e.step.expectation.accelerators if e.step.expectation else ()


def speed_up(e: DenoiseEstimate) -> float | None:
    """How much sooner it is done than on one device; None where it is one."""
    devices = scalar(e.plan.devices)
    if devices == 1.0:
        return None
    alone = estimate_denoising(
        e.pipeline,
        e.workload,
        replace(e.cluster, devices=1.0),
        precision=e.precision,
        assumptions=e.assumptions,
        engine=e.engine,
    )
    return scalar(alone.latency.usual) / scalar(e.latency.usual)


def line(name: str, t: Time) -> tuple[str, ...]:
    """A row of the table of times."""
    expected = "–" if t.expected is None else seconds(scalar(t.expected))
    span = "–" if t.low is None or t.high is None else f"{seconds(scalar(t.low))} to {seconds(scalar(t.high))}"
    return name, seconds(scalar(t.floor)), expected, span, seconds(scalar(t.serial))


def show(e: DenoiseEstimate) -> None:
    """Times as a table."""
    w, device, found = e.workload, e.cluster.accelerator, e.grid
    assert w.height is not None
    assert w.width is not None
    assert w.frames is not None
    assert w.steps is not None
    assert w.passes is not None
    print(bold(f"{e.pipeline.name} on {scalar(e.plan.devices):.0f} × {device.title}, {e.engine.title}"))
    length = "" if scalar(w.frames) == 1.0 else f"{integer(scalar(w.frames))} frames of "
    passes = "one pass" if scalar(w.passes) == 1.0 else f"{integer(scalar(w.passes))} guidance passes"
    reused = "" if scalar(w.reused) == 0.0 else f", {scalar(w.reused):.0%} of them reused"
    print(
        f"{length}{integer(scalar(w.height))} × {integer(scalar(w.width))} pixels: {integer(scalar(found.tokens))} tokens and "
        f"{integer(scalar(found.text))} of text; {integer(scalar(w.steps))} steps{reused}, {passes} each; batch "
        f"{integer(scalar(w.batch))}\n"
    )
    rows = [line("step", e.step_time)]
    rows += [line("text", e.encoding)] if e.encoding else []
    rows.append(line("all steps", e.denoising))
    rows += [line("pixels", e.decoding)] if e.decoding else []
    rows.append(line("whole", e.latency))
    print(table(["", "floor", "expected", "90 % interval", "serial"], rows))
    whole_time = scalar(e.latency.usual)
    parts = [f"{name} {scalar(part) / whole_time:.1%}" for name, part in e.breakdown.items() if scalar(part) > 0.0]
    print(f"of the whole: {', '.join(parts)}")
    print(
        f"in an hour: {3600.0 * scalar(w.batch) / whole_time:.3g} {'pictures' if scalar(w.frames) == 1.0 else 'videos'}"
    )
    faster = speed_up(e)
    if faster is not None:
        devices = scalar(e.plan.devices)
        print(f"{split(e.plan)}: {faster:.2f} times as fast as one device, efficiency {faster / devices:.0%}")


def split(plan: DenoisePlan) -> str:
    """The degrees of a plan in words."""
    named = (
        ("ulysses", "ulysses"),
        ("ring", "ring"),
        ("guidance", "guidance"),
        ("patches", "patch stages"),
        ("tp", "tp"),
        ("dp", "dp"),
    )
    found = [f"{word} {scalar(getattr(plan, name)):.0f}" for name, word in named if scalar(getattr(plan, name)) > 1.0]
    return " × ".join(found) or "one device"


def show_step(e: DenoiseEstimate) -> None:
    """What a step's time is spent on."""
    kinds = {name: scalar(value) for name, value in e.kinds.items()}
    whole_step = sum(kinds.values())
    spent = sorted(((each, name) for name, each in kinds.items() if each > 0.0), reverse=True)
    if spent:
        rows = [(name, seconds(each), f"{each / whole_step:.1%}") for each, name in spent]
        print("\n" + table(["a step is spent on", "", ""], rows))
    used = "" if e.mfu is None else f"; model FLOP utilisation {scalar(e.mfu):.1%}"
    print(f"bound of its floor: {e.bound}{used}")


def show_memory(e: DenoiseEstimate) -> None:
    """Memory of each part, and whether it fits."""
    m = e.memory
    rows = [(p.name, gib(scalar(p.weights)), gib(scalar(p.activations))) for p in m.parts]
    print("\n" + table(["memory of a device", "weights", "activations at most"], rows))
    peak = m.peak
    room = scalar(e.cluster.accelerator.usable)
    stale = "" if scalar(m.stale) == 0.0 else f", {gib(scalar(m.stale))} of keys and values of the step before"
    held = {"none": "all models stay", "model": "one model at a time", "layers": "one layer at a time"}[m.offload]
    print(f"at its fullest {gib(scalar(peak.total))} of {gib(room)}: {held}{stale}")
    if not bool(e.fits()):
        print(f"does not fit; {mended(e)}")


def mended(e: DenoiseEstimate) -> str:
    """The cheapest change that makes it fit: tiles, models that wait on the host, layers that do."""
    for tiling, offload in (("yes", "none"), ("no", "model"), ("yes", "model"), ("yes", "layers")):
        other = estimate_denoising(
            e.pipeline,
            replace(e.workload, tiling=tiling, offload=offload),
            e.cluster,
            plan=e.plan,
            precision=e.precision,
            assumptions=e.assumptions,
            engine=e.engine,
        )
        if bool(other.fits()):
            flags = [f"--offload {offload}"] * (offload != "none") + ["--tiling yes"] * (tiling == "yes")
            return f"with {' '.join(flags)}: {gib(scalar(other.memory.total))}, {seconds(scalar(other.latency.usual))}"
    return "not with --offload layers --tiling yes either: fewer pixels or frames, or a larger device"


def show_operators(e: DenoiseEstimate) -> None:
    """The launches of a step that take longest, all runs of each."""
    found = sorted(e.launches(), key=lambda one: -scalar(one.serial) * scalar(one.repeat))
    rows = [
        (
            one.name,
            integer(scalar(one.repeat)),
            seconds(scalar(one.serial) * scalar(one.repeat)),
            str(one.bound),
            one.formula,
        )
        for one in found[:MOST]
    ]
    print("\n" + table(["launch", "runs", "serial", "bound", "FLOP of one"], rows))


MOST = 25
"""Launches that are printed."""


def remarks(e: DenoiseEstimate) -> list[str]:
    """What a reader of the numbers should know."""
    found = []
    if e.pipeline.autoencoder is None or not e.pipeline.texts:
        missing = [("the decoder", e.pipeline.autoencoder is None), ("the text's encoders", not e.pipeline.texts)]
        found.append(
            f"not in it: {' and '.join(name for name, gone in missing if gone)}, of which nothing is known here"
        )
    found.append(
        "floor: no software takes less on the data sheet's figures; serial: each launch by the roofline, one after another"
    )
    if e.step.expectation is None:
        return [*found, f"expected times: no model of {e.cluster.accelerator.name}'s kernels is known"]
    width = float(np.exp(e.step.expectation.form))
    found.append(
        f"expected: {e.engine.title}; kernel models fitted to measured kernels of {', '.join(accelerators(e))}; the interval "
        f"has 90 % of their errors, and a factor of {width:.2f} either way for what kernels measured alone leave out; "
        "convolutions at an assumed share of the peak"
    )
    if scalar(e.plan.devices) > 1.0:
        found += [f"messages: {network(e.cluster)}; of each device one way", *unknown_network(e.cluster)]
    return found


command = Command(denoise, FLAGS, Argument("models", "one or more models", "*"))
