"""Expected times of whole models: between their limits, opened, told apart by engine, wider where they are inherited."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floorline import (
    Decode,
    Denoise,
    Encode,
    Engine,
    Generate,
    Parallelism,
    Precision,
    Prefill,
    estimate,
    load_cluster,
    load_model,
    sweep,
)
from floorline.catalogue.engines import engines, load_engine
from floorline.catalogue.load import models
from floorline.catalogue.references import references
from floorline.catalogue.widths import widths
from floorline.denoising.estimate import estimate_denoising
from floorline.errors import BadInput
from floorline.estimates import Estimate
from floorline.kernel_sizes import Sized
from floorline.kernel_times import TIMES
from floorline.phases import Time
from floorline.specs.assumptions import Assumptions
from floorline.step import Step
from terminal import ask, run, told

H100 = load_cluster("h100-sxm", devices=8)
LLAMA = load_model("llama-3.1-8b")


def sure(time: Time | None) -> tuple[float, float, float]:
    """Expected time and both ends of its interval, which must be known."""
    assert time is not None
    assert time.expected is not None
    assert time.low is not None
    assert time.high is not None
    return float(time.expected), float(time.low), float(time.high)


def decoding(**more: Any) -> Estimate:
    return estimate(LLAMA, Decode(batch=8, context_len=1024), "h100-sxm", **more)


def test_a_decode_step_between_its_limits() -> None:
    """15 GB of weights at 3.35 TB/s are 4.8 ms; kernels reach 0.75 to 0.9 of that rate, and some 200 launches add 2 us each."""
    expected, low, high = sure(decoding().tpot)
    assert 4.7e-3 < low < expected < high
    assert 5.5e-3 < expected < 8e-3
    assert high / expected - 1.0 >= widths()["batch"]


@given(
    batch=st.integers(1, 512),
    length=st.integers(1, 30_000),
    tp=st.sampled_from((1, 2, 4, 8)),
    kind=st.sampled_from(("decode", "prefill")),
    name=st.sampled_from(("h100-sxm", "a100-sxm-80gb", "l40s", "b200-sxm", "rtx-4090", "mi300x", "h20")),
    form=st.sampled_from(("bf16", "fp8", "fp32", "int8", "int4")),
    model=st.sampled_from(("llama-3.1-8b", "mixtral-8x7b", "gpt2", "falcon-mamba-7b")),
)
def test_never_below_the_floor(batch: int, length: int, tp: int, kind: str, name: str, form: str, model: str) -> None:
    """And always inside its interval, on accelerators with and without kernels of their own, in any format."""
    few = min(length, 900) if model == "gpt2" else length
    work = Decode(batch=batch, context_len=few) if kind == "decode" else Prefill(batch=batch, prompt_len=few)
    plan = Parallelism(tp=1 if model == "gpt2" else tp)
    formats = Precision(weights=form, activations="fp32" if form == "fp32" else "fp8" if form == "fp8" else "bf16")
    e = estimate(model, work, load_cluster(name, devices=8), parallelism=plan, precision=formats)
    if not bool(e.feasible):
        return
    expected, low, high = sure(e.phases[0].time)
    assert float(e.phases[0].floor_s) * (1 - 1e-12) <= low <= expected <= high


def test_every_model_is_priced() -> None:
    """Each model of the catalogue has an expected time, whatever its layers."""
    for entry in models():
        model = load_model(entry["name"])
        if model.latent is not None:
            drawn = estimate_denoising(model, Denoise(), "h100-sxm").step.expected_s
            assert drawn is not None, model.name
            assert float(drawn) > 0.0, model.name
            continue
        source = 32 if model.has_encoder and "M" not in model.sizes else 0
        work = Decode(context_len=64, source_len=source) if model.generates else Encode(seq_len=64)
        found = estimate(model, work, "h100-sxm").phases[0].expected_s
        assert found is not None, model.name
        assert float(found) > 0.0, model.name


def test_every_kind_of_launch_has_a_time() -> None:
    kinds: set[str] = set()
    for entry in models():
        model = load_model(entry["name"])
        for fusion in ("unfused", "flash", "compulsory"):
            if model.latent is None:
                step = Step(model, 1.0, 1.0, 7.0, decoding=True)
            else:
                step = estimate_denoising(model, Denoise(), "h100-sxm").step.step
            kinds |= {
                sized.kind for stack, _ in step.stacks for row in step.program(stack, fusion) for sized in row.sized
            }
    assert kinds <= {*TIMES, "inside experts"}
    assert Sized("joined").kind in kinds


def test_kinds_add_up_and_open() -> None:
    """Kinds of kernels, launches and the explanation tell the same whole."""
    e = decoding()
    found = e.phases[0].expectation
    assert found is not None
    launches = [x for x in e.launches(e.phases[0]) if x.expected]
    assert sum(float(x.expected or 0.0) * float(x.repeat) for x in launches) == pytest.approx(float(found.kernels))
    assert set(found.kinds) == {"matmul", "decode_attention", "element-wise"}
    document = ask(
        "explain",
        "tpot",
        "llama-3.1-8b",
        "--hardware",
        "h100-sxm",
        "--batch-size",
        "8",
        "--input-len",
        "1024",
        "--output-len",
        "2",
    )
    (opened,) = [part for part in document["parts"] if part["title"].startswith("expected")]
    kinds = {part["title"].split(" ")[0]: part for part in opened["parts"]}
    assert opened["value"] == pytest.approx(float(found.seconds), rel=1e-3)
    down = next(p for p in kinds["matmul"]["parts"] if p["title"].startswith("block.down"))
    assert "m = 8, n = 4096, k = 14336" in down["formula"]
    assert "efficiency/matmul.py" in down["formula"]


def test_utilisation_by_hand() -> None:
    """MFU and MBU are the floor's shares of arithmetic and traffic in the expected time."""
    phase = decoding().phases[0]
    assert phase.mfu is not None
    assert phase.mbu is not None
    seconds, device = sure(phase.time)[0], H100.accelerator
    assert phase.mfu == pytest.approx(phase.floor.flops / 989.4e12 / seconds, rel=1e-3)
    assert phase.mbu == pytest.approx((phase.floor.weights + phase.floor.cached) / device.memory_bandwidth / seconds)


def test_engines() -> None:
    """Each with sources that exist; starting kernels from the host is never faster; the engine's own time is added."""
    assert all(source in references() for engine in engines().values() for source in engine.sources)
    base = decoding().phases[0]
    eager, own = (decoding(engine=e).phases[0] for e in ("eager", Engine(step_time=1e-3)))
    assert base.expected_s is not None
    assert eager.expectation is not None
    assert float(eager.expected_s or 0.0) > float(base.expected_s)
    assert float(eager.expectation.kernels) < float(eager.expected_s or 0.0)  # the host's starts take longer
    assert own.expected_s == pytest.approx(float(base.expected_s) + 1e-3)
    assert decoding(engine="vllm").phases[0].expected_s != base.expected_s
    served = estimate("deepseek-v3", Decode(context_len=64), H100, parallelism=Parallelism(tp=8), engine="vllm").phases[
        0
    ]
    assert served.expectation is not None  # nothing that was measured with the host starting each kernel
    assert not any("eager" in source for share in served.expectation.kinds.values() for source in share.sources)
    assert "h100-sxm, fp8-block128" in served.expectation.kinds["matmul"].sources
    with pytest.raises(BadInput, match="engine is 'vlm'; did you mean vllm"):
        load_engine("vlm")
    assert "engine is 'vlm'" in run("infer", "gpt2", "--engine", "vlm").err


def test_inherited_is_wider_and_says_so() -> None:
    """H800 is an H100 with slower links: the same kernels, a wider interval."""
    own, inherited = (sure(estimate(LLAMA, Decode(context_len=64), name).tpot) for name in ("h100-sxm", "gh200"))
    assert inherited[2] / inherited[0] > own[2] / own[0]
    assert "inherited through the data sheet of gh200" in run("infer", "llama-3.1-8b", "--hardware", "gh200").err
    assert "no model of tpu-v5e's kernels is known" in run("infer", "llama-3.1-8b", "--hardware", "tpu-v5e").err


def test_messages_are_priced() -> None:
    """Two all-reduces a layer on eight devices, and more between nodes."""
    model = load_model("llama-3.1-70b")
    near = estimate(model, Decode(context_len=64), H100, parallelism=Parallelism(tp=8)).phases[0].expectation
    far = estimate(
        model, Decode(context_len=64), load_cluster("h100-sxm", devices=16), parallelism=Parallelism(tp=16)
    ).phases[0]
    assert near is not None
    assert float(near.kinds["collectives"].launches) == 2 * 80 + 1
    assert float(near.kinds["collectives"].seconds) > 160 * 3e-6
    assert far.expectation is not None or not bool(far.feasible)


def test_generation_averages_its_steps() -> None:
    """The mean of the steps at each context, and the sum of the phases."""
    e = estimate(LLAMA, Generate(batch=4, prompt_len=100, output_len=5), "h100-sxm")
    each = [sure(estimate(LLAMA, Decode(batch=4, context_len=100 + i), "h100-sxm").tpot)[0] for i in range(4)]
    first, then, whole = (sure(time)[0] for time in (e.ttft, e.tpot, e.latency))
    assert then == pytest.approx(np.mean(each))
    assert whole == pytest.approx(first + 4 * then)
    assert e.rates["expected"] == pytest.approx(20.0 / whole)


def test_fusion_and_attention_conventions_change_no_mask() -> None:
    """Expected times follow the model's own mask, whatever pairs the FLOP convention counts."""
    full, causal = (
        estimate(LLAMA, Prefill(prompt_len=4096), "h100-sxm", assumptions=Assumptions(attention=word)).ttft
        for word in ("full", "causal")
    )
    assert full is not None
    assert causal is not None
    assert full.expected == causal.expected
    assert full.serial > causal.serial


def test_sweep_columns() -> None:
    """Expected times beside floors; left out of very large sweeps unless asked for."""
    found = sweep(LLAMA, Decode(context_len=64), H100, {"batch": [1, 2]})
    assert np.all(found.columns["tpot_expected_s"] > found.columns["tpot_floor_s"])
    assert found.columns["tpot_expected_s"][1] == sure(estimate(LLAMA, Decode(batch=2, context_len=64), H100).tpot)[0]
    bare = sweep(LLAMA, Decode(context_len=64), H100, {"batch": [1, 2]}, expected=False)
    assert "tpot_expected_s" not in bare.columns
    rows = [
        json.loads(line)
        for line in told(
            "sweep", "gpt2", "--batch-size", "1,2", "--input-len", "64", "--output-len", "4", "--format", "jsonl"
        ).splitlines()
    ]
    assert all(row["latency_expected_s"] > row["latency_floor_s"] for row in rows)


def test_a_custom_device_is_priced() -> None:
    """A faster memory makes decoding faster; the models are those of its architecture."""
    device = H100.accelerator
    faster = replace(
        H100, accelerator=replace(device, name="mine", memory_bandwidth=2.0 * device.memory_bandwidth), devices=1.0
    )
    before, after = (
        sure(estimate(LLAMA, Decode(context_len=64), c).tpot)[0] for c in (load_cluster("h100-sxm"), faster)
    )
    assert after < before
