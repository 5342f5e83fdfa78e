"""``floorline compare``: models, variants, accelerators, plans and formats side by side, and why one is slower."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from string import ascii_uppercase

from floorline.cli.cases import PLANS, VARIANTS, cases
from floorline.cli.command import Argument, Command, Flag
from floorline.cli.cost import cost_of, usual
from floorline.cli.infer import BATCH, answer
from floorline.cli.loop import LOOP
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.cli.waterfall import draw, show_waterfall
from floorline.costs import Cost
from floorline.errors import BadInput
from floorline.estimates import Estimate
from floorline.report import envelope
from floorline.side_by_side import Operator, operators
from floorline.specs.workload import Serve
from floorline.units import gib, integer, seconds
from floorline.waterfalls import BYS, WHATS, Waterfall, waterfall

WATERFALL = Flag(
    "waterfall",
    ("--waterfall",),
    f"why the others take longer than the first, by kind of work: the way from time to time of {', '.join(WHATS)}",
)
BY = Flag("by", ("--by",), f"which time the way is of: {', '.join(BYS)}", "expected, where it is known")
OUTPUT = Flag("output", ("--output", "-o"), "draw the way to a file: .svg, .png, or .json (Vega-Lite)")
OPERATORS = Flag(
    "operators", ("--operators",), "GFLOP, MB, time and overhead of each operator in each column", switch=True
)
FLAGS = (*BATCH, *LOOP, VARIANTS, PLANS, OPERATORS, WATERFALL, BY, OUTPUT)


def compare(*arguments: object) -> None:
    """Estimates side by side: each model with each value of the flags that hold a list (--hardware A,B, --tp 1,2,4, --dtype
    bf16,fp8 …), each plan and each variant; the first column is the reference."""
    *given_models, flags = arguments
    models, given = [str(m) for m in given_models], flags
    assert isinstance(given, Mapping)
    if not models:
        raise BadInput(
            "compare needs at least one MODEL; expected such as: compare llama-3.1-8b llama-2-7b --hardware h100-sxm,a100"
        )
    wanted = cases(models, given)
    columns = [(name, answer(model, own)) for name, model, own in wanted]
    costs = [cost_of(e, own) for (_, e), (_, _, own) in zip(columns, wanted, strict=True)]
    falls = ways(columns, given["waterfall"], given["by"], given["output"])
    if given["output"]:
        draw(falls, given["output"])
    each = {name: by_phase(e) for name, e in columns} if given["operators"] else {}
    if given["json"]:
        rows = [{"name": name, **e.to_dict(), "cost": c} for (name, e), c in zip(columns, costs, strict=True)]
        more: dict[str, object] = {"waterfalls": falls} if falls else {}
        more |= {"operators": each} if each else {}
        print_json(envelope("compare", {**given, "models": models}, {"columns": rows, **more}))
        return
    print(bold("side by side; the factor is against the first column"))
    print(table(["", *(name for name, _ in columns)], [*lines([e for _, e in columns]), *money(costs)]))
    if each:
        show_operators(each)
    for fall in falls:
        show_waterfall(fall)
    note(
        "floor: no engine is faster on the data sheet's figures; expected: by measured kernels; serial: by the roofline."
    )


def ways(
    columns: Sequence[tuple[str, Estimate]], what: str | None, by: str | None, output: str | None
) -> list[Waterfall]:
    """From the first column to each other, where that is asked for.

    raises BadInput where it is not, but a way of drawing it is, or where there is no other column
    """
    if what is None:
        if by or output:
            raise BadInput(
                "--by and --output are of a waterfall; expected --waterfall latency, ttft or tpot beside them"
            )
        return []
    first, *others = columns
    if not others:
        raise BadInput(
            "--waterfall goes from the first column to the others; expected at least two models, cards or plans"
        )
    return [waterfall(first, other, what, by or "") for other in others]


def by_phase(e: Estimate) -> dict[str, tuple[Operator, ...]]:
    """The operators of each phase."""
    return {phase.name: operators(phase) for phase in e.phases}


def lines(estimates: list[Estimate]) -> list[list[str]]:
    """The rows of the table."""
    found = [["parameters", *(integer(scalar(e.model.parameter_count().total)) for e in estimates)]]
    devices = [scalar(e.parallelism.devices) for e in estimates]
    if len(set(devices)) > 1:
        found.append(["devices", *(f"{n:.0f}" for n in devices)])
    for name in ("ttft", "tpot", "latency"):
        times = [getattr(e, name) for e in estimates]
        if all(t is not None for t in times):
            for kind in ("floor", "expected", "serial"):
                known = [getattr(t, kind) for t in times]
                if any(value is None for value in known):
                    continue
                values = [scalar(value) for value in known]
                found.append([f"{name} {kind}", *(f"{seconds(v)} ({values[0] / v:.2f}×)" for v in values)])
    for kind in ("ceiling", "expected", "serial"):
        rates = [e.rates[kind] for e in estimates]
        if all(rate is not None for rate in rates):
            found.append([f"output tokens/s {kind}", *(f"{scalar(rate):.4g}" for rate in rates)])
    flights = [e.workload.concurrency for e in estimates if isinstance(e.workload, Serve)]
    if len(flights) == len(estimates):
        found.append(["requests in flight", *(integer(scalar(n)) for n in flights)])
    for kind in ("weights", "kv_cache", "activations", "workspace", "graphs", "framework", "total"):
        found.append([f"memory {kind}", *(gib(scalar(getattr(e.memory, kind))) for e in estimates)])
    found.append(["fits", *("yes" if e.fits() else "no" for e in estimates)])
    for name in ("prefill", "decode"):
        words = [next((str(p.bound) for p in e.phases if p.name == name), "–") for e in estimates]
        found.append([f"{name} bound by", *words])
    return found


MONEY: dict[str, Callable[[Cost], str | None]] = {
    "USD/h a device": lambda c: None if c.rates.price is None else f"{scalar(c.rates.price):g}",
    "USD a million in": lambda c: None if c.input_usd is None else f"{usual(c.input_usd):.4g}",
    "USD a million out": lambda c: None if c.output_usd is None else f"{usual(c.output_usd):.4g}",
    "J a token out": lambda c: None if c.output_j is None else f"{usual(c.output_j):.3g}",
}
"""Rows of what tokens cost, expected where that is known."""


def money(costs: Sequence[Cost | None]) -> list[list[str]]:
    """Rows of what tokens cost, where that is known of a column."""
    rows = [[name, *((of(c) if c is not None else None) or "–" for c in costs)] for name, of in MONEY.items()]
    return [row for row in rows if any(cell != "–" for cell in row[1:])]


def show_operators(columns: Mapping[str, Mapping[str, Sequence[Operator]]]) -> None:
    """Each operator of each phase with its figures in every column."""
    letters = dict(zip(columns, ascii_uppercase, strict=False))
    phases = dict.fromkeys(phase for found in columns.values() for phase in found)
    print("\n" + "; ".join(f"{letter}: {name}" for name, letter in letters.items()))
    for phase in phases:
        print(bold(f"\n{phase}, all runs in all steps; overhead: time that neither arithmetic nor traffic takes"))
        own = {name: {x.name: x for x in found.get(phase, ())} for name, found in columns.items()}
        names = dict.fromkeys(key for found in own.values() for key in found)
        rows = [[name, *(cell for found in own.values() for cell in figures([found.get(name)]))] for name in names]
        rows.append(["together", *(cell for found in own.values() for cell in figures(list(found.values())))])
        head = [f"{a} {what}" for a in letters.values() for what in ("GFLOP", "MB", "time", "overhead")]
        print(table(["operator", *head], rows))


def figures(several: Sequence[Operator | None]) -> tuple[str, str, str, str]:
    """GFLOP, MB, time and overhead of some operators together; dashes where there are none."""
    found = [x for x in several if x is not None]
    if not found:
        return "–", "–", "–", "–"
    sums = [sum(scalar(getattr(x, key)) for x in found) for key in ("flops", "bytes", "serial", "overhead")]
    return f"{sums[0] / 1e9:.4g}", f"{sums[1] / 1e6:.4g}", seconds(sums[2]), seconds(sums[3])


command = Command(compare, FLAGS, Argument("models", "one or more models", "*"))
