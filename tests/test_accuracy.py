"""How well measured runs are foretold: errors and intervals by kind of question, over every published run in ``validation/``.

Nothing is fitted to these runs, so each threshold is a promise that a change may not break; errors are |ln(expected / measured)|.
"""

import csv
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from conftest import CASES
from floorline.errors import BadInput
from floorline.specs.parallelism import Parallelism
from floorline.specs.workload import Encode, Generate, Serve
from floorline.validation.case_plan import plan_of, precision_of
from floorline.validation.case_times import expected, workload_of
from floorline.validation.cases import Case
from floorline.validation.questions import question
from floorline.validation.report import Row, Validation, accuracy

Runs = Validation
NATIVE, EAGER = "static batch, compiled or captured", "static batch, eager"
CLOSED, SATURATED = "closed loop, time per token", "as many requests as fit"
MEMORY, ENCODER, ALL = "peak memory", "encoder", "all times"
ONE, SEVERAL = "diffusion, one device", "diffusion, several devices"


def of(runs: Runs, kind: str) -> Mapping[str, Any]:
    """What is missed by, of one kind of question."""
    return next(each for each in runs.questions() if each["question"] == kind)


def by_hand(rows: list[Row]) -> tuple[float, float, float]:
    """Median and 90th percentile of the errors and the share inside its interval, from the columns alone."""
    errors = sorted(abs(float(np.log(float(r.expected or 0.0) / r.measured))) for r in rows)
    inside = sum(float(r.low or 0.0) <= r.measured <= float(r.high or 0.0) for r in rows)
    return float(np.median(errors)), errors[round(0.9 * (len(errors) - 1))], inside / len(rows)


# What is priced


def test_nearly_every_run_is_priced(inference_runs: Runs, encoder_runs: Runs, diffusion_runs: Runs) -> None:
    """At least 97 of 100 have an expected value; each of the others says why not."""
    for runs in (inference_runs, encoder_runs, diffusion_runs):
        hoped = [row for row in runs.rows if row.expected is not None]
        assert len(hoped) >= 0.97 * len(runs.rows)
        assert all(row.reason for row in runs.rows if row.expected is None)


def test_every_judged_run_counts(inference_runs: Runs, encoder_runs: Runs) -> None:
    """The kinds of questions hold all judged runs that have an error, each once."""
    for runs, file in ((inference_runs, "inference"), (encoder_runs, "encoder")):
        judged = [row for row in runs.rows if row.judged and row.error is not None]
        kinds = [each for each in runs.questions() if each["question"] != ALL]
        assert sum(each["n"] for each in kinds) == len(judged)
        lines = (CASES / f"{file}.csv").read_text(encoding="utf-8").splitlines()
        cells = list(csv.DictReader(line for line in lines if not line.startswith("#")))
        marked = [c for c in cells if c["judged"] != "no" and c["metric"] != "out_of_memory"]
        assert len(judged) >= 0.97 * len(marked)


def test_summaries_are_those_of_the_rows(inference_runs: Runs) -> None:
    """Errors and coverage of each kind, computed again from the columns."""
    for each in inference_runs.questions():
        if each["question"] == ALL:
            continue
        rows = [r for r in inference_runs.rows if r.question == each["question"] and r.judged and r.error is not None]
        median, tenth, inside = by_hand(rows)
        assert len(rows) == each["n"]
        assert each["median_error"] == pytest.approx(median)
        assert each["p90_error"] == pytest.approx(tenth, rel=0.06)  # between two runs, or the nearest
        assert each["coverage"] == pytest.approx(inside)


# How well


def test_static_batches_of_compiled_engines(inference_runs: Runs) -> None:
    """Engines that replay graphs or start compiled kernels."""
    found = of(inference_runs, NATIVE)
    assert found["n"] > 900
    assert found["median_error"] <= 0.14
    assert found["p90_error"] <= 0.40


def test_all_times(inference_runs: Runs) -> None:
    """Everything that takes time, eager frameworks and loads that are not stated among it."""
    found = of(inference_runs, ALL)
    assert found["n"] > 1300
    assert found["median_error"] <= 0.18
    assert found["p90_error"] <= 0.60


def test_closed_loops(inference_runs: Runs) -> None:
    """Time per token of servers under a constant number of requests."""
    found = of(inference_runs, CLOSED)
    assert found["n"] > 130
    assert found["median_error"] <= 0.18


def test_peak_memory(inference_runs: Runs) -> None:
    """What engines that run a batch at once were seen to take."""
    found = of(inference_runs, MEMORY)
    assert found["n"] > 80
    assert found["median_error"] <= 0.08
    assert found["p90_error"] <= 0.25


def test_out_of_memory(inference_runs: Runs) -> None:
    """Of the runs that failed at most two are said to fit; of those that ran at most 2 % are said to fail."""
    found = inference_runs.memory
    assert found is not None
    assert found.failed >= 12
    assert len(found.missed) <= 2
    assert len(found.called) <= 0.02 * found.ran


def test_static_batches_of_eager_frameworks(inference_runs: Runs) -> None:
    """Frameworks whose host starts each operator: their intervals hold nine in ten too."""
    found = of(inference_runs, EAGER)
    assert found["n"] >= 80
    assert 0.80 <= found["coverage"] <= 0.97


def test_encoders(encoder_runs: Runs) -> None:
    """One pass over text or pictures."""
    found = of(encoder_runs, ENCODER)
    assert found["n"] > 330
    assert found["median_error"] <= 0.12
    assert found["p90_error"] <= 0.40


@pytest.mark.parametrize(("kind", "least", "median", "tenth"), [(ONE, 38, 0.12, 0.35), (ALL, 180, 0.18, 0.55)])
def test_diffusion(diffusion_runs: Runs, kind: str, least: int, median: float, tenth: float) -> None:
    """Denoising steps, pictures and videos."""
    found = of(diffusion_runs, kind)
    assert found["n"] > least
    assert found["median_error"] <= median
    assert found["p90_error"] <= tenth


@pytest.mark.parametrize("kind", [ONE, SEVERAL, ALL])
def test_intervals_of_diffusion_hold_nine_in_ten(diffusion_runs: Runs, kind: str) -> None:
    """The same of them."""
    assert 0.80 <= of(diffusion_runs, kind)["coverage"] <= 0.97


@pytest.mark.parametrize("kind", [NATIVE, CLOSED, SATURATED, MEMORY])
def test_intervals_hold_nine_in_ten(inference_runs: Runs, kind: str) -> None:
    """The 90 % interval holds 80 to 97 of 100 measured values: neither too narrow nor so wide that it says nothing."""
    assert 0.80 <= of(inference_runs, kind)["coverage"] <= 0.97


def test_intervals_of_encoders_hold_nine_in_ten(encoder_runs: Runs) -> None:
    """The same of encoders."""
    assert 0.80 <= of(encoder_runs, ENCODER)["coverage"] <= 0.97


def test_nothing_beats_its_floor(inference_runs: Runs, encoder_runs: Runs, diffusion_runs: Runs) -> None:
    """No run is faster than its floor that is not on the list of those that are, and no expected time nor its interval either."""
    listed = {
        (row["file"], row["row"])
        for row in csv.DictReader((CASES.parent / "below_the_floor.csv").read_text(encoding="utf-8").splitlines())
    }
    for name, runs in (("inference", inference_runs), ("encoder", encoder_runs), ("diffusion", diffusion_runs)):
        assert {(name, row.case) for row in runs.beaten} <= listed
        for row in runs.rows:
            if row.expected is None or row.floor is None:
                continue
            assert row.low is not None
            assert row.high is not None
            assert row.low <= row.expected <= row.high
            assert row.high <= row.floor if row.is_rate else row.floor <= row.low


# How a run becomes a question


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ({"metric": "peak_memory_bytes", "load": "static"}, MEMORY),
        ({"metric": "out_of_memory"}, "out of memory"),
        ({"metric": "tpot_s", "load": "closed", "engine": "vLLM"}, CLOSED),
        ({"metric": "ttft_s", "load": "closed"}, "closed loop, time to first token"),
        ({"metric": "output_tokens_per_s", "load": "closed"}, "closed loop"),
        ({"metric": "output_tokens_per_s", "load": "saturated"}, SATURATED),
        ({"metric": "latency_s", "load": "static", "engine": "TensorRT-LLM v0.5.0"}, NATIVE),
        ({"metric": "latency_s", "load": "static", "engine": "HF Transformers 4.46.0 + FA2"}, EAGER),
        ({"metric": "latency_s", "load": "static", "engine": "Megatron-LM (PyTorch 2022)"}, EAGER),
        ({"metric": "latency_s", "load": "", "kind": "encoder"}, ENCODER),
    ],
)
def test_kinds_of_questions(cells: dict[str, str], kind: str) -> None:
    """By what was measured, under which load, with which software."""
    assert question(Case({"kind": "inference", **cells})) == kind


RUN = {"kind": "inference", "input_len": "100", "output_len": "20", "batch": "4"}


def test_workloads_of_runs() -> None:
    """A static batch is generated at once, any other load is a loop, of as many requests as stated or as fit; an encoder's is a
    pass."""
    assert workload_of(Case({**RUN, "load": "static"})) == Generate(batch=4, prompt_len=100, output_len=20)
    loop = Serve(concurrency=4, prompt_len=100, output_len=20)
    assert workload_of(Case({**RUN, "load": "closed"})) == loop
    assert workload_of(Case({**RUN, "load": "saturated", "batch": ""})) == Serve(prompt_len=100, output_len=20)
    assert workload_of(Case({**RUN, "kind": "encoder"})) == Encode(batch=4, seq_len=100)


def test_plans_of_runs() -> None:
    """Degrees that are not stated are one."""
    assert plan_of(Case({"tp": "8", "pp": "2", "dp": "", "ep": "4"})) == Parallelism(tp=8, pp=2, ep=4)
    assert plan_of(Case({})) == Parallelism()


@pytest.mark.parametrize(
    ("weights", "activations", "cache", "formats"),
    [
        ("bf16", "bf16", "", ("bf16", "bf16", "bf16")),
        ("fp16", "fp16", "fp8", ("fp16", "fp16", "fp8")),
        ("int4-g128", "fp16", "", ("fp16", "fp16", "fp16")),
        ("fp8", "fp8", "fp8", ("bf16", "bf16", "fp8")),
        ("fp8", "fp8", "fp16", ("fp16", "fp16", "fp16")),
        ("int8", "int8", "", ("int8", "int8", "fp16")),
        ("fp32", "", "", ("fp32", "fp32", "fp32")),
    ],
)
def test_formats_of_runs(weights: str, activations: str, cache: str, formats: tuple[str, str, str]) -> None:
    """What a checkpoint quantises has its own format; all else has 16 bits, and the cache those of the activations unless said."""
    found = precision_of(Case({"weights": weights, "activations": activations, "kv_cache": cache}))
    assert (found.weights, found.activations, found.kv_cache) == formats


WHOLE = {
    **RUN,
    "case": "x",
    "source": "y",
    "model": "llama-3.1-8b",
    "accelerator": "h100-sxm",
    "engine": "vLLM 0.12.0",
    "weights": "bf16",
    "activations": "bf16",
    "load": "static",
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"metric": "watts"}, "watts is not priced yet"),
        ({"metric": "tpot_s", "output_len": "1"}, "no time per later token"),
        ({"metric": "latency_s", "tp": "3"}, "tensor parallelism 3 does not divide"),
        ({"metric": "latency_s", "accelerator": "tpu-v5e"}, "no kernel models are known for tpu-v5e"),
        ({"metric": "latency_s", "weights": "int5"}, "format 'int5' is not known"),
        ({"metric": "latency_s", "batch": "many"}, "batch is 'many'; expected a number"),
        ({"metric": "latency_s", "network": "200Gb/s"}, ""),
    ],
)
def test_runs_that_cannot_be_priced(change: dict[str, str], reason: str) -> None:
    """One line says why."""
    case = Case({**WHOLE, **change})
    if not reason:
        assert expected(case, None) == expected(Case({**WHOLE, "metric": "latency_s"}), None)
        return
    with pytest.raises(BadInput, match=reason) as error:
        expected(case, None)
    assert "\n" not in str(error.value)


def test_metrics_of_one_run_agree() -> None:
    """Latency is the first token's time and that of 19 later ones; tokens a second are 4 · 20 in a latency; the ends of a rate's
    interval are those of the time's, the other way round."""
    found = {
        metric: expected(Case({**WHOLE, "metric": metric}), None)
        for metric in ("ttft_s", "tpot_s", "latency_s", "output_tokens_per_s")
    }
    for end in range(3):
        assert found["latency_s"][end] == pytest.approx(found["ttft_s"][end] + 19 * found["tpot_s"][end])
        assert found["output_tokens_per_s"][end] == pytest.approx(80 / found["latency_s"][(0, 2, 1)[end]])


def test_errors_by_hand() -> None:
    """Three runs, expected 10 % more, as measured and twice: median ln 1.1; the last is outside its interval."""
    rows = [
        Row("a", "s", "latency_s", 1.0, 0.5, False, "", expected=1.1, low=0.9, high=1.2, error=float(np.log(1.1))),
        Row("b", "s", "latency_s", 1.0, 0.5, False, "", expected=1.0, low=0.9, high=1.2, error=0.0),
        Row("c", "s", "latency_s", 1.0, 0.5, False, "", expected=2.0, low=1.5, high=3.0, error=float(np.log(2.0))),
    ]
    found = accuracy(rows)
    assert found["median_error"] == pytest.approx(np.log(1.1))
    assert found["bias"] == pytest.approx(np.log(1.1))
    assert found["coverage"] == pytest.approx(2 / 3)
    assert set(accuracy([]).values()) == {None}
