"""Fits the model of one kind of kernel to measured kernels of one accelerator, engine and format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, astuple, dataclass, fields
from functools import partial
from typing import Any

import numpy as np

from floorline.calibrate.devices import device_of, width_of
from floorline.calibrate.kinds import DISPATCHED, Columns, Kind, rows_of_kind
from floorline.calibrate.residuals import Residuals, missed, residuals
from floorline.calibrate.search import ROUNDS, better_of, nearest
from floorline.calibrate.shapes import Shapes, engines, newest, shapes
from floorline.errors import BadInput
from floorline.kernels.columns import with_names
from floorline.kernels.table import Kernels
from floorline.num import Array
from floorline.specs.accelerator import Accelerator

PROMISING = 5
"""Searches that are carried on to the end."""

SCATTER = 0.6
"""How far apart the starts of a search are, as a standard deviation of logarithms."""


@dataclass(frozen=True)
class Fit:
    """A fitted model and what it misses by.

    kind       of kernel
    form       its formats, as in ``form_of``
    engine     "" for the median over engines
    versions   of the engines
    model      the parameters
    shapes     what it was fitted to, and what was held out
    predicted  time of every shape [s]
    """

    kind: Kind
    form: str
    engine: str
    versions: str
    model: Any
    shapes: Shapes
    predicted: Array

    @property
    def errors(self) -> Array:
        """Logarithm of predicted over measured, of every shape."""
        return np.asarray(np.log(self.predicted / self.shapes.seconds))

    def missed(self, held: bool) -> tuple[float, float]:
        """Median and 90th percentile of the absolute errors, of the shapes that were held out or of the others."""
        return missed(self.errors[self.shapes.held == held])

    @property
    def residuals(self) -> Residuals:
        """What the measured times are spread by around the predicted ones, of shapes that were held out."""
        held = self.shapes.held
        return residuals(self.predicted[held], -self.errors[held])


def form_of(dtype: str, cache: str) -> str:
    """Formats as one word.

    >>> form_of("bf16", "fp8"), form_of("bf16", "bf16"), form_of("fp8", "")
    ('bf16+fp8', 'bf16', 'fp8')
    """
    return dtype if cache in ("", dtype) else f"{dtype}+{cache}"


def formats_of(form: str) -> tuple[str, str]:
    """The same taken apart: of weights and inputs, and of the cache.

    >>> formats_of("bf16+fp8"), formats_of("fp8")
    (('bf16', 'fp8'), ('fp8', 'fp8'))
    """
    dtype, _, cache = form.partition("+")
    return dtype, cache or dtype


def rows_of(kernels: Kernels, kind: Kind, accelerator: str, form: str, engine: str = "") -> Kernels:
    """The rows of a table that a fit is made from: the newest version of each engine."""
    words, (dtype, cache) = kernels.words, formats_of(form)
    chosen = (words["device"] == accelerator) & (words["dtype"] == dtype) & rows_of_kind(kernels, kind)
    chosen &= (words["kv_dtype"] == cache) | (words["kv_dtype"] == "")
    if not engine:
        chosen &= ~np.asarray([pair in DISPATCHED for pair in zip(words["framework"], words["dtype"], strict=True)])
    rows = priceable(kernels.take(np.flatnonzero(chosen)), kind)
    software = np.asarray(kind.software(rows) if kind.apart else [""] * len(rows), dtype=str)
    return newest(rows.take(np.flatnonzero(software == engine)) if engine else rows, kind.apart)


def priceable(rows: Kernels, kind: Kind) -> Kernels:
    """Those rows whose sizes the model of a kind can price at all."""
    sizes = with_names(rows)
    if "experts" not in kind.columns or not len(rows):
        return rows
    return rows.take(np.flatnonzero(~np.isnan(sizes["experts"])))


def fit(
    kernels: Kernels, accelerator: Accelerator, kind: Kind, form: str, engine: str = "", rounds: int = ROUNDS
) -> Fit:
    """Fit one kind of kernel.

    kernels      rows of any kernels; those of this accelerator, kind, format and engine are taken
    accelerator  of the catalogue, or one's own
    form         "bf16", "fp8", "bf16+fp8" (with a cache of another format), …
    engine       as the table names its framework; "" for the median over all of them
    rounds       of the search, at most
    raises       BadInput where there are too few
    """
    rows, found = measured_shapes(kernels, accelerator, kind, form, engine)
    if len(found) < kind.fewest:
        of = f"{engine} " if engine else ""
        raise BadInput(
            f"{accelerator.name}: {len(found)} shapes of {of}{form} {kind.title}; expected at least {kind.fewest} to fit"
        )
    device, width = device_of(accelerator, formats_of(form)[0]), width_of(*formats_of(form))
    kept = {name: column[~found.held] for name, column in found.sizes.items()}
    measured = np.log(found.seconds[~found.held])
    start, low, high = (
        np.array([f.metadata[key] for f in fitted_fields(kind.model)]) for key in ("start", "low", "high")
    )

    def errors(logs: Array, words: Mapping[str, str]) -> Array:
        model = kind.model(*map(float, np.exp(logs)), **words)
        return np.asarray(np.log(kind.time(model, device, width, kept)) - measured)

    ended: list[tuple[float, Array, Mapping[str, str]]] = []
    for words in kind.variants(form):
        for begin in starts(kind, start):
            values, loss = nearest(partial(errors, words=words), np.clip(begin, low, high), low, high, rounds)
            ended.append((loss, values, words))
    ended.sort(key=lambda end: end[0])
    carried = [
        (*better_of(partial(errors, words=w), at, low, high, rounds, kind.weights), w) for _, at, w in ended[:PROMISING]
    ]
    values, _, words = min(carried, key=lambda end: end[1])
    model = kind.model(*(float(f"{x:.5g}") for x in values), **words)
    return evaluated(rows, found, accelerator, kind, form, engine, model)


def measured_shapes(
    kernels: Kernels, accelerator: Accelerator, kind: Kind, form: str, engine: str
) -> tuple[Kernels, Shapes]:
    """The rows and shapes that a fit is made from."""
    rows = rows_of(kernels, kind, accelerator.name, form, engine)
    return rows, shapes(rows, with_names(rows), kind.columns, kind.apart)


def evaluated(
    rows: Kernels, found: Shapes, accelerator: Accelerator, kind: Kind, form: str, engine: str, model: Any
) -> Fit:
    """A model with what it says of some shapes."""
    return Fit(kind, form, engine, engines(rows), model, found, predicted(kind, model, accelerator, form, found.sizes))


def predicted(kind: Kind, model: Any, accelerator: Accelerator, form: str, columns: Columns) -> Array:
    """Times of measured kernels by a model [s]."""
    device, width = device_of(accelerator, formats_of(form)[0]), width_of(*formats_of(form))
    return np.asarray(kind.time(model, device, width, columns))


def starts(kind: Kind, start: Array) -> Iterator[Array]:
    """Where the searches of a kind start: at each parameter's own start, at others that the kind hints at, and scattered."""
    names, random = [f.name for f in fitted_fields(kind.model)], np.random.default_rng(0)
    for hint in ({}, *kind.hints):
        yield np.array([hint.get(name, value) for name, value in zip(names, start, strict=True)])
    for _ in range(kind.starts - 1):
        yield start * np.exp(random.normal(0.0, SCATTER, len(start)))


def fitted_fields(model: type[Any]) -> list[Field[Any]]:
    """The fields that are numbers to fit."""
    return [f for f in fields(model) if "start" in f.metadata]


def start_of(model: type[Any]) -> Any:
    """A model's parameters where a fit starts."""
    return model(*(f.metadata["start"] for f in fitted_fields(model)))


def as_dict(model: Any) -> dict[str, float | str]:
    """Parameters by name, SI units; words of a variant too."""
    return dict(zip((f.name for f in fields(model)), astuple(model), strict=True))
