"""Which plans hold the rules: each rule at its edge, the same alone and in arrays, and what is told of the first that breaks."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floorline import Decode, Encode, Generate, Parallelism, Prefill, estimate, load_cluster, load_model
from floorline.errors import BadInput
from floorline.feasible import check, hold, spread
from floorline.num import number
from floorline.rules import RULES
from floorline.specs.workload import Workload

NAMES = [rule.name for rule in RULES]
EDGES: dict[str, tuple[str, Workload, dict[str, Any], dict[str, Any], float]] = {
    "tp∤heads": ("llama-3.1-8b", Decode(context_len=9), {"tp": 32}, {"tp": 64}, 64),
    "tp∤kv_heads": ("qwen2.5-7b", Decode(context_len=9), {"tp": 4}, {"tp": 14}, 14),
    "ep∤ranks": ("mixtral-8x7b", Decode(context_len=9), {"dp": 8, "ep": 8}, {"dp": 4, "ep": 8}, 8),
    "ep∤experts": ("mixtral-8x7b", Decode(context_len=9), {"dp": 8, "ep": 8}, {"dp": 16, "ep": 16}, 16),
    "pp>layers": ("llama-3.1-8b", Decode(context_len=9), {"pp": 32}, {"pp": 33}, 33),
    "cp∤heads": (
        "llama-3.1-8b",
        Prefill(prompt_len=999),
        {"cp": 8, "context": "all-to-all"},
        {"cp": 64, "context": "all-to-all"},
        64,
    ),
    "cp>tokens": ("llama-3.1-8b", Prefill(prompt_len=8), {"cp": 8}, {"cp": 9}, 9),
    "devices": ("llama-3.1-8b", Decode(context_len=9), {"tp": 8, "pp": 2}, {"tp": 8, "pp": 4}, 16),
}
"""Rule → model, work, a plan that just holds it and one that does not, and the devices that there are. Sizes are published: Llama
3.1 8B has 32 layers, 32 query and 8 key/value heads; Qwen 2.5 7B 28 and 4; Mixtral 8 experts."""


@pytest.mark.parametrize("name", sorted(EDGES))
def test_rules_at_their_edges(name: str) -> None:
    """The last plan that holds and the first that does not, which breaks that rule before all others."""
    model, work, good, bad, devices = EDGES[name]
    made = load_model(model)
    holds, index, _ = check(made, work, devices, Parallelism(**good))
    assert bool(holds)
    assert int(index) == -1
    hold(made, work, devices, Parallelism(**good))
    holds, index, _ = check(made, work, devices, Parallelism(**bad))
    assert not bool(holds)
    assert NAMES[int(index)] == name
    with pytest.raises(BadInput) as error:
        hold(made, work, devices, Parallelism(**bad))
    told = estimate(made, work, load_cluster("h100-sxm", devices), parallelism=Parallelism(**bad)).reason
    assert str(error.value) == told
    assert "\n" not in told
    assert f"{max(degree for degree in bad.values() if isinstance(degree, int))}" in told


@pytest.mark.parametrize(("tokens", "fits"), [(1023, True), (1024, False)])
def test_learned_positions(tokens: int, fits: bool) -> None:
    """GPT-2 has 1024 of them, whichever way a sequence gets there."""
    gpt2 = load_model("gpt2")
    for work in (
        Decode(context_len=tokens),
        Prefill(prompt_len=tokens + 1),
        Generate(prompt_len=tokens - 100, output_len=101),
    ):
        holds, index, _ = check(gpt2, work, 1.0, Parallelism())
        assert bool(holds) is fits
        assert fits or NAMES[int(index)] == "positions"
    llama = load_model(
        "llama-3.1-8b"
    )  # rotary positions are computed: a longer sequence may be wrong, but takes its time
    assert bool(check(llama, Decode(context_len=10**6), 1.0, Parallelism())[0])


@pytest.mark.parametrize("name", ["deepseek-v2-lite", "gemma-3-4b", "bamba-9b", "flan-t5-base"])
def test_a_plan_suits_every_kind_of_layer(name: str) -> None:
    """A plan holds where it holds for each kind of layer alone; more ranks than any kind has heads hold for none."""
    model = load_model(name)
    work = Encode(seq_len=64, decoder_len=64) if model.has_encoder else Prefill(prompt_len=64)
    for tp in (1, 2, 4, 8, 16, 1024):
        holds, index, _ = check(model, work, 1024, Parallelism(tp=tp))
        good = bool(holds)
        assert good is (int(index) == -1)  # what is wrong is told, whichever kind of layer it is
        heads = [float(shape["heads"]) for shape in model.shapes()]
        assert not good or all(n % tp == 0 for n in heads)
    assert bool(check(model, work, 1024, Parallelism())[0])


@given(
    model=st.sampled_from(("llama-3.1-8b", "mixtral-8x7b", "gpt2", "deepseek-v2-lite")),
    tp=st.lists(st.integers(1, 40), min_size=3, max_size=3),
    pp=st.lists(st.integers(1, 40), min_size=3, max_size=3),
    ep=st.lists(st.integers(1, 10), min_size=3, max_size=3),
    dp=st.sampled_from((1, 2, 8)),
    devices=st.sampled_from((8, 64, 1024)),
    prompt=st.integers(1, 1500),
)
def test_arrays_equal_their_points(
    model: str, tp: list[int], pp: list[int], ep: list[int], dp: int, devices: int, prompt: int
) -> None:
    """Which plans hold, and the first rule that each of the others breaks, alone and among others."""
    made, work = load_model(model), Prefill(prompt_len=prompt)
    many = Parallelism(tp=number(tp), pp=number(pp), ep=number(ep), dp=dp)
    holds, index, _ = check(made, work, devices, many)
    for i in range(3):
        one, rule, _ = check(made, work, devices, Parallelism(tp=tp[i], pp=pp[i], ep=ep[i], dp=dp))
        assert bool(np.broadcast_to(holds, (3,))[i]) is bool(one)
        assert int(np.broadcast_to(index, (3,))[i]) == int(rule)
        assert (int(rule) == -1) is bool(one)
    if not np.all(holds):
        with pytest.raises(BadInput):
            hold(made, work, devices, many)


@given(batch=st.integers(1, 10**6), replicas=st.integers(1, 10**4))
def test_the_fullest_rank(batch: int, replicas: int) -> None:
    """All ranks as full as the fullest: the least multiple of the replicas that is not less than the batch."""
    found = float(spread(float(batch), float(replicas)))
    assert found % replicas == 0.0
    assert batch <= found < batch + replicas
