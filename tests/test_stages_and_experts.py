"""Pipeline and expert parallelism: messages and memory counted by hand, bubbles, and plans that break a rule.

Sources: GPipe (arXiv:1811.06965, sections 2 and 2.3), GShard (arXiv:2006.16668, section 3.2), DeepSpeed-MoE (arXiv:2201.05596,
section 5.2), the published sizes of mistralai/Mixtral-8x7B-v0.1 (32 layers, width 4096, 8 experts of 14336, two chosen,
46 702 792 704 parameters) and meta-llama/Llama-3.1-8B (32 layers, width 4096, 8 key/value heads of 128, 14336, 128 256 words).
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from floorline import Decode, Parallelism, Prefill, estimate, load_cluster, load_model, program
from floorline.estimates import Estimate
from floorline.formulas.pipeline import micro_batch, pipeline_stretch
from floorline.num import number
from floorline.parallel.experts import data_degrees, degrees
from floorline.specs.workload import Workload

MIXTRAL, LLAMA = load_model("mixtral-8x7b"), load_model("llama-3.1-8b")
LAYERS, WIDTH, CHOSEN, BYTES = 32, 4096, 2, 2
EXPERTS = 32 * 8 * 3 * 4096 * 14336
"""Parameters of all experts of Mixtral: gate, up and down of eight in each of 32 layers."""
LAYER = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336 + 2 * 4096
"""Parameters of a layer of Llama 3.1 8B: q and out, k and v, the feed-forward, two norms."""
TABLE = 128256 * 4096


def on_h100(model: Any, work: Workload, **plan: Any) -> Estimate:
    """An estimate on as many H100s as the plan takes."""
    split = Parallelism(**plan)
    return estimate(model, work, load_cluster("h100-sxm", devices=split.devices), parallelism=split)


def messages(e: Estimate, phase: int = 0) -> dict[str, tuple[float, float]]:
    """Name → bytes that each rank sends, and how often, of the messages of a step."""
    step = e.phases[phase].step
    return {
        row.name: (float(program.price(row, numbers, step.precision).sent), float(stack.repeat))
        for stack, numbers, row in step.rows("flash")
        if row.message is not None
    }


# Experts on data-parallel ranks


def test_dispatch_of_mixtral_by_hand() -> None:
    """64 sequences on 8 ranks: 8 tokens on each, each to 2 experts, 4096 values of 2 bytes, of which 7 of 8 go elsewhere:
    8 · 2 · 4096 · 2 · 7/8 = 114 688 bytes out, once a layer, as many back, and beside them the router's weights of 2 bytes."""
    sent = messages(on_h100(MIXTRAL, Decode(batch=64, context_len=100), dp=8, ep=8))
    assert sent == {
        "xe.all_to_all": (114_688.0, LAYERS),
        "yw.all_to_all": (114_688.0, LAYERS),
        "slots.all_to_all": (8 * CHOSEN * BYTES * 7 / 8, LAYERS),
    }


@given(
    tokens=st.integers(1, 500),
    sequences=st.integers(1, 20),
    dp=st.sampled_from((1, 2, 4, 8, 16)),
    ep=st.sampled_from((1, 2, 4, 8)),
    prompt=st.booleans(),
)
def test_dispatch_is_the_tokens_that_leave(tokens: int, sequences: int, dp: int, ep: int, prompt: bool) -> None:
    """Tokens of a rank · chosen experts · width · bytes, less the share whose experts are the rank's own; nothing without ep."""
    assume(ep <= dp)
    batch = sequences * dp
    work = Prefill(batch=batch, prompt_len=tokens) if prompt else Decode(batch=batch, context_len=tokens)
    sent = messages(on_h100(MIXTRAL, work, dp=dp, ep=ep))
    own = sequences * (tokens if prompt else 1)
    by_hand = own * CHOSEN * WIDTH * BYTES * (ep - 1) / ep
    assert sent.get("xe.all_to_all", (0.0, 0.0))[0] == pytest.approx(by_hand)
    assert sent.get("yw.all_to_all", (0.0, 0.0))[0] == pytest.approx(by_hand)
    assert ep > 1 or not sent


def test_experts_inside_a_tensor_group_exchange_nothing() -> None:
    """Its tokens are on all of its ranks: the same three sums as without whole experts, and no all-to-all."""
    work = Decode(batch=8, context_len=100)
    cut, whole = messages(on_h100(MIXTRAL, work, tp=8)), messages(on_h100(MIXTRAL, work, tp=8, ep=8))
    assert cut == whole
    ring = 2 * 7 / 8 * 8 * WIDTH * BYTES  # an all-reduce of 8 tokens in a ring
    assert whole == {
        "y.all_reduce": (ring, 1.0),
        "attn.all_reduce": (ring, LAYERS),
        "ffn.all_reduce": (ring, LAYERS),
    }


def test_experts_over_both_axes() -> None:
    """Four groups of two ranks share eight experts. A group's 16 tokens are on both ranks, each of which sends those for the half
    of the experts that are its set's: 16 · 2 · 4096 · 2 / 2 · 3/4 = 98 304 bytes."""
    sent = messages(on_h100(MIXTRAL, Decode(batch=64, context_len=100), dp=4, tp=2, ep=8))
    assert sent["xe.all_to_all"] == sent["yw.all_to_all"] == (98_304.0, LAYERS)


@given(ep=st.sampled_from((1, 2, 4, 8)), dp=st.sampled_from((1, 2, 8, 16)), tp=st.sampled_from((1, 2, 8)))
def test_every_expert_is_somewhere(ep: int, dp: int, tp: int) -> None:
    """Each rank keeps its share of the experts' weights and, of the rest, what tensor parallelism leaves it; the axes of ranks
    multiply to all of them."""
    assume((ep % tp == 0 or tp % ep == 0) and (tp * dp) % ep == 0)
    inside, across = degrees(float(ep), float(tp)), data_degrees(float(ep), float(tp), float(dp))
    assert inside["ept"] * inside["etf"] == tp
    assert across["epd"] * across["edp"] == dp
    assert inside["ept"] * across["epd"] == ep
    work = Decode(batch=16, context_len=10)
    cut = float(on_h100(MIXTRAL, work, tp=tp, dp=dp, ep=ep).memory.weights)
    without = float(on_h100(MIXTRAL, work, tp=tp, dp=dp).memory.weights)
    assert without - cut == pytest.approx(BYTES * (EXPERTS / tp - EXPERTS / max(ep, tp)))


def test_weights_of_a_rank_by_hand() -> None:
    """One expert of eight in each layer and all of the rest: 46 702 792 704 − 7/8 of the experts' parameters, of 2 bytes."""
    weights = on_h100(MIXTRAL, Decode(context_len=10), dp=8, ep=8).memory.weights
    assert weights == BYTES * (46_702_792_704 - EXPERTS * 7 / 8)


# Stages


def test_stages_hand_on_the_stream_by_hand() -> None:
    """Eight tokens of 4096 values of 2 bytes over each of three boundaries, whatever splits a layer; of a prompt all tokens."""
    decode, prompt = Decode(batch=8, context_len=100), Prefill(batch=8, prompt_len=100)
    assert messages(on_h100(LLAMA, decode, pp=4)) == {"x.stage_send": (8 * WIDTH * BYTES, 3.0)}
    assert messages(on_h100(LLAMA, prompt, pp=4)) == {"x.stage_send": (800 * WIDTH * BYTES, 3.0)}
    assert messages(on_h100(LLAMA, decode, pp=4, tp=2))["x.stage_send"] == (8 * WIDTH * BYTES, 3.0)
    assert messages(on_h100(LLAMA, decode, pp=4, dp=2))["x.stage_send"] == (4 * WIDTH * BYTES, 3.0)


def test_one_stage_and_one_set_of_experts_send_nothing() -> None:
    """Degrees of one, said or not, alone or in an array."""
    work = Decode(batch=8, context_len=100)
    assert messages(on_h100(LLAMA, work, pp=1)) == messages(on_h100(MIXTRAL, work, pp=1, ep=1, dp=4)) == {}
    several = number([1.0, 2.0])
    step = on_h100(MIXTRAL, work, dp=4, pp=several, ep=several).phases[0].step
    assert np.broadcast_to(step.cost("flash").sent, (2,))[0] == 0.0
    assert np.broadcast_to(step.cost("flash").sent, (2,))[1] > 0.0


@pytest.mark.parametrize(("pp", "fullest"), [(1, 32), (2, 16), (3, 11), (5, 7), (32, 1)])
def test_memory_of_the_fullest_stage_by_hand(pp: int, fullest: int) -> None:
    """As many layers as the fullest has, and the larger end: the head with its norm is as large as the table, and a norm more. Keys
    and values of those layers for all eight sequences, 100 tokens and the new one."""
    memory = on_h100(LLAMA, Decode(batch=8, context_len=100), pp=pp).memory
    ends = TABLE + WIDTH + (TABLE if pp == 1 else 0)
    assert memory.weights == BYTES * (fullest * LAYER + ends)
    blocks = 7 * 16  # 101 tokens take seven blocks of 16
    assert memory.kv_cache == fullest * 8 * blocks * 2 * 8 * 128 * BYTES


# Bubbles


def finished(micro_batches: int, stages: int) -> int:
    """When the last micro-batch leaves the last stage, in stage times, each stage working on one at a time."""
    free = [0] * stages
    for _ in range(micro_batches):
        ready = 0
        for stage in range(stages):
            free[stage] = max(free[stage], ready) + 1
            ready = free[stage]
    return free[-1]


@given(batch=st.integers(1, 300), stages=st.integers(1, 64))
def test_bubbles_by_simulation(batch: int, stages: int) -> None:
    """A pass is p stage times; m micro-batches take m + p − 1, of which p − 1 are GPipe's bubble."""
    several = min(batch, stages)
    stretch = float(pipeline_stretch(float(batch), float(stages)))
    assert stretch * stages == pytest.approx(finished(several, stages)) == several + stages - 1
    assert several - 1 < batch / float(micro_batch(float(batch), float(stages))) <= several or batch % several
    assert float(micro_batch(float(batch), float(stages))) * several >= batch


def test_a_prompt_through_four_stages_by_hand() -> None:
    """Eight prompts go by twos: 7/4 of the time of two on one device, and of three sends at 450 GB/s. Tokens by fours of two go
    round without a bubble."""
    sends = 3 * 2 * WIDTH * BYTES / 450e9
    for work, two, tokens, stretch in (
        (Prefill(batch=8, prompt_len=1000), Prefill(batch=2, prompt_len=1000), 1000, 7 / 4),
        (Decode(batch=8, context_len=1000), Decode(batch=2, context_len=1000), 1, 1.0),
    ):
        staged, once = (on_h100(LLAMA, w, **plan).latency.serial for w, plan in ((work, {"pp": 4}), (two, {})))
        assert staged == pytest.approx(stretch * (once + tokens * sends), rel=1e-6)


@given(batch=st.integers(1, 64), stages=st.sampled_from((1, 2, 4, 8)), prompt=st.booleans())
def test_stages_never_make_one_sequence_faster(batch: int, stages: int, prompt: bool) -> None:
    """A token still passes every layer: no time of one sequence falls, and the floor of many is at most shared out."""
    work = Prefill(batch=batch, prompt_len=200) if prompt else Decode(batch=batch, context_len=200)
    one, many = on_h100(LLAMA, work).latency, on_h100(LLAMA, work, pp=stages).latency
    assert many.floor * stages >= one.floor * (1 - 1e-12)
    if batch == 1:
        assert many.serial >= one.serial
        assert many.expected is not None
        assert one.expected is not None
        assert many.expected >= one.expected * (1 - 1e-12)


# Plans that break a rule


@pytest.mark.parametrize(
    ("model", "plan", "reason"),
    [
        (MIXTRAL, {"dp": 3, "ep": 3}, "expert parallelism 3 does not divide the 8 experts of mixtral-8x7b"),
        (MIXTRAL, {"dp": 16, "ep": 16}, "expert parallelism 16 does not divide the 8 experts"),
        (MIXTRAL, {"dp": 2, "ep": 8}, r"expert parallelism 8 does not go into tp·dp = 1·2"),
        (MIXTRAL, {"tp": 2, "dp": 2, "ep": 3}, r"expert parallelism 3 does not go into tp·dp = 2·2"),
        (LLAMA, {"dp": 2, "ep": 2}, "expert parallelism 2 does not divide the .* experts of llama-3.1-8b"),
        (LLAMA, {"pp": 33}, "pipeline parallelism 33 is more than the 32 layers of llama-3.1-8b"),
    ],
)
def test_plans_that_break_a_rule(model: Any, plan: dict[str, int], reason: str) -> None:
    """Times are nan, and the reason says what was wrong."""
    e = on_h100(model, Decode(batch=16, context_len=10), **plan)
    assert not bool(e.feasible)
    times = (e.latency.floor, e.latency.serial, e.latency.expected)
    assert all(time is None or np.isnan(time) for time in times)
    assert np.isnan(e.latency.floor)
    (found,) = e.reason.splitlines()
    assert re.search(reason, found), found


def test_a_broken_point_spoils_no_other() -> None:
    """Of degrees in an array those that break a rule are nan, and the others what they are alone."""
    work, degrees_asked = Decode(batch=16, context_len=10), [1.0, 2.0, 3.0, 8.0, 33.0]
    machine = load_cluster("h100-sxm", devices=264)
    plans: tuple[tuple[Any, Callable[[Any], Parallelism], list[bool]], ...] = (
        (MIXTRAL, lambda n: Parallelism(dp=8, ep=n), [True, True, False, True, False]),
        (LLAMA, lambda n: Parallelism(dp=8, pp=n), [True, True, True, True, False]),
    )
    for model, plan, good in plans:
        many = estimate(model, work, machine, parallelism=plan(number(degrees_asked)))
        assert many.feasible.tolist() == good
        for i, degree in enumerate(degrees_asked):
            one = estimate(model, work, machine, parallelism=plan(degree))
            assert bool(one.feasible) is good[i]
            for kind in ("floor", "serial", "expected"):
                assert np.array_equal(
                    np.asarray(getattr(many.latency, kind))[i], getattr(one.latency, kind), equal_nan=True
                ), (kind, degree)
