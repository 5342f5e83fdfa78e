"""Who inherits kernels from whom, how much wider that makes intervals, and laws of what is inherited."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import floorline.expected
from floorline import Cluster, Decode, Encode, Generate, Prefill, Serve, estimate
from floorline.calibrate import inherit
from floorline.calibrate.files import Fitted, calibrated, shipped
from floorline.calibrate.fit import formats_of
from floorline.calibrate.inherit import Chosen, alike, balance, choose, donors, rules
from floorline.calibrate.kinds import KINDS
from floorline.catalogue.accelerators import load_accelerator, names
from floorline.catalogue.widths import widths
from floorline.expected import Expectation, Share
from floorline.specs.accelerator import Accelerator
from floorline.specs.workload import Workload

DENSE = ("matmul", "prefill_attention", "decode_attention", "element-wise")
PRICED = sorted(n for n in names() if choose(load_accelerator(n), "matmul", "bf16") is not None)
OTHERS = sorted(set(PRICED) - set(calibrated()))
ARCHITECTURES = {load_accelerator(name).architecture for name in names()}


def found(name: str, kind: str, form: str = "bf16", engine: str = "") -> Chosen:
    """A model, which must be known."""
    model = choose(load_accelerator(name), kind, form, engine)
    assert model is not None, (name, kind, form)
    return model


def models_of(name: str) -> Mapping[tuple[str, str, str], Fitted]:
    """All fitted models of a card, by kind, form and engine."""
    calibration = shipped(name)
    assert calibration is not None
    return calibration.models


# One's own


@pytest.mark.parametrize("name", sorted(calibrated()))
def test_a_card_returns_its_own_models(name: str) -> None:
    """Each fitted model of a card, asked for by what it was fitted on, is that very model, no wider than its residuals."""
    device = load_accelerator(name)
    seen = 0
    for (kind, form, engine), model in models_of(name).items():
        own = choose(device, kind, form, engine)
        if device.sm_count is None:
            assert own is None
            continue
        assert own is not None
        assert own.fitted is model
        assert (own.how, own.wider) == ("own", 0.0)
        assert own.told == f"{name}, {form}" + (f", {engine}" if engine else "")
        for predicted in (1e-6, 1e-4, 1e-2):
            low, high = model.residuals.interval(predicted)
            assert own.interval(predicted) == (min(low, 0.0), max(high, 0.0))
        seen += 1
    assert seen > 0 or device.sm_count is None


@given(name=st.sampled_from(PRICED), kind=st.sampled_from(DENSE), form=st.sampled_from(("bf16", "fp8", "int8", "fp32")))
def test_wider_where_less_is_known(name: str, kind: str, form: str) -> None:
    """A model is own and as wide as measured, or inherited and wider by the file's share, its interval around the measured one."""
    device = load_accelerator(name)
    assume(form != "fp32" or form in device.peaks)
    model = choose(device, kind, form)
    if model is None:
        return
    said = rules()["wider"].get(kind, rules()["wider"]["other"])
    squares = {
        round(sum(said[way] ** 2 for way in ways), 9) for ways in ((), ("form",), ("family",), ("architecture",))
    }
    squares |= {round(said["form"] ** 2 + said[way] ** 2, 9) for way in ("family", "architecture")}
    assert round(model.wider**2, 9) in squares
    assert (model.how == "own") is (model.wider == 0.0)
    for predicted in (1e-6, 1e-4, 1e-2):
        narrow = model.fitted.residuals.interval(predicted)
        low, high = model.interval(predicted)
        assert low <= min(narrow[0], 0.0) <= 0.0 <= max(narrow[1], 0.0) <= high
        assert low**2 == pytest.approx(min(narrow[0], 0.0) ** 2 + model.wider**2)
        assert high**2 == pytest.approx(max(narrow[1], 0.0) ** 2 + model.wider**2)


# Whose instead


@pytest.mark.parametrize("name", sorted(names()))
def test_donors_are_all_cards_with_kernels_once(name: str) -> None:
    """Oneself and one's like, others of the architecture, then other architectures in the file's order."""
    architecture = load_accelerator(name).architecture
    own, family, rest = donors(name, architecture)
    every = [*own, *family, *rest]
    assert len(every) == len(set(every))
    assert set(every) <= set(calibrated())
    assert name not in calibrated() or every[0] == name
    assert all(load_accelerator(n).architecture == architecture for n in (*own, *family))
    assert not any(load_accelerator(n).architecture == architecture for n in rest)
    order = rules()["architectures"].get(architecture, rules()["architectures"]["other"])
    places = [order.index(load_accelerator(n).architecture) for n in rest]
    assert places == sorted(places)
    for group in (own[1:] if own[:1] == (name,) else own, family):
        apart = [abs(balance(n) - balance(name)) for n in group]
        assert apart == sorted(apart)


@pytest.mark.parametrize("name", OTHERS)
def test_a_card_without_kernels_inherits(name: str) -> None:
    """From one of its architecture where there is any with such a model, else from another; it says from whom."""
    device = load_accelerator(name)
    model = found(name, "matmul")
    donor = load_accelerator(model.fitted.accelerator)
    kin = [other for other in calibrated() if load_accelerator(other).architecture == device.architecture]
    known = {(kind, form) for other in kin for kind, form, _ in models_of(other)}
    assert (donor.architecture == device.architecture) is any(("matmul", form) in known for form in alike("bf16"))
    assert model.how in ("family", "architecture")
    assert model.told.endswith("(inherited)")


def test_withheld_cards_are_not_used() -> None:
    """Without H100's own the H200's stand in, as they would for a card that nobody measured."""
    device = load_accelerator("h100-sxm")
    other = choose(device, "matmul", "bf16", without=frozenset({"h100-sxm"}))
    assert other is not None
    assert other.fitted.accelerator != "h100-sxm"
    assert other.how == "family"
    assert choose(device, "matmul", "bf16", without=frozenset(calibrated())) is None


def test_a_device_without_multiprocessors_has_no_model() -> None:
    """What a kernel's tiles are spread over must be known."""
    for count in (None, 1.0):
        mine = Accelerator(name="mine", peaks={"bf16": 4e14}, memory=8e10, memory_bandwidth=2e12, sm_count=count)
        assert choose(mine, "matmul", "bf16") is None


@pytest.mark.parametrize("name", [n for n in names() if load_accelerator(n).architecture in ("tpu", "neuron")])
def test_systolic_arrays_have_no_model(name: str) -> None:
    """One or a few large arrays fed by software are no multiprocessors over which tiles are spread: no GPU stands for them."""
    device = load_accelerator(name)
    assert not [kind for kind in KINDS if choose(device, kind, "bf16") is not None]
    time = estimate("llama-3.1-8b", Decode(context_len=100), name).latency
    assert time.expected is None
    assert time.floor > 0.0


def test_arithmetic_is_as_sustained_by_hand() -> None:
    """A T4's 70 W hold its matmuls to 0.47 of what the donor's model gives (24 of 65 TFLOP/s, the file's source); an H800 has an
    H100's power and peak, and is as it is. NVIDIA's sheets give an L40 300 W for 181.05 TFLOP/s in fp16, an L40S 350 W for 362.05:
    of its peak it sustains (1.657 / 0.967)^0.6 = 1.38 times as much."""
    t4 = found("t4", "matmul", "fp16").fitted
    donor = models_of(t4.accelerator)["matmul", t4.form, t4.engine]
    assert t4.model.efficiency == pytest.approx(0.47 * donor.model.efficiency)
    h100, h800 = found("h100-sxm", "matmul").fitted, found("h800-sxm", "matmul").fitted
    assert h800.model.efficiency == pytest.approx(
        h100.model.efficiency, rel=1e-3
    )  # their sheets round peaks differently
    assert inherit.powered("l40", found("l40s", "matmul").fitted, "fp16") == pytest.approx(1.38, abs=0.01)
    for name in OTHERS:
        own = found(name, "matmul", "fp16").fitted
        if hasattr(own.model, "efficiency") and name not in rules()["sustained"]:
            assert own.model.efficiency <= inherit.MOST * 1.0000001


# Laws of inherited times


def scaled(device: Accelerator, **factors: float) -> Cluster:
    """A device of one's own like another, some figures times as large."""
    figures = {name: getattr(device, name) * factor for name, factor in factors.items() if name != "peaks"}
    peaks = {form: peak * factors.get("peaks", 1.0) for form, peak in device.peaks.items()}
    return Cluster(replace(device, name="mine", peaks=peaks, **figures))


@given(
    name=st.sampled_from(PRICED),
    model=st.sampled_from(("llama-3.1-8b", "mixtral-8x7b", "qwen2.5-0.5b", "falcon-mamba-7b")),
    batch=st.sampled_from((1, 16, 256)),
    length=st.sampled_from((10, 1000, 8000)),
    factor=st.floats(1.0, 4.0),
    prompt=st.booleans(),
)
def test_faster_figures_are_never_slower(
    name: str, model: str, batch: int, length: int, factor: float, prompt: bool
) -> None:
    """Twice the bandwidth, or twice the arithmetic, of the same multiprocessors: no kernel takes longer, nor the whole step."""
    work = Prefill(batch=batch, prompt_len=length) if prompt else Decode(batch=batch, context_len=length)
    device = load_accelerator(name)
    before = estimate(model, work, scaled(device)).phases[0].expectation
    assume(before is not None)
    for figures in ({"memory_bandwidth": 2.0}, {"memory_bandwidth": factor}, {"peaks": factor}):
        after = estimate(model, work, scaled(device, **figures)).phases[0].expectation
        assert after is not None
        assert before is not None
        for kind, share in before.kinds.items():
            assert after.kinds[kind].seconds <= share.seconds * (1 + 1e-9), (kind, figures)
        assert after.seconds <= before.seconds * (1 + 1e-9)


@given(name=st.sampled_from(OTHERS), batch=st.sampled_from((1, 64)), length=st.integers(1, 4000))
def test_inherited_times_keep_to_their_floors(name: str, batch: int, length: int) -> None:
    """Whatever the donor was: no expected time below what the card's own data sheet allows, and arrays equal their points."""
    many = estimate("llama-3.1-8b", Decode(batch=np.array([1.0, batch]), context_len=length), name)
    one = estimate("llama-3.1-8b", Decode(batch=batch, context_len=length), name)
    for kind in ("floor", "expected", "low", "high"):
        assert np.asarray(getattr(many.latency, kind))[1] == getattr(one.latency, kind)
    assert one.latency.low is not None
    assert one.latency.floor <= one.latency.low


# The files


def test_the_file_names_what_exists() -> None:
    """Architectures, formats, cards and kinds of kernels are those of the catalogue; nobody inherits from its own twice."""
    said = rules()
    for architecture, order in said["architectures"].items():
        assert architecture in ARCHITECTURES | {"other"}
        assert set(order) <= ARCHITECTURES - {architecture}
        assert len(set(order)) == len(order)
    assert set(said["sustained"]) <= set(names()) | ARCHITECTURES
    assert set(said["wider"]) - {"other"} <= set(KINDS)
    for form, near in said["formats"].items():
        assert form not in near
        assert list(alike(form)) == [form, *near]
    for shares in said["wider"].values():
        assert set(shares) == {"family", "architecture", "form"}
        assert 0.0 < shares["family"] <= shares["architecture"] < 1.0


def test_formats_of_a_cache_are_kept_first() -> None:
    """Of two formats both are tried as they are, then with nearer ones, then without the cache's."""
    first, *rest = alike("bf16+fp8")
    assert (first, formats_of(first)) == ("bf16+fp8", ("bf16", "fp8"))
    assert rest.index("fp16+fp8") < rest.index("bf16") < rest.index("fp16")


# Widths


def test_widths_are_logarithms() -> None:
    """One for each kind of question and one for the host, all between nothing and the whole."""
    assert set(widths()) == {"batch", "loop", "pass", "denoise", "operators", "training", "unknown", "host"}
    assert all(0.0 < width < 1.5 for width in widths().values())
    assert widths()["unknown"] == max(widths().values())


def test_each_question_has_its_width() -> None:
    """A static batch, a closed loop and a pass."""
    asked: dict[str, tuple[tuple[str, Workload], ...]] = {
        "batch": (("llama-3.1-8b", Generate(batch=4, prompt_len=100, output_len=3)), ("gpt2", Decode(context_len=9))),
        "loop": (("llama-3.1-8b", Serve(concurrency=4, prompt_len=100)), ("llama-3.1-8b", Serve(prompt_len=100))),
        "pass": (("bert-base-uncased", Encode(batch=8, seq_len=128)),),
    }
    for kind, questions in asked.items():
        for model, work in questions:
            for phase in estimate(model, work, "h100-sxm").phases:
                assert phase.expectation is not None
                assert phase.expectation.asked == kind
                assert phase.expectation.form == widths()[kind]


def test_half_widths_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinds of 3 and 4 ms below, 48 ms in all within a factor of 1.25, and 8 ms of the host within 2: below
    sqrt(3² + 4² + (0.2 · 48)² + 4²) ms; above, with 1 and 2 ms and 5 ms that may not hide, sqrt(1² + 2² + 5² + 12² + 8²)."""
    monkeypatch.setattr(floorline.expected, "widths", lambda: {"batch": np.log(1.25), "host": np.log(2.0)})
    kinds = {
        "matmul": Share(10.0, 3.0, 1.0, 1.0, (), False),
        "decode_attention": Share(30.0, 4.0, 2.0, 1.0, (), False),
    }
    whole = Expectation(kinds, 8.0, 5.0)
    assert whole.seconds == 48.0
    assert whole.half("below") == pytest.approx(np.sqrt(9 + 16 + 9.6**2 + 16))
    assert whole.half("above") == pytest.approx(np.sqrt(1 + 4 + 25 + 12.0**2 + 64))
    twice = whole.times(2.0)
    assert twice.half("below") == pytest.approx(2 * whole.half("below"))
    assert (whole + whole).half("above") == pytest.approx(twice.half("above"))
