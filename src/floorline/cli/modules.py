"""``floorline modules``: FLOP and memory traffic of the parts of a video transformer."""

from __future__ import annotations

from collections.abc import Sequence

from floorline.cli.command import Command, Flag, Given
from floorline.cli.model import JSON
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.cli.shapes import BATCH, DTYPE, PIXELS_FLAGS, TEXT, TOKENS, WIDTHS, WINDOW, precision, sizes, told
from floorline.errors import BadInput
from floorline.module_counts import MEANING, MODULES, ModuleCount, Traffic, count_modules
from floorline.report import envelope
from floorline.specs.module_sizes import ModuleSizes
from floorline.units import DECIMAL, data, flops, scaled

FUSIONS = ("unfused", "flash")
FLAGS = (
    JSON,
    *WIDTHS,
    TOKENS,
    WINDOW,
    *PIXELS_FLAGS,
    *TEXT,
    BATCH,
    DTYPE,
    Flag("only", ("--only",), f"some parts, by their names joined by commas: {', '.join(MODULES)}", "all"),
    Flag("fusion", ("--fusion",), "traffic of attention as one launch (flash) or as several (unfused)", "both"),
    Flag("operators", ("--operators",), "each launch of the parts too", switch=True),
)


def modules(given: Given) -> None:
    """FLOP and memory traffic of the parts of a (video) transformer, inputs, weights and results apart: feed-forward, attention
    over all tokens, to a text, in space, in time, linear, in windows. Counted from operators; closed forms in letters."""
    z, formats = sizes(given), precision(given)
    ways = FUSIONS if given["fusion"] is None else (given["fusion"],)
    if ways[0] not in FUSIONS:
        raise BadInput(f"--fusion is {ways[0][:40]!r}; expected unfused or flash")
    only = tuple(word.strip() for word in (given["only"] or "").split(",") if word.strip())
    found = {way: count_modules(z, way, only=only, precision=formats) for way in ways}
    if given["json"]:
        shape = {"tokens": z.tokens, "frames": z.frames, "height": z.height, "width": z.width}
        widths = {"hidden_size": z.hidden_size, "heads": z.heads, "head_dim": z.head_dim, "intermediate_size": z.inner}
        print_json(envelope("modules", given, {"sizes": {**shape, **widths}, "letters": MEANING, "traffic": found}))
        return
    show(z, found, bool(given["operators"]))


def show(z: ModuleSizes, found: dict[str, tuple[ModuleCount, ...]], operators: bool) -> None:
    """The tables: FLOP first, then traffic for each way."""
    counts = next(iter(found.values()))
    print(bold(told(z)) + "\n")
    rows = [
        (m.name, m.whole.formula, flops(scalar(m.whole.flops)), share(scalar(m.core), scalar(m.whole.flops)))
        for m in counts
    ]
    print(table(["part", "FLOP of each video", "FLOP", "of it core"], rows, left=2))
    for way, counts in found.items():
        print()
        lines = [line(x) for m in counts for x in (m.whole, *indented(m.launches if operators else ()))]
        print(table([f"elements, {way}", "inputs", "weights", "written", "bytes", "FLOP/B"], lines))
    used = {x for m in counts for text in (m.whole.formula, *m.elements.values()) for x in text if x.isalpha()}
    letters = ", ".join(f"{name} {meant}" for name, meant in MEANING.items() if name in used)
    note(f"{letters}; core: what is no projection; a multiply-add is two FLOP, softmax and activations count none")


def indented(launches: Sequence[Traffic]) -> list[Traffic]:
    """Launches as they stand below their part."""
    return [Traffic(f"  {x.name}", x.formula, x.flops, x.inputs, x.weights, x.written, x.bytes) for x in launches]


def line(x: Traffic) -> tuple[str, ...]:
    """One row of traffic."""
    amounts = (scaled(scalar(n), DECIMAL, "", 4).strip() for n in (x.inputs, x.weights, x.written))
    return x.name, *amounts, data(scalar(x.bytes)), f"{scalar(x.intensity):.4g}"


def share(part: float, whole: float) -> str:
    """A part of a whole."""
    return f"{100.0 * part / whole:.2f} %" if whole else "–"


command = Command(modules, FLAGS)
