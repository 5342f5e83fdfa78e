"""Utilisation of measured training runs under each convention."""

import numpy as np
import pytest

import floorline
from floorline import Parallelism, Recipe, Train, estimate, mfu
from floorline.errors import BadInput
from terminal import ask, run, told


def test_nanogpt() -> None:
    """Its own figures (transformer_sizing.ipynb): 100 sequences of 1024 tokens in 0.755 s on an A100 are 37.14 %."""
    words = ("gpt2", "--set", "bias=false", "--hardware", "a100", "--global-batch-size", "100", "--seq-len", "1024")
    document = ask("mfu", *words, "--step-time", "0.755")
    assert round(document["mfu"]["full"] * 100.0, 2) == 37.14
    assert document["flops"]["palm"] == 87506288640000
    assert document["tokens_per_s"] == pytest.approx(102400 / 0.755)
    assert "37.14%" in told("mfu", *words, "--step-time", "755 ms")


def test_rates_and_times_agree() -> None:
    """A step's time, its tokens a second and its TFLOP/s by any convention are the same run."""
    workload = Train(global_batch=32, seq_len=2048)
    found = mfu("llama-3.1-8b", workload, "h100-sxm", devices=8, step_time=2.0)
    same = [mfu("llama-3.1-8b", workload, "h100-sxm", devices=8, tokens_per_s=float(found.tokens_per_s))]
    same += [
        mfu("llama-3.1-8b", workload, "h100-sxm", devices=8, flops_per_s_per_device=rate, counted=name)
        for name, rate in found.rates.items()
    ]
    for other in same:
        assert other.step_time == pytest.approx(2.0)
        assert other.of == pytest.approx(found.of)
    printed = ask(
        "mfu",
        "llama-3.1-8b",
        "--devices",
        "8",
        "--tflops-per-device",
        float(found.rates["six_n_d"]) / 1e12,
        "--counted-by",
        "six_n_d",
        "--global-batch-size",
        "32",
        "--seq-len",
        "2048",
    )
    assert printed["step_time_s"] == pytest.approx(2.0)


def test_utilisation_of_an_estimate() -> None:
    """The estimate's own step time has the estimate's own utilisation."""
    e = estimate("gpt2", Train(global_batch=16, seq_len=1024), "h100-sxm", parallelism=Parallelism(dp=2))
    found = mfu("gpt2", Train(global_batch=16, seq_len=1024), "h100-sxm", devices=2, step_time=e.step_time.expected)
    assert found.of == e.utilisation()


def test_recomputation_raises_hfu_alone() -> None:
    """What is computed twice counts in HFU only: with everything recomputed, up to four thirds of layers."""
    workload = Train(global_batch=8, seq_len=1024)
    plain, full = (
        mfu("llama-3.1-8b", workload, "h100-sxm", step_time=5.0, recipe=Recipe(recompute=how)).of
        for how in ("none", "full")
    )
    assert plain["full"] == full["full"]
    assert 1.2 < float(full["hardware"] / plain["hardware"]) < 1.35
    many = mfu("gpt2", workload, "h100-sxm", step_time=np.array([1.0, 2.0])).of["full"]
    assert np.asarray(many)[0] == 2.0 * np.asarray(many)[1]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--step-time", "1", "--tokens-per-second", "5"),
        ("--step-time", "0"),
        ("--step-time", "fast"),
        ("--tokens-per-second", "many"),
        ("--step-time", "1", "--counted-by", "full"),
        ("--tflops-per-device", "100", "--counted-by", "mine"),
    ],
)
def test_wrong_measurements(words: tuple[str, ...]) -> None:
    """One line that says what was expected."""
    printed = run("mfu", "gpt2", "--seq-len", "1024", *words)
    assert printed.status == 2
    assert len(printed.err.splitlines()) == 1


def test_beyond_the_peak_is_said() -> None:
    """No device is faster than its peak."""
    printed = run("mfu", "gpt2", "--seq-len", "1024", "--tokens-per-second", "1e9")
    assert printed.status == 0
    assert "more than the peak" in printed.err
    with pytest.raises(BadInput, match="expected exactly one"):
        mfu("gpt2", Train(seq_len=8), "h100-sxm")


def test_public() -> None:
    """It is the package's own."""
    assert "mfu" in dir(floorline)
