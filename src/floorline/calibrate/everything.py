"""Every fit that a table of measured kernels allows: by kind of kernel, formats and engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from floorline.calibrate.fit import Fit, fit, form_of, rows_of
from floorline.calibrate.kinds import KINDS, Kind, rows_of_kind
from floorline.calibrate.search import ROUNDS
from floorline.kernels.table import Kernels
from floorline.specs.accelerator import Accelerator


def fittable(kernels: Kernels, accelerator: str, kind: Kind) -> Iterator[tuple[str, str]]:
    """Formats and engines that have enough kernels of a kind: each engine where there are several, and their median as ""."""
    words = kernels.words
    chosen = kernels.take(np.flatnonzero((words["device"] == accelerator) & rows_of_kind(kernels, kind)))
    if not len(chosen):
        return
    for (dtype, cache), _ in chosen.groups("dtype", "kv_dtype"):
        form = form_of(dtype, cache)
        here = chosen.take(np.flatnonzero((chosen.words["dtype"] == dtype) & (chosen.words["kv_dtype"] == cache)))
        names = list(dict.fromkeys(kind.software(here))) if kind.apart else []
        for engine in (*(("",) if kind.median else ()), *(names if len(names) > 1 or not kind.median else ())):
            if len(rows_of(kernels, kind, accelerator, form, engine)) >= kind.fewest:
                yield form, engine


def every_fit(
    kernels: Kernels,
    accelerator: Accelerator,
    wanted: Callable[[str, str, str], bool] = lambda kind, form, engine: True,
    rounds: int = ROUNDS,
) -> Iterator[Fit]:
    """Every fit of a table.

    kernels      of any devices; those of this accelerator are taken
    accelerator  of the catalogue, or one's own
    wanted       of kind, form and engine: which to make
    rounds       of each search, at most
    """
    own = kernels.take(np.flatnonzero(kernels.words["device"] == accelerator.name))
    for kind in KINDS.values():
        for form, engine in fittable(own, accelerator.name, kind):
            if wanted(kind.name, form, engine):
                yield fit(own, accelerator, kind, form, engine, rounds)
