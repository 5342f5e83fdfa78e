"""The step pass by pass: orders against the published closed forms, and the trace against the step's time."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floorline import Parallelism, Recipe, Train, estimate
from floorline.catalogue.trainers import load_trainer
from floorline.errors import BadInput
from floorline.training.estimate import TrainingEstimate
from floorline.training.memory import HELD
from floorline.training.orders import ORDERS, Pass, orders
from floorline.training.stage_times import laid_out, stage_times
from floorline.training.step_time import BUBBLES
from floorline.training.timeline import MOST, Seconds, Timeline, needs, timeline
from floorline.training.trace import chrome_trace
from terminal import run

TIMES = st.floats(0.25, 4.0)
STAGES = st.integers(1, 9)
ROUNDING = 1e-9


def closed(schedule: str, stages: int, one: Seconds, micro_batches: int, chunks: int = 1) -> float:
    """m·t + bubble."""
    others = stages - 1.0
    bubble = BUBBLES[schedule](others * one.forward, others * one.dgrad, others * one.wgrad, float(chunks))
    return micro_batches * (one.forward + one.dgrad + one.wgrad) + float(bubble)


def holds(found: Timeline, chunks: int, send: float) -> None:
    """No two passes of a stage at once; none before what it needs, sent where that is elsewhere."""
    stages = len(found.events)
    ends = {(event.stage, event.done): event.end for own in found.events for event in own}
    for own in found.events:
        for earlier, later in itertools.pairwise(own):
            assert earlier.end <= later.start
        for event in own:
            assert event.end >= event.start >= 0.0
            for source, before in needs(event.done, event.stage, stages, chunks):
                assert event.start >= ends[source, before] + (send if source != event.stage else 0.0)


@given(st.sampled_from(("gpipe", "1f1b")), STAGES, st.integers(1, 20), TIMES, TIMES, TIMES)
def test_plain_schedules_are_their_closed_form(
    schedule: str, stages: int, micro_batches: int, f: float, d: float, w: float
) -> None:
    """Equal stages and free messages, any number of micro-batches."""
    one = Seconds(f, d, w)
    found = timeline(schedule, [one] * stages, micro_batches)
    assert found.end == pytest.approx(closed(schedule, stages, one, micro_batches), rel=ROUNDING)


@given(st.integers(2, 8), st.integers(1, 4), st.integers(1, 4), TIMES, TIMES, TIMES)
def test_interleaved_is_its_closed_form(stages: int, groups: int, chunks: int, f: float, d: float, w: float) -> None:
    """Micro-batches in whole groups of as many as there are stages."""
    one = Seconds(f, d, w)
    found = timeline("1f1b", [one] * stages, groups * stages, chunks)
    assert found.end == pytest.approx(closed("1f1b", stages, one, groups * stages, chunks), rel=ROUNDING)


@given(STAGES, st.integers(0, 20), TIMES, TIMES, st.floats(0.1, 1.0))
def test_zero_bubble_is_its_closed_form(stages: int, more: int, f: float, d: float, share: float) -> None:
    """Table 1 of Qi et al.: from as many micro-batches as ZB-H1 (p) and ZB-H2 (2p − 1) have in flight, where gradients of weights
    take no longer than either other pass; of ZB-H2 the period, as the next step begins on the first stage before this one ends on
    the last."""
    one = Seconds(f, d, share * min(f, d))
    first = timeline("zero-bubble-1p", [one] * stages, stages + more)
    assert first.end == pytest.approx(closed("zero-bubble-1p", stages, one, stages + more), rel=ROUNDING)
    many = 2 * stages - 1 + more
    second = timeline("zero-bubble-2p", [one] * stages, many)
    assert second.period == pytest.approx(closed("zero-bubble-2p", stages, one, many), rel=ROUNDING)
    assert second.end >= second.period


def test_zero_bubble_with_equal_passes() -> None:
    """(p − 1)(f + d − w) of ZB-H1 where all passes take as long: a third of 1F1B's bubble; of ZB-H2 nothing."""
    one = Seconds(1.0, 1.0, 1.0)
    bubbles = [timeline(name, [one] * 8, 16).period - 48.0 for name in ("1f1b", "zero-bubble-1p", "zero-bubble-2p")]
    assert bubbles == [21.0, 7.0, 0.0]


@given(STAGES, st.integers(1, 20), TIMES, TIMES, TIMES)
def test_closed_forms_are_floors_of_short_steps(stages: int, micro_batches: int, f: float, d: float, w: float) -> None:
    """With fewer micro-batches than are in flight, or slow gradients of weights, zero-bubble schedules take longer than their
    closed form and no longer than 1F1B."""
    one = Seconds(f, d, w)
    usual = timeline("1f1b", [one] * stages, micro_batches).end
    for schedule in ("zero-bubble-1p", "zero-bubble-2p"):
        found = timeline(schedule, [one] * stages, micro_batches).period
        assert found >= closed(schedule, stages, one, micro_batches) * (1.0 - ROUNDING)
        assert found <= usual * (1.0 + ROUNDING)


@given(st.sampled_from(sorted(ORDERS)), st.integers(1, 4), st.integers(1, 3), st.floats(0.0, 2.0), st.data())
def test_passes_hold_to_their_order(schedule: str, groups: int, chunks: int, send: float, data: st.DataObject) -> None:
    """Uneven stages and slow messages: no pass before what it needs, none at once, each once."""
    passes = data.draw(st.lists(st.builds(Seconds, TIMES, TIMES, TIMES), min_size=1, max_size=6))
    chunks = chunks if schedule == "1f1b" else 1
    stages, micro_batches = len(passes), groups * len(passes)
    found = timeline(schedule, passes, micro_batches, chunks, send)
    holds(found, chunks, send)
    kinds = 3 if schedule.startswith("zero") else 2
    for own, one in zip(found.events, passes, strict=True):
        assert len({event.done for event in own}) == len(own) == micro_batches * chunks * kinds
        busy = sum(event.end - event.start for event in own)
        assert busy == pytest.approx(micro_batches * (one.forward + one.dgrad + one.wgrad), rel=ROUNDING)
        waits = sum(end - begin for begin, end in found.idle(own[0].stage))
        assert busy + waits == pytest.approx(found.end, rel=ROUNDING)
    slowest = max(one.forward + one.dgrad + one.wgrad for one in passes)
    assert found.end >= micro_batches * slowest * (1.0 - ROUNDING)
    assert found.end >= timeline(schedule, passes, micro_batches, chunks).end * (1.0 - ROUNDING)
    assert stages == len(found.events)


@given(st.sampled_from(sorted(ORDERS)), st.integers(1, 8), st.integers(1, 4), st.integers(1, 4), st.integers(0, 7))
def test_held_is_the_formula(schedule: str, stages: int, groups: int, chunks: int, odd: int) -> None:
    """What memory takes of a schedule is what its order holds at the most, on every stage."""
    chunks = chunks if schedule == "1f1b" and stages > 1 else 1
    micro_batches = groups * stages + (odd if chunks == 1 else 0)
    found = timeline(schedule, [Seconds(1.0, 1.0, 1.0)] * stages, micro_batches, chunks)
    for stage in range(stages):
        said = HELD[schedule](float(micro_batches), float(stages), float(stage), float(chunks))
        assert found.held(stage) == pytest.approx(float(said))


@given(st.integers(2, 8), st.integers(2, 6), st.floats(0.0, 0.1))
def test_messages_beside_1f1b(stages: int, groups: int, send: float) -> None:
    """Messages that delay the next stage only: plain 1F1B with equal stages waits for nearly two in each micro-batch, as none of
    its passes ahead hides them; with chunks they do, but for the way through all chunks, there and back."""
    one, m = Seconds(1.0, 1.0, 1.0), groups * stages
    plain = timeline("1f1b", [one] * stages, m, 1, send).end - timeline("1f1b", [one] * stages, m).end
    assert plain == pytest.approx((2.0 * (stages - 1) * groups + 2.0 * (stages - 2)) * send)
    chunks = timeline("1f1b", [one] * stages, m, 2, send).end - timeline("1f1b", [one] * stages, m, 2).end
    assert chunks == pytest.approx(2.0 * (2 * stages - 1) * send)


def test_bad_questions() -> None:
    """What has no order, one that does not come out even, one that is too long."""
    with pytest.raises(BadInput, match=r"no timeline of schedule 'dualpipe'.*1f1b"):
        orders("dualpipe", 4, 8)
    with pytest.raises(BadInput, match="no virtual stages"):
        orders("gpipe", 4, 8, 2)
    with pytest.raises(BadInput, match="groups of 4"):
        orders("1f1b", 4, 6, 2)
    with pytest.raises(BadInput, match="lower the batch"):
        timeline("1f1b", [Seconds(1.0, 1.0, 1.0)] * 100, MOST)
    assert needs(Pass("wgrad", 3), 0, 2, 1) == [(0, Pass("dgrad", 3))]


# A whole step


def step(launch: str = "graph", engine: str = "megatron-core", **plan: Any) -> TrainingEstimate:
    """Llama-3.1-8B, 32 sequences of 1024 tokens."""
    trainer = replace(load_trainer(engine), launch=launch)
    workload = Train(global_batch=32, seq_len=1024)
    return estimate("llama-3.1-8b", workload, "h100-sxm", parallelism=Parallelism(**plan), engine=trainer)


SAME = {
    "one": {},
    "zero": {"dp": 8, "zero_stage": "3"},
    "gpipe": {"pp": 4, "schedule": "gpipe"},
    "1f1b": {"pp": 4, "tp": 2},
    "uneven": {"pp": 8, "tp": 2},
}


@pytest.mark.parametrize("launch", ["graph", "eager"])
@pytest.mark.parametrize("engine", ["megatron-core", "megatron-lm-2021", "any"])
@pytest.mark.parametrize("plan", SAME.values(), ids=SAME)
def test_passes_end_when_the_formula_says(plan: dict[str, Any], engine: str, launch: str) -> None:
    """The passes of gpipe and 1F1B end when busy time, bubble and host say, whether it is the host or the device that is behind."""
    e = step(launch, engine=engine, **plan)
    assert e.expected is not None
    said = float(e.expected.busy.seconds + e.expected.bubble.seconds + e.expected.waiting)
    assert laid_out(e).end == pytest.approx(said, rel=1e-9)


def test_pipelines_wait_for_hosts() -> None:
    """GPT-2 on small micro-batches waits for its host on every stage but one without layers: that is not the slowest one."""
    stages = {}
    for pp in (1, 4, 8):
        e = estimate("gpt2", Train(global_batch=16, seq_len=1024), "h100-sxm", parallelism=Parallelism(pp=pp))
        found = stage_times(e)
        assert sum(stage.layers for stage in found) == 12.0
        assert e.expected is not None
        told = chrome_trace(e)["otherData"]
        assert told["drawn_s"] == pytest.approx(told["step_s"], rel=0.05)  # 12 layers on 8 stages: two have none
        stages[pp] = float(e.expected.seconds)
    assert stages[4] > stages[1] / 4
    assert stages[8] > stages[1] / 8


LOOSE = {
    "chunks": ({"pp": 4, "virtual_stages": 2}, 0.02),  # chunks are drawn as equal parts of a stage with its ends
    "zero-1p": (
        {"pp": 4, "schedule": "zero-bubble-1p"},
        0.02,
    ),  # the formula's sums leave out which stage is the slowest
    "zero-2p": (
        {"pp": 4, "schedule": "zero-bubble-2p"},
        0.04,
    ),  # the drawing ends on the last stage, the period on each
    "data": (
        {"pp": 2, "dp": 4, "zero_stage": "1"},
        0.01,
    ),  # each stage has its own messages and update, the formula the slowest's
}


@pytest.mark.parametrize(("plan", "tolerance"), LOOSE.values(), ids=LOOSE)
def test_whole_step_is_the_expected_one(plan: dict[str, Any], tolerance: float) -> None:
    """The drawing ends when the expected step does, as near as uneven stages allow; of equal ones to rounding."""
    told = chrome_trace(step(**plan))["otherData"]
    assert told["drawn_s"] == pytest.approx(told["step_s"], rel=tolerance)
    alone = chrome_trace(step(dp=8, zero_stage="1"))["otherData"]
    assert alone["drawn_s"] == pytest.approx(alone["step_s"], rel=1e-9)


@pytest.mark.parametrize("more", [{"offload_optimizer": "yes"}, {"offload_activations": 1.0}, {}])
def test_trace_of_offloaded_state_and_slow_sends(more: dict[str, Any]) -> None:
    """What the host's link adds to passes and update, and the four messages of DeepSpeed's pipeline, are drawn; the formula's
    bubble leaves out what other stages wait for tensors in the host's memory."""
    workload = Train(global_batch=32, seq_len=1024)
    for plan in (Parallelism(), Parallelism(pp=2)):
        e = estimate(
            "llama-3.1-8b", workload, "h100-sxm", parallelism=plan, engine="megatron-deepspeed", recipe=Recipe(**more)
        )
        told = chrome_trace(e)["otherData"]
        assert told["drawn_s"] == pytest.approx(told["step_s"], rel=1e-9 if plan.pp == 1.0 else 0.04)


def test_stages_add_up() -> None:
    """All stages together are the whole model; passes are spent on what the step is."""
    e = step(pp=4, tp=2)
    stages = stage_times(e)
    assert sum(stage.layers for stage in stages) == 32.0
    assert [stage.ends for stage in stages] == [("embedding",), (), (), ("head",)]
    assert e.expected is not None
    slowest = max(stages, key=lambda stage: stage.seconds.of("forward") + stage.seconds.of("backward"))
    busy = slowest.seconds.of("forward") + slowest.seconds.of("backward")
    assert busy * 32 == pytest.approx(float(e.expected.busy.seconds), rel=1e-9)
    assert "tensor messages" in slowest.forward
    assert laid_out(e, stages).held(0) == 4.0


@pytest.mark.parametrize("plan", [{"pp": 2, "tp": 2, "dp": 2, "zero_stage": "1"}, {"pp": 4, "virtual_stages": 2}])
def test_trace_is_valid(plan: dict[str, Any]) -> None:
    """The fields that viewers need; parts nest in passes; nothing overlaps in a row; all stages are named."""
    e = step("eager", **plan)
    trace = json.loads(json.dumps(chrome_trace(e), allow_nan=False))
    entries = trace["traceEvents"]
    assert {x["ph"] for x in entries} == {"X", "M"}
    stages = set(range(int(plan["pp"])))
    for x in entries:
        assert isinstance(x["name"], str)
        assert x["pid"] in stages
        assert isinstance(x["tid"], int)
        if x["ph"] == "X":
            assert x["ts"] >= 0.0
            assert x["dur"] >= 0.0
            assert np.isfinite(x["dur"])
    assert {x["pid"] for x in entries if x["name"] == "process_name"} == stages
    drawn = [x for x in entries if x["ph"] == "X"]
    for stage in stages:
        for row in range(5):
            own = [x for x in drawn if (x["pid"], x["tid"]) == (stage, row) and x["cat"] != "part"]
            own.sort(key=lambda x: x["ts"])
            for a, b in itertools.pairwise(own):
                assert a["ts"] + a["dur"] <= b["ts"] * (1.0 + 1e-12)
    passes = [x for x in drawn if x["cat"] == "pass" and x["name"] != "slowed by messages"]
    parts = [x for x in drawn if x["cat"] == "part"]
    first = [x for x in parts if x["pid"] == 0 and x["ts"] < passes[0]["ts"] + passes[0]["dur"]]
    assert sum(x["dur"] for x in first) == pytest.approx(passes[0]["dur"])
    assert sum(x["args"]["share"] for x in first) == pytest.approx(1.0)
    assert max(x["ts"] + x["dur"] for x in drawn) / 1e6 == pytest.approx(trace["otherData"]["drawn_s"])


def test_trace_from_the_command_line(tmp_path: Path) -> None:
    """``--trace`` writes what Python makes; a path that cannot be written is one line."""
    path = tmp_path / "step.json"
    words = (
        "train",
        "gpt2",
        "--pp",
        "2",
        "--global-batch-size",
        "4",
        "--seq-len",
        "512",
        "--hardware",
        "a100-sxm-80gb",
    )
    printed = run(*words, "--trace", str(path))
    assert printed.status == 0
    assert f"wrote {path}" in printed.err
    e = estimate("gpt2", Train(global_batch=4, seq_len=512), "a100-sxm-80gb", parallelism=Parallelism(pp=2))
    assert json.loads(path.read_text()) == json.loads(json.dumps(chrome_trace(e)))
    for wrong in (str(tmp_path / "none" / "step.json"), str(tmp_path / "step.svg")):
        printed = run(*words, "--trace", wrong)
        assert printed.status == 2
        assert len(printed.err.splitlines()) == 1


def test_no_trace_of_many_plans() -> None:
    """One plan, that breaks no rule."""
    many = estimate(
        "gpt2", Train(seq_len=512, global_batch=8), "h100-sxm", parallelism=Parallelism(dp=np.array([1.0, 2.0]))
    )
    with pytest.raises(BadInput, match="expected one plan"):
        chrome_trace(many)
    broken = estimate("gpt2", Train(seq_len=512, global_batch=8), "h100-sxm", parallelism=Parallelism(pp=99))
    with pytest.raises(BadInput, match="pipeline parallelism 99"):
        chrome_trace(broken)


def test_textbook_where_nothing_is_expected() -> None:
    """A device without kernel models is drawn by the serial sum."""
    e = estimate("gpt2", Train(seq_len=512, global_batch=8), "tpu-v5e", parallelism=Parallelism(pp=2))
    told = chrome_trace(e)["otherData"]
    assert told["times"] == "serial"
    assert told["drawn_s"] == pytest.approx(float(e.serial.seconds), rel=0.02)
