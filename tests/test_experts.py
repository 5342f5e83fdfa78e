"""Mixtures of experts: how many are read, from one token to many, and the floor that no routing goes below."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floorline import Assumptions, Decode, Parallelism, Precision, Prefill, estimate, load_cluster, load_model
from floorline.formulas.experts import experts_read
from floorline.kernel_times import KernelTimes
from floorline.step import Step
from floorline.transformer import Transformer

WIDTH, INNER, EXPERTS, CHOSEN, LAYERS = 64, 32, 16, 3, 2
ONE = 3 * WIDTH * INNER * 2
"""Bytes of one expert in bf16."""


def mixture() -> Transformer:
    """A small Mixtral."""
    return load_model(
        {
            "model_type": "mixtral",
            "hidden_size": WIDTH,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "num_hidden_layers": LAYERS,
            "intermediate_size": INNER,
            "num_local_experts": EXPERTS,
            "num_experts_per_tok": CHOSEN,
            "vocab_size": 100,
        }
    )


def experts_in_a_step(batch: float, evenness: float = 1.0) -> float:
    """Distinct experts that a decode step reads in each layer, from the bytes of their weights."""
    step = Step(mixture(), batch, 1.0, 10.0, decoding=True, evenness=evenness, precision=Precision.of("bf16"))
    moved = 0.0
    for stack, numbers, row in step.rows("unfused"):
        for piece in row.reads:
            if piece.tensor.name in ("Weg", "Weu", "Wed"):
                moved += float(numbers.value(piece.elements)) * 2.0 * float(stack.repeat)
    return moved / LAYERS / ONE


def test_one_token_reads_the_experts_that_it_chooses() -> None:
    assert experts_in_a_step(1.0) == pytest.approx(CHOSEN, rel=1e-12)


def test_many_tokens_read_all() -> None:
    assert experts_in_a_step(1e6) == pytest.approx(EXPERTS, rel=1e-12)


@pytest.mark.parametrize("batch", [2, 5, 20])
def test_in_between_as_drawn(batch: int) -> None:
    """Experts drawn at random, three different ones for each token: the mean over many draws."""
    random = np.random.default_rng(7)
    draws = np.argsort(random.random((20_000, batch, EXPERTS)), axis=-1)[..., :CHOSEN].reshape(20_000, -1)
    hit = np.zeros((20_000, EXPERTS), dtype=bool)
    np.put_along_axis(hit, draws, True, axis=1)
    distinct = hit.sum(axis=1)
    error = distinct.std() / np.sqrt(len(distinct))
    assert abs(experts_in_a_step(float(batch)) - distinct.mean()) < 4 * error


def test_the_floor_reads_as_few_as_routing_allows() -> None:
    """All tokens may choose the same experts: nothing that runs reads fewer."""
    h100 = load_cluster("h100-sxm")
    model = mixture()
    few, many = (Step(model, batch, 1.0, 10.0, decoding=True).floor(h100).weights for batch in (1.0, 64.0))
    assert few == many
    assert experts_in_a_step(64.0, evenness=0.0) == pytest.approx(CHOSEN, rel=1e-12)


def test_arithmetic_counts_what_is_chosen() -> None:
    from floorline import count

    one, many = (count(mixture(), Decode(batch=b, context_len=10)).flops for b in (1, 64))
    assert many == 64 * one


@given(
    tokens=st.floats(1, 1e6),
    chosen=st.integers(1, 8),
    experts=st.integers(8, 512),
    evenness=st.floats(0, 1),
)
def test_shares_are_between_their_limits(tokens: float, chosen: int, experts: int, evenness: float) -> None:
    share = experts_read(tokens, float(chosen), float(experts), evenness)
    fewest = experts_read(tokens, float(chosen), float(experts), 0.0)
    most = experts_read(tokens, float(chosen), float(experts), 1.0)
    assert fewest <= share * (1 + 1e-12)
    assert share <= most * (1 + 1e-12) <= 1 + 1e-9
    assert fewest == pytest.approx(chosen / experts)


def test_uneven_routing_reads_less() -> None:
    """Skew is an assumption of the serial time: between even routing and the floor's."""
    h100, work = load_cluster("h100-sxm"), Decode(batch=16, context_len=10)
    times = [
        float(estimate(mixture(), work, h100, assumptions=Assumptions(expert_evenness=e)).latency.serial)
        for e in (0, 0.5, 1)
    ]
    assert times == sorted(set(times))
    many = estimate(mixture(), work, h100, assumptions=Assumptions(expert_evenness=np.array([0.0, 0.5, 1.0])))
    assert list(np.asarray(many.latency.serial)) == times


def test_prompts_reach_each_node_once() -> None:
    """Two nodes, eight experts of a token, all alike: 2·(1 − (1/2)^8) = 1.992 copies where single tokens send eight."""
    cluster = load_cluster("h100-sxm", 16).with_network(8.0, 50e9)
    plan = Parallelism(dp=16, ep=16)

    def sent(workload: Prefill | Decode) -> float:
        e = estimate("deepseek-v3", workload, cluster, parallelism=plan)
        times = KernelTimes(e.phases[0].step, cluster, e.engine)
        return sum(
            float(np.asarray(time.sizes["bytes"]))
            for stack, numbers in times.step.numbers("causal")
            for row in times.step.program(stack, "flash")
            if row.message is not None and row.message.routed
            for time in times.launch(row, numbers)
            if time.kind == "network"
        )

    ahead, single = sent(Prefill(batch=16, prompt_len=1)), sent(Decode(batch=16, context_len=1))
    assert ahead / single == pytest.approx(2.0 * (1.0 - 0.5**8) / 8.0)
