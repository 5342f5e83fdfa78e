"""``floorline compare``: models, variants and accelerators side by side."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from floorline.cli.command import Argument, Command, Flag, Given
from floorline.cli.infer import FLAGS as INFER
from floorline.cli.infer import answer
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.errors import BadInput
from floorline.estimates import Estimate
from floorline.report import envelope
from floorline.units import gib, integer, seconds

VARIANTS = Flag(
    "variants",
    ("--variants",),
    "sizes of the model to compare: KEY=VALUE,VALUE of its configuration, such as num_key_value_heads=16,1",
)
FLAGS = (*INFER, VARIANTS)
MOST = 8


def compare(*arguments: object) -> None:
    """Estimates side by side: each model on each of --hardware A,B in each variant; the first column is the reference."""
    *given_models, flags = arguments
    models, given = [str(m) for m in given_models], flags
    assert isinstance(given, Mapping)
    if not models:
        raise BadInput(
            "compare needs at least one MODEL; expected such as: compare llama-3.1-8b llama-2-7b --hardware h100-sxm,a100"
        )
    columns = cases(models, given)
    if given["json"]:
        rows = [{"name": name, **e.to_dict()} for name, e in columns]
        print_json(envelope("compare", {**given, "models": models}, {"columns": rows}))
        return
    print(bold("side by side; the factor is against the first column"))
    print(table(["", *(name for name, _ in columns)], lines([e for _, e in columns])))
    note(
        "floor: no engine is faster on the data sheet's figures; expected: by measured kernels; serial: by the roofline."
    )


def cases(models: list[str], given: Given) -> list[tuple[str, Estimate]]:
    """Every column with its name: what differs between the columns."""
    devices = (given["hardware"] or "h100-sxm").split(",")
    key, variants = variant(given["variants"])
    count = len(models) * len(devices) * len(variants)
    if count > MOST:
        raise BadInput(f"{count} columns are too many to read; expected at most {MOST}: use sweep for more")
    found = []
    for model, device, value in product(models, devices, variants):
        own = {**given, "hardware": device}
        if key:
            own["set"] = ",".join(filter(None, (given.get("set"), f"{key}={value}")))
        parts = ((model, len(models)), (device, len(devices)), (f"{key}={value}", len(variants)))
        name = " ".join(text for text, count in parts if count > 1) or model
        found.append((name, answer(model, own)))
    return found


def variant(text: str | None) -> tuple[str, list[str]]:
    """The key and the values of ``--variants``."""
    if not text:
        return "", [""]
    key, equals, values = text.partition("=")
    if not equals or not key or not values:
        raise BadInput(f"--variants is {text[:40]!r}; expected KEY=VALUE,VALUE such as num_key_value_heads=16,1")
    return key, values.split(",")


def lines(estimates: list[Estimate]) -> list[list[str]]:
    """The rows of the table."""
    found = [["parameters", *(integer(scalar(e.model.parameter_count().total)) for e in estimates)]]
    for name in ("ttft", "tpot", "latency"):
        times = [getattr(e, name) for e in estimates]
        if all(t is not None for t in times):
            for kind in ("floor", "expected", "serial"):
                known = [getattr(t, kind) for t in times]
                if any(value is None for value in known):
                    continue
                values = [scalar(value) for value in known]
                found.append([f"{name} {kind}", *(f"{seconds(v)} ({values[0] / v:.2f}×)" for v in values)])
    for kind in ("weights", "kv_cache", "activations", "workspace", "graphs", "framework", "total"):
        found.append([f"memory {kind}", *(gib(scalar(getattr(e.memory, kind))) for e in estimates)])
    found.append(["fits", *("yes" if e.fits() else "no" for e in estimates)])
    for name in ("prefill", "decode"):
        words = [next((str(p.bound) for p in e.phases if p.name == name), "–") for e in estimates]
        found.append([f"{name} bound by", *words])
    return found


command = Command(compare, FLAGS, Argument("models", "one or more models", "*"))
