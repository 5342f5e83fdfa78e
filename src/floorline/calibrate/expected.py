"""What the calibrations expect of measured kernels: a time and its 90 % interval for each row of a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from floorline.calibrate.devices import device_of, width_of
from floorline.calibrate.fit import form_of
from floorline.calibrate.inherit import Chosen, choose
from floorline.calibrate.kinds import KINDS, kind_of, rows_of_kind
from floorline.kernels.columns import with_names
from floorline.kernels.table import Kernels
from floorline.num import Array
from floorline.specs.accelerator import Accelerator


@dataclass(frozen=True, eq=False)
class Expected:
    """What a calibration expects of some kernels.

    median     [s]
    low, high  the 90 % interval [s]
    source     the model that it comes from, for each row
    """

    median: Array
    low: Array
    high: Array
    source: tuple[str, ...]


def expected(kernels: Kernels, accelerator: Accelerator, without: frozenset[str] = frozenset()) -> Expected:
    """What is expected of rows of one operator and one pair of formats; nan where no model is known.

    The rows are taken as a benchmark's, which rotates among copies of its weights but repeats the same cache; an engine that has
    a model of its own is priced by that.

    without  accelerators whose calibrations are not used
    """
    op, dtype, cache = (str(kernels.words[name][0]) for name in ("op", "dtype", "kv_dtype"))
    columns = with_names(kernels)
    median, low, high = (np.full(len(kernels), np.nan) for _ in range(3))
    source = [""] * len(kernels)
    for (framework, kernel), rows in kernels.groups("framework", "kernel"):
        kind = kind_of(op, framework)
        engine = "/".join({"framework": framework, "kernel": kernel}[word] for word in kind.apart) if kind else ""
        chosen = choose(accelerator, kind.name, form_of(dtype or "bf16", cache), engine, without) if kind else None
        if chosen is None or kind is None:
            continue
        part = {name: values[rows] for name, values in columns.items()}
        here = rows_of_kind(kernels, kind)[rows]
        if kind.inside and accelerator.links:
            here &= ~(part["gpus"] > accelerator.links[0].domain)
        times = np.where(here, priced(chosen, accelerator, dtype or "bf16", cache, part), np.nan)
        below, above = chosen.interval(times)
        median[rows], low[rows], high[rows] = times, times * np.exp(below), times * np.exp(above)
        for row in rows:
            source[row] = chosen.told
    return Expected(median, low, high, tuple(source))


def priced(chosen: Chosen, accelerator: Accelerator, dtype: str, cache: str, columns: dict[str, Array]) -> Array:
    """Times of some rows by a model [s]."""
    kind = KINDS[chosen.fitted.kind]
    device, width = device_of(accelerator, dtype), width_of(dtype, cache)
    return np.asarray(kind.time(chosen.fitted.model, device, width, columns))
