"""``floorline train``: an optimizer step of any plan, its memory, and what a whole run costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from floorline import denoise_step
from floorline.catalogue.trainers import load_trainer
from floorline.cli.command import Argument, Command, Flag, Given
from floorline.cli.flags import HARDWARE, SYNONYMS, build, cluster, of_spec, one, parallelism
from floorline.cli.infer import assumed, network, unknown_network
from floorline.cli.model import JSON, READ, load
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.cli.paste import AS, FROM, pasted, show_as
from floorline.errors import BadInput, Infeasible
from floorline.estimates import estimate
from floorline.num import Num
from floorline.phases import Time
from floorline.report import envelope
from floorline.result import exact
from floorline.specs.assumptions import Assumptions
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import FORMATS, Precision
from floorline.specs.recipe import Recipe
from floorline.specs.run import Run
from floorline.specs.workload import Train
from floorline.train_step import resolved
from floorline.training import trace
from floorline.training.estimate import TrainingEstimate, training_precision
from floorline.training.runs import RunCost, whole_run
from floorline.transformer import Transformer
from floorline.units import DECIMAL, gib, integer, scaled, seconds

TRAINER = Flag(
    "engine",
    ("--engine", "--framework"),
    "framework whose kernels, overlap and memory are assumed: megatron-core, megatron-lm-2021, megatron-deepspeed, fsdp, "
    "torchtitan, llm-foundry, nanogpt, llm.c, transformers …",
    "any",
)
DTYPE = Flag(
    "dtype",
    ("--dtype",),
    f"format of weights and activations, or of what linear layers multiply: {', '.join(FORMATS)}",
    "bf16",
)
PLAN = of_spec(Parallelism, skip=("extra",))
ASSUMED = of_spec(Assumptions, skip=("fusion",))
MODEL = Argument(
    "model",
    "a catalogue name, a hub id, a config.json, or a folder that holds one; - or nothing for the model that the file of --from "
    "describes",
    "?",
)
FLAGS = (
    JSON,
    FROM,
    AS,
    *READ,
    *of_spec(Train),
    *of_spec(Recipe),
    *HARDWARE,
    *PLAN,
    DTYPE,
    *(f for f in of_spec(Precision) if f.name in ("gradients", "matmuls")),
    *ASSUMED,
    TRAINER,
    *of_spec(Run),
    Flag(
        "trace",
        ("--trace",),
        "write the step pass by pass, a .json file that chrome://tracing and ui.perfetto.dev draw",
    ),
    Flag("check", ("--check",), "exit with 1 where it does not fit", switch=True),
)


def precision(given: Given, model: Transformer, engine: str | None) -> Precision:
    """Formats of a training run.

    raises BadInput for a format that nobody knows
    """
    name = given.get("dtype")
    name = SYNONYMS.get(name or "", name)
    if name is not None and name not in FORMATS:
        raise BadInput(f"--dtype is {name[:40]!r}; expected one of {', '.join(FORMATS)}")
    base = training_precision(name, load_trainer(engine), model.format)
    own = {
        f: one(Precision.__dataclass_fields__[f], given[f])
        for f in ("gradients", "matmuls")
        if given.get(f) is not None
    }
    return replace(base, **own)


def answer(model: str | Transformer, given: Given) -> TrainingEstimate:
    """The estimate that some flags ask for.

    raises Infeasible where the plan breaks a rule
    """
    made = model if isinstance(model, Transformer) else load(model, given)
    plan = parallelism(given)
    formats = precision(given, made, given.get("engine"))
    asked = given if given.get("global_batch") is not None else {**given, "global_batch": usual_batch(given, plan)}
    workload: Train = build(Train, asked)
    result = estimate(
        made,
        workload,
        cluster(given, plan, formats.activations),
        parallelism=plan,
        precision=formats,
        recipe=build(Recipe, given),
        assumptions=build(Assumptions, given),
        engine=given.get("engine"),
    )
    if result.reason:
        raise Infeasible(result.reason)
    return result


def usual_batch(given: Given, plan: Parallelism) -> str:
    """One micro-batch on each data-parallel rank, and as many as there are pipeline stages."""
    micro = float(given.get("micro_batch") or 1.0)
    return repr(micro * scalar(plan.dp) * scalar(plan.pp))


def train(named: str | None, given: Given) -> int:
    """One optimizer step of a model: its time with what it is spent on, tokens a second, utilisation under each convention, and
    the memory of each kind of pipeline stage; with --tokens days, device-hours, money and energy of the whole run.
    A plan may come from another framework's file (--from) and be printed as one (--as)."""
    model, given = pasted(named, given)
    e = answer(model, given)
    if given.get("as_form") is not None:
        show_as(given["as_form"], model, given, e)
        return 0
    run = whole_run(e, build(Run, given))
    if given["trace"] is not None:
        trace.save(e, given["trace"])
    if given["json"]:
        print_json(as_json(model if isinstance(model, str) else model.name, given, e, run))
    else:
        show(e)
        show_run(run, e)
        for remark in remarks(e):
            note(remark)
        if given["trace"] is not None:
            note(f"wrote {given['trace']}")
    return 1 if given["check"] and not e.fits() else 0


def as_json(model: str, given: Given, e: TrainingEstimate, run: RunCost | None) -> dict[str, Any]:
    """The whole answer."""
    head = assumed(e, e.expected.whole.accelerators if e.expected else ())
    found = {**e.to_dict(), "pictures_per_s": exact(pictures_per_s(e)), "run": run}
    return envelope("train", {**given, "model": model}, found, **head)


def pictures_per_s(e: TrainingEstimate) -> dict[str, Num | None] | None:
    """Pictures or videos a second of all devices, with the keys of tokens a second; None of a language model."""
    if e.model.latent is None:
        return None
    tokens = e.workload.seq_len
    return {name: None if rate is None else rate / tokens for name, rate in e.tokens_per_s.items()}


def things(model: Transformer, workload: Train) -> tuple[str, str]:
    """What a batch is made of, and how large each is: sequences of tokens, pictures of pixels, videos of frames."""
    known = resolved(model, workload)
    tokens = f"{integer(scalar(known.seq_len))} tokens"
    if model.latent is None:
        return "sequences", tokens
    own, text = model.latent, scalar(denoise_step.grid(model, workload).text)
    pairs = ((workload.frames, own.length), (workload.height, own.height), (workload.width, own.width))
    frames, height, width = (scalar(denoise_step.given(said, usual)) for said, usual in pairs)
    beside = f" beside {integer(text)} of the text" if text else ""
    each = f"{integer(height)} × {integer(width)} pixels ({tokens}{beside})"
    return ("videos", f"{integer(frames)} frames of {each}") if frames > 1.0 else ("pictures", each)


def between(t: Time) -> str:
    """The interval of a time."""
    return "–" if t.low is None or t.high is None else f"{seconds(scalar(t.low))} to {seconds(scalar(t.high))}"


def show(e: TrainingEstimate) -> None:
    """The answer as tables."""
    w, device, t, p = e.workload, e.cluster.accelerator, e.step_time, e.parallelism
    print(bold(f"{e.model.name} on {scalar(p.devices):.0f} × {device.title}, {e.trainer.title}"))
    name, each = things(e.model, w)
    print(
        f"{integer(scalar(w.global_batch))} {name} of {each} a step: "
        f"{integer(scalar(e.micro_batches))} micro-batches of {integer(scalar(w.micro_batch))} on each of "
        f"{integer(scalar(p.dp))} data-parallel ranks\n"
    )
    expected = "–" if t.expected is None else seconds(scalar(t.expected))
    rows = [("step", seconds(scalar(t.floor)), expected, between(t), seconds(scalar(t.serial)))]
    rows.append(("tokens", *rated(e.tokens_per_s)))
    pictures = pictures_per_s(e)
    rows += [] if pictures is None else [(name, *rated(pictures))]
    print(table(["", "floor", "expected", "90 % interval", "serial"], rows))
    found = e.expected or e.serial
    whole = scalar(found.seconds)
    spent = sorted(((scalar(s), name) for name, s in found.breakdown.items() if scalar(s) > 0.0), reverse=True)
    shares = [(name, seconds(each), f"{each / whole:.1%}") for each, name in spent]
    print("\n" + table(["spent on", "", ""], shares))
    known = {name: scalar(value) for name, value in e.utilisation().items() if not np.isnan(scalar(value))}
    used = [(CONVENTIONS[name], f"{value:.1%}") for name, value in known.items()]
    print("\n" + table(["utilisation of " + scaled(scalar(e.peak), DECIMAL, "FLOP/s"), ""], used))
    show_memory(e)


def rated(rates: Mapping[str, Num | None]) -> tuple[str, str, str, str]:
    """A row of rates: at most, expected, the interval, by the serial sum."""
    told = {name: "–" if value is None else f"{scalar(value):.4g}" for name, value in rates.items()}
    most, expected, serial = (
        told[name] if told[name] == "–" else f"{told[name]} /s" for name in ("ceiling", "expected", "serial")
    )
    return most, expected, "–" if told["low"] == "–" else f"{told['low']} to {told['high']}", serial


CONVENTIONS = {
    "full": "MFU, every operator, full attention",
    "causal": "MFU, every operator, what the mask leaves",
    "palm": "MFU, PaLM's formula",
    "six_n_d": "MFU, 6ND",
    "hardware": "HFU, what is computed, recomputation included",
    "hardware_full": "HFU, the same with full attention",
}


MUCH_HOST = 0.25
"""The share of a step that the host may take before it is told."""
DENOISER_ALONE = (
    "the step is the denoiser's: text encoders and the autoencoder are no part of it; their embeddings and latents are made "
    "beforehand, or add a pass of each"
)


def show_memory(e: TrainingEstimate) -> None:
    """Memory of each kind of stage, and whether it fits."""
    kinds = [
        (n, s, e.memory[n])
        for n, s in zip(("first", "middle", "last"), e.stages.all, strict=True)
        if scalar(s.exists) > 0.0
    ]
    heads = (
        ["memory of a device"] + [f"{name} stage" for name, _, _ in kinds]
        if len(kinds) > 1
        else ["memory of a device", ""]
    )
    rows = [(kind, *(gib(scalar(m.kinds[kind])) for _, _, m in kinds)) for kind in kinds[0][2].kinds]
    rows.append(("total", *(gib(scalar(m.total)) for _, _, m in kinds)))
    print("\n" + table(heads, rows))
    room = scalar(e.cluster.accelerator.usable)
    if not bool(e.fits()):
        print(f"does not fit: {gib(scalar(e.peak_memory))} of {gib(room)}; 'floorline fit --train' says what would")
    print(f"checkpoint {scaled(scalar(e.checkpoint), DECIMAL, 'B')}")


def show_run(run: RunCost | None, e: TrainingEstimate) -> None:
    """What a whole run costs."""
    if run is None:
        return
    money = "" if run.usd is None else f", {scalar(run.usd):,.0f} USD"
    energy = "" if run.joules is None else f", at most {scalar(run.joules) / 3.6e9:,.1f} MWh"
    print(
        f"\n{scalar(run.tokens):.4g} tokens: {integer(round(scalar(run.steps)))} steps, {scalar(run.days):.2f} days "
        f"(failures leave {scalar(run.available):.1%}), {scalar(run.device_hours):,.0f} device-hours{money}{energy}"
    )
    if e.model.latent is None:  # both formulas are of language models
        print(f"6ND: {scalar(run.six_n_d):.4g} FLOP; Chinchilla: {scalar(run.chinchilla_tokens):.4g} tokens")


def remarks(e: TrainingEstimate) -> list[str]:
    """What a reader of the numbers should know."""
    found = [
        "floor: no framework takes less on the data sheet's figures; serial: each launch by the roofline, one after another"
    ]
    if e.model.latent is not None:
        found.append(DENOISER_ALONE)
    if e.expected is None:
        device = e.cluster.accelerator
        return [*found, f"expected times: no model of {device.name}'s kernels is known; shares are of the serial time"]
    whole = e.expected.whole
    width = float(np.exp(whole.form))
    found.append(
        f"expected: {e.trainer.title}; kernel models fitted to measured kernels of {', '.join(whole.accelerators)}; the "
        f"interval has 90 % of "
        f"their errors, and a factor of {width:.2f} either way for what kernels measured alone leave out"
    )
    by_host = scalar(e.expected.breakdown.get("host", 0.0)) / scalar(e.expected.seconds)
    if by_host > MUCH_HOST:
        found.append(
            f"the host takes {by_host:.0%} of the step, which waits while operators are started one by one: a larger "
            "--micro-batch-size gives each more to do, compiled kernels (--engine torchtitan) are fewer"
        )
    if scalar(e.parallelism.devices) > 1.0:
        found += [f"messages: {network(e.cluster)}; of each device one way", *unknown_network(e.cluster)]
    return found


command = Command(train, FLAGS, MODEL)
