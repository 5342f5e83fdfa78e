"""Laws that hold for every input: bounds bound, more hardware is never slower, counts are linear where they must be."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from floorline import load_model
from floorline.capacity import Fit, fit
from floorline.counts import count, saved_bytes
from floorline.estimates import Estimate, estimate
from floorline.implementations import implementation
from floorline.memory import kv_bytes
from floorline.parallel.plan import Plan
from floorline.phases import Time
from floorline.program import training
from floorline.specs.accelerator import Accelerator, Link
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.workload import Decode, Generate, Prefill, Train, Workload
from floorline.step import Step
from floorline.transformer import Transformer

ROUNDING = 1e-12
"""Relative room for sums in another order."""

PLAIN = (
    "gpt2",
    "gpt2-xl",
    "llama-2-7b",
    "llama-2-70b",
    "llama-3.1-8b",
    "llama-3.2-1b",
    "qwen2.5-7b",
    "opt-350m",
    "falcon-7b",
)
"""Every layer alike, every layer sees everything."""
OTHERS = (
    "mixtral-8x7b",
    "deepseek-v2-lite",
    "deepseek-v3.2",
    "gemma-3-27b-text",
    "gpt-oss-20b",
    "llama-4-scout",
    "mistral-7b-v0.1",
    "qwen3-30b-a3b",
    "qwen3-next-80b-a3b",
    "mamba-130m",
    "mamba2-2.7b",
    "jamba-v0.1",
    "zamba2-2.7b",
    "nemotron-h-56b",
    "recurrentgemma-2b",
    "rwkv-4-169m",
    "command-r7b",
    "gpt-neo-125m",
)
"""Windows, experts, latents, states, shared blocks."""


def named(name: str) -> Transformer:
    """A model by name, or the one of textbooks."""
    plain = {"model_type": "textbook", "hidden_size": 1536, "num_hidden_layers": 7, "num_attention_heads": 24}
    return load_model(plain if name == "textbook" else name)


ALIKE = st.sampled_from((*PLAIN, "textbook")).map(named)
MODELS = st.sampled_from((*PLAIN, *OTHERS, "textbook")).map(named)
DEVICES = st.fixed_dictionaries(
    {
        "peak": st.floats(1e12, 1e16),
        "memory_bandwidth": st.floats(1e10, 1e14),
        "link": st.floats(1e8, 1e13),
        "cache": st.sampled_from((0.0, 40e6, 1e9)),
    }
)
WORKLOADS = st.one_of(
    st.builds(lambda b, n: Decode(batch=b, context_len=n), st.integers(1, 4096), st.integers(0, 900)),
    st.builds(
        lambda b, n, c, logits: Prefill(batch=b, prompt_len=n, cached_len=c, logits=logits),
        st.integers(1, 64),
        st.integers(1, 512),
        st.integers(0, 500),
        st.sampled_from(("last", "all")),
    ),
    st.builds(
        lambda b, n, o: Generate(batch=b, prompt_len=n, output_len=o),
        st.integers(1, 512),
        st.integers(1, 512),
        st.integers(1, 9),
    ),
)
PLANS = st.builds(
    lambda tp, dp, cp, sequence, context: Parallelism(tp=tp, dp=dp, cp=cp, sequence_parallel=sequence, context=context),
    st.sampled_from((1, 1, 2, 4)),
    st.sampled_from((1, 2, 3)),
    st.sampled_from((1, 1, 2)),
    st.sampled_from(("no", "yes")),
    st.sampled_from(("all-gather", "all-to-all")),
)


def cluster(figures: Mapping[str, float], devices: float = 64.0) -> Cluster:
    """A cluster of any devices."""
    device = Accelerator(
        name="any",
        peaks={"bf16": figures["peak"], "fp16": figures["peak"]},
        memory=80e9,
        memory_bandwidth=figures["memory_bandwidth"],
        last_level_cache=figures["cache"],
        links=(Link("link", figures["link"], 1e-6),),
    )
    return Cluster(device, devices)


def times(e: Estimate) -> list[Time]:
    """Every time of an estimate."""
    return [time for time in (e.ttft, e.tpot, e.latency) if time is not None]


# Bounds


@given(
    model=MODELS,
    work=WORKLOADS,
    plan=PLANS,
    figures=DEVICES,
    fusion=st.sampled_from(("unfused", "flash")),
    attention=st.sampled_from(("full", "causal")),
)
def test_serial_is_never_below_the_floor(
    model: Any, work: Workload, plan: Parallelism, figures: dict[str, float], fusion: str, attention: str
) -> None:
    e = estimate(
        model, work, cluster(figures), parallelism=plan, assumptions=Assumptions(fusion=fusion, attention=attention)
    )
    if e.reason:
        assert all(np.isnan(time.floor) and np.isnan(time.serial) for time in times(e))
        return
    for time in times(e):
        assert 0.0 < time.floor <= time.serial * (1.0 + ROUNDING)


@given(
    model=MODELS,
    work=WORKLOADS,
    plan=PLANS,
    figures=DEVICES,
    what=st.sampled_from(("peak", "memory_bandwidth", "link", "cache")),
    factor=st.floats(1.0, 100.0),
    fusion=st.sampled_from(("unfused", "flash", "compulsory")),
)
def test_better_hardware_is_never_slower(
    model: Any,
    work: Workload,
    plan: Parallelism,
    figures: dict[str, float],
    what: str,
    factor: float,
    fusion: str,
) -> None:
    assumed = Assumptions(fusion=fusion)
    before = estimate(model, work, cluster(figures), parallelism=plan, assumptions=assumed)
    better = {**figures, what: max(figures[what], 1e6) * factor}
    after = estimate(model, work, cluster(better), parallelism=plan, assumptions=assumed)
    for old, new in zip(times(before), times(after), strict=True):
        assert np.isnan(old.floor) == np.isnan(new.floor)
        assert not new.floor > old.floor
        assert not new.serial > old.serial


@given(
    model=MODELS,
    work=WORKLOADS,
    plan=PLANS,
    figures=DEVICES,
    worse=st.fixed_dictionaries(
        {
            "compute_efficiency": st.floats(0.1, 1.0),
            "memory_efficiency": st.floats(0.1, 1.0),
            "launch_time": st.floats(0.0, 1e-4),
        }
    ),
)
def test_assumptions_slow_the_serial_time_alone(
    model: Any, work: Workload, plan: Parallelism, figures: dict[str, float], worse: dict[str, Any]
) -> None:
    ideal = estimate(model, work, cluster(figures), parallelism=plan)
    derated = estimate(model, work, cluster(figures), parallelism=plan, assumptions=Assumptions(**worse))
    for one, two in zip(times(ideal), times(derated), strict=True):
        assert one.floor == two.floor or (np.isnan(one.floor) and np.isnan(two.floor))
        assert not two.serial < one.serial


# Counts


@given(model=MODELS, work=WORKLOADS, attention=st.sampled_from(("full", "causal")))
def test_fused_software_moves_no_more(model: Any, work: Workload, attention: str) -> None:
    """Compulsory ≤ flash ≤ unfused bytes, with the same FLOP; a causal mask never adds any."""
    if isinstance(work, Generate):
        work = Prefill(batch=work.batch, prompt_len=work.prompt_len)
    made = {f: count(model, work, attention, fusion=f) for f in ("compulsory", "flash", "unfused")}
    assert made["compulsory"].bytes <= made["flash"].bytes <= made["unfused"].bytes
    assert len({float(c.flops) for c in made.values()}) == 1
    assert count(model, work, "causal").flops <= count(model, work, "full").flops


TRAIN = st.tuples(st.integers(1, 16), st.integers(1, 900))


@given(model=MODELS, sizes=TRAIN, fusion=st.sampled_from(("unfused", "flash")))
def test_recomputing_trades_memory_for_arithmetic(model: Any, sizes: tuple[int, int], fusion: str) -> None:
    work = Train(micro_batch=sizes[0], global_batch=sizes[0], seq_len=sizes[1])
    policies = ("none", "selective", "full")
    flops = [float(count(model, work, fusion=fusion, recompute=p).flops) for p in policies]
    kept = [sum(map(float, saved_bytes(model, work, fusion=fusion, recompute=p).values())) for p in policies]
    assert flops == sorted(flops)
    assert kept == sorted(kept, reverse=True)
    assert flops[0] < flops[2]
    assert kept[0] > kept[2]
    forward = float(count(model, work, fusion="unfused").forward)
    if fusion == "unfused":
        assert flops[0] == 3 * forward
        assert flops[2] < 4 * forward


@given(model=MODELS, sizes=TRAIN, factor=st.integers(2, 50), recompute=st.sampled_from(("none", "selective", "full")))
def test_flops_and_activations_are_linear_in_the_batch(
    model: Any, sizes: tuple[int, int], factor: int, recompute: str
) -> None:
    """Flash attention's 24 bytes of random-number state are one for a layer, whatever the batch."""

    def train(batch: int) -> Train:
        return Train(micro_batch=batch, global_batch=batch, seq_len=sizes[1])

    small, large = (train(sizes[0] * f) for f in (1, factor))
    one, many = (count(model, work, recompute=recompute).flops for work in (small, large))
    assert many == factor * one
    first, then = (saved_bytes(model, work, recompute=recompute) for work in (small, large))
    layers = {k: v for k, v in then.items() if k not in ("embedding", "head")}
    assert layers == {k: factor * first[k] for k in layers}


@given(model=ALIKE, batch=st.integers(1, 100), tokens=st.integers(2, 900), factor=st.integers(2, 1000))
def test_keys_and_values_are_linear_in_batch_and_tokens(model: Any, batch: int, tokens: int, factor: int) -> None:
    def cache(batch: int, tokens: int, form: str = "bf16") -> float:
        step = Step(model, float(batch), 1.0, tokens - 1.0, precision=Precision.of(form), decoding=True)
        return float(kv_bytes(step))

    assert cache(batch, tokens) == batch * tokens * cache(1, 1)
    assert cache(batch * factor, tokens) == cache(batch, tokens * factor) == factor * cache(batch, tokens)
    assert 2 * cache(batch, tokens, "fp8") == cache(batch, tokens)


# Serving


@given(
    model=MODELS,
    plan=PLANS,
    figures=DEVICES,
    batch=st.integers(1, 4096),
    context=st.integers(0, 900),
    more=st.tuples(st.integers(0, 64), st.integers(0, 100)),
)
def test_tpot_never_falls_with_context_or_batch(
    model: Any, plan: Parallelism, figures: dict[str, float], batch: int, context: int, more: tuple[int, int]
) -> None:
    def tpot(batch: int, context: int) -> Time:
        work = Decode(batch=batch, context_len=context)
        found = estimate(model, work, cluster(figures), parallelism=plan).tpot
        assert found is not None
        return found

    before, after = tpot(batch, context), tpot(batch + more[0], context + more[1])
    assert not after.floor < before.floor
    assert not after.serial < before.serial


@given(model=MODELS, figures=DEVICES, batch=st.integers(1, 64), prompt=st.integers(1, 500), output=st.integers(2, 12))
def test_a_generation_is_its_steps(model: Any, figures: dict[str, float], batch: int, prompt: int, output: int) -> None:
    """Latency is the prefill and then every decode step at its own context."""
    whole = estimate(model, Generate(batch=batch, prompt_len=prompt, output_len=output), cluster(figures))
    prefill = estimate(model, Prefill(batch=batch, prompt_len=prompt), cluster(figures)).latency
    steps = [
        estimate(model, Decode(batch=batch, context_len=prompt + i), cluster(figures)).latency
        for i in range(output - 1)
    ]
    assert whole.ttft == prefill
    for name in ("floor", "serial"):
        summed = getattr(prefill, name) + sum(getattr(step, name) for step in steps)
        assert getattr(whole.latency, name) == pytest.approx(summed, rel=ROUNDING)


# Memory

CARDS = st.builds(
    lambda memory: Cluster(Accelerator(name="any", peaks={"bf16": 1e15}, memory=memory, memory_bandwidth=3e12), 64.0),
    st.floats(1e9, 1e12),
)
FITS = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 200),
        "length": st.integers(1, 1000),
        "parallelism": st.builds(
            lambda tp, dp: Parallelism(tp=tp, dp=dp), st.sampled_from((1, 2, 4)), st.sampled_from((1, 2, 3))
        ),
        "fusion": st.sampled_from(("flash", "unfused")),
        "max_num_batched_tokens": st.sampled_from((256, 2048, 8192)),
    }
)
SERVED = st.sampled_from(("gpt2-xl", "llama-3.2-1b", "llama-3.1-8b", "llama-2-13b", "llama-3.1-70b")).map(load_model)


def possible(model: Any, plan: Parallelism) -> bool:
    """Whether tensor parallelism divides the heads."""
    return bool(model.sizes["K"] * model.sizes["G"] % plan.tp == 0)


@settings(max_examples=25)
@given(model=SERVED, h=CARDS, question=FITS)
def test_the_largest_batch_fits_and_one_more_does_not(model: Any, h: Cluster, question: dict[str, Any]) -> None:
    assume(possible(model, question["parallelism"]))

    def asked(**changes: float) -> Fit:
        return fit(model, h, **{**question, **changes}, suggest=False)

    first = asked()
    assert bool(first.fits) == (first.memory.total <= first.budget) == (question["batch"] <= first.max_batch)
    if first.max_batch >= 1:
        assert asked(batch=float(first.max_batch)).fits
    if first.max_batch < 1e7:
        assert not asked(batch=float(first.max_batch) + 1).fits


@settings(max_examples=25)
@given(model=SERVED, h=CARDS, question=FITS)
def test_the_largest_context_fits_and_one_more_does_not(model: Any, h: Cluster, question: dict[str, Any]) -> None:
    assume(possible(model, question["parallelism"]))

    def asked(**changes: float) -> Fit:
        return fit(model, h, **{**question, **changes}, suggest=False)

    first = asked()
    if first.max_context >= 1:
        assert asked(length=float(first.max_context)).fits
    if first.max_context < model.max_positions:
        assert not asked(length=float(first.max_context) + 1).fits


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_flash_attention_moves_no_scores_even_where_it_runs_again(recompute: str) -> None:
    for stack in load_model("llama-3.1-8b").stacks:
        for rows in training(stack.block, implementation("flash"), Plan.of(()), recompute, frozenset()):
            moved = [piece.tensor for row in rows for piece in row.moved]
            assert not any("T" in t.letters and "S" in t.letters for t in moved)
