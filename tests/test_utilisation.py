"""Utilisation of measured training runs under each convention."""

import sys

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


SD3 = ("sd3-medium", "--height", "512", "--width", "512", "--global-batch-size", "128")


def test_formulas_of_parameters_say_nothing_of_pictures() -> None:
    """Tokens of a picture never meet the weights of modulation, and the text's are left out: nan, null, no line of a table."""
    pictures = Train(global_batch=128, height=512, width=512)
    found = mfu("sd3-medium", pictures, "h100-sxm", devices=8, step_time=0.5)
    assert [name for name, share in found.of.items() if np.isnan(share)] == ["palm", "six_n_d"]
    document, text = (ask("mfu", name, "--step-time", "1", "--seq-len", "1024") for name in ("gpt2", "gpt2-xl"))
    assert document["mfu"].keys() == text["mfu"].keys()
    for command in ("train", "mfu"):
        words = (
            command,
            *SD3,
            "--devices",
            "8",
            *(("--step-time", "0.5") if command == "mfu" else ("--zero-stage", "2")),
        )
        drawn = ask(*words)
        assert drawn["mfu"].keys() == document["mfu"].keys()
        assert drawn["flops"].keys() >= {"palm", "six_n_d"}
        assert [name for name, share in drawn["mfu"].items() if share is None] == ["palm", "six_n_d"]
        shown = told(*words)
        assert "every operator" in shown
        assert "PaLM" not in shown
        assert "6ND" not in shown
    with pytest.raises(BadInput, match="counted is 'palm', which says nothing of sd3-medium"):
        mfu("sd3-medium", pictures, "h100-sxm", flops_per_s_per_device=1e14, counted="palm")


def test_a_diffusion_step_counts_pictures_or_videos() -> None:
    """Pictures a second are tokens a second over a picture's tokens; a language model has none."""
    for command in (("train", *SD3), ("mfu", *SD3, "--step-time", "0.5")):
        printed = run(*command)
        assert "128 pictures of 512 × 512 pixels (1 024 tokens beside 333 of the text)" in printed.out
        assert "sequence" not in printed.out
        assert "text encoders and the autoencoder are no part of it" in printed.err
    rates = ask("train", *SD3)
    for name, rate in rates["pictures_per_s"].items():
        assert rate * 1024 == pytest.approx(rates["tokens_per_s"][name])
    assert ask("mfu", *SD3, "--step-time", "0.5")["pictures_per_s"] == 256
    assert "2 videos of 17 frames of 480 × 832 pixels" in told(
        *("train", "wan2.1-t2v-1.3b", "--frames", "17", "--global-batch-size", "2")
    )
    words = ("gpt2", "--seq-len", "1024")
    assert ask("train", *words)["pictures_per_s"] is None
    assert ask("mfu", *words, "--step-time", "1")["pictures_per_s"] is None
    printed = run("train", *words)
    assert "1 sequences of 1 024 tokens a step" in printed.out
    assert "autoencoder" not in printed.err


@pytest.mark.parametrize(("micro", "expected"), [("1", True), ("16", False)])
def test_a_host_that_takes_much_is_told(micro: str, expected: bool) -> None:
    """More than a quarter of the step: what would help."""
    words = ("train", *SD3, "--devices", "8", "--zero-stage", "2", "--micro-batch-size", micro)
    found = ask(*words)
    share = found["breakdown"].get("host", 0.0) / sum(found["breakdown"].values())
    assert (share > 0.25) == expected
    assert ("a larger --micro-batch-size" in run(*words).err) == expected


def test_a_run_of_pictures_has_no_formulas_of_text() -> None:
    """6ND and Chinchilla are of language models."""
    assert "Chinchilla" in told("train", "gpt2", "--seq-len", "1024", "--tokens", "1e9")
    shown = told("train", *SD3, "--tokens", "1e9")
    assert "device-hours" in shown
    assert "Chinchilla" not in shown


def test_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says what to install, or what to use instead."""
    found = mfu("gpt2", Train(seq_len=8), "h100-sxm", step_time=1.0)
    assert len(found.to_pandas()) == 1
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        BadInput, match=r"to_pandas needs pandas: pip install 'floorline\[pandas\]', or use to_dict\(\)"
    ):
        found.to_pandas()


def test_public() -> None:
    """It is the package's own."""
    assert "mfu" in dir(floorline)
