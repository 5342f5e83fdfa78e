"""``floorline sweep``: any numeric inputs over lists and ranges."""

from __future__ import annotations

import csv
import json
import os
import sys
from contextlib import redirect_stdout
from dataclasses import fields

import numpy as np

from floorline.cli.command import Command, Flag, Given
from floorline.cli.flags import (
    ENGINE,
    FORMAT,
    HARDWARE,
    PLAN,
    UTILISATION,
    build,
    cluster,
    flag_name,
    numbers,
    of_spec,
    own_share,
    precision,
    ranges,
    whole,
)
from floorline.cli.loop import LOOP, MOST
from floorline.cli.model import JSON, MODEL, READ, load
from floorline.cli.output import note, print_json, table
from floorline.errors import BadInput
from floorline.report import envelope
from floorline.result import exact
from floorline.specs.assumptions import Assumptions
from floorline.specs.parallelism import Parallelism
from floorline.specs.workload import Decode, Generate, Serve
from floorline.sweeps import Sweep, sweep, to_stderr

WORKLOADS = {"generate": Generate, "decode": Decode, "serve": Serve}
FLAGS = (
    JSON,
    *READ,
    *of_spec(Generate),
    Flag("context_len", ("--context-len",), "tokens in the cache, for --workload decode"),
    Flag(
        "workload",
        ("--workload",),
        "generate (prompt and output), decode (one step) or serve (a closed loop)",
        "generate, decode with --context-len, serve with --max-concurrency",
    ),
    LOOP[0],
    *HARDWARE,
    *PLAN,
    *FORMAT,
    *of_spec(Assumptions),
    Flag(
        "vary",
        ("--vary",),
        "further inputs: NAME=VALUES of the model's configuration or the hardware, joined by ';', such as "
        "'num_hidden_layers=16:64:16;memory_bandwidth=1e12,2e12'",
    ),
    UTILISATION,
    ENGINE,
    Flag("expected", ("--expected",), "expected times also beyond 100 000 points, at some 10 us each", switch=True),
    Flag("format", ("--format",), "table, csv, jsonl, json or parquet", "table"),
    Flag("output", ("--output",), "a file instead of stdout (needed for parquet)"),
    Flag(
        "pareto",
        ("--pareto",),
        "only points that no other beats in these columns, such as tpot_floor_s,output_tokens_per_s",
    ),
    Flag("best", ("--best",), "only the best point by this column, such as latency_floor_s"),
    Flag("limit", ("--limit",), "rows of a table", "40"),
)


def sweep_command(model: str, given: Given) -> None:
    """Every combination of lists (1,2,4) and ranges (128:4096:128, 2**0..2**10) given to numeric flags.

    A combination that breaks a rule has empty times and a reason.
    """
    style = form(given)
    made = load(model, given)
    kind = given["workload"] or ("serve" if given["concurrency"] else "decode" if given["context_len"] else "generate")
    if kind not in WORKLOADS:
        raise BadInput(f"--workload is {kind[:40]!r}; expected one of {', '.join(WORKLOADS)}")
    foreign = [f.name for other in WORKLOADS.values() if other is not WORKLOADS[kind] for f in fields(other)]
    for name in foreign:
        if name not in (f.name for f in fields(WORKLOADS[kind])) and given.get(name) is not None:
            raise BadInput(f"{flag_name(name)} is no input of --workload {kind}; leave out one of the two")
    given = {**given, "concurrency": None} if given["concurrency"] == MOST else given
    vary = ranges(given)
    more = further(given["vary"])
    for name in vary.keys() & more.keys():
        raise BadInput(f"--vary has {name!r}, which {flag_name(name)} varies too; leave out one of the two")
    plain = {k: (None if k in vary else v) for k, v in given.items()}
    start = {k: repr(v[0]) for k, v in vary.items() if k in ("context_len", "prompt_len", "seq_len")}
    plan: Parallelism = build(Parallelism, plain)
    formats = precision(plain, made)
    machine = cluster(plain, plan, formats.activations)
    free = "devices" not in vary and given["devices"] is None
    found = sweep(
        made,
        build(WORKLOADS[kind], {**plain, **start}),
        machine,
        {**vary, **more},
        parallelism=plan,
        precision=formats,
        assumptions=build(Assumptions, plain),
        engine=given["engine"],
        expected=True if given["expected"] else None,
        gpu_memory_utilization=own_share(plain, "gpu_memory_utilization"),
        fill=not free and given["dp"] is None,
        free=free,
        progress=to_stderr,
    )
    if (given["pareto"] or given["best"]) and not np.any(found.usable()):
        note(f"none of {len(found)} points breaks no rule and fits; without --pareto and --best the reasons are shown")
    found = found if given["pareto"] is None else found.pareto(*given["pareto"].split(","))
    found = found if given["best"] is None else found.best(given["best"])
    write(found, model, given, style)


def further(text: str | None) -> dict[str, list[float]]:
    """NAME=VALUES pairs of ``--vary``."""
    found: dict[str, list[float]] = {}
    for part in filter(None, (text or "").split(";")):
        name, equals, listed = (x.strip() for x in part.partition("="))
        if not equals or not name:
            raise BadInput(f"--vary has {part[:40]!r}; expected NAME=VALUES such as num_hidden_layers=16:64:16")
        if name in found:
            raise BadInput(f"--vary has {name!r} twice; join the values: {name}=1,2")
        found[name] = numbers(f"--vary {name}", listed)
    return found


def form(given: Given) -> str:
    """The format that was asked for."""
    style: str = given["format"] or ("json" if given["json"] else "table")
    if style not in WRITERS:
        raise BadInput(f"--format is {style[:40]!r}; expected one of {', '.join(WRITERS)}")
    if given["json"] and style != "json":
        raise BadInput(f"--json and --format {style} contradict each other; leave out one of the two")
    if style == "parquet" and given["output"] is None:
        raise BadInput("--format parquet needs --output FILE: it is binary")
    whole(given, "limit")
    return style


def write(found: Sweep, model: str, given: Given, style: str) -> None:
    """The points to stdout or to a file."""
    path = given["output"]
    if path is None:
        WRITERS[style](found, model, given)
        return
    try:
        if style == "parquet":
            as_parquet(found, model, given)
        else:
            with open(path, "w", encoding="utf-8", newline="") as file, redirect_stdout(file):
                WRITERS[style](found, model, given)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise BadInput(f"--output {path[:200]!r}: cannot be written ({why}); choose another path") from None


def as_table(found: Sweep, model: str, given: Given) -> None:
    """The first rows as a table."""
    limit = int(whole(given, "limit") or 40)
    names = [n for n in found.columns if n not in ("feasible",)]
    rows = []
    for row, _ in zip(found.rows(), range(limit), strict=False):
        rows.append(
            ["–" if row[n] is None else f"{row[n]:.5g}" if isinstance(row[n], float) else str(row[n]) for n in names]
        )
    print(table(names, rows, left=0))
    note(f"{min(limit, len(found))} of {len(found)} points" if len(found) > limit else f"{len(found)} points")


def as_csv(found: Sweep, model: str, given: Given) -> None:
    """Comma-separated values, an empty cell for what a rule forbids."""
    writer = csv.DictWriter(sys.stdout, list(found.columns), lineterminator="\n")
    writer.writeheader()
    for row in found.rows():
        writer.writerow({k: "" if v is None else v for k, v in row.items()})


def as_jsonl(found: Sweep, model: str, given: Given) -> None:
    """A JSON object a line."""
    for row in found.rows():
        print(json.dumps(exact(row), ensure_ascii=False, allow_nan=False))


def as_json(found: Sweep, model: str, given: Given) -> None:
    """One JSON document."""
    print_json(envelope("sweep", {**given, "model": model}, {"points": list(found.rows())}))


def as_parquet(found: Sweep, model: str, given: Given) -> None:
    """A Parquet file (needs pyarrow)."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise BadInput(
            "--format parquet needs pyarrow: pip install 'floorline[parquet]', or use --format csv"
        ) from None
    pyarrow.parquet.write_table(pyarrow.table(dict(found.columns)), given["output"])


WRITERS = {"table": as_table, "csv": as_csv, "jsonl": as_jsonl, "json": as_json, "parquet": as_parquet}

command = Command(sweep_command, FLAGS, MODEL)
