"""``floorline calibrate``: models of an accelerator's kernels, fitted to measured ones."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from floorline.cli.command import Argument, Command, Flag, Given
from floorline.cli.model import JSON
from floorline.cli.output import bold, note, print_json, table
from floorline.errors import BadInput
from floorline.report import envelope
from floorline.units import seconds

if TYPE_CHECKING:
    from floorline.calibrate.fit import Fit

FLAGS = (
    JSON,
    Flag(
        "accelerator",
        ("--accelerator", "--hardware", "--gpu"),
        "of the catalogue, or a TOML file",
        "that of the kernels",
    ),
    Flag("engine", ("--engine",), "only this engine's kernels, as the table names it", "each, and their median"),
    Flag("dtype", ("--dtype",), "only this format, such as bf16 or bf16+fp8 (with an fp8 cache)", "each"),
    Flag("kind", ("--kind",), "only this kind of kernel, such as matmul", "each"),
    Flag("output", ("--output", "-o"), "write the calibration to a TOML file"),
)


def calibrate(path: str, given: Given) -> None:
    """Fit a model to each kind of kernel in a CSV of measured ones; one shape in five is held out and tells what the
    fit misses by, and how wide the 90 % interval is."""
    from floorline.calibrate.everything import every_fit
    from floorline.calibrate.files import text
    from floorline.calibrate.shapes import engines
    from floorline.catalogue.accelerators import load_accelerator
    from floorline.kernels.table import read

    kernels = read(Path(path))
    devices = sorted(set(kernels.words["device"]))
    if given["accelerator"] is None and len(devices) != 1:
        raise BadInput(f"{path} has kernels of {', '.join(devices)}; expected one of them as --accelerator")
    accelerator = load_accelerator(given["accelerator"] or str(devices[0]))
    asked = [given[key] for key in ("kind", "dtype", "engine")]
    fits = []
    for made in every_fit(
        kernels, accelerator, lambda *names: all(a in (None, n) for a, n in zip(asked, names, strict=True))
    ):
        fits.append(made)
        if sys.stderr.isatty():
            print(f"fitted {made.kind.title}, {made.form}, {made.engine or 'median'}", file=sys.stderr, flush=True)
    if not fits:
        raise BadInput(
            f"{path}: no kind of kernel has enough shapes of {accelerator.name}"
            + "".join(f", {a}" for a in asked if a)
            + "; "
            "expected a table with enough of them"
        )
    if given["output"]:
        date = datetime.now(UTC).date().isoformat()
        own = kernels.take(np.flatnonzero(kernels.words["device"] == accelerator.name))
        written = text(accelerator.name, {kernels.name: engines(own)}, fits, date)
        Path(given["output"]).write_text(written, encoding="utf-8")
        note(f"wrote {given['output']}")
    if given["json"]:
        print_json(
            envelope("calibrate", {"path": path, **given}, {"accelerator": accelerator.name, "models": told(fits)})
        )
        return
    show(accelerator.name, fits)


def told(fits: list[Fit]) -> list[dict[str, Any]]:
    """Every fit, for JSON."""
    from floorline.calibrate.fit import as_dict

    return [
        {
            "kind": f.kind.name,
            "form": f.form,
            "engine": f.engine,
            "versions": f.versions,
            "shapes": len(f.shapes),
            "held_out": int(f.shapes.held.sum()),
            "median": f.missed(True)[0],
            "p90": f.missed(True)[1],
            "spread": float(np.median(f.shapes.spread)),
            "parameters": as_dict(f.model),
            "interval": f.residuals,
        }
        for f in fits
    ]


def show(name: str, fits: list[Fit]) -> None:
    """Every fit, with its interval in each regime."""
    print(bold(f"{name}: |ln(predicted / measured)| of shapes that were held out, and the 90 % interval"))
    rows = []
    for f in fits:
        median, tenth = f.missed(True)
        head = (f.kind.title, f.form, f.engine or "median", len(f.shapes), f"{median:.1%}", f"{tenth:.1%}")
        r = f.residuals
        for i, (low, high) in enumerate(zip(r.low, r.high, strict=True)):
            regime = f"up to {seconds(r.up_to[i])}" if i < len(r.up_to) else "longer" if r.up_to else "all"
            rows.append((*(head if i == 0 else ("",) * 6), regime, f"{np.expm1(low):+.0%} to {np.expm1(high):+.0%}"))
    columns = ["kernels", "format", "engine", "shapes", "median", "90th percentile", "predicted", "90 % of measured"]
    print(table(columns, rows, left=3))
    note("parameters: --json, or --output FILE.toml")


command = Command(calibrate, FLAGS, Argument("path", "a CSV of measured kernels (.csv or .csv.xz)"))
