"""What the calibrations expect of measured kernels: a time and its 90 % interval for each row of a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from floorline.calibrate.fit import form_of, predicted
from floorline.calibrate.inherit import choose
from floorline.calibrate.kinds import kind_of, rows_of_kind
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
    columns, form = with_names(kernels), form_of(dtype or "bf16", cache)
    median, low, high = (np.full(len(kernels), np.nan) for _ in range(3))
    source = [""] * len(kernels)
    for (framework, kernel), rows in kernels.groups("framework", "kernel"):
        kind = kind_of(op, framework)
        engine = "/".join({"framework": framework, "kernel": kernel}[word] for word in kind.apart) if kind else ""
        chosen = choose(accelerator, kind.name, form, engine, without) if kind else None
        if chosen is None or kind is None:
            continue
        part = {name: values[rows] for name, values in columns.items()}
        here = rows_of_kind(kernels.take(rows), kind)
        if kind.inside and accelerator.links:
            here &= ~(part["gpus"] > accelerator.links[0].domain)
        times = np.where(here, predicted(kind, chosen.fitted.model, accelerator, form, part), np.nan)
        below, above = chosen.interval(times)
        median[rows], low[rows], high[rows] = times, times * np.exp(below), times * np.exp(above)
        for row in rows:
            source[row] = chosen.told
    return Expected(median, low, high, tuple(source))
