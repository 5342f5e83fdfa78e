"""``floorline hardware``: the catalogue of accelerators."""

from __future__ import annotations

from floorline.catalogue.accelerators import aliases, load_accelerator, names, plain
from floorline.cli.command import Argument, Command, Given
from floorline.cli.model import JSON
from floorline.cli.output import bold, print_json, scalar, table
from floorline.errors import NotFound, near
from floorline.report import envelope
from floorline.specs.accelerator import Accelerator, Cluster
from floorline.units import DECIMAL, gib, scaled


def hardware(search: str | None, given: Given) -> None:
    """Accelerators of the catalogue: all, those whose name contains a word, or one with every figure and its source."""
    key = plain(search) if search else ""
    exact = key if key in names() else aliases().get(key, "")
    found = [exact] if exact else [n for n in names() if key in n]
    if not found:
        raise NotFound(f"no accelerator contains {str(search)[:60]!r}; {near(key, [*names(), *aliases()])}")
    devices = [load_accelerator(n) for n in found]
    if given["json"]:
        rows = [{**Cluster(d).to_dict(), "figures": d.figures} for d in devices]
        print_json(envelope("hardware", {"search": search}, {"hardware": rows}))
    elif exact:
        show(devices[0])
    else:
        print(table(["name", "bf16/fp16", "memory", "bandwidth", "link, one way"], [line(d) for d in devices]))


def line(d: Accelerator) -> tuple[str, ...]:
    """One accelerator in a row."""
    rate = scaled(scalar(d.peak("bf16")), DECIMAL, "FLOP/s")
    link = scaled(scalar(d.links[0].bandwidth), DECIMAL, "B/s") + f" {d.links[0].name}" if d.links else "–"
    return d.name, rate, gib(scalar(d.usable)), scaled(scalar(d.memory_bandwidth), DECIMAL, "B/s"), link


def show(d: Accelerator) -> None:
    """Every figure of one accelerator with its sources."""
    print(bold(f"{d.name}: {d.title}"))
    rows = []
    for name, figure in d.figures.items():
        entry = figure if isinstance(figure, dict) else {"value": figure, "sources": []}
        rows.append((name, str(entry.get("value")), ", ".join(entry.get("sources", [])), str(entry.get("note", ""))))
    print(table(["figure", "value", "sources", "note"], rows, left=4))


command = Command(hardware, (JSON,), Argument("search", "a name, or a word in it", "?"))
