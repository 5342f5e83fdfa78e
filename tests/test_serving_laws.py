"""Laws of serving: alone nothing is sent, work that is split adds up, more work takes no less time, and nothing beats its floor."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from floorline import Cluster, Decode, Generate, Parallelism, Prefill, estimate, load_cluster, load_model
from floorline.estimates import Estimate
from floorline.feasible import check
from floorline.num import Num, number
from floorline.specs.workload import Workload
from floorline.step import Step
from test_laws import DEVICES, MODELS, OTHERS, PLAIN, ROUNDING, WORKLOADS, cluster, named, times

AXES = ("tp", "pp", "ep", "cp", "dp")
CHUNKED = "llama-4-scout"
"""Its attention forgets at the start of each chunk of 8192 tokens, so that a longer context may take less."""
REAL = ("h100-sxm", "h200-sxm", "a100-sxm-80gb", "l40s", "b200-sxm", "mi300x")
ENGINES = (None, "vllm", "sglang", "trtllm", "eager")


@st.composite
def plans(draw: Any) -> Parallelism:
    """Plans along every axis."""
    degree = st.sampled_from((1, 1, 1, 2, 4))
    return Parallelism(**{axis: draw(degree) for axis in AXES})


def with_degree(plan: Parallelism, axis: str, degree: Num) -> Parallelism:
    """The same plan with another degree along one axis."""
    changed: dict[str, Any] = {axis: degree}
    return replace(plan, **changed)


def feasible(model: Any, work: Workload, plan: Parallelism) -> bool:
    """Whether a plan breaks no rule."""
    return bool(check(model, work, plan.devices, plan)[0])


# Messages


@given(model=MODELS, work=WORKLOADS, figures=DEVICES)
def test_one_device_sends_nothing(model: Any, work: Workload, figures: dict[str, float]) -> None:
    e = estimate(model, work, cluster(figures, 1.0))
    for phase in e.phases:
        assert phase.step.cost("flash").sent == 0.0
        assert np.all(np.asarray(phase.floor.link) == 0.0) or np.all(np.isnan(phase.floor.link))
        assert not any(row.message for _, _, row in phase.step.rows("flash"))


@given(model=MODELS, plan=plans(), axis=st.sampled_from(AXES), batch=st.integers(1, 64), tokens=st.integers(1, 200))
def test_a_degree_of_one_sends_nothing(model: Any, plan: Parallelism, axis: str, batch: int, tokens: int) -> None:
    """An array of degrees that holds one beside others gives for it what the plan without that axis gives, to the bit."""
    assume(axis != "ep" or plan.tp * plan.dp >= 2.0)
    for work in (Prefill(batch=batch, prompt_len=tokens), Decode(batch=batch, context_len=tokens)):
        without, several = (with_degree(plan, axis, n) for n in (1.0, number([1.0, 2.0])))
        assume(feasible(model, work, without))
        one = estimate(model, work, Cluster(load_cluster("h100-sxm").accelerator, without.devices), parallelism=without)
        many = estimate(
            model, work, Cluster(load_cluster("h100-sxm").accelerator, several.devices), parallelism=several
        )
        for name in ("flops", "sent"):
            here, there = (getattr(e.phases[0].step.cost("flash"), name) for e in (one, many))
            assert np.broadcast_to(there, (2,))[0] == here
        for alone, beside in zip(times(one), times(many), strict=True):
            assert alone.floor == np.broadcast_to(beside.floor, (2,))[0]
            assert alone.serial == np.broadcast_to(beside.serial, (2,))[0]


# Work that is split


def flops(step: Step) -> dict[tuple[str, str], float]:
    """FLOP of each operator on one rank, by block and name."""
    found: dict[tuple[str, str], float] = {}
    for stack, numbers in step.numbers():
        for row in step.program(stack, "flash"):
            for name, product in row.flops:
                key = (stack.block.name, name)
                found[key] = found.get(key, 0.0) + float(numbers.value(product) * stack.repeat)
    return found


ON_EVERY_RANK = frozenset(
    (
        *("k", "v"),  # where there are fewer key/value heads than ranks
        *("q_down", "kv_down", "k_position"),  # latents, of all heads
        *("index_q", "index_k", "index_weights", "index_scores", "index_sum"),  # the indexer, of all heads
        *("router", "shared_share"),  # every rank must know where each token goes
        *("in_b", "in_c", "conv_b", "conv_c", "narrow"),  # what a state's heads share
        *("in_q", "in_k", "conv_q", "conv_k"),  # keys of a linear attention with fewer of them than of values
        *("time_r", "time_k", "time_v", "time_out", "channel_r"),  # RWKV's mixing of times
        *("project", "linear", "up_low"),
    )
)
"""Operators that tensor parallelism does not cut: each of its ranks does all of their work, or as much as its heads need."""


@given(
    model=MODELS,
    plan=plans(),
    batch=st.sampled_from((4, 16, 64)),
    tokens=st.sampled_from((64, 512)),
    decoding=st.booleans(),
)
def test_local_work_adds_up_to_the_whole(
    model: Any, plan: Parallelism, batch: int, tokens: int, decoding: bool
) -> None:
    """Summed over ranks the FLOP of each operator are the whole's, or as many times it as ranks repeat it: of tensor parallelism
    those that do not cut it, of context parallelism those that do not cut a single token. Data parallelism and stages repeat
    nothing."""
    work: Workload = (
        Decode(batch=batch, context_len=tokens - 1) if decoding else Prefill(batch=batch, prompt_len=tokens)
    )
    assume(feasible(model, work, plan))
    new, earlier = (1.0, tokens - 1.0) if decoding else (float(tokens), 0.0)
    one = flops(Step(model, float(batch), new, earlier, decoding=decoding))
    each = flops(Step(model, float(batch), new, earlier, 1.0, plan, decoding=decoding))
    tp, cp, ranks = float(plan.tp), float(plan.cp), float(plan.tp * plan.cp * plan.dp)
    over_tp = {1.0, tp} | {tp / heads for heads in (2.0, 4.0) if heads <= tp}
    for key, whole in one.items():
        times_over = each[key] * ranks / whole
        assert any(times_over == pytest.approx(a * b, rel=ROUNDING) for a in over_tp for b in {1.0, cp}), key
        if cp == 1.0 and key[1] not in ON_EVERY_RANK:
            assert times_over == pytest.approx(1.0, rel=ROUNDING), key
        if not decoding and key[1] in ("up", "down", "out", "expert_up"):
            assert times_over == pytest.approx(1.0, rel=ROUNDING), key


# More work


def falls(values: Num) -> float:
    """The largest share by which a value is less than the one before it."""
    found = np.asarray(values)
    return float(max(0.0, -np.min(np.diff(found) / found[:-1])))


GROWING = st.lists(st.integers(1, 2000), min_size=2, max_size=12, unique=True).map(sorted)
WITHOUT_CACHE = DEVICES.map(lambda figures: {**figures, "cache": 0.0})


@given(model=MODELS, figures=DEVICES, batch=st.integers(1, 300), contexts=GROWING)
def test_floor_and_serial_never_fall_with_context(
    model: Any, figures: dict[str, float], batch: int, contexts: list[int]
) -> None:
    e = estimate(model, Decode(batch=batch, context_len=number(contexts)), cluster(figures))
    for time in times(e):
        assert falls(np.broadcast_to(time.floor, (len(contexts),))) == 0.0
        assert falls(np.broadcast_to(time.serial, (len(contexts),))) == 0.0


@given(
    model=MODELS,
    figures=WITHOUT_CACHE,
    stages=st.sampled_from((1, 1, 2, 4)),
    tp=st.sampled_from((1, 2)),
    batches=GROWING,
    context=st.integers(0, 900),
)
def test_throughput_never_falls_with_batch(
    model: Any, figures: dict[str, float], stages: int, tp: int, batches: list[int], context: int
) -> None:
    """Nor does the time fall. Of a pipeline the batch is a multiple of its stages: one more sequence makes micro-batches
    uneven. Without a last-level cache: what fits into that is read faster than what does not."""
    sizes = np.asarray(batches, dtype=np.float64) * stages
    plan = Parallelism(pp=stages, tp=tp)
    e = estimate(model, Decode(batch=sizes, context_len=context), cluster(figures), parallelism=plan)
    assume(bool(np.all(e.feasible)))
    for time in (e.latency.floor, e.latency.serial):
        assert falls(np.broadcast_to(time, sizes.shape)) <= ROUNDING
        assert falls(sizes / time) <= ROUNDING


KERNELS_CHANGE, TILES_BEGIN = 0.10, 0.27
"""Where kernels change over, an expected time may fall: an all-reduce that the engine makes another way beyond some size
(9.5 % of a step), a single row's matmul (4.7 %), one more cut of a cache (5.7 %). And where a tile begins, throughput may: a 257th
row makes a matmul of tiles of 128 half as long again. Both are as measured kernels have them; these are the most that any model,
device and engine of the tests comes to."""
DOUBLED, HALVED = 0.05, 0.12
"""The same between a batch or a context and its double."""


def real(name: str, gpu: str, engine: str | None, plan: Parallelism, work: Decode) -> Estimate:
    """An estimate with expected times."""
    e = estimate(name, work, load_cluster(gpu, devices=plan.devices), parallelism=plan, engine=engine)
    assume(bool(np.all(e.feasible)) and e.latency.expected is not None)
    return e


SERVED = st.sampled_from([x for x in (*PLAIN, *OTHERS) if x != CHUNKED])
QUESTIONS = {
    "name": SERVED,
    "gpu": st.sampled_from(REAL),
    "engine": st.sampled_from(ENGINES),
    "tp": st.sampled_from((1, 2, 8)),
}


@given(**QUESTIONS, batches=GROWING, context=st.sampled_from((0, 10, 1000, 16000)))
def test_expected_with_batch(
    name: str, gpu: str, engine: str | None, tp: int, batches: list[int], context: int
) -> None:
    doubling = number(2.0 ** np.arange(12))
    for sizes, least, most in ((number(batches), KERNELS_CHANGE, TILES_BEGIN), (doubling, DOUBLED, HALVED)):
        e = real(name, gpu, engine, Parallelism(tp=tp), Decode(batch=sizes, context_len=context))
        assert e.latency.expected is not None
        assert falls(e.latency.expected) <= least
        assert falls(sizes / e.latency.expected) <= most


@given(**QUESTIONS, batch=st.integers(1, 300), contexts=GROWING)
def test_expected_with_context(
    name: str, gpu: str, engine: str | None, tp: int, batch: int, contexts: list[int]
) -> None:
    doubling = number(2.0 ** np.arange(17))
    for lengths, least in ((number(contexts), KERNELS_CHANGE), (doubling, DOUBLED)):
        e = real(name, gpu, engine, Parallelism(tp=tp), Decode(batch=batch, context_len=lengths))
        assert e.latency.expected is not None
        assert falls(np.broadcast_to(e.latency.expected, np.shape(lengths))) <= least


@given(
    **QUESTIONS,
    batch=st.integers(1, 300),
    prompt=st.integers(1, 2000),
    output=st.integers(1, 5),
    quick=st.floats(1.0, 100.0),
)
def test_expected_is_never_below_the_floor(
    name: str, gpu: str, engine: str | None, tp: int, batch: int, prompt: int, output: int, quick: float
) -> None:
    """Nor is the low end of its interval, whatever the figures of the device say."""
    machine = load_cluster(gpu, devices=tp)
    slow = machine.with_figures("bf16", {"memory_bandwidth": machine.accelerator.memory_bandwidth / quick})
    for hardware in (machine, slow):
        work = Generate(batch=batch, prompt_len=prompt, output_len=output)
        e = estimate(named(name), work, hardware, parallelism=Parallelism(tp=tp), engine=engine)
        assume(bool(e.feasible))
        for time in times(e):
            if time.expected is not None and time.low is not None and time.high is not None:
                assert time.floor <= time.low <= time.expected <= time.high


def test_a_chunk_forgets() -> None:
    """The one kind of model whose time falls with the context: at the start of a chunk there is less to read."""
    model = load_model(CHUNKED)
    e = estimate(
        model,
        Decode(batch=200, context_len=number([8190, 8192])),
        load_cluster("h100-sxm", devices=8),
        parallelism=Parallelism(tp=8),
    )
    before, after = np.asarray(e.latency.floor)
    assert after < 0.8 * before
