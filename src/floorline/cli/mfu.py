"""``floorline mfu``: what a measured training run makes of the devices, under each convention side by side."""

from __future__ import annotations

import numpy as np

from floorline.cli.command import Command, Flag, Given
from floorline.cli.flags import HARDWARE, build, cluster, of_spec, plain_number
from floorline.cli.model import JSON, MODEL, READ, load
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.cli.train import CONVENTIONS, DENOISER_ALONE, DTYPE, TRAINER, precision, things
from floorline.errors import BadInput
from floorline.report import envelope
from floorline.specs.parallelism import Parallelism
from floorline.specs.recipe import Recipe
from floorline.specs.workload import Train
from floorline.training.utilisation import Utilisation, mfu
from floorline.units import DECIMAL, flops, integer, parse, scaled, seconds

MEASURED = {"step_time": "s", "tokens_per_second": "", "tflops_per_device": "FLOP/s"}
"""What may be measured, with its unit."""
FLAGS = (
    JSON,
    *READ,
    Flag("step_time", ("--step-time",), "measured time of an optimizer step, such as 0.755 or '755 ms'"),
    Flag("tokens_per_second", ("--tokens-per-second",), "or measured tokens a second of all devices"),
    Flag(
        "tflops_per_device",
        ("--tflops-per-device", "--tflops-per-gpu"),
        "or TFLOP/s of each device as a framework printed them, counted as --counted-by says",
    ),
    Flag("counted_by", ("--counted-by",), f"convention of --tflops-per-device: {', '.join(CONVENTIONS)}", "full"),
    *of_spec(Train),
    *(f for f in of_spec(Recipe) if f.name.startswith("recompute")),
    *HARDWARE,
    DTYPE,
    TRAINER,
)


def utilisation(model: str, given: Given) -> None:
    """MFU and HFU of a measured training run under each convention of counting its arithmetic, and the TFLOP/s that each convention
    would print."""
    found = answer(model, given)
    if given["json"]:
        provenance = {"model": found.model.source, "hardware": found.cluster.accelerator.title}
        print_json(envelope("mfu", {**given, "model": model}, found.to_dict(), provenance=provenance))
        return
    show(found)
    for remark in remarks(found):
        note(remark)


def answer(model: str, given: Given) -> Utilisation:
    """What some flags ask for.

    raises BadInput where not exactly one measurement is given
    """
    known = {name: measured(given, name) for name in MEASURED if given.get(name) is not None}
    if len(known) != 1:
        raise BadInput(
            f"{'nothing measured' if not known else 'several measurements'}: expected one of --step-time 0.755, "
            "--tokens-per-second 1e5, --tflops-per-device 187"
        )
    if given.get("counted_by") is not None and "tflops_per_device" not in known:
        raise BadInput("--counted-by says how --tflops-per-device was counted; leave it out, or give that rate")
    made = load(model, given)
    formats = precision(given, made, given.get("engine"))
    return mfu(
        made,
        build(Train, given),
        cluster(given, Parallelism(), formats.activations),
        step_time=known.get("step_time"),
        tokens_per_s=known.get("tokens_per_second"),
        flops_per_s_per_device=known.get("tflops_per_device"),
        counted=given.get("counted_by") or "full",
        precision=formats,
        recipe=build(Recipe, given),
        engine=given.get("engine"),
    )


def measured(given: Given, name: str) -> float:
    """A measurement, with a unit or in the one that its flag is named after."""
    text, unit = given[name], MEASURED[name]
    flag = f"--{name.replace('_', '-')}"
    value = plain_number(text)
    if value is not None and unit == "FLOP/s":
        value = value * 1e12
    if value is None and unit:
        value = parse(text, unit, flag)
    if value is None or not 0.0 < value < 1e30:
        raise BadInput(f"{flag} is {text[:40]!r}; expected a number above zero")
    return value


def show(found: Utilisation) -> None:
    """A line for each convention."""
    w, devices = found.workload, scalar(found.cluster.devices)
    print(bold(f"{found.model.name} on {devices:.0f} × {found.cluster.accelerator.title}"))
    thing, each = things(found.model, w)
    pictures = "" if found.pictures_per_s is None else f"{scalar(found.pictures_per_s):.4g} {thing}/s, "
    print(
        f"{integer(scalar(w.global_batch))} {thing} of {each} in {seconds(scalar(found.step_time))}: {pictures}"
        f"{scalar(found.tokens_per_s):.4g} tokens/s, {scalar(found.tokens_per_s) / devices:.4g} each device; "
        f"peak {scaled(scalar(found.peak), DECIMAL, 'FLOP/s')}\n"
    )
    shares, rates, amounts = found.of, found.rates, found.flops.conventions
    rows = [
        (
            told,
            f"{scalar(shares[name]):.2%}",
            f"{scalar(rates[name]) / 1e12:.2f}",
            flops(scalar(amounts[name]) / scalar(w.global_batch)),
        )
        for name, told in CONVENTIONS.items()
        if not np.isnan(scalar(shares[name]))
    ]
    print(table(["convention", "utilisation", "TFLOP/s a device", f"a {thing[:-1]}"], rows))


def remarks(found: Utilisation) -> list[str]:
    """What a reader of the numbers should know."""
    lines = ["MFU counts nothing twice; HFU counts what the backward pass computes again (--recompute, --engine)"]
    if found.model.latent is not None:
        lines.append(DENOISER_ALONE)
    if scalar(found.of["causal"]) > 1.0:
        lines.append(
            "more than the peak, which no device reaches: check --devices, --global-batch-size, --dtype, --hardware"
        )
    return lines


command = Command(utilisation, FLAGS, MODEL)
