"""``floorline roofline``: operators and kernels under the machine's roof."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from string import ascii_uppercase

import numpy as np

from floorline import charts
from floorline.cli.canvas import loglog
from floorline.cli.command import Argument, Command, Flag, Given
from floorline.cli.flags import by_hand
from floorline.cli.infer import BATCH, answer
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.errors import BadInput, near
from floorline.report import envelope
from floorline.rooflines import Point, Roof, Roofline, of_phase
from floorline.specs.precision import FORMATS
from floorline.units import DECIMAL, data, flops, parse, scaled

PHASE = Flag("phase", ("--phase",), "prefill or decode", "prefill, where the model has one")
ONLY = Flag("only", ("--only",), "these operators alone, by their names joined by commas; their sum is 'together'")
KERNEL = Flag(
    "kernel",
    ("--kernel",),
    "kernels of your own instead of a model: NAME=FLOP/BYTES, joined by commas, such as axpy=2e6/24e6",
)
KERNELS = Flag("kernels", ("--kernels",), "a CSV of measured kernels instead of a model: what they reached")
OUTPUT = Flag("output", ("--output", "-o"), "draw it to a file: .svg, .png, or .json (Vega-Lite)")
FLAGS = (*BATCH, PHASE, ONLY, KERNEL, KERNELS, OUTPUT)
SHOWN = 26


def roofline(model: str | None, given: Given) -> None:
    """Arithmetic intensity and attainable rate of each operator of a model, of kernels given by hand, or of measured ones, under
    the roof of the hardware."""
    given_ways = [way for way in (model, given["kernel"], given["kernels"]) if way]
    if len(given_ways) != 1:
        raise BadInput(
            "roofline takes a MODEL, --kernel or --kernels; expected one of the three, such as: roofline llama-3.1-8b"
        )
    if model:
        found = of_model(model, given)
    elif given["kernel"]:
        found = Roofline(roof(given), tuple(by_words(given["kernel"])), "kernels")
    else:
        found = measured(Path(given["kernels"]), given)
    found = only(found, given["only"])
    if given["output"]:
        charts.save(charts.roofline(found), given["output"])
        note(f"wrote {given['output']}")
    if given["json"]:
        whole = found.together("together")
        print_json(envelope("roofline", {**given, "model": model}, {**found.to_dict(), "together": whole.to_dict()}))
    else:
        show(found)
        note(remark(found.roof))


def of_model(model: str, given: Given) -> Roofline:
    """The launches of one phase of a model."""
    e = answer(model, given)
    name = given["phase"] or e.phases[0].name
    phase = next((p for p in e.phases if p.name == name), None)
    if phase is None:
        raise BadInput(f"--phase is {name[:40]!r}; expected one of {', '.join(p.name for p in e.phases)}")
    return of_phase(phase)


def roof(given: Given) -> Roof:
    """The roof of the hardware in a format."""
    from floorline.catalogue.clusters import load_cluster

    form = given["dtype"] or "bf16"
    if form not in FORMATS:
        raise BadInput(f"--dtype is {form[:40]!r}; expected one of {', '.join(FORMATS)}")
    machine = by_hand(load_cluster(given["hardware"] or "h100-sxm"), given, form)
    return Roof.of(machine.accelerator, form)


def by_words(text: str) -> Iterable[Point]:
    """Kernels given as NAME=FLOP/BYTES.

    raises BadInput for anything else

    >>> [float(p.intensity) * 12 for p in by_words("axpy=2e6/24e6")]
    [1.0]
    """
    for word in text.split(","):
        name, equals, amounts = word.partition("=")
        arithmetic, slash, moved = amounts.partition("/")
        if not (equals and slash and name):
            raise BadInput(f"--kernel has {word[:40]!r}; expected NAME=FLOP/BYTES, such as axpy=2e6/24e6")
        values = amount(arithmetic, "FLOP", name), amount(moved, "B", name)
        yield Point(name.strip(), *values)


def amount(text: str, unit: str, name: str) -> float:
    """A positive number, with or without its unit."""
    value = parse(text, unit if text.strip()[-1:].isalpha() else "", f"--kernel {name}")
    if not value > 0.0:
        raise BadInput(f"--kernel {name}: {text[:40]!r} is not above zero; expected FLOP and bytes of the kernel")
    return value


def measured(path: Path, given: Given) -> Roofline:
    """Measured kernels of one device and one format of arithmetic, at the rates that they reached.

    raises BadInput where the file has none of them
    """
    from floorline.catalogue.accelerators import load_accelerator, named
    from floorline.kernels.floors import floor
    from floorline.kernels.formats import kernel_format
    from floorline.kernels.table import read

    top, kernels = roof(given), read(path)
    found = []
    for (device, op, dtype, _), rows in kernels.groups("device", "op", "dtype", "kv_dtype"):
        if named(device) != top.name.removesuffix("*") or top.form not in kernel_format(dtype).arithmetic:
            continue
        part = kernels.take(rows)
        work = floor(part, load_accelerator(device)).work
        arithmetic, moved = (np.broadcast_to(x, len(part)) for x in (work.flops, work.bytes))
        found += [
            Point(f"{op} {dtype}", float(c), float(v), rate=float(c) / float(t))
            for c, v, t in zip(arithmetic, moved, part.seconds, strict=True)
            if c > 0.0
        ]
    if not found:
        there = {f"{d} {t}" for d, t in zip(kernels.words["device"], kernels.words["dtype"], strict=True)}
        told = ", ".join(sorted(there))[:200]
        raise BadInput(
            f"{path}: no kernel of {top.name} with arithmetic in {top.form} (messages and element-wise ones have none); "
            f"it has {told}"
        )
    return Roofline(top, tuple(found), path.name)


def only(found: Roofline, text: str | None) -> Roofline:
    """Some of the points.

    raises BadInput for a name that is none of them
    """
    if not text:
        return found
    names = [p.name for p in found.points]
    wanted = text.split(",")
    for name in wanted:
        if name not in names:
            raise BadInput(f"--only has {name[:40]!r}; {near(name, names)}")
    return Roofline(found.roof, tuple(p for p in found.points if p.name in wanted), found.title)


def show(found: Roofline) -> None:
    """The plot and the table."""
    roof = found.roof
    print(bold(f"{found.title} on {roof.name}, {roof.form}"))
    points = found.points if len(found.points) <= SHOWN else ()
    placed = [p for p in (points or found.points) if scalar(p.flops) > 0.0 and scalar(p.bytes) > 0.0]
    marks = [
        (scalar(p.intensity), reached(roof, p), ascii_uppercase[i] if points else "×") for i, p in enumerate(placed)
    ]
    balance = scalar(roof.balance)
    low = min([balance / 100.0, *(x for x, *_ in marks)])
    high = max([balance * 10.0, *(x for x, *_ in marks)])
    curve = [(x, scalar(roof.attainable(x))) for x in (low, balance, high)]
    print(loglog(curve, marks, "FLOP/B", "FLOP/s"))
    letters = {id(p): ascii_uppercase[i] for i, p in enumerate(placed)} if points else {}
    whole = found.together("together")
    rows = [row(roof, p, letters.get(id(p), " ")) for p in (*points, whole)]
    print(table(["", "kernel", "FLOP", "bytes", "FLOP/B", rate_name(found), "bound by"], rows, left=2))
    if scalar(whole.sent) > 0.0:
        each = scalar(whole.flops) / scalar(whole.sent)
        side = "arithmetic" if each >= scalar(roof.link_balance) else "the link"
        print(
            f"messages: {each:.4g} FLOP for each byte sent, link balance {scalar(roof.link_balance):.4g}: {side} takes longer"
        )


def rate_name(found: Roofline) -> str:
    """What the rates are."""
    return "attainable" if all(np.isnan(scalar(p.rate)) for p in found.points) else "reached"


def reached(roof: Roof, point: Point) -> float:
    """The measured rate, or the attainable one."""
    return scalar(roof.attainable(point.intensity)) if np.isnan(scalar(point.rate)) else scalar(point.rate)


def row(roof: Roof, p: Point, letter: str) -> tuple[str, ...]:
    """A point in a row."""
    amounts = flops(scalar(p.flops)), data(scalar(p.bytes))
    if scalar(p.bytes) == 0.0:
        return letter, p.name, *amounts, "–", "–", "link" if scalar(p.sent) > 0.0 else "–"
    rate = scaled(reached(roof, p), DECIMAL, "FLOP/s")
    return letter, p.name, *amounts, f"{scalar(p.intensity):.4g}", rate, roof.bound(p)


def remark(roof: Roof) -> str:
    """The figures of the roof."""
    parts = [
        f"peak {scaled(scalar(roof.peak), DECIMAL, 'FLOP/s')}",
        f"memory {scaled(scalar(roof.bandwidth), DECIMAL, 'B/s')}",
        f"machine balance {scalar(roof.balance):.4g} FLOP/B",
    ]
    if not np.isnan(scalar(roof.cache)):
        parts.append(
            f"last-level cache {scaled(scalar(roof.cache), DECIMAL, 'B/s')}, balance {scalar(roof.cache_balance):.4g}"
        )
    if not np.isnan(scalar(roof.link)):
        parts.append(
            f"link {scaled(scalar(roof.link), DECIMAL, 'B/s')} one way, balance {scalar(roof.link_balance):.4g}"
        )
    return "; ".join(parts)


command = Command(roofline, FLAGS, Argument("model", "catalogue name, config.json, folder or hub id", "?"))
