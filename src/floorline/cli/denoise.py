"""``floorline denoise``: how long a picture or a video takes, where the time goes, and what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from floorline.calibrate.files import digests
from floorline.catalogue.pipelines import load_pipeline
from floorline.cli.cases import cases
from floorline.cli.command import Argument, Command, Flag, Given
from floorline.cli.cost import COST
from floorline.cli.denoise_advice import known_to_fit, remarks
from floorline.cli.denoise_columns import show_columns
from floorline.cli.denoise_tables import show, show_cost, show_memory, show_operators, show_step, speed_up
from floorline.cli.flags import HARDWARE, SYNONYMS, build, cluster, of_spec, whole
from floorline.cli.model import JSON, QUANTIZATION, SET, load
from floorline.cli.output import note, print_json
from floorline.costs import Rates
from floorline.denoising.estimate import USUAL_ENGINE, DenoiseEstimate, estimate_denoising
from floorline.errors import BadInput, Infeasible
from floorline.picture_costs import picture_cost
from floorline.pipeline import Pipeline
from floorline.quantized import quantized
from floorline.report import envelope
from floorline.specs.assumptions import Assumptions
from floorline.specs.denoise_plan import DEGREES, DenoisePlan
from floorline.specs.parallelism import DEVICES, Parallelism
from floorline.specs.precision import FORMATS, Precision
from floorline.specs.workload import Denoise

DTYPES = ("bf16", "fp16", "fp32", "tf32", "fp8", "int8")
"""Formats that arithmetic can be in."""
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
        "how many; without degrees they share the picture in the way that is expected first",
        "the product of the degrees",
    ),
    *of_spec(DenoisePlan),
    Flag("dtype", ("--dtype",), f"format of weights and activations: {', '.join(DTYPES)}", "the pipeline's own"),
    Flag("weights", ("--weight-dtype",), "format in which the denoiser's weights are stored", "that of --dtype"),
    replace(QUANTIZATION, doc="how the denoiser's matrices are quantised: fp8, int8, bitsandbytes, nvfp4 … or none"),
    *of_spec(Assumptions, skip=("fusion", "attention", "expert_evenness")),
    Flag(
        "engine",
        ("--engine",),
        "software whose kernels and host are assumed: diffusers, diffusers-compiled, xdit, xdit-compiled, diffusers-cudnn …",
        USUAL_ENGINE,
    ),
    *COST,
    Flag("operators", ("--operators",), "print each launch of a step with its bound", switch=True),
    Flag("check", ("--check",), "exit with 1 where it does not fit", switch=True),
)


def pipeline_of(model: str, given: Given) -> Pipeline:
    """The pipeline, its denoiser with other sizes where ``--set`` gives some, or with quantised matrices."""
    found, method = load_pipeline(model), given.get("quantization")
    denoiser = load(model, {**given, "quantization": None}) if given.get("set") else found.denoiser
    return replace(found, denoiser=denoiser if method is None else quantized(denoiser, method))


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


def plan_of(given: Given) -> DenoisePlan | None:
    """The split that is named; None where none is, and it follows from the devices.

    raises Infeasible where the degrees and ``--devices`` contradict each other
    """
    plan: DenoisePlan = build(DenoisePlan, given)
    devices = whole(given, "devices", most=DEVICES)
    if devices is None or plan.devices == devices:
        return None if devices is None and all(given.get(name) is None for name in DEGREES) else plan
    if any(given.get(name) is not None for name in DEGREES):
        raise Infeasible(
            f"the product of the degrees is {plan.devices:g} and --devices is {devices:g}; expected the same: leave one of "
            "them out"
        )
    return None


def formats_of(pipeline: Pipeline, given: Given) -> Precision:
    """Formats of the denoiser.

    raises BadInput for one that nobody knows
    """
    name = given.get("dtype") or pipeline.format
    name = SYNONYMS.get(name, name)
    stored = given.get("weights") or name
    for flag, word, known in (("--dtype", name, DTYPES), ("--weight-dtype", stored, FORMATS)):
        if word not in known:
            raise BadInput(f"{flag} is {word[:40]!r}; expected one of {', '.join(known)}")
    return replace(Precision.of(name), weights=stored)


def answer(model: str, given: Given) -> DenoiseEstimate:
    """The estimate that some flags ask for; what breaks a rule has its reason in it."""
    pipeline, asked, plan = pipeline_of(model, given), workload(given), plan_of(given)
    formats = formats_of(pipeline, given)
    devices = whole(given, "devices", 1.0, most=DEVICES) if plan is None else plan.devices
    assert devices is not None
    return estimate_denoising(
        pipeline,
        asked,
        cluster(given, Parallelism(dp=devices), formats.activations),
        plan=plan,
        precision=formats,
        assumptions=build(Assumptions, given),
        engine=given.get("engine"),
    )


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
    elif given["operators"]:
        raise BadInput("--operators is of one answer; expected one MODEL and no lists beside it")
    elif given["json"]:
        rows = [{"name": name, **result_of(e, own)} for name, _, own, e in columns]
        print_json(envelope("denoise", {**given, "models": list(names)}, {"columns": rows}))
    else:
        show_columns([(name, e) for name, _, _, e in columns])
    return 1 if given["check"] and not all(known_to_fit(e) for *_, e in columns) else 0


def show_one(model: str, given: Given, e: DenoiseEstimate) -> None:
    """One answer, as tables or as JSON.

    raises Infeasible where its plan breaks a rule
    """
    if e.reason:
        raise Infeasible(e.reason)
    if given["json"]:
        print_json(as_json(model, given, e))
        return
    show(e)
    show_cost(e, picture_cost(e, build(Rates, given)))
    show_step(e)
    show_memory(e)
    if given["operators"]:
        show_operators(e)
    for remark in remarks(e):
        note(remark)


def result_of(e: DenoiseEstimate, given: Given) -> dict[str, Any]:
    """What is computed, with the speed-up over one device and what it costs."""
    if e.reason:
        return {"reason": e.reason}
    return {
        **e.to_dict(),
        "speed_up": speed_up(e),
        "cost": picture_cost(e, build(Rates, given)),
        "not_counted": e.pipeline.uncounted,
    }


def as_json(model: str, given: Given, e: DenoiseEstimate) -> dict[str, Any]:
    """The whole answer."""
    return envelope(
        "denoise",
        {**given, "model": model},
        result_of(e, given),
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


command = Command(denoise, FLAGS, Argument("models", "one or more models", "*"))
