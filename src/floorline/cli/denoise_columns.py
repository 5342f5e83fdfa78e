"""Pictures and videos side by side: several models, or one at several sizes, and why one takes longer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from floorline.cli.output import bold, note, scalar, table
from floorline.denoising.estimate import DenoiseEstimate
from floorline.errors import Infeasible
from floorline.units import gib, integer, seconds

Row = Callable[[DenoiseEstimate], float | None]
"""A figure of an estimate, None where nothing is known of it."""


def passes(e: DenoiseEstimate) -> float:
    """Forward passes of the denoiser, those of guidance too [-]."""
    assert e.workload.passes is not None
    return scalar(e.steps) * scalar(e.workload.passes)


def flops_of_a_pass(e: DenoiseEstimate) -> float:
    """FLOP of one forward pass over the whole batch [FLOP]."""
    assert e.workload.passes is not None
    return scalar(e.work["step"]) / scalar(e.workload.passes)


def reached(e: DenoiseEstimate) -> float:
    """FLOP a second in the denoising steps, of all devices together [FLOP/s]."""
    return scalar(e.steps) * scalar(e.work["step"]) * scalar(e.plan.dp) / scalar(e.denoising.usual)


def attention(e: DenoiseEstimate) -> float | None:
    """Share of a step that attention's kernels take [-]."""
    kinds = {name: scalar(each) for name, each in e.kinds.items()}
    return kinds["attention"] / sum(kinds.values()) if kinds.get("attention") else None


def rate(value: float) -> str:
    """FLOP a second in words."""
    return f"{value / 1e12:.4g} TFLOP/s"


FACTORS: dict[str, tuple[Row, Callable[[float], str]]] = {
    "passes": (passes, integer),
    "FLOP of a pass": (flops_of_a_pass, lambda value: f"{value / 1e12:.4g} TFLOP"),
    "FLOP/s, all devices": (reached, rate),
    "all steps": (lambda e: scalar(e.denoising.usual), seconds),
    "text": (lambda e: None if e.encoding is None else scalar(e.encoding.usual), seconds),
    "pixels": (lambda e: None if e.decoding is None else scalar(e.decoding.usual), seconds),
    "weights moving": (lambda e: None if e.copying is None else scalar(e.copying.usual), seconds),
    "whole": (lambda e: scalar(e.latency.usual), seconds),
}
"""Why one takes longer: passes × FLOP of a pass ÷ FLOP/s are all steps; these, the text and the pixels are the whole."""
FIGURES: dict[str, Callable[[DenoiseEstimate], str]] = {
    "parameters of the denoiser": lambda e: integer(scalar(e.pipeline.denoiser.parameter_count().total)),
    "devices": lambda e: integer(scalar(e.plan.devices)),
    "tokens of a picture": lambda e: integer(scalar(e.grid.tokens)),
    "tokens of the text": lambda e: integer(scalar(e.grid.text)),
}
"""What is asked for, in tokens."""


def show_columns(columns: Sequence[tuple[str, DenoiseEstimate]]) -> None:
    """A column for each estimate; factors are against the first; what breaks a rule is told below.

    raises Infeasible where all of them break one
    """
    found = [e for _, e in columns if not e.reason]
    if not found:
        raise Infeasible(columns[0][1].reason)
    rows = [[name, *(of(e) for e in found)] for name, of in FIGURES.items()]
    rows = [row for row in rows if row[0] != "devices" or len(set(row[1:])) > 1]
    for name, (of, words) in FACTORS.items():
        values = [of(e) for e in found]
        if any(value is not None for value in values):
            rows.append([name, *(against(values[0], value, words) for value in values)])
    rows.append(["90 % interval", *(interval(e) for e in found)])
    rows.append(["floor", *(seconds(scalar(e.latency.floor)) for e in found)])
    rows.append(["attention of a step", *(share(attention(e)) for e in found)])
    rows.append(["memory", *(gib(scalar(e.memory.total)) for e in found)])
    rows.append(["fits", *("yes" if e.fits() else "no" for e in found)])
    print(bold("side by side; a factor is so many times the first column's"))
    print(table(["", *(name for name, e in columns if not e.reason)], rows))
    for name, e in columns:
        if e.reason:
            note(f"{name}: {e.reason}")
        for part in e.pipeline.uncounted:
            note(f"{name}: {part} not in it")
        if not e.reason and e.step.expectation is None:
            note(f"{name}: no model of {e.cluster.accelerator.name}'s kernels is known; its times are serial ones")
    note("all steps = passes × FLOP of a pass ÷ FLOP/s; whole = text + all steps + pixels + weights moving")


def against(first: float | None, value: float | None, words: Callable[[float], str]) -> str:
    """A figure, and how many times the first column's it is."""
    if value is None:
        return "–"
    return words(value) if not first else f"{words(value)} ({value / first:.2f}×)"


def interval(e: DenoiseEstimate) -> str:
    """Where nine of ten such runs are expected."""
    t = e.latency
    return "–" if t.low is None or t.high is None else f"{seconds(scalar(t.low))} to {seconds(scalar(t.high))}"


def share(value: float | None) -> str:
    """A share in per cent."""
    return "–" if value is None else f"{value:.1%}"
