"""``floorline modules``: FLOP and memory traffic of the parts of a video transformer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields

from floorline.cli.command import Argument, Command, Flag, Given
from floorline.cli.flags import build
from floorline.cli.model import JSON, load
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.cli.shapes import (
    BATCH,
    DTYPE,
    PIXELS_FLAGS,
    TEXT,
    TOKENS,
    WIDTHS,
    WINDOW,
    precision,
    product,
    sizes,
    told,
)
from floorline.denoise_step import grid, latent_of
from floorline.errors import BadInput
from floorline.module_counts import (
    MEANING,
    MODULES,
    ModuleCount,
    Traffic,
    computed_tokens,
    count_modules,
    sizes_of_model,
)
from floorline.num import number
from floorline.report import envelope
from floorline.specs.fields import PIXELS
from floorline.specs.latent import Latent
from floorline.specs.module_sizes import ModuleSizes
from floorline.specs.workload import Denoise
from floorline.transformer import Transformer
from floorline.units import DECIMAL, data, flops, integer, scaled

FUSIONS = ("unfused", "flash")
MODEL = Argument(
    "model",
    "a diffusion transformer, by a catalogue name, a config.json or a folder that holds one: its widths, its heads, its text and "
    "its usual picture or video; nothing for the sizes that flags say",
    "?",
)
OWN = PIXELS_FLAGS[1:]
"""Flags of what lies between pixels and tokens, which a model says itself."""
WINDOWED = "windowed attention"
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


def modules(named: str | None, given: Given) -> None:
    """FLOP and memory traffic of the parts of a (video) transformer, inputs, weights and results apart: feed-forward, attention
    over all tokens, to a text, in space, in time, linear, in windows. Counted from operators; closed forms in letters.
    The sizes are those of a model, or what flags say, which win over it."""
    model = None if named is None else load(named, {})
    pixels = pixels_of(given)
    z, formats = sizes(given if model is None else of_model(model, given)), precision(given)
    ways = FUSIONS if given["fusion"] is None else (given["fusion"],)
    if ways[0] not in FUSIONS:
        raise BadInput(f"--fusion is {ways[0][:40]!r}; expected unfused or flash")
    only = tuple(word.strip() for word in (given["only"] or "").split(",") if word.strip())
    found = {way: count_modules(z, way, only=only, precision=formats) for way in ways}
    if given["json"]:
        shape = {
            "tokens": z.tokens,
            "windowed_tokens": computed_tokens(WINDOWED, z),
            "frames": z.frames,
            "height": z.height,
            "width": z.width,
        }
        widths = {"hidden_size": z.hidden_size, "heads": z.heads, "head_dim": z.head_dim, "intermediate_size": z.inner}
        asked = {k: v for k, v in {**given, "model": named}.items() if v is not None}
        print_json(envelope("modules", asked, {"sizes": {**shape, **widths}, "letters": MEANING, "traffic": found}))
        return
    show("" if model is None else f"{model.name}: ", z, found, bool(given["operators"]))
    if any(m.name == WINDOWED for m in found[ways[0]]):
        note_windows(z)
    if pixels is not None:
        note_pixels(pixels, latent(given) if model is None else latent_of(model), z)
    if model is not None:
        note_model(model, z)


def latent(given: Given) -> Latent:
    """What flags say of what lies between pixels and tokens."""
    said = {name: given[flag] for name, flag in (("frames", "frames_down"), ("down", "down")) if given.get(flag)}
    said |= {"patch": given.get("patch") or "2", "patch_frames": given.get("patch_frames") or "1"}
    found: Latent = build(Latent, {**said, "first": "1" if given.get("first") else "0"})
    return found


def pixels_of(given: Given) -> tuple[float, float, float] | None:
    """Frames, height and width in pixels; None where tokens are given.

    raises BadInput for anything else
    """
    text = given.get("pixels")
    if not text:
        return None
    try:
        return product(text, "--pixels", PIXELS)
    except BadInput:
        raise BadInput(
            f"--pixels is {text[:40]!r}; expected frames, height and width in pixels, such as 129x720x1280, or 1024x1024"
        ) from None


def of_model(model: Transformer, given: Given) -> Given:
    """The flags with a model's own sizes where they say none.

    raises BadInput for a model that denoises nothing, or flags that say what the model says itself
    """
    z = sizes_of_model(model)
    said = {name: value for name, value in given.items() if value not in (None, False)}
    for flag in OWN:
        if flag.name in said:
            raise BadInput(f"{flag.flags[0]} is {model.name}'s own; leave out one of the two")
    values = {f.name: getattr(z, f.name) for f in fields(z) if getattr(z, f.name) is not None}
    own = {name: value if isinstance(value, str) else f"{scalar(value):.0f}" for name, value in values.items()}
    along = f"{own['frames']}x{own['height']}x{own['width']}"
    pixels = pixels_of(given)
    if pixels is not None and "tokens" not in said:
        frames, height, width = pixels
        found = grid(model, Denoise(frames=frames, height=height, width=width))
        along = "x".join(f"{scalar(n):.0f}" for n in (found.t, found.h, found.w))
        del said["pixels"]
    return {**own, "tokens": along, **said}


def note_model(model: Transformer, z: ModuleSizes) -> None:
    """What parts at a model's sizes are not: its own operators."""
    note(f"parts at the sizes of {model.name}; the operators that it has: floorline flops {model.name}")
    if scalar(latent_of(model).text) == 0.0:
        note(
            f"it reads no text: {integer(scalar(z.text_tokens))} tokens, {integer(scalar(z.text_width))} wide, are assumed"
        )
    if "E" in model.sizes:
        note("its feed-forward has experts: one of them is counted")


def note_windows(z: ModuleSizes) -> None:
    """What windows fill up, where they do not divide the tokens."""
    computed = computed_tokens(WINDOWED, z)
    if scalar(computed) > scalar(z.tokens):
        window, along = (
            " × ".join(integer(scalar(n)) for n in sides)
            for sides in ((z.window_frames, z.window_height, z.window_width), (z.frames, z.height, z.width))
        )
        note(
            f"windows of {window} do not divide {along}: the last of each side is filled up, {integer(scalar(computed))} tokens "
            f"instead of {integer(scalar(z.tokens))}"
        )


def note_pixels(pixels: tuple[float, float, float], own: Latent, z: ModuleSizes) -> None:
    """How many pixels were counted, where tokens do not divide those that were asked for."""
    side = own.down * own.patch
    counted = ((z.frames * own.patch_frames - own.first) * own.frames + own.first, z.height * side, z.width * side)
    asked, found = (" × ".join(f"{scalar(number(n)):.6g}" for n in each) for each in (pixels, counted))
    if asked != found:
        note(f"--pixels {asked} is counted as {found}: latent frames, and tokens along each side, are whole")


def show(name: str, z: ModuleSizes, found: dict[str, tuple[ModuleCount, ...]], operators: bool) -> None:
    """The tables: FLOP first, then traffic for each way."""
    counts = next(iter(found.values()))
    print(bold(name + told(z)) + "\n")
    rows = [
        (m.name, m.whole.formula, flops(scalar(m.whole.flops)), share(scalar(m.core), scalar(m.whole.flops)))
        for m in counts
    ]
    print(table(["part", "FLOP of each video", "FLOP", "of it core"], rows, left=2))
    for way, counts in found.items():
        print()
        lines = [line(x) for m in counts for x in (m.whole, *indented(m.launches if operators else ()))]
        print(table([f"elements, {way}", "inputs", "weights", "written", "bytes", "FLOP/B"], lines))
    used = {
        x for m in counts for text in (m.whole.formula, *m.elements.values()) for x in re.findall("[A-Za-z]'?", text)
    }
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


command = Command(modules, FLAGS, MODEL)
