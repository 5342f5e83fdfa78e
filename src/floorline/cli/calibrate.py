"""``floorline calibrate``: a model of an accelerator's matmuls, fitted to measured kernels."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from floorline.cli.command import Argument, Command, Flag, Given
from floorline.cli.model import JSON
from floorline.cli.output import bold, note, print_json, table
from floorline.errors import BadInput
from floorline.report import envelope

FLAGS = (
    JSON,
    Flag(
        "accelerator",
        ("--accelerator", "--hardware", "--gpu"),
        "of the catalogue, or a TOML file",
        "that of the kernels",
    ),
    Flag("dtype", ("--dtype",), "format of the matmuls", "bf16"),
    Flag("output", ("--output", "-o"), "write the calibration to a TOML file"),
)


def calibrate(path: str, given: Given) -> None:
    """Fit the model of dense matmuls (tiles, waves, split k, sustained clock, bandwidth) to a CSV of measured kernels; one shape in
    five is held out and tells what the fit misses by."""
    from floorline.calibrate.files import regimes, text
    from floorline.calibrate.matmul import fit
    from floorline.calibrate.shapes import engines
    from floorline.catalogue.accelerators import load_accelerator
    from floorline.kernels.table import read

    kernels, form = read(Path(path)), given["dtype"] or "bf16"
    devices = sorted(set(kernels.words["device"]))
    if given["accelerator"] is None and len(devices) != 1:
        raise BadInput(f"{path} has kernels of {', '.join(devices)}; expected one of them as --accelerator")
    accelerator = load_accelerator(given["accelerator"] or str(devices[0]))
    made = fit(kernels, accelerator, form)
    median, tenth = made.missed(held=True)
    if given["output"]:
        date = datetime.now(UTC).date().isoformat()
        written = text(accelerator.name, {kernels.name: engines(kernels)}, {form: made}, date)
        Path(given["output"]).write_text(written, encoding="utf-8")
        note(f"wrote {given['output']}")
    if given["json"]:
        answer = {"accelerator": accelerator.name, "dtype": form, "shapes": len(made.shapes), "parameters": made.model}
        missed = {"held_out_median": median, "held_out_p90": tenth, "by_rows": regimes(made)}
        print_json(envelope("calibrate", {"path": path, **given}, {**answer, "residuals": missed}))
        return
    print(
        bold(f"{accelerator.name}, {form} matmuls: {len(made.shapes)} shapes, {int(made.shapes.held.sum())} held out")
    )
    print(f"held out: median {median:.1%}, 90th percentile {tenth:.1%} of |ln(predicted / measured)|\n")
    rows = [
        (name, count, f"{bias:+.1%}", f"{middle:.1%}", f"{most:.1%}")
        for name, count, bias, middle, most in regimes(made)
    ]
    print(table(["rows m", "shapes", "bias", "median", "90th percentile"], rows))
    note("parameters: --json, or --output FILE.toml")


command = Command(calibrate, FLAGS, Argument("path", "a CSV of measured kernels (.csv or .csv.xz)"))
