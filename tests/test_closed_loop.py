"""Closed loops of requests: schedules against a simulation, times by hand arithmetic, Little's law, and as many as fit."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import floorline
from floorline import Engine, Generate, Parallelism, Precision, Serve, estimate, load_cluster, load_model, serving
from floorline.capacity import at_once
from floorline.catalogue.engines import load_engine
from floorline.errors import BadInput
from floorline.estimates import Estimate
from floorline.expected import Expectation, Share
from floorline.formulas.serving import joining_tokens, prompt_steps, shared_steps, waiting_steps
from floorline.num import number
from floorline.step import Step

MODEL = "llama-3.1-8b"
PAGED = ("any", "vllm", "sglang", "trtllm", "vllm-0.7")
"""Engines that hand out the cache as tokens are made, or queue what does not fit."""


# Which steps a request goes through, against a simulation


@dataclass
class Request:
    """A simulated request: parts of its prompt and tokens that are still to come, and the steps it went through."""

    parts: int
    tokens: int
    waited: int = 0
    own: int = 0
    pure: int = 0
    shared: int = 0


def simulated(requests: int, parts: int, later: int, cycles: int = 12) -> dict[str, float]:
    """The mean steps of a request once the loop repeats itself: one part of a prompt a step, first come first served, and every
    request that has its first token makes one more in each step."""
    waiting = deque(Request(parts, later) for _ in range(requests))
    running: list[Request] = []
    done: list[Request] = []
    while len(done) < cycles * requests:
        joining = waiting[0] if waiting else None
        for request in waiting:
            request.waited += request is not joining
        for request in running:
            request.shared += joining is not None
            request.pure += joining is None
            request.tokens -= 1
        ended = [request for request in running if request.tokens == 0]
        running = [request for request in running if request.tokens > 0]
        if joining is not None:
            joining.own, joining.parts = joining.own + 1, joining.parts - 1
            if joining.parts == 0:
                running.append(waiting.popleft())
        done += ended
        waiting.extend(Request(parts, later) for _ in ended)
    last = done[-requests:]
    return {name: float(np.mean([getattr(r, name) for r in last])) for name in ("waited", "own", "pure", "shared")}


@given(requests=st.integers(1, 60), parts=st.integers(1, 4), later=st.integers(1, 200))
def test_steps_of_a_request_by_simulation(requests: int, parts: int, later: int) -> None:
    """Where prompts are whole numbers of parts: own, waiting and shared steps are those of a loop that is run step by step."""
    assume(requests <= later)  # else several prompts join at once
    prompt, budget = 500.0 * parts, 500.0 + requests
    joining = joining_tokens(float(requests), prompt, float(later), budget)
    assert joining == 500.0
    found = simulated(requests, parts, later)
    assert found["own"] == prompt_steps(prompt, joining)
    assert found["shared"] == pytest.approx(shared_steps(float(requests), prompt, float(later), joining))
    assert found["waited"] == pytest.approx(waiting_steps(float(requests), prompt, float(later), joining))
    assert found["pure"] + found["shared"] == pytest.approx(later)


def test_joining_by_hand() -> None:
    """Whole prompts where the budget takes them; several where more requests end than steps pass; what the budget leaves, at least
    one token."""
    assert joining_tokens(10.0, 500.0, 100.0, 8192.0) == 500.0
    assert joining_tokens(200.0, 500.0, 100.0, 8192.0) == 1000.0
    assert joining_tokens(200.0, 500.0, 100.0, 900.0) == 700.0
    assert joining_tokens(200.0, 500.0, 100.0, 100.0) == 1.0


# Times, from steps whose kernels are given


def constant(seconds: float) -> Share:
    """Kernels of one kind."""
    return Share(seconds, 0.0, 0.0, 1.0, ("by hand",), False)


def given_times(step: Step, *_: object) -> Expectation:
    """5.5 ms a decode step, 23.5 ms a prompt; 22 ms of matmuls where both share them, whose attention counts nothing."""
    if step.decoding:
        return Expectation({"matmul": constant(4e-3), "decode_attention": constant(1e-3)}, 0.5e-3)
    together = float(step.tokens) % 500.0 > 0.0
    matmul, attention = (22e-3, 99e-3) if together else (20e-3, 3e-3)
    return Expectation({"matmul": constant(matmul), "prefill_attention": constant(attention)}, 0.5e-3)


def flat_times(step: Step, *_: object) -> Expectation:
    """Steps that take as long whatever is in them."""
    return Expectation({"matmul": constant(5e-3 if step.decoding else 40e-3)}, 0.0)


Given = Callable[..., Expectation]


def looped(monkeypatch: pytest.MonkeyPatch, times: Given, engine: Engine, **work: Any) -> Estimate:
    """A closed loop of GPT-2, whose own floors are far below the given times."""
    monkeypatch.setattr(serving, "expected", times)
    return estimate("gpt2", Serve(**work), "h100-sxm", engine=engine)


def test_prompts_that_join_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten requests of 500 + 101 tokens. Of a request's 100 later steps 9 take up another's prompt: matmuls of both (22 ms),
    attention of each (3 and 1), the host once (0.5) are 26.5 ms; 91 are pure, of 5.5. So 0.91·5.5 + 0.09·26.5 = 7.39 ms a token;
    the first after half a step and one with its own prompt, 2.75 + 26.5 = 29.25 ms; a request in 29.25 + 100·7.39 = 768.25 ms."""
    e = looped(monkeypatch, given_times, Engine(), concurrency=10, prompt_len=500, output_len=101)
    assert e.ttft is not None
    assert e.tpot is not None
    assert e.tpot.expected == pytest.approx(7.39e-3)
    assert e.ttft.expected == pytest.approx(29.25e-3)
    assert e.latency.expected == pytest.approx(768.25e-3)
    assert e.rates["expected"] == pytest.approx(10 * 101 / 768.25e-3)


def test_prompts_alone_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where prompts run while others wait: every later token takes its 5.5 ms, and 9 of 100 wait 23.5 ms before."""
    alone = Engine(prompts="alone")
    e = looped(monkeypatch, given_times, alone, concurrency=10, prompt_len=500, output_len=101)
    assert e.tpot is not None
    assert e.tpot.expected == pytest.approx(5.5e-3 + 0.09 * 23.5e-3)


def test_prompts_in_parts_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget of 510 tokens leaves 500 beside ten requests: prompts of 1000 take two steps, and 18 of 900 steps are shared."""
    monkeypatch.setattr(serving, "expected", flat_times)
    work = Serve(concurrency=10, prompt_len=1000, output_len=901)
    e = estimate(MODEL, work, load_cluster("h100-sxm"), engine=Engine(), max_num_batched_tokens=510)
    assert e.tpot is not None
    assert e.ttft is not None
    assert e.tpot.expected == pytest.approx((882 * 5e-3 + 18 * 40e-3) / 900)
    assert e.ttft.expected == pytest.approx(0.5 * 5e-3 + 2 * 40e-3)


def test_requests_that_wait_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """101 requests of prompts of 1000 and 100 later tokens, in steps of 601: 601 · 100 / 1100 = 54.6 of them run, which leaves
    546.4 tokens of a step to prompts. The hundred others' prompts take 183.0 steps, 83.0 before a request's own 1.83 and 98.2 (53.6
    prompts) of its later 100; and it lives through half a pure step at its start and 1.83 later."""
    monkeypatch.setattr(serving, "expected", flat_times)
    work = Serve(concurrency=101, prompt_len=1000, output_len=101)
    e = estimate(MODEL, work, load_cluster("h100-sxm"), engine=Engine(), max_num_batched_tokens=601)
    own = 1000 / (601 - 601 * 100 / 1100)
    prompts = (100 * own - 100) + own + (601 * 100 / 1100 - 1) * own
    lives = prompts * 40e-3 + (0.5 + 100 - (601 * 100 / 1100 - 1) * own) * 5e-3
    assert lives == pytest.approx(7.333, abs=1e-3)
    assert e.latency.expected == pytest.approx(lives)
    assert e.rates["expected"] == pytest.approx(101 * 101 / lives)


@given(batch=st.integers(1, 400), prompt=st.integers(1, 3000), output=st.integers(2, 600), name=st.sampled_from(PAGED))
def test_littles_law(batch: int, prompt: int, output: int, name: str) -> None:
    """Requests in flight are requests a second times how long each lives: its first token's time and that of all later ones."""
    e = estimate(MODEL, Serve(concurrency=batch, prompt_len=prompt, output_len=output), "h100-sxm", engine=name)
    assert e.ttft is not None
    assert e.tpot is not None
    for kind in ("expected", "serial"):
        lives = getattr(e.ttft, kind) + (output - 1) * getattr(e.tpot, kind)
        rate = e.rates[kind]
        assert rate is not None
        assert rate / output * lives == pytest.approx(batch)


@given(
    prompt=st.integers(1, 2000),
    output=st.integers(2, 500),
    many=st.lists(st.integers(1, 2000), min_size=2, max_size=9, unique=True).map(sorted),
    alone=st.booleans(),
)
def test_throughput_never_falls_where_steps_are_flat(prompt: int, output: int, many: list[int], alone: bool) -> None:
    """More requests in steps that take no longer make more tokens, as long as the budget takes all that join."""
    most = max(many)
    assume(max(prompt, most * prompt / (output - 1)) <= 8192 - most)
    with pytest.MonkeyPatch.context() as patch:
        engine = Engine(prompts="alone" if alone else "joined")
        work = {"concurrency": number(many), "prompt_len": prompt, "output_len": output}
        patch.setattr(serving, "expected", flat_times)
        e = estimate(MODEL, Serve(**work), load_cluster("h100-sxm"), engine=engine, max_num_batched_tokens=8192)
        rate = np.asarray(e.rates["expected"])
    assert np.all(np.diff(rate) >= -1e-9 * rate[1:])


# One request at a time


@pytest.mark.parametrize("name", PAGED)
@pytest.mark.parametrize("output", [201, 8001])
def test_one_request_is_one_generation(name: str, output: int) -> None:
    """Nobody joins it: a later token takes the mean step of a generation, whose middle context it has. Its floor is that of
    its first later token, at most as much less as half of its output weighs beside the weights."""
    work = {"prompt_len": 1000 if output < 1000 else 10, "output_len": output}
    one = estimate(MODEL, Serve(concurrency=1, **work), "h100-sxm", engine=name)
    alone = estimate(MODEL, Generate(batch=1, **work), "h100-sxm", engine=name)
    assert one.tpot is not None
    assert alone.tpot is not None
    assert one.tpot.expected == pytest.approx(alone.tpot.expected, rel=3e-3)
    half = 131_072 * output / 2 / 15e9  # bytes of keys and values of half of the output, beside those of the weights
    assert alone.tpot.floor * (1 - half) <= one.tpot.floor <= alone.tpot.floor
    assert one.ttft is not None
    assert alone.ttft is not None
    assert one.ttft.floor == alone.ttft.floor


@given(batch=st.integers(1, 500), prompt=st.integers(1, 4000), output=st.integers(2, 500), name=st.sampled_from(PAGED))
def test_company_never_helps_a_request(batch: int, prompt: int, output: int, name: str) -> None:
    """The floors of a loop are those of a single request, and its times are never below them."""
    work = {"prompt_len": prompt, "output_len": output}
    one, many = (estimate(MODEL, Serve(concurrency=n, **work), "h100-sxm", engine=name) for n in (1, batch))
    for single, served in ((one.ttft, many.ttft), (one.tpot, many.tpot)):
        assert single is not None
        assert served is not None
        assert single.floor == served.floor
        assert served.low is not None
        assert served.floor <= served.low


# As many as fit


@pytest.mark.parametrize("name", [*PAGED, "trtllm-0.9", "trtllm-0.17"])
@pytest.mark.parametrize("gpu", ["l4", "l40s", "h100-sxm"])
def test_as_many_as_fit(gpu: str, name: str) -> None:
    """No number given: as many as memory has room for at their mean length (of an engine that reserves, at their whole length), and
    never more than the engine takes."""
    engine, work = load_engine(name), Serve(prompt_len=1000, output_len=400)
    e = estimate(MODEL, work, gpu, engine=name)
    assert isinstance(e.workload, Serve)
    length = 1400 if engine.reserves == "whole" else 1200
    room = floorline.fit(MODEL, gpu, length=length, engine=name).max_concurrency
    assert e.workload.concurrency == max(min(float(room), float(engine.max_num_seqs)), 1.0)
    most = at_once(
        load_model(MODEL),
        work,
        load_cluster(gpu),
        Parallelism(),
        Precision.of("bf16"),
        "flash",
        engine.footprint.step_tokens,
        engine,
    )
    assert most == e.workload.concurrency


def test_replicas_share_the_requests() -> None:
    """Forty requests on two replicas go as twenty on one, twice as many tokens a second."""
    one, two = (
        estimate(
            MODEL,
            Serve(concurrency=20 * dp, prompt_len=1000, output_len=200),
            load_cluster("h100-sxm", dp),
            parallelism=Parallelism(dp=dp),
        )
        for dp in (1, 2)
    )
    for alone, shared in ((one.ttft, two.ttft), (one.tpot, two.tpot)):
        assert alone is not None
        assert shared is not None
        assert shared.expected == pytest.approx(alone.expected)
        assert shared.serial == pytest.approx(alone.serial)
    assert two.rates["expected"] == pytest.approx(2 * np.asarray(one.rates["expected"]))


def test_the_most_sequences_of_an_engine() -> None:
    """Short requests on a large card: vLLM up to 0.7 takes 256 on each of two replicas, whatever more would fit."""
    work = Serve(prompt_len=100, output_len=100)
    one = estimate(MODEL, work, "h200-sxm", engine="vllm-0.7").workload
    two = estimate(MODEL, work, load_cluster("h200-sxm", 2), engine="vllm-0.7", parallelism=Parallelism(dp=2)).workload
    few = estimate(MODEL, work, "h200-sxm", engine=replace(load_engine("vllm"), max_num_seqs=3.0)).workload
    for found, most in ((one, 256.0), (two, 512.0), (few, 3.0)):
        assert isinstance(found, Serve)
        assert found.concurrency == most


def test_a_number_that_is_given_stands() -> None:
    """Whether it fits or not: what does not fit at once waits, for as many turns as there are more requests than room."""
    e = estimate(MODEL, Serve(concurrency=5000, prompt_len=1000, output_len=400), "l40s", engine="vllm")
    assert isinstance(e.workload, Serve)
    assert e.workload.concurrency == 5000.0
    assert bool(e.fits())
    room = estimate(MODEL, Serve(prompt_len=1000, output_len=400), "l40s", engine="vllm")
    assert e.memory.total == room.memory.total
    assert e.rates["expected"] == pytest.approx(room.rates["expected"], rel=0.02)


# The first law


@given(
    batches=st.lists(st.integers(1, 1000), min_size=2, max_size=4),
    prompts=st.lists(st.integers(1, 9000), min_size=2, max_size=3),
    outputs=st.lists(st.integers(2, 900), min_size=2, max_size=2),
    name=st.sampled_from((*PAGED, "eager", "trtllm-0.9")),
    tp=st.sampled_from((1, 2)),
)
def test_arrays_equal_their_points(
    batches: list[int], prompts: list[int], outputs: list[int], name: str, tp: int
) -> None:
    """Many loops at once are each of them, bit for bit."""
    axes = np.meshgrid(*(np.asarray(x, dtype=np.float64) for x in (batches, prompts, outputs)), indexing="ij")
    shape = (len(batches), len(prompts), len(outputs))
    cluster, plan = load_cluster("h100-sxm", tp), Parallelism(tp=tp)
    work = Serve(concurrency=axes[0], prompt_len=axes[1], output_len=axes[2])
    many = estimate(MODEL, work, cluster, parallelism=plan, engine=name)
    at = tuple(n - 1 for n in shape)
    point = Serve(concurrency=batches[-1], prompt_len=prompts[-1], output_len=outputs[-1])
    one = estimate(MODEL, point, cluster, parallelism=plan, engine=name)
    for whole, single in ((many.ttft, one.ttft), (many.tpot, one.tpot), (many.latency, one.latency)):
        for kind in ("floor", "serial", "expected", "low", "high"):
            assert np.broadcast_to(getattr(whole, kind), shape)[at] == getattr(single, kind), kind
    for kind, rate in one.rates.items():
        assert np.broadcast_to(np.asarray(many.rates[kind]), shape)[at] == rate, kind


def test_as_many_as_fit_of_several_lengths_at_once() -> None:
    """The same where the number is left out."""
    lengths = [100.0, 1000.0, 20_000.0]
    many = estimate(MODEL, Serve(prompt_len=number(lengths), output_len=200), "l40s", engine="vllm").workload
    assert isinstance(many, Serve)
    for i, length in enumerate(lengths):
        one = estimate(MODEL, Serve(prompt_len=length, output_len=200), "l40s", engine="vllm").workload
        assert isinstance(one, Serve)
        assert np.asarray(many.concurrency)[i] == one.concurrency


# What cannot be asked


@pytest.mark.parametrize("given", [{"concurrency": 0}, {"output_len": 1}, {"prompt_len": 0}, {"concurrency": 2.5}])
def test_what_makes_no_loop(given: dict[str, float]) -> None:
    """No requests, requests without later tokens or without a prompt, and halves of one."""
    with pytest.raises(BadInput):
        Serve(**given)


def test_an_encoder_has_no_loop() -> None:
    """It generates nothing."""
    with pytest.raises(BadInput, match="generates nothing"):
        estimate("bert-base-uncased", Serve(concurrency=1, prompt_len=10), "h100-sxm")
