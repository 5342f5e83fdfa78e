"""Many plans at once: any numeric inputs over lists and ranges, evaluated as arrays in chunks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from floorline.catalogue.clusters import load_cluster
from floorline.catalogue.engines import load_engine
from floorline.catalogue.load import load_model
from floorline.errors import BadInput, near
from floorline.estimates import Estimate, estimate
from floorline.huggingface.read import read
from floorline.num import Array, Num, floor, maximum
from floorline.prediction_heads import with_prediction_heads
from floorline.result import Result
from floorline.rules import RULES
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.engine import Engine
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.workload import Generate, Workload
from floorline.transformer import Transformer

CHUNK = 16384
"""Points evaluated at once: their arrays fit the processor's cache (measured best between 8 000 and 32 000)."""

MOST_POINTS = 50_000_000

EXPECTED_POINTS = 100_000
"""Points up to which expected times are computed where nothing else is said."""


@dataclass(frozen=True, eq=False, repr=False)
class Sweep(Result):
    """Every point of a sweep, as columns of equal length.

    columns  name → array: the inputs that vary, then times, throughput, memory, feasibility
    varied   names of the inputs that vary
    """

    columns: Mapping[str, Any]
    varied: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Sweep({len(self)} points over {', '.join(self.varied)})"

    def answer(self) -> Mapping[str, Any]:
        """Every point as a row."""
        return {"varied": self.varied, "points": list(self.rows())}

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each point as a dict of plain values; nan becomes None."""
        names = list(self.columns)
        for point in zip(*(self.columns[n].tolist() for n in names), strict=True):
            yield {n: None if v != v else v for n, v in zip(names, point, strict=True)}

    def only(self, keep: Any) -> Sweep:
        """The points that a mask or an index picks."""
        return Sweep({n: c[keep] for n, c in self.columns.items()}, self.varied)

    def usable(self) -> Any:
        """Mask of points that break no rule and, where that was computed, fit."""
        return self.columns["feasible"] & self.columns.get("fits", True)

    def best(self, by: str) -> Sweep:
        """The one point that fits and is best: least for times and memory, most for rates (``…_per_s``)."""
        score = self.score(by)
        index = np.flatnonzero(self.usable() & ~np.isnan(score))
        return self.only(index[[int(np.argmin(score[index]))]] if len(index) else index)

    def score(self, name: str) -> Array:
        """A column as something to make small."""
        if name not in self.columns or self.columns[name].dtype.kind not in "fi":
            numeric = [n for n, c in self.columns.items() if c.dtype.kind in "fi"]
            raise BadInput(
                f"{name!r} is no numeric column of the sweep; {near(name, numeric)}; there are: {', '.join(numeric)}"
            )
        column: Array = self.columns[name].astype(np.float64)
        return -column if "_per_s" in name else column

    def pareto(self, *by: str) -> Sweep:
        """The points that fit and that no other beats in every one of some columns.

        >>> from floorline.catalogue.clusters import load_cluster
        >>> s = sweep("gpt2", Generate(prompt_len=8, output_len=2), load_cluster("a100"), {"batch": [1, 2, 4]})
        >>> len(s.pareto("latency_floor_s", "output_tokens_per_s")) >= 1
        True
        """
        if not by:
            raise BadInput("pareto needs columns, such as 'tpot_floor_s', 'output_tokens_per_s'")
        columns = np.stack([self.score(n) for n in by], axis=1)
        index = np.flatnonzero(self.usable() & ~np.isnan(columns).any(axis=1))
        scores = columns[index]
        order = np.lexsort(scores.T[::-1])
        front: list[int] = []
        while len(order):
            front.append(int(order[0]))
            order = order[~np.all(scores[order] >= scores[order[0]], axis=1)]
        return self.only(index[front])

    def to_pandas(self) -> Any:
        """A pandas DataFrame.

        raises BadInput where pandas is not installed
        """
        try:
            import pandas
        except ImportError:
            raise BadInput(
                "to_pandas needs pandas: pip install 'floorline[pandas]', or use .columns or .rows()"
            ) from None
        return pandas.DataFrame(dict(self.columns))

    def _repr_html_(self) -> str:
        """A table for notebooks, the first rows of it."""
        head = "".join(f"<th>{n}</th>" for n in self.columns)
        cells = ("".join(f"<td>{v}</td>" for v in row.values()) for row, _ in zip(self.rows(), range(50), strict=False))
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{c}</tr>' for c in cells)}</table><p>{len(self)} points</p>"


def sweep(
    model: object,
    workload: Workload,
    cluster: Cluster | str,
    vary: Mapping[str, Sequence[float]],
    *,
    parallelism: Parallelism | None = None,
    precision: Precision | None = None,
    assumptions: Assumptions | None = None,
    engine: Engine | str | None = None,
    gpu_memory_utilization: Num | None = None,
    only: Sequence[str] | None = None,
    expected: bool | None = None,
    fill: bool = False,
    free: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Every combination of some numeric inputs.

    vary      name → values: a field of the workload ("batch"), of the parallelism ("tp"), of the assumptions, of the
              accelerator ("memory_bandwidth", "peak", "memory", "link_bandwidth"), "devices", or a numeric key of the
              model's configuration ("hidden_size")
    engine    of the expected times
    only      columns to compute, such as ("tpot_floor_s",); default: all. Whether a point is feasible is always there
    expected  whether expected times are among the default columns: they take ten times as long as floors, so only up to 100 000
              points unless this says otherwise
    fill      whether data parallelism takes the devices that the other degrees leave
    free      whether there are as many devices as each point's plan takes
    progress  called with points done and points in all
    raises    BadInput for unknown names and values out of range; a combination that breaks a rule is nan with a reason

    >>> from floorline.catalogue.clusters import load_cluster
    >>> s = sweep("gpt2", Generate(prompt_len=128, output_len=2), load_cluster("a100"), {"batch": [1, 2], "tp": [1, 5]})
    >>> len(s), s.columns["reason"].tolist()[1]
    (4, 'tp∤heads')
    """
    made, cluster, axes = load_model(model), load_cluster(cluster), axes_of(vary)
    if made.latent is not None:
        raise BadInput(
            f"{made.name} makes pictures; expected estimate with arrays, such as Denoise(frames=np.array([33, 65]))"
        )
    points = points_of(axes)
    plan, formats = parallelism or Parallelism(), precision or Precision.of(made.format)
    assumed = assumptions or Assumptions()
    given = Point(made, workload, cluster, plan, formats, assumed, fill, free, load_engine(engine))
    owners = {name: given.owner(name) for name in axes}
    usual = usual_columns(points <= EXPECTED_POINTS if expected is None else expected)
    wanted = usual if only is None else (*dict.fromkeys((*map(known_column, only), "feasible", "reason")),)
    for name, column in axes.items():  # each input by itself: their columns have different lengths
        given.changed({name: (owners[name], column)})
    parts = evaluated(given, axes, owners, wanted, gpu_memory_utilization, progress)
    joined = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    return Sweep(joined, tuple(axes))


def points_of(axes: Mapping[str, Array]) -> int:
    """How many combinations there are.

    raises BadInput for too many
    """
    points = int(np.prod([float(len(v)) for v in axes.values()])) if axes else 1
    if points > MOST_POINTS:
        raise BadInput(
            f"the sweep has {points:,} points; expected at most {MOST_POINTS:,}: widen a step or drop an input"
        )
    return points


def axes_of(vary: Mapping[str, Sequence[float]]) -> dict[str, Array]:
    """The values of each input as an array.

    raises BadInput for an input without values
    """
    axes = {
        name: np.atleast_1d(np.asarray(v if np.ndim(v) == 0 else list(v), dtype=np.float64)) for name, v in vary.items()
    }
    for name, column in axes.items():
        if not column.size:
            raise BadInput(f"{name} has no values to vary over; expected at least one")
    return axes


def evaluated(
    given: Point,
    axes: Mapping[str, Array],
    owners: Mapping[str, str],
    wanted: Sequence[str],
    utilisation: Num | None,
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, Any]]:
    """The columns of every point, chunk by chunk."""
    shape = tuple(len(v) for v in axes.values())
    points, size = int(np.prod(shape)) if shape else 1, chunk_size(given.workload, axes)
    parts: list[dict[str, Any]] = []
    for start in range(0, points, size):
        stop = min(start + size, points)
        index = np.unravel_index(np.arange(start, stop), shape) if shape else ()
        chosen = {name: axes[name][i] for name, i in zip(axes, index, strict=True)}
        point = given.changed({name: (owners[name], column) for name, column in chosen.items()})
        parts.append({**chosen, **columns(point.estimate(), stop - start, utilisation, wanted)})
        if progress:
            progress(stop, points)
    return parts


def chunk_size(workload: Workload, axes: Mapping[str, Array]) -> int:
    """Points at once: fewer where a generation adds an axis of contexts."""
    if not isinstance(workload, Generate):
        return CHUNK
    longest = float(np.max(axes.get("output_len", np.asarray(workload.output_len))))
    return int(max(16, min(CHUNK, 2e6 // max(longest, 1.0))))


HARDWARE = ("memory", "memory_bandwidth", "last_level_cache", "peak", "link_bandwidth")


@dataclass(frozen=True)
class Point:
    """The inputs of an estimate, some of which a sweep replaces."""

    model: Transformer
    workload: Workload
    cluster: Cluster
    parallelism: Parallelism
    precision: Precision
    assumptions: Assumptions
    fill: bool = False
    free: bool = False
    engine: Engine = field(default_factory=Engine)

    def owner(self, name: str) -> str:
        """Which input a name belongs to.

        raises BadInput for a name that belongs to none, with near ones
        """
        known: dict[str, str] = {"devices": "cluster", **dict.fromkeys(HARDWARE, "hardware")}
        for part in ("workload", "parallelism", "assumptions"):
            known |= {f.name: part for f in fields(getattr(self, part)) if "unit" in f.metadata}
        numeric = [k for k, v in self.model.config.items() if isinstance(v, (int, float)) and not isinstance(v, bool)]
        known |= dict.fromkeys(numeric, "config")
        if name not in known:
            raise BadInput(f"{name!r} is nothing that can vary; {near(name, known)}; there are: {', '.join(known)}")
        return known[name]

    def changed(self, new: Mapping[str, tuple[str, Array]]) -> Point:
        """The same point with some inputs replaced by columns of equal length."""
        by: dict[str, dict[str, Any]] = {}
        for name, (owner, column) in new.items():
            by.setdefault(owner, {})[name] = column
        result = self
        for part in ("workload", "parallelism", "assumptions"):
            if part in by:
                result = replace(result, **{part: replace(getattr(result, part), **by[part])})
        if "config" in by:
            old = self.model
            model = read({**old.config, **by["config"]}, old.name, old.source, library=old.library)
            model = replace(with_prediction_heads(model) if old.mtp else model, quantization=old.quantization)
            result = replace(result, model=model)
        if "hardware" in by:
            cluster = result.cluster.with_figures(self.precision.activations, by["hardware"])
            result = replace(result, cluster=cluster)
        if "cluster" in by:
            result = replace(result, cluster=replace(result.cluster, devices=by["cluster"]["devices"]))
        if self.free:
            result = replace(result, cluster=replace(result.cluster, devices=result.parallelism.devices))
        if self.fill:
            plan = result.parallelism
            left = maximum(floor(result.cluster.devices / (plan.tp * plan.cp)), 1.0)
            result = replace(result, parallelism=replace(plan, dp=left))
        return result

    def estimate(self) -> Estimate:
        """The estimate of the point, or of all points at once."""
        return estimate(
            self.model,
            self.workload,
            self.cluster,
            parallelism=self.parallelism,
            precision=self.precision,
            assumptions=self.assumptions,
            engine=self.engine,
        )


NAMES = np.asarray([*(r.name for r in RULES), ""])
"""Short names of the rules; the last, which index −1 picks, for none."""

ANSWERS: dict[str, Callable[[Estimate, Num | None], object]] = {
    "ttft_floor_s": lambda e, u: e.prefill and e.prefill.floor_s,
    "ttft_serial_s": lambda e, u: e.prefill and e.prefill.serial_s,
    "ttft_expected_s": lambda e, u: e.prefill and e.prefill.expected_s,
    "tpot_floor_s": lambda e, u: e.decode and e.decode.floor_s,
    "tpot_serial_s": lambda e, u: e.decode and e.decode.serial_s,
    "tpot_expected_s": lambda e, u: e.decode and e.decode.expected_s,
    "latency_floor_s": lambda e, u: e.whole("floor_s"),
    "latency_serial_s": lambda e, u: e.whole("serial_s"),
    "latency_expected_s": lambda e, u: e.expected_whole,
    "output_tokens_per_s": lambda e, u: e.output_tokens_per_s,
    "output_tokens_per_s_expected": lambda e, u: (
        None if e.expected_whole is None else e.output_tokens / e.expected_whole
    ),
    "weight_bytes": lambda e, u: e.memory.weights,
    "kv_cache_bytes": lambda e, u: e.memory.kv_cache,
    "activation_bytes": lambda e, u: e.memory.activations,
    "memory_bytes": lambda e, u: e.memory.total,
    "fits": lambda e, u: e.fits(u),
    "bound": lambda e, u: e.bound,
    "feasible": lambda e, u: e.feasible,
    "reason": lambda e, u: NAMES[e.rule],
}
"""Column → the answer of an estimate, given the share of the memory that may be used; None where a workload has none."""


def usual_columns(expected: bool) -> tuple[str, ...]:
    """All columns, or all but expected times."""
    return tuple(name for name in ANSWERS if expected or "expected" not in name)


def known_column(name: str) -> str:
    """The name, if it is one of a column."""
    if name not in ANSWERS:
        raise BadInput(f"{name[:40]!r} is no column; {near(name, ANSWERS)}; there are: {', '.join(ANSWERS)}")
    return name


def columns(e: Estimate, count: int, utilisation: Num | None, only: Sequence[str]) -> dict[str, Any]:
    """Some answers of an estimate as columns."""
    found = {name: ANSWERS[name](e, utilisation) for name in only}
    return {name: np.broadcast_to(np.asarray(v), (count,)) for name, v in found.items() if v is not None}


def to_stderr(done: int, points: int) -> None:
    """A line of progress, on a terminal only."""
    if sys.stderr.isatty() and points > 10 * CHUNK:
        print(f"\r{done:,} of {points:,} points", end="\n" if done == points else "", file=sys.stderr, flush=True)
