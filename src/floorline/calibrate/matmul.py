"""Fits the matmul model to measured matmuls of one accelerator and one format."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from floorline.calibrate.search import least
from floorline.calibrate.shapes import Shapes, shapes
from floorline.efficiency.matmul import Device, Matmul, Width, matmul_time, parameters
from floorline.errors import BadInput
from floorline.kernels.formats import kernel_format
from floorline.kernels.table import Kernels
from floorline.num import Array
from floorline.specs.accelerator import Accelerator

LARGE_TILES_ONLY = {"volta", "turing", "ampere"}
"""Architectures whose libraries have no tiles of 16 and 32 rows; all others have them."""

FEWEST = 100
"""Shapes that a fit needs."""

WEIGHTS = (1.0, 0.35, 0.2)
"""Of the median, the 90th percentile and the mean of the errors in what a fit makes least."""


@dataclass(frozen=True)
class Fit:
    """A fitted model and what it misses by.

    model   the parameters
    device  what it was fitted on
    width   bytes of elements
    shapes  what it was fitted to, and what was held out
    errors  logarithm of predicted over measured, of every shape
    """

    model: Matmul
    device: Device
    width: Width
    shapes: Shapes
    errors: Array

    def missed(self, held: bool) -> tuple[float, float]:
        """Median and 90th percentile of the absolute errors, of the shapes that were held out or of the others."""
        errors = np.abs(self.errors[self.shapes.held == held])
        return float(np.median(errors)), float(np.quantile(errors, 0.9))


def device_of(accelerator: Accelerator, form: str) -> Device:
    """What the model needs of an accelerator.

    raises BadInput where the catalogue does not know its multiprocessors
    """
    if accelerator.sm_count is None:
        raise BadInput(f"{accelerator.name}: its number of multiprocessors is not known; the matmul model needs it")
    peak = max(float(accelerator.fastest(name)) for name in kernel_format(form).arithmetic)
    small = accelerator.architecture not in LARGE_TILES_ONLY
    return Device(accelerator.sm_count, peak, accelerator.memory_bandwidth, accelerator.last_level_cache, small)


def width_of(form: str) -> Width:
    """Bytes of elements of a kernel format; results are 16 bits."""
    found = kernel_format(form)
    return Width(found.weights, found.activations, max(found.result, 2.0))


def fit(kernels: Kernels, accelerator: Accelerator, form: str, rounds: int = 40) -> Fit:
    """Fit the dense matmuls of a table.

    kernels      rows of any kernels; those of this accelerator, format and operator are taken
    accelerator  of the catalogue, or one's own
    form         "bf16", "fp8", …
    rounds       of the search, at most
    raises       BadInput where there are too few
    """
    words = kernels.words
    rows = np.flatnonzero((words["device"] == accelerator.name) & (words["op"] == "gemm") & (words["dtype"] == form))
    found = shapes(kernels.take(rows), ("m", "n", "k")) if len(rows) else None
    if found is None or len(found) < FEWEST:
        count = 0 if found is None else len(found)
        raise BadInput(f"{accelerator.name}: {count} shapes of {form} matmuls; expected at least {FEWEST} to fit")
    device, width = device_of(accelerator, form), width_of(form)
    start, low, high = (np.array([f.metadata[key] for f in fields(Matmul)]) for key in ("start", "low", "high"))
    kept = ~found.held

    def errors(values: Array, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Array:
        m, n, k = (found.sizes[c][chosen] for c in ("m", "n", "k"))
        predicted = matmul_time(parameters(values), device, width, m, n, k, rotated=True)
        return np.asarray(np.log(predicted / found.seconds[chosen]))

    def loss(values: Array) -> float:
        missed = np.abs(errors(values, kept))
        parts = (np.median(missed), np.quantile(missed, 0.9), np.mean(missed))
        return float(sum(w * x for w, x in zip(WEIGHTS, parts, strict=True)))

    best = least(loss, start, low, high, rounds)
    return Fit(parameters(best), device, width, found, errors(best, np.ones(len(found), dtype=bool)))
