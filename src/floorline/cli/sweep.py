"""``floorline sweep``: any numeric inputs over lists and ranges."""

from __future__ import annotations

import csv
import json
import sys
from typing import Any

from floorline.cli.flags import (
    FORMAT,
    HARDWARE,
    JSON,
    MODEL,
    PLAN,
    SET,
    Flag,
    Given,
    build,
    cluster,
    load,
    of_spec,
    parallelism,
    precision,
    ranges,
    share,
    signature,
)  # fmt: skip
from floorline.cli.output import note, print_json, table
from floorline.errors import BadInput
from floorline.fit import UTILISATION
from floorline.report import envelope, exact
from floorline.specs.assumptions import Assumptions
from floorline.specs.workload import Decode, Generate
from floorline.sweep import Sweep, sweep, to_stderr, values

WORKLOADS = {"generate": Generate, "decode": Decode}
FLAGS = (
    JSON, SET, *of_spec(Generate),
    Flag("context_len", ("--context-len",), "tokens in the cache, for --workload decode"),
    Flag("workload", ("--workload",), "generate (prompt and output) or decode (one step)", "generate, or decode with --context-len"),
    *HARDWARE, *PLAN, *FORMAT, *of_spec(Assumptions),
    Flag("vary", ("--vary",), "further inputs: NAME=VALUES of the model's configuration or the hardware, joined by ';', such as "
         "'num_hidden_layers=16:64:16;memory_bandwidth=1e12,2e12'"),
    Flag("gpu_memory_utilization", ("--gpu-memory-utilization",), "share of the memory that may be used", f"{UTILISATION:g}"),
    Flag("format", ("--format",), "table, csv, jsonl or parquet", "table"),
    Flag("output", ("--output",), "a file instead of stdout (needed for parquet)"),
    Flag("pareto", ("--pareto",), "only points that no other beats in these columns, such as tpot_floor_s,output_tokens_per_s"),
    Flag("best", ("--best",), "only the best point by this column, such as latency_floor_s"),
    Flag("limit", ("--limit",), "rows of a table", "40"),
)  # fmt: skip


def sweep_command(model: str, given: Given) -> None:
    """Every combination of lists (1,2,4) and ranges (128:4096:128, 2**0..2**10) given to numeric flags.

    A combination that breaks a rule has empty times and a reason.
    """
    made = load(model, given)
    kind = given["workload"] or ("decode" if given["context_len"] else "generate")
    if kind not in WORKLOADS:
        raise BadInput(f"--workload is {kind[:40]!r}; expected one of {', '.join(WORKLOADS)}")
    numeric = [f.name for f in FLAGS if f.name not in ("vary", "pareto", "best", "output", "hardware", "set")]
    vary = ranges(given, numeric)
    plain = {k: (None if k in vary else v) for k, v in given.items()}
    start = {k: repr(v[0]) for k, v in vary.items() if k in ("context_len", "prompt_len", "seq_len")}
    plan = parallelism(plain) if "devices" not in vary else build_plan(plain)
    formats = precision(plain, made)
    machine = cluster(plain, plan, formats.activations)
    if "devices" not in vary and given["devices"] is None:
        machine = type(machine)(machine.accelerator, 1e7)
    found = sweep(
        made, build(WORKLOADS[kind], {**plain, **start}), machine, {**vary, **further(given["vary"])}, parallelism=plan, precision=formats,
        assumptions=build(Assumptions, plain), gpu_memory_utilization=share(plain, "gpu_memory_utilization", UTILISATION), progress=to_stderr,
    )  # fmt: skip
    found = found.pareto(*given["pareto"].split(",")) if given["pareto"] else found
    found = found.best(given["best"]) if given["best"] else found
    write(found, model, given)


def build_plan(plain: Given) -> Any:
    """The plan where the number of devices varies."""
    return parallelism({**plain, "devices": None})


def further(text: str | None) -> dict[str, list[float]]:
    """NAME=VALUES pairs of ``--vary``."""
    found = {}
    for part in filter(None, (text or "").split(";")):
        name, equals, numbers = part.partition("=")
        if not equals:
            raise BadInput(f"--vary has {part[:40]!r}; expected NAME=VALUES such as num_hidden_layers=16:64:16")
        found[name.strip()] = values(numbers)
    return found


def write(found: Sweep, model: str, given: Given) -> None:
    """The points in the format that was asked for."""
    style = given["format"] or ("json" if given["json"] else "table")
    writers = {"table": as_table, "csv": as_csv, "jsonl": as_jsonl, "parquet": as_parquet, "json": as_json}
    if style not in writers:
        raise BadInput(f"--format is {style[:40]!r}; expected table, csv, jsonl or parquet")
    writers[style](found, model, given)


def stream(given: Given) -> Any:
    """Where the points go."""
    if given["output"] is None:
        return sys.stdout
    try:
        return open(given["output"], "w", encoding="utf-8", newline="")
    except OSError as error:
        raise BadInput(
            f"--output {given['output']}: cannot be written ({error.strerror}); choose another path"
        ) from None


def as_table(found: Sweep, model: str, given: Given) -> None:
    """The first rows as a table."""
    limit = int(float(given["limit"] or 40))
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
    writer = csv.DictWriter(stream(given), list(found.columns), lineterminator="\n")
    writer.writeheader()
    for row in found.rows():
        writer.writerow({k: "" if v is None else v for k, v in row.items()})


def as_jsonl(found: Sweep, model: str, given: Given) -> None:
    """A JSON object a line."""
    out = stream(given)
    for row in found.rows():
        out.write(json.dumps(exact(row), ensure_ascii=False, allow_nan=False) + "\n")


def as_json(found: Sweep, model: str, given: Given) -> None:
    """One JSON document."""
    print_json(envelope("sweep", {**given, "model": model}, {"points": list(found.rows())}))


def as_parquet(found: Sweep, model: str, given: Given) -> None:
    """A Parquet file (needs pyarrow)."""
    if given["output"] is None:
        raise BadInput("--format parquet needs --output FILE: it is binary")
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise BadInput(
            "--format parquet needs pyarrow: pip install 'floorline[parquet]', or use --format csv"
        ) from None
    pyarrow.parquet.write_table(pyarrow.table(dict(found.columns)), given["output"])


command = signature(sweep_command, FLAGS, MODEL)
