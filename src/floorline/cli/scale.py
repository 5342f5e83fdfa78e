"""``floorline scale``: a training step over growing numbers of devices, strong or weak."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from floorline.cli.command import Command, Flag, Given
from floorline.cli.flags import build, cluster, flag_name, numbers
from floorline.cli.infer import unknown_network
from floorline.cli.model import MODEL, load
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.cli.train import FLAGS as TRAINING
from floorline.cli.train import precision
from floorline.errors import BadInput
from floorline.num import Num, number
from floorline.report import envelope
from floorline.specs.assumptions import Assumptions
from floorline.specs.parallelism import Parallelism
from floorline.specs.recipe import Recipe
from floorline.specs.run import Run
from floorline.specs.workload import Train
from floorline.training.scaling_curve import GROWN, Scaling, first, grown, scale
from floorline.units import integer, seconds

ELSEWHERE = ("devices", "check", "trace", *Run.__dataclass_fields__)
"""Flags of ``floorline train`` that make no sense here."""
FLAGS = (
    Flag("strong", ("--strong",), "counts of devices, such as 1,2,4,8,16: the global batch stays"),
    Flag("weak", ("--weak",), "counts of devices: the global batch, that of the first count, grows along"),
    Flag("grow", ("--grow",), f"the degree that grows: {', '.join(GROWN)}; the others stay", "dp"),
    Flag(
        "over",
        ("--over",),
        "a curve for each value of another number: NAME=VALUES, such as seq_len=1024,4096 or num_hidden_layers=12,24",
    ),
    *(flag for flag in TRAINING if flag.name not in ELSEWHERE),
)
NUMERIC = ("micro_batch", "global_batch", "seq_len", "tp", "dp", "pp", "cp", "ep", "virtual_stages", "recompute_layers")
"""Flags that ``--over`` may name; other names are the model's configuration's."""


def scale_command(model: str, given: Given) -> None:
    """Strong or weak scaling of training: speed-up S = t1/tn and efficiency E = S/n over numbers of devices, what is exposed of
    messages, and with --over the same as a function of another number."""
    curves = [(over, curve(model, own)) for over, own in variants(given)]
    if given["json"]:
        told = [{"over": over, **found.to_dict()} for over, found in curves]
        print_json(envelope("scale", {**given, "model": model}, {"curves": told}))
        return
    for over, found in curves:
        show(found, over)
    for remark in remarks(curves[0][1]):
        note(remark)


def variants(given: Given) -> list[tuple[dict[str, float], Given]]:
    """The flags of each curve, with what it is of."""
    text = given["over"]
    if text is None:
        return [({}, given)]
    name, equals, listed = (x.strip() for x in text.partition("="))
    if not equals or not name:
        raise BadInput(f"--over is {text[:40]!r}; expected NAME=VALUES such as seq_len=1024,4096")
    name = name.replace("-", "_")
    if name == given.get("grow") or (name == "dp" and given.get("grow") is None):
        raise BadInput(f"--over {name} is what grows; expected another name, or --grow")
    if name in NUMERIC and given.get(name) is not None:
        raise BadInput(f"--over {name} and {flag_name(name)} contradict each other; leave out one of the two")
    found: list[tuple[dict[str, float], Given]] = []
    for value in numbers(f"--over {name}", listed):
        plain = f"{value:.17g}"
        before = f"{given['set']}," if given.get("set") else ""
        new = {name: plain} if name in NUMERIC else {"set": f"{before}{name}={plain}"}
        found.append(({name: value}, {**given, **new}))
    return found


def curve(model: str, given: Given) -> Scaling:
    """The curve that some flags ask for.

    raises BadInput for counts that the plan does not divide, Infeasible where the first breaks a rule
    """
    kinds = [kind for kind in ("strong", "weak") if given.get(kind) is not None]
    if len(kinds) != 1:
        raise BadInput("expected one of --strong 1,2,4,8 (the batch stays) and --weak 1,2,4,8 (it grows along)")
    (kind,) = kinds
    counts = number(numbers(f"--{kind}", given[kind]))
    grow = given.get("grow") or "dp"
    if grow in GROWN and given.get(grow) is not None:
        raise BadInput(f"{flag_name(grow)} is what grows; leave it out, or grow another degree with --grow")
    made = load(model, given)
    plan: Parallelism = build(Parallelism, given)
    formats = precision(given, made, given.get("engine"))
    whole = given.get("global_batch") is not None
    asked = given if whole else {**given, "global_batch": usual_batch(given, grown(plan, grow, counts), kind)}
    return scale(
        made,
        build(Train, asked),
        cluster({**given, "devices": None}, plan, formats.activations),
        [float(x) for x in np.asarray(counts)],
        kind=kind,
        grow=grow,
        parallelism=plan,
        precision=formats,
        recipe=build(Recipe, given),
        assumptions=build(Assumptions, given),
        engine=given.get("engine"),
    )


def usual_batch(given: Given, plan: Parallelism, kind: str) -> str:
    """One micro-batch on each data-parallel rank, and as many as there are pipeline stages: of the first count where the batch
    grows, else of the largest."""
    micro = float(given.get("micro_batch") or 1.0)
    ranks: Num = plan.dp * plan.pp
    return repr(micro * (first(ranks) if kind == "weak" else float(np.max(np.asarray(ranks)))))


def show(found: Scaling, over: dict[str, float]) -> None:
    """A curve as a table."""
    e, by = found.steps, "serial" if found.step_time.expected is None else "expected"
    w = e.workload
    told = "".join(f", {name} {value:g}" for name, value in over.items())
    print(bold(f"{found.kind} scaling of {e.model.name} on {e.cluster.accelerator.title}, {found.grow} grows{told}"))
    batch, tokens = (integer(first(found.along(value))) for value in (w.global_batch, w.seq_len))
    along = f" on {first(found.devices):.0f} devices, growing along" if found.kind == "weak" else ""
    print(f"{batch} sequences of {tokens} tokens a step{along}\n")
    heads = ["devices", "step", "90 % interval", "tokens/s", "speed-up", "efficiency", "messages", "bubble", "fits"]
    print(table(heads, [row(found, by, at) for at in range(np.size(found.devices))]) + "\n")


def row(found: Scaling, by: str, at: int) -> list[str]:
    """One count of devices."""

    def of(value: Any) -> float:
        return scalar(np.asarray(value)[at])

    t = found.step_time
    count = f"{of(found.devices):.0f}"
    if found.reasons[at]:
        return [count, *["–"] * 7, found.reasons[at].partition(";")[0]]
    span = "–" if t.low is None or t.high is None else f"{seconds(of(t.low))} to {seconds(of(t.high))}"
    fits = bool(np.broadcast_to(found.steps.fits(), np.shape(found.devices))[at])
    return [
        count,
        seconds(of(getattr(t, by))),
        span,
        f"{of(found.tokens_per_s[by]):.4g}",
        f"{of(found.speed_up[by]):.2f}",
        f"{of(found.efficiency[by]):.1%}",
        f"{of(found.shares['messages']):.1%}",
        f"{of(found.shares['bubble']):.1%}",
        "yes" if fits else "no",
    ]


def remarks(found: Scaling) -> list[str]:
    """What a reader of the numbers should know."""
    of = "the step's time on the first count over that on n"
    lines = [
        f"speed-up: {of}; efficiency: speed-up over n times as many devices"
        if found.kind == "strong"
        else f"efficiency: {of}, each device with as many sequences; speed-up: efficiency times as many devices"
    ]
    if found.step_time.expected is None:
        lines.append("times by the serial sum: no model of this device's kernels is known")
    lines.append("messages: share of the step that waits for messages which nothing hides")
    most = replace(found.steps.cluster, devices=float(np.max(np.asarray(found.devices))))
    return [*lines, *unknown_network(most)]


command = Command(scale_command, FLAGS, MODEL)
