"""What calibrations miss by on a table of measured kernels: whole shapes, the median over engines of both times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from floorline.calibrate.expected import expected
from floorline.calibrate.fit import rows_of
from floorline.calibrate.kinds import Kind
from floorline.calibrate.residuals import missed
from floorline.calibrate.shapes import Shapes, shapes
from floorline.kernels.columns import with_names
from floorline.kernels.table import Kernels
from floorline.num import Array
from floorline.specs.accelerator import Accelerator


@dataclass(frozen=True, eq=False)
class Score:
    """Errors of shapes.

    shapes  measured
    errors  ln(expected / measured), of medians over engines
    inside  whether the measured time is in the 90 % interval
    """

    shapes: Shapes
    errors: Array
    inside: np.ndarray[tuple[int], np.dtype[np.bool_]]

    def missed(self) -> tuple[float, float]:
        """Median and 90th percentile of the absolute errors."""
        return missed(self.errors)


def score(
    kernels: Kernels,
    accelerator: Accelerator,
    kind: Kind,
    form: str,
    engine: str = "",
    without: frozenset[str] = frozenset(),
) -> Score | None:
    """Score the calibrations that hold for an accelerator on its kernels of a kind; None where there are none, or no model.

    kernels      of any devices
    accelerator  of the catalogue, or one's own
    kind, form   of kernel
    engine       "" for all
    without      accelerators whose calibrations are not used
    """
    rows = rows_of(kernels, kind, accelerator.name, form, engine)
    if not len(rows):
        return None
    found = [
        (part, expected(rows.take(part), accelerator, without)) for _, part in rows.groups("op", "dtype", "kv_dtype")
    ]
    median, low, high = (np.full(len(rows), np.nan) for _ in range(3))
    for part, hoped in found:
        median[part], low[part], high[part] = hoped.median, hoped.low, hoped.high
    if np.any(np.isnan(median)):
        return None
    sizes = with_names(rows)
    measured = shapes(rows, sizes, kind.columns, kind.apart)
    times = [shapes(rows.with_seconds(x), sizes, kind.columns, kind.apart).seconds for x in (median, low, high)]
    inside = (measured.seconds >= times[1]) & (measured.seconds <= times[2])
    return Score(measured, np.asarray(np.log(times[0] / measured.seconds)), inside)
