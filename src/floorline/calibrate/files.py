"""Calibrations as TOML files: fitted parameters by kind of kernel, formats and engine, what they miss by, and from what."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from floorline.calibrate.fit import Fit, as_dict, fitted_fields
from floorline.calibrate.kinds import KINDS
from floorline.calibrate.residuals import Residuals
from floorline.calibrate.shapes import version_key
from floorline.errors import BadInput, near

EAGER = "eager"
"""In the name of a kernel that was measured with the host starting it."""

FOLDER = Path(__file__).parents[1] / "catalogue" / "calibrations"


@dataclass(frozen=True)
class Fitted:
    """One fitted model of a file.

    accelerator  that it was fitted on
    kind         of kernel
    form         its formats, as in ``fit.form_of``
    engine       "" for the median over engines
    versions     engines, with their versions
    model        the parameters
    shapes       measured ones [-]
    held_out     of them, those that the fit did not see [-]
    fitted       median and 90th percentile of |ln(predicted / measured)| of those that it saw
    missed       the same of the others
    inside       share of all shapes that are in their 90 % interval
    spread       median over shapes of ln(slowest / fastest engine)
    residuals    intervals
    """

    accelerator: str
    kind: str
    form: str
    engine: str
    versions: str
    model: Any
    shapes: int
    held_out: int
    fitted: tuple[float, float]
    missed: tuple[float, float]
    inside: float
    spread: float
    residuals: Residuals


@dataclass(frozen=True)
class Calibration:
    """All fitted models of an accelerator.

    accelerator  its key
    date         of the fit
    kernels      file → what is in it
    models       (kind, form, engine) → model
    digest       of the file, so that an answer can say which one it used
    """

    accelerator: str
    date: str
    kernels: Mapping[str, str]
    models: Mapping[tuple[str, str, str], Fitted]
    digest: str

    def model(self, kind: str, form: str, engine: str) -> Fitted | None:
        """A model; of an engine that has several kernels, one that was measured in a replayed graph, of the newest version,
        with the most shapes. None where there is none."""
        found = self.models.get((kind, form, engine))
        if found is not None or not engine or "/" in engine:
            return found
        own = [m for (k, f, e), m in self.models.items() if (k, f) == (kind, form) and e.startswith(f"{engine}/")]
        return max(own, key=lambda m: (EAGER not in m.engine, version_key(m.versions), m.shapes)) if own else None


def text(accelerator: str, kernels: Mapping[str, str], fits: Iterable[Fit], date: str) -> str:
    """A file.

    accelerator  its key
    kernels      file → what is in it
    fits         its models
    date         of making, YYYY-MM-DD
    """
    made = list(fits)
    lines = [
        "# Fitted to measured kernels only, by floorline calibrate. SI units; times of an interval are predicted ones [s],"
    ]
    lines += [
        "# low and high the 5th and 95th percentile of ln(measured / predicted) up to each, of shapes held out.",
        "#",
    ]
    for kind in dict.fromkeys(fit.kind.name for fit in made):
        lines.append(f"# {kind}:")
        for f in fitted_fields(KINDS[kind].model):
            unit = f.metadata["unit"].replace("-", "")
            lines.append(f"#   {f.name}: {f.metadata['doc']}" + (f" [{unit}]" if unit else ""))
    lines += ["", f'accelerator = "{accelerator}"', f'date = "{date}"', "", "[kernels]"]
    lines += [f'"{name}" = "{engines}"' for name, engines in kernels.items()]
    for fit in made:
        lines += ["", "[[model]]", f'kind = "{fit.kind.name}"', f'form = "{fit.form}"', f'engine = "{fit.engine}"']
        lines += [f'versions = "{fit.versions}"']
        lines += [f"shapes = {len(fit.shapes)}", f"held_out = {int(fit.shapes.held.sum())}"]
        lines += [f"fitted = {listed(fit.missed(False))}", f"missed = {listed(fit.missed(True))}"]
        low, high = fit.residuals.interval(fit.predicted)
        inside = (-fit.errors >= low) & (-fit.errors <= high)
        lines += [f"inside = {float(np.mean(inside)):.4g}", f"spread = {float(np.median(fit.shapes.spread)):.4g}"]
        shown = ", ".join(f"{name} = {written(value)}" for name, value in as_dict(fit.model).items())
        lines += [f"parameters = {{ {shown} }}"]
        r = fit.residuals
        lines += [f"interval = {{ up_to = {listed(r.up_to)}, low = {listed(r.low)}, high = {listed(r.high)} }}"]
    return "\n".join(lines) + "\n"


def written(value: float | str) -> str:
    """A parameter as TOML."""
    return f'"{value}"' if isinstance(value, str) else f"{value:.5g}"


def listed(values: Iterable[float]) -> str:
    """Numbers as a TOML array."""
    return "[" + ", ".join(f"{x:.4g}" for x in values) + "]"


def read(path: Path) -> Calibration:
    """A file.

    raises BadInput for one that is no calibration
    """
    try:
        raw = path.read_bytes()
        content = tomllib.loads(raw.decode("utf-8"))
        models = [fitted(content["accelerator"], entry) for entry in content["model"]]
        kernels = dict(content["kernels"])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"{path}: no calibration ({str(error)[:80]}); expected a file that 'floorline calibrate --output' wrote"
        ) from None
    by_key = {(m.kind, m.form, m.engine): m for m in models}
    return Calibration(content["accelerator"], content["date"], kernels, by_key, hashlib.sha256(raw).hexdigest()[:12])


def fitted(accelerator: str, entry: Mapping[str, Any]) -> Fitted:
    """One model of a file.

    raises BadInput for a kind that nobody knows
    """
    kind = str(entry["kind"])
    if kind not in KINDS:
        raise BadInput(f"kind is {kind[:40]!r}; {near(kind, KINDS)}")
    interval = Residuals(*(tuple(float(x) for x in entry["interval"][key]) for key in ("up_to", "low", "high")))
    return Fitted(
        accelerator,
        kind,
        entry["form"],
        entry["engine"],
        entry["versions"],
        KINDS[kind].model(**{n: x if isinstance(x, str) else float(x) for n, x in entry["parameters"].items()}),
        entry["shapes"],
        entry["held_out"],
        (entry["fitted"][0], entry["fitted"][1]),
        (entry["missed"][0], entry["missed"][1]),
        entry.get("inside", 0.9),
        entry["spread"],
        interval,
    )


@cache
def shipped(accelerator: str) -> Calibration | None:
    """The calibration that the catalogue has of an accelerator.

    >>> from floorline.calibrate.files import shipped
    >>> shipped("h100-sxm").models["matmul", "bf16", ""].missed[0] < 0.05
    True
    """
    path = FOLDER / f"{accelerator}.toml"
    return read(path) if path.is_file() else None


@cache
def calibrated() -> tuple[str, ...]:
    """Accelerators that have a calibration of their own."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def digests(accelerators: Iterable[str]) -> dict[str, str]:
    """The digest of the shipped calibration of each accelerator, "" where there is none."""
    found = {name: shipped(name) for name in accelerators}
    return {name: calibration.digest if calibration else "" for name, calibration in found.items()}
