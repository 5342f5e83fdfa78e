"""Calibrations as TOML files: parameters with their units, what they miss by, and from what they were made."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from floorline.calibrate.matmul import Fit, device_of, width_of
from floorline.efficiency.matmul import Matmul, matmul_time
from floorline.errors import BadInput
from floorline.kernels.table import Kernels
from floorline.num import Array
from floorline.specs.accelerator import Accelerator
from floorline.units import parse

HERE = Path(__file__).parents[1] / "catalogue" / "calibrations"

REGIMES = ((1, 1), (2, 16), (17, 64), (65, 256), (257, 1024), (1025, 4096), (4097, 10**9))
"""Rows m of a matmul, from and to, by which what a fit misses is told."""


def text(accelerator: str, sources: Mapping[str, str], fits: Mapping[str, Fit], date: str) -> str:
    """A file.

    accelerator  its key
    sources      file of kernels → engines and versions in it
    fits         format → fit
    date         of making, YYYY-MM-DD
    """
    lines = ["# Fitted to measured kernels only; made by validation/calibrate.py", f'accelerator = "{accelerator}"']
    lines += [f'date = "{date}"', "", "[kernels]", *(f'"{name}" = "{engines}"' for name, engines in sources.items())]
    for form, fit in fits.items():
        lines += ["", f"[matmul.{form}]"]
        for item in fields(Matmul):
            unit = item.metadata["unit"]
            value = f"{getattr(fit.model, item.name):.5g}" + (f" {unit}" if unit != "-" else "")
            lines.append(f'{item.name} = "{value}"  # {item.metadata["doc"]}')
        lines += [
            "",
            f"[matmul.{form}.residuals]",
            f"shapes = {len(fit.shapes)}",
            f"held_out = {int(fit.shapes.held.sum())}",
        ]
        for name, held in (("fitted", False), ("held_out", True)):
            median, tenth = fit.missed(held)
            lines += [f"{name}_median = {median:.4f}", f"{name}_p90 = {tenth:.4f}"]
        lines.append(f"spread_median = {float(np.median(fit.shapes.spread)):.4f}  # of engines, for the same shape")
        low, high = np.quantile(fit.errors[fit.shapes.held], (0.05, 0.95))
        lines += [
            f"low = {low:.4f}  # 5th percentile of ln(predicted / measured), held out",
            f"high = {high:.4f}  # 95th",
        ]
    return "\n".join(lines) + "\n"


@cache
def load(accelerator: str) -> dict[str, Matmul]:
    """The shipped matmul models of an accelerator, by format.

    raises BadInput where there is none

    >>> load("h100-sxm")["bf16"].efficiency <= 1.0
    True
    """
    path = HERE / f"{accelerator}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in HERE.glob("*.toml")))
        raise BadInput(f"{accelerator} has no calibration; there are: {known}")
    return {form: Matmul(*(number(entry, f) for f in fields(Matmul))) for form, entry in entries(accelerator).items()}


@cache
def entries(accelerator: str) -> dict[str, Any]:
    """The tables of a shipped file, by format."""
    found: dict[str, Any] = tomllib.loads((HERE / f"{accelerator}.toml").read_text(encoding="utf-8"))["matmul"]
    return found


@dataclass(frozen=True, eq=False)
class Expected:
    """What a calibration expects of some kernels.

    median     of engines [s]
    low, high  the 90 % interval, from the residuals of held-out shapes [s]
    """

    median: Array
    low: Array
    high: Array


def expected(kernels: Kernels, accelerator: Accelerator) -> Expected | None:
    """What the shipped calibration of an accelerator expects of rows of one operator and one format; None where there is none.

    The rows are taken as a benchmark's, which rotates among copies of its weights.
    """
    op, form = str(kernels.words["op"][0]), str(kernels.words["dtype"][0])
    if op != "gemm" or not (HERE / f"{accelerator.name}.toml").is_file() or form not in load(accelerator.name):
        return None
    residuals = entries(accelerator.name)[form]["residuals"]
    device, width, c = device_of(accelerator, form), width_of(form), kernels.numbers
    batch = np.where(np.isnan(c["batch"]), 1.0, c["batch"])
    median = np.asarray(matmul_time(load(accelerator.name)[form], device, width, c["m"] * batch, c["n"], c["k"], True))
    low, high = (np.exp(-float(residuals[key])) for key in ("high", "low"))
    return Expected(median, median * low, median * high)


def number(entry: Mapping[str, str], item: Any) -> float:
    """One parameter, SI."""
    return parse(entry[item.name], "" if item.metadata["unit"] == "-" else item.metadata["unit"], item.name)


def regimes(fit: Fit) -> list[tuple[str, int, float, float, float]]:
    """What a fit misses by, by rows of the matmul: which, shapes, bias, median and 90th percentile."""
    rows = []
    for first, last in REGIMES:
        chosen = (fit.shapes.sizes["m"] >= first) & (fit.shapes.sizes["m"] <= last)
        if np.any(chosen):
            errors = fit.errors[chosen]
            missed = np.abs(errors)
            name = f"{first}" if first == last else f"{first} to {last}" if last < 10**9 else f"{first} and more"
            figures = (float(np.median(errors)), float(np.median(missed)), float(np.quantile(missed, 0.9)))
            rows.append((name, int(chosen.sum()), *figures))
    return rows
