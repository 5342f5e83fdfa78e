"""``floorline plans``: every way of training a model on so many devices, the fastest that fits first."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from typing import Any

import numpy as np

from floorline.cli.command import Command, Flag, Given
from floorline.cli.flags import HARDWARE, build, cluster, flag_name, numbers, of_spec, whole
from floorline.cli.model import JSON, MODEL, READ, load
from floorline.cli.output import note, print_json, scalar
from floorline.cli.sweep import form, write
from floorline.cli.train import DTYPE, TRAINER, precision, things
from floorline.errors import BadInput, near
from floorline.plan_search import Choices, plans
from floorline.recomputation import NAMES
from floorline.report import envelope
from floorline.result import exact
from floorline.specs.fields import check_choice
from floorline.specs.parallelism import Parallelism
from floorline.specs.recipe import POLICIES, Recipe
from floorline.specs.workload import Train
from floorline.sweeps import Sweep
from floorline.train_step import resolved
from floorline.units import integer

LISTS = tuple(
    replace(flag, doc=f"{flag.doc}; several joined by commas", default="many")
    for flag in (*of_spec(Parallelism, skip=("extra",)), *of_spec(Train), *of_spec(Recipe))
    if flag.name in {f.name for f in fields(Choices)} and not flag.switch
)
FLAGS = (
    JSON,
    *READ,
    *of_spec(Train, skip=("micro_batch",)),
    *HARDWARE,
    *LISTS,
    Flag("sequence_parallel", ("--sequence-parallel",), "no, yes or both, joined by a comma", "no,yes"),
    Flag("offload_optimizer", ("--offload-optimizer",), "no, yes or both, joined by a comma", "no"),
    DTYPE,
    TRAINER,
    Flag("by", ("--by",), "column to sort by: step_expected_s, memory_bytes …", "step_expected_s"),
    Flag(
        "pareto", ("--pareto",), "only plans that no other beats in these columns, such as step_expected_s,memory_bytes"
    ),
    Flag("all", ("--all",), "plans that break a rule or do not fit too, with the reason", switch=True),
    Flag("format", ("--format",), "table, csv, jsonl, json or parquet", "table"),
    Flag("output", ("--output",), "a file instead of stdout (needed for parquet)"),
    Flag("limit", ("--limit",), "rows of a table", "10"),
)


def plans_command(model: str, given: Given) -> None:
    """Every plan of training a model on so many devices, priced: degrees, virtual stages, micro-batch, recomputation, ZeRO,
    sequence parallelism, offload; the fastest that fit first, and why the others do not count."""
    style, made = form(given), load(model, given)
    devices = whole(given, "devices", most=1e7)
    if devices is None:
        raise BadInput("--devices is missing; expected how many there are, such as --devices 1024")
    plain = {**given, "global_batch": given["global_batch"] or repr(devices)}
    work: Train = build(Train, {k: v for k, v in plain.items() if k != "micro_batch"})
    formats = precision({**given, "gradients": None, "matmuls": None}, made, given["engine"])
    machine = cluster(given, Parallelism(), formats.activations)
    found = plans(made, work, machine, choices=choices(given), precision=formats, engine=given["engine"])
    reasons = Counter(reason for reason in found.columns["reason"].tolist() if reason)
    chosen = found if given["all"] else found.only(np.flatnonzero(found.usable()))
    chosen = chosen if given["pareto"] is None else found.pareto(*given["pareto"].split(","))
    chosen = ordered(chosen, given["by"] or "step_expected_s")
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    if style == "json" and given["output"] is None:
        asked = {"kind": "Train", **exact(resolved(made, work))}
        del asked["micro_batch"]  # each point has its own
        body = {"workload": asked, "plans": len(found), "reasons": dict(reasons), "points": list(chosen.rows())}
        print_json(envelope("plans", {**given, "model": model}, body))
        return
    write(told_apart(chosen, style), model, {**given, "limit": given["limit"] or "10"}, style)
    name, each = things(made, work)
    note(f"{integer(scalar(work.global_batch))} {name} of {each} a step")
    note(f"{len(found)} plans, {int(np.sum(found.usable()))} fit" + (f"; not: {told}" if told else ""))


def ordered(found: Sweep, by: str) -> Sweep:
    """Plans, the best first."""
    return found.only(np.argsort(found.score(by), kind="stable"))


def told_apart(found: Sweep, style: str) -> Sweep:
    """For a table only what tells plans apart."""
    if style != "table" or not len(found):
        return found
    keep = ("step_expected_s", "tokens_per_s", "memory_bytes", "reason")
    varied = [n for n, c in found.columns.items() if n in keep or (n in found.varied and len(set(c.tolist())) > 1)]
    hidden = ("step_floor_s", "step_serial_s", "step_low_s", "step_high_s", "feasible", "fits")
    return Sweep({n: found.columns[n] for n in varied if n not in hidden}, found.varied)


def choices(given: Given) -> Choices:
    """What is tried: the usual, but for flags that say otherwise.

    raises BadInput for a word or a number that cannot be
    """
    found: dict[str, Any] = {"offload_optimizer": ("no",)}
    words = {f.name: f for spec in (Parallelism, Recipe) for f in fields(spec)}
    for f in fields(Choices):
        text = given.get(f.name)
        if text is None or f.name == "further":
            continue
        if f.name == "recompute":
            found[f.name] = tuple(policy(part) for part in text.split(","))
        elif "options" in words[f.name].metadata if f.name in words else False:
            for part in text.split(","):
                check_choice(words[f.name], part, flag_name(f.name))
            found[f.name] = tuple(text.split(","))
        else:
            found[f.name] = tuple(int(n) for n in numbers(flag_name(f.name), text))
            if min(found[f.name]) < 1:
                raise BadInput(f"{flag_name(f.name)} is {text[:40]!r}; expected whole numbers from 1")
    return Choices(**found)


def policy(text: str) -> str:
    """A policy of recomputation.

    raises BadInput for one that there is not
    """
    for part in text.split("+"):
        if part not in (*POLICIES, *NAMES):
            raise BadInput(
                f"--recompute has {part[:40]!r}; {near(part, NAMES)}; expected none, selective, full or parts joined by +"
            )
    return text


command = Command(plans_command, FLAGS, MODEL)
