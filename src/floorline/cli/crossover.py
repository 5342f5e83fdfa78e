"""``floorline crossover``: where the FLOP of two parts of a transformer meet."""

from __future__ import annotations

import numpy as np

from floorline import charts
from floorline.cli.canvas import curves
from floorline.cli.command import Command, Flag, Given
from floorline.cli.model import JSON, load
from floorline.cli.modules import MODEL, of_model
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.cli.shapes import WIDTHS, product, sizes
from floorline.crossings import SIDES, Crossing, crossing
from floorline.report import envelope
from floorline.specs.module_sizes import SIDE
from floorline.units import flops, integer

POINTS = 25
CALLED = {"frames": "latent frames"}
"""What grows, as people are told: an autoencoder makes one frame of latents of several frames of the video."""
LARGEST = 1e6
"""The most tokens or frames that are drawn."""
FLAGS = (
    JSON,
    *WIDTHS,
    Flag("over", ("--over",), f"what grows: {' or '.join(SIDES)} (latent frames)", "tokens"),
    Flag(
        "frame",
        ("--frame",),
        "tokens of a latent frame along height and width, where frames grow",
        "32x32, or the model's",
    ),
    Flag("output", ("--chart", "--output", "-o"), "draw it to a file: .svg, .png, or .json (Vega-Lite)"),
)


def crossover(named: str | None, given: Given) -> None:
    """From how many tokens on attention has more FLOP than the feed-forward, or from how many frames on attention over a whole
    video has more than attention in space and then in time: counted from their operators, with a plot.
    The sizes are those of a model, or what flags say, which win over it."""
    over = given["over"] or "tokens"
    model = None if named is None else load(named, {})
    asked = given if model is None else of_model(model, given)
    _, height, width = product(given["frame"] or asked.get("tokens") or "32x32", "--frame", SIDE)
    z = sizes({**asked, "tokens": f"1x{height:.0f}x{width:.0f}"})
    found = crossing(z, over)
    grown = points(scalar(found.at))
    if given["output"]:
        charts.save(charts.crossing(found, grown), given["output"])
        note(f"wrote {given['output']}")
    if given["json"]:
        curve = [dict(zip((over, "first", "second"), (x, *found.flops(x)), strict=True)) for x in grown]
        said = {k: v for k, v in {**given, "model": named}.items() if v is not None}
        print_json(envelope("crossover", said, {**found.to_dict(), "curve": curve}))
        return
    show("" if model is None else f"{model.name}: ", found, grown)


def points(at: float) -> tuple[float, ...]:
    """Where both are counted: whole numbers on either side of the crossing, and itself."""
    middle = min(at, LARGEST) if 1.0 <= at < np.inf else 1.0
    around = np.exp2(np.linspace(-4.0, 4.0, POINTS)) * middle
    kept = {float(x) for x in np.round(around) if 1.0 <= x <= LARGEST}
    return tuple(sorted({*kept, 1.0} if middle < 16.0 else kept))


def show(name: str, found: Crossing, grown: tuple[float, ...]) -> None:
    """The forms, the plot and a table of lengths."""
    first, second, at, what = found.first, found.second, scalar(found.at), CALLED.get(found.over, found.over)
    z = found.sizes
    beside = (
        f", frames of {integer(scalar(z.height))} × {integer(scalar(z.width))} tokens" if what != found.over else ""
    )
    print(bold(f"{name}over {what}{beside}; width {integer(scalar(z.hidden_size))}, {scalar(z.heads):.0f} heads"))
    print(table(["part", "FLOP"], [(f"a  {first.name}", first.formula), (f"b  {second.name}", second.formula)], left=2))
    width = scalar(found.sizes.hidden_size)
    if 1.0 <= at < np.inf:
        exactly = f"{integer(at)}" if at == int(at) else f"{at:.4g}"
        times = f", {at / width:.4g}·D" if found.over == "tokens" else ""
        print(bold(f"they meet at {exactly} {what}{times}; beyond, {first.name} has more"))
    else:
        more = second.name if at == np.inf and scalar(first.linear) < scalar(second.linear) else first.name
        print(bold(f"they never meet: {more} has more from the first of the {what} on"))
    amounts = {x: tuple(scalar(n) for n in found.flops(x)) for x in grown}
    drawn = [(letter, [(x, y[i]) for x, y in amounts.items()]) for i, letter in enumerate("ab")]
    marks = [(at, scalar(found.flops(at)[0]), "X")] if grown[0] <= at <= grown[-1] and at == int(at) else []
    print(curves(drawn, marks, what, "FLOP"))
    chosen = [x for x in grown if x in (grown[0], grown[-1]) or grown.index(x) % 6 == 0]
    rows = [(integer(x), *(flops(n) for n in amounts[x]), f"{amounts[x][0] / amounts[x][1]:.4g}") for x in chosen]
    print(table([what, first.name, second.name, "ratio"], rows, left=0))


command = Command(crossover, FLAGS, MODEL)
