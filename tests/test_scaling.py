"""Laws of strong and weak scaling."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import floorline
from floorline import (
    Assumptions,
    Cluster,
    Link,
    Parallelism,
    Train,
    estimate,
    load_cluster,
    scale,
)
from floorline.errors import BadInput, Infeasible
from floorline.training.scaling_curve import Scaling
from terminal import ask, run, told

POWERS = [1.0, 2.0, 4.0, 8.0, 16.0]
STEP = Train(global_batch=64, micro_batch=2, seq_len=1024)


def free_links() -> Cluster:
    """An A100 whose links take no time."""
    card = load_cluster("a100-sxm-80gb").accelerator
    return Cluster(replace(card, links=(Link("free", 1e30),)))


def eff(found: Scaling, by: str = "serial") -> Any:
    """Efficiencies by one kind of time."""
    return found.efficiency[by]


@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from([128.0, 512.0, 1024.0]))
def test_weak_scaling_is_flat_where_messages_are_free(micro: int, rounds: int, tokens: float) -> None:
    """Without ZeRO every rank does what one does alone: efficiency 1, speed-up n, but for a few bytes of a norm's gradients."""
    workload = Train(micro_batch=micro, global_batch=micro * rounds, seq_len=tokens)
    found = scale("gpt2", workload, free_links(), POWERS, kind="weak")
    assert eff(found) == pytest.approx(1.0, rel=1e-4)
    assert found.speed_up["serial"] == pytest.approx(np.array(POWERS), rel=1e-4)
    assert np.all(np.asarray(found.steps.serial.breakdown["gradient messages"]) < 1e-20)


@pytest.mark.parametrize("grow", ["dp", "tp", "pp", "cp"])
@pytest.mark.parametrize(("kind", "zero"), [("strong", "0"), ("strong", "1"), ("weak", "0")])
def test_no_better_than_perfect(kind: str, grow: str, zero: str) -> None:
    """By the serial sum nothing is more than n times as fast on n devices; one device is as fast as itself."""
    plan = Parallelism(zero_stage=zero)
    counts = [1, 2, 4, 8]
    found = scale("llama-3.1-8b", STEP, "h100-sxm", counts, kind=kind, grow=grow, parallelism=plan)
    for speed in found.speed_up.values():
        assert speed is not None
        assert np.asarray(speed)[0] == 1.0
    assert np.all(eff(found) <= 1.0 + 1e-12)
    assert np.all(eff(found, "floor") <= 1.0 + 1e-12)
    assert np.asarray(found.speed_up["serial"]) == pytest.approx(eff(found) * np.array(counts))


def test_zero_makes_weak_scaling_better_than_flat() -> None:
    """With free links and shares of the optimizer's state, more ranks update less each."""
    workload = Train(micro_batch=1, global_batch=1, seq_len=128)
    plan = Parallelism(zero_stage="1")
    found = scale("gpt2", workload, free_links(), POWERS, kind="weak", parallelism=plan)
    assert np.all(np.diff(eff(found)) > 0.0)


def test_slower_links_scale_worse() -> None:
    """Efficiency falls with the links, strong below weak."""
    quick = scale("llama-3.1-8b", STEP, load_cluster("h100-sxm"), POWERS)
    slow = scale("llama-3.1-8b", STEP, load_cluster("h100-sxm").with_network(8, 1e9), POWERS)
    assert np.all(eff(slow)[4:] < eff(quick)[4:])
    weak = scale("llama-3.1-8b", STEP, "h100-sxm", POWERS, kind="weak")
    assert np.all(eff(weak)[1:] > eff(quick)[1:])


def test_curve_is_its_points() -> None:
    """Each point is the estimate of that plan, to the last bit."""
    found = scale("llama-3.1-8b", STEP, "h100-sxm", POWERS, parallelism=Parallelism(zero_stage="1"))
    for at, devices in enumerate(POWERS):
        one = estimate("llama-3.1-8b", STEP, "h100-sxm", parallelism=Parallelism(dp=devices, zero_stage="1"))
        for name in ("floor", "serial", "expected", "low", "high"):
            assert np.asarray(getattr(found.step_time, name))[at] == getattr(one.step_time, name)
    assert list(np.asarray(found.steps.micro_batches)) == [32.0, 16.0, 8.0, 4.0, 2.0]


def test_first_count_need_not_be_one() -> None:
    """Speed-up over eight devices, efficiency over as many times the devices."""
    plan = Parallelism(tp=8)
    found = scale("llama-3.1-70b", STEP, "dgx-h100", [8, 16, 32], parallelism=plan)
    assert list(np.asarray(found.steps.parallelism.dp)) == [1.0, 2.0, 4.0]
    assert np.asarray(found.speed_up["expected"])[2] == pytest.approx(4.0 * eff(found, "expected")[2])


def test_points_that_break_rules() -> None:
    """A later one is nan with its reason, the first an error, a count that the plan does not divide too."""
    found = scale("gpt2", STEP, "h100-sxm", [1, 3, 4])
    assert [bool(reason) for reason in found.reasons] == [False, True, False]
    assert "no multiple" in found.reasons[1]
    assert np.isnan(np.asarray(found.step_time.serial)).tolist() == [False, True, False]
    with pytest.raises(Infeasible, match="on 13 devices: tensor parallelism 13"):
        scale("gpt2", STEP, "h100-sxm", [13], grow="tp")
    wrong: list[tuple[list[float], float]] = [([3], 2), ([], 1), ([0.5], 1)]
    for devices, tp in wrong:
        with pytest.raises(BadInput, match="devices"):
            scale("gpt2", STEP, "h100-sxm", devices, parallelism=Parallelism(tp=tp))
    with pytest.raises(BadInput, match="expected one of strong, weak"):
        scale("gpt2", STEP, "h100-sxm", [1], kind="both")
    with pytest.raises(BadInput, match="expected one of dp, tp, pp, cp"):
        scale("gpt2", STEP, "h100-sxm", [1], grow="ep")


def test_scale_from_the_command_line() -> None:
    """The command says what Python says, and what ``train`` says of each point."""
    words = ("llama-3.1-8b", "--global-batch-size", "64", "--seq-len", "1024", "--zero-stage", "1")
    document = ask("scale", *words, "--strong", "1,2,4")
    (curve,) = document["curves"]
    workload = Train(global_batch=64, seq_len=1024)
    found = scale("llama-3.1-8b", workload, "h100-sxm", [1, 2, 4], parallelism=Parallelism(zero_stage="1"))
    assert {k: curve[k] for k in found.to_dict()} == found.to_dict()
    for at, devices in enumerate((1, 2, 4)):
        one = ask("train", *words, "--devices", devices)
        assert {k: v[at] for k, v in curve["step_time_s"].items()} == one["step_time_s"]
    weak = ask("scale", *words, "--weak", "1,2,4")["curves"][0]
    assert weak["global_batch"] == [64, 128, 256]
    assert "speed-up" in told("scale", *words, "--strong", "1,2,4")


def test_scale_over_another_number() -> None:
    """Performance as a function of more than the number of devices: a curve for each value."""
    words = ("scale", "gpt2", "--weak", "1,2", "--micro-batch-size", "4", "--global-batch-size", "8")
    curves = ask(*words, "--over", "seq_len=256,1024")["curves"]
    assert [curve["over"] for curve in curves] == [{"seq_len": 256}, {"seq_len": 1024}]
    assert curves[0]["efficiency"]["serial"][1] < curves[1]["efficiency"]["serial"][1]
    deeper = ask(*words, "--seq-len", "256", "--over", "n_layer=6,24")["curves"]
    assert deeper[0]["step_time_s"]["serial"][0] < deeper[1]["step_time_s"]["serial"][0]


WRONG = {
    "neither": (),
    "both": ("--strong", "1,2", "--weak", "1,2"),
    "grown": ("--strong", "1,2", "--dp", "2"),
    "grow": ("--strong", "1,2", "--grow", "ep"),
    "over": ("--strong", "1,2", "--over", "seq_len"),
    "over twice": ("--strong", "1,2", "--over", "seq_len=1,2"),
    "over grown": ("--strong", "1,2", "--over", "dp=1,2"),
    "undivided": ("--strong", "1,3", "--tp", "2"),
}


@pytest.mark.parametrize("words", WRONG.values(), ids=WRONG)
def test_wrong_curves(words: tuple[str, ...]) -> None:
    """One line that says what was expected."""
    printed = run("scale", "gpt2", "--seq-len", "1024", *words)
    assert printed.status == 2
    assert len(printed.err.splitlines()) == 1
    assert "expected" in printed.err or "leave" in printed.err


def test_public() -> None:
    """It is the package's own, and its answer turns into JSON."""
    assert "scale" in dir(floorline)
    found = scale("gpt2", STEP, "h100-sxm", [1, 2], assumptions=Assumptions(message_latency=1e-3))
    assert json.loads(found.to_json())["devices"] == [1, 2]
    assert np.all(eff(found)[1:] < eff(scale("gpt2", STEP, "h100-sxm", [1, 2]))[1:])
