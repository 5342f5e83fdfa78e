"""Which fitted model holds for an accelerator: its own, else one of its family's or of the nearest, through its data sheet."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from floorline.calibrate.files import Fitted, calibrated, shipped
from floorline.calibrate.fit import form_of, formats_of
from floorline.catalogue.accelerators import load_accelerator, names
from floorline.efficiency.prefill_attention import PrefillAttention
from floorline.num import Num
from floorline.specs.accelerator import Accelerator

FILE = Path(__file__).parents[1] / "catalogue" / "inheritance.toml"


SIXTEEN = {"bf16", "fp16"}
"""Formats whose kernels are alike in everything that takes time."""


@dataclass(frozen=True)
class Chosen:
    """A fitted model, as it holds for another accelerator or format.

    fitted   the model
    how      "own", "form" (own, of another format), "family" (another accelerator of its architecture) or "architecture"
    wider    what that adds to the interval's half width, in quadrature
    """

    fitted: Fitted
    how: str
    wider: float

    def interval(self, predicted: Num) -> tuple[Num, Num]:
        """Ends of the 90 % interval around a predicted time, as logarithms."""
        low, high = self.fitted.residuals.interval(predicted)
        return -np.hypot(np.minimum(low, 0.0), self.wider), np.hypot(np.maximum(high, 0.0), self.wider)

    @property
    def told(self) -> str:
        """Where it comes from, for people."""
        source = self.fitted
        by = f"{source.accelerator}, {source.form}" + (f", {source.engine}" if source.engine else "")
        return by if self.how == "own" else f"{by} (inherited)"


@cache
def rules() -> dict[str, Any]:
    """The file that says who inherits from whom, and how much wider intervals are then."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


@cache
def balance(name: str) -> float:
    """Logarithm of FLOP for each byte of memory, in 16 bits, as the catalogue has it; 0 for an accelerator of one's own, so that
    who inherits from whom never depends on figures that may vary."""
    if name not in names():
        return 0.0
    device = load_accelerator(name)
    return float(np.log(device.fastest("bf16") / device.memory_bandwidth))


LIKE = float(np.log(2.0))
"""Within this logarithm of FLOP for each byte a device is like another."""


@cache
def donors(name: str, architecture: str) -> tuple[tuple[str, ...], ...]:
    """Accelerators with a calibration, nearest first: itself and its like (kernels of one engine say more on a device like it than
    those of others on itself), others of its architecture, then those of other architectures."""
    families = {other: load_accelerator(other).architecture for other in calibrated()}
    near = sorted(families, key=lambda other: (other != name, abs(balance(other) - balance(name))))
    family = [other for other in near if other == name or families[other] == architecture]
    own = tuple(other for other in family if abs(balance(other) - balance(name)) < LIKE)
    same = tuple(other for other in family if other not in own)
    order = rules()["architectures"].get(architecture, rules()["architectures"]["other"])
    rest = (other for wanted in order for other in near if families[other] == wanted)
    return own, same, tuple(other for other in rest if other not in own + same)


def alike(form: str) -> Iterator[str]:
    """A format, then those whose kernels are most like its own."""
    dtype, cache = formats_of(form)
    near: Mapping[str, list[str]] = rules()["formats"]
    names = [dtype, *near.get(dtype, ())]
    for name in names:
        yield form_of(name, cache if cache != dtype else name)
    if cache != dtype:
        yield from names


def choose(
    device: Accelerator, kind: str, form: str, engine: str = "", without: frozenset[str] = frozenset()
) -> Chosen | None:
    """The model of a kind of kernel that holds for a device; None where nothing is known.

    device  of the catalogue, or one's own
    kind    of ``kinds.KINDS``
    form    as in ``fit.form_of``
    engine  "" for the median over engines
    without  accelerators whose calibrations are not used

    >>> from floorline.catalogue.accelerators import load_accelerator
    >>> choose(load_accelerator("h800-sxm"), "matmul", "bf16").how
    'family'
    """
    if device.sm_count is None or not float(np.min(device.sm_count)) > 1.0 or device.architecture in rules()["unlike"]:
        return None
    return chosen(device.name, device.architecture, kind, form, engine, without)


@cache
def chosen(name: str, architecture: str, kind: str, form: str, engine: str, without: frozenset[str]) -> Chosen | None:
    """The same, by what it depends on."""
    for group in donors(name, architecture):
        for like in alike(form):
            for software in dict.fromkeys((engine, engine.partition("/")[0], "", *rules()["engines"])):
                for accelerator in group:
                    found = None if accelerator in without else shipped(accelerator)
                    model = found.model(kind, like, software) if found else None
                    if model is not None:
                        carried = paced(sustained(model, name, architecture, form), name)
                        return Chosen(carried, *told_apart(name, architecture, model, form))
    return None


def sustained(model: Fitted, name: str, architecture: str, form: str) -> Fitted:
    """A model whose arithmetic is as much faster or slower on another device as its large matmuls were measured to be, or as the
    power that it has for each operation lets expect."""
    if model.accelerator == name or not hasattr(model.model, "efficiency"):
        return model
    own, vectors = model.model.efficiency, form in VECTORS
    measured: Mapping[str, float] = {} if vectors else rules()["sustained"]
    share = measured.get(name, measured.get(architecture, 0.0))
    share = share or min(powered(name, model, "fp32" if vectors else "fp16"), 1.0 if vectors else MOST / own)
    return replace(model, model=replace(model.model, efficiency=own * share))


def paced(model: Fitted, name: str) -> Fitted:
    """A model whose work beside the matrix units (loading operands, exponentials) takes as many clocks on another device, so that
    it weighs less where these units are held to a part of their rate; attention hides all of it there."""
    held = [entry for entry in HALVES if hasattr(model.model, entry)]
    if not held or name == model.accelerator or name not in names():
        return model
    if isinstance(model.model, PrefillAttention) and slowed(name) < slowed(model.accelerator):
        return replace(model, model=hidden(model.model, load_accelerator(name)))
    share = slowed(name) / slowed(model.accelerator)
    changed = {entry: getattr(model.model, entry) * share for entry in held}
    return replace(model, model=replace(model.model, **changed))


def slowed(name: str) -> float:
    """The rate at which matrix units add in fp32, over that at which they can multiply: a half on GeForce cards, and on servers'
    cards whose data sheets print half of what their chip does a clock (L40, L20)."""
    device = load_accelerator(name)
    if device.boost_clock is None or device.sm_count is None:
        return float(device.peak("fp16") / device.fastest("fp16"))
    each = float(device.peak("fp16") / (device.sm_count * device.boost_clock))
    return 0.5 if each < HALF_RATE else 1.0


HALF_RATE = 700.0
"""FLOP of a multiprocessor in a clock, below which its matrix units are held: they multiply 1024 in every generation since Volta
(2048 in A100, 4096 in H100), and cards that are held add 512."""


def hidden(model: PrefillAttention, device: Accelerator) -> PrefillAttention:
    """Attention where everything beside the matrix units hides behind them, so that heads of all widths reach the same.

    Measured: FlashAttention-2 in fp16 over 2048 tokens on an RTX 4090, not causal, 160, 169, 169 and 156 of 165 TFLOP/s in heads
    of 32, 64, 128 and 256 (apache/tvm, tl_doc/flash_perf.md); of 4096 queries and 8192 keys on an RTX 5090 held to 400 W, 187 of
    209.5 (gau-nernst/learn-cuda, 07_attention). Between them, by the watts that each FLOP has.
    """
    watts = WATTS if device.tdp is None else float(device.tdp / device.peak("fp16"))
    reached = min(REACHED * float(np.power(watts / WATTS, REACHED_POWER)), 1.0)
    return replace(model, efficiency=reached, half_width=0.5, single=1.0, wide=1e-4, sag=1e-6)


REACHED, WATTS, REACHED_POWER = 1.02, 450.0 / 165.2e12, 0.37
"""Share of an RTX 4090's peak that attention reaches, watts for each of its FLOP/s, and the exponent that gives an RTX 5090's 0.89
at 400 W."""


HALVES = ("half_tile", "half_width")
"""Parameters that say at which size a kernel's work beside the matrix units takes as long as theirs."""


def powered(name: str, model: Fitted, form: str) -> float:
    """How much more of its peak a device sustains than the one that a model was fitted on, by the power of each operation; 1 for an
    accelerator of one's own."""
    devices = [load_accelerator(each) for each in (name, model.accelerator) if each in names()]
    if len(devices) < 2 or any(device.tdp is None for device in devices):
        return 1.0
    own, other = (device.tdp / device.peak(form) for device in devices if device.tdp is not None)
    return float(np.power(own / other, POWER))


VECTORS = {"fp32", "fp64"}
"""Formats of vector units, which sustain no more than matrix units where power suffices."""

POWER, MOST = 0.6, 1.2
"""Exponent by which a device with more watts for each FLOP/s sustains more of its peak, and the most that a model's share becomes:
cuBLAS reaches 0.92 of an L20's peak (2.3 W for a TFLOP/s, fp16) and 0.55 of an L40S's (0.97 W), of one architecture."""


def told_apart(name: str, architecture: str, model: Fitted, form: str) -> tuple[str, float]:
    """How a model was come by, and what that adds to its interval."""
    wider: Mapping[str, float] = rules()["wider"].get(model.kind, rules()["wider"]["other"])
    other = load_accelerator(model.accelerator).architecture != architecture
    apart = (
        ("form", model.form != form and {model.form, form} != SIXTEEN),
        ("architecture" if other else "family", model.accelerator != name),
    )
    ways = [way for way, is_so in apart if is_so]
    return (ways[-1] if ways else "own"), float(np.sqrt(sum(wider[way] ** 2 for way in ways)))
