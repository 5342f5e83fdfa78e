"""Adapters beside frozen weights, and hybrid sharding: laws that hold for every size."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from floorline import Parallelism, Recipe, Train, load_model
from floorline.adapters import Kind, adapted, adapted_block, trainable
from floorline.errors import BadInput
from floorline.implementations import implementation
from floorline.num import Num
from floorline.parallel.plan import Plan
from floorline.passes import backward, stored
from floorline.program import training
from floorline.tensor import GRADIENT
from floorline.training.estimate import TrainingEstimate, estimate_training
from floorline.transformer import Transformer

MODELS = ("llama-3.1-8b", "gpt2", "mixtral-8x7b", "deepseek-v3", "mamba-130m")
KINDS = (Kind(), Kind(output=False, dropout=True), Kind(packed=True))


@cache
def model(name: str) -> Transformer:
    """A model of the catalogue, read once."""
    return load_model(name)


def estimate(name: str = "llama-3.1-8b", recipe: Recipe | None = None, **plan: Any) -> TrainingEstimate:
    """A step of four sequences on each of a plan's ranks."""
    split = Parallelism(**plan)
    work = Train(micro_batch=2, global_batch=4 * split.dp, seq_len=2048)
    return estimate_training(model(name), work, "h100-sxm", parallelism=split, recipe=recipe)


def amounts(e: TrainingEstimate) -> dict[str, Num | None]:
    """Everything that an estimate says, by name."""
    memory = {f"{stage}.{kind}": v for stage, m in e.memory.items() for kind, v in m.kinds.items()}
    time = {name: getattr(e.step_time, name) for name in ("floor", "serial", "expected", "low", "high")}
    return {**memory, **time, **e.flops.conventions, "trained": e.trained_parameters}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_only_adapters_have_gradients(name: str, kind: Kind) -> None:
    for stack in adapted(model(name), 16, kind).stacks:
        for op in backward(stack.block, implementation("flash")):
            made = [t.name for t in op.outputs if t.role == GRADIENT]
            assert all(n.endswith((".A", ".B")) for n in made), made
            assert made or not op.name.endswith("wgrad")
        trained = {t.gradient().name for t in stack.block.weights() if t.is_trained}
        done = {t.name for op in backward(stack.block, implementation("flash")) for t in op.outputs}
        assert trained <= done


def test_trained_parameters_are_two_narrow_matrices_for_each_linear_layer() -> None:
    # d, kv width, f of Llama 3.1 8B: q, o: d+d; k, v: d+kv; gate, up, down: d+f
    each = 2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336)
    assert trainable(adapted(model("llama-3.1-8b"), 16, Kind())) == 16 * each * 32
    without = each - 2 * 4096
    assert trainable(adapted(model("llama-3.1-8b"), 16, Kind(output=False))) == 16 * without * 32


def test_rank_0_changes_nothing() -> None:
    assert adapted(model("gpt2"), 0, Kind()) is model("gpt2")
    assert amounts(estimate(recipe=Recipe(lora_rank=0))) == amounts(estimate())


def test_flops_are_two_thirds_and_the_adapters() -> None:
    whole, narrow = estimate(), estimate(recipe=Recipe(lora_rank=1))
    weights = model("llama-3.1-8b").parameter_count().total - 128256 * 4096
    tokens = narrow.tokens
    attention = float(whole.flops.full) - 6.0 * (weights - 65 * 4096) * float(tokens)
    frozen = 4.0 * (weights - 65 * 4096) * float(tokens)
    adapters = 6.0 * float(narrow.trained_parameters) * float(tokens)
    assert float(narrow.flops.full) == pytest.approx(frozen + attention + adapters, rel=1e-12)


def test_adding_adapters_adds_their_flops_only() -> None:
    one, two = (estimate(recipe=Recipe(lora_rank=r)) for r in (32, 64))
    more = float(two.trained_parameters) - float(one.trained_parameters)
    assert float(two.flops.full) - float(one.flops.full) == pytest.approx(6.0 * more * float(two.tokens), rel=1e-9)


def test_an_array_of_ranks_is_its_scalars_bit_for_bit() -> None:
    ranks = (1, 8, 64)
    many = amounts(estimate(recipe=Recipe(lora_rank=np.array(ranks, float), recompute="full"), dp=8, zero_stage="3"))
    for i, rank in enumerate(ranks):
        one = amounts(estimate(recipe=Recipe(lora_rank=rank, recompute="full"), dp=8, zero_stage="3"))
        for name, value in one.items():
            assert float(np.broadcast_to(np.asarray(many[name], float), (3,))[i]) == float(np.asarray(value)), name


def test_no_array_mixes_adapters_and_none() -> None:
    with pytest.raises(BadInput, match="zeros beside other ranks"):
        adapted(model("gpt2"), np.array([0.0, 8.0]), Kind())


def test_weights_in_4_bits_need_adapters() -> None:
    with pytest.raises(BadInput, match="nothing is frozen"):
        Recipe(frozen_weights="nf4")


def test_what_only_frozen_weights_gradients_need_is_not_kept() -> None:
    block = next(s.block for s in model("llama-3.1-8b").stacks if s.is_layer)
    software = implementation("flash")
    kept = {t.name for t in stored(adapted_block(block, Kind(output=False)), software, "none")}
    assert "ctx" in {t.name for t in stored(block, software, "none")}
    assert "norm1.normalised" not in kept
    assert {"h", "q.narrow", "m"} <= kept


def test_frozen_weights_send_no_gradients() -> None:
    e = estimate(recipe=Recipe(lora_rank=8), dp=8, zero_stage="1")
    for stack, _ in e.step.stacks:
        for rows in training(stack.block, implementation("flash"), e.step.cut(stack), "none", frozenset()):
            sent = [r.message.inputs[0].name for r in rows if r.message is not None]
            assert all(n.endswith((".A", ".B")) for n in sent), sent


def test_memory_of_frozen_weights_in_4_bits() -> None:
    recipe = Recipe(lora_rank=8, master_weights="no")
    wide = estimate(recipe=recipe).memory["first"]
    narrow = estimate(recipe=Recipe(lora_rank=8, master_weights="no", frozen_weights="nf4")).memory["first"]
    linear = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    scales = (1.0 + 4.0 / 256.0) / 64.0
    assert float(wide.weights) - float(narrow.weights) == pytest.approx(linear * (2.0 - 0.5 - scales), rel=1e-12)
    assert narrow.optimizer == wide.optimizer == float(estimate(recipe=recipe).trained_parameters) * 4.0


def test_offloaded_parameters_leave_what_is_gathered() -> None:
    here = estimate(recipe=Recipe(lora_rank=8), dp=8, zero_stage="3").memory["first"]
    there = estimate(recipe=Recipe(lora_rank=8, offload_parameters="yes"), dp=8, zero_stage="3").memory["first"]
    assert (there.weights, there.gradients, there.optimizer) == (0.0, 0.0, 0.0)
    assert there.working == here.working
    assert there.fragmentation < here.fragmentation


def test_a_program_without_adapters_is_as_before() -> None:
    block = next(s.block for s in model("gpt2").stacks if s.is_layer)
    assert not any(t.frozen for op in block.ops for t in op.weights)
    assert training(block, implementation("flash"), Plan.of(()), "none", frozenset())[0]


def test_shares_over_all_ranks_are_plain_sharding() -> None:
    plain = amounts(estimate(dp=16, zero_stage="3"))
    hybrid = amounts(estimate(dp=16, zero_stage="3", shard_ranks=16))
    assert plain == hybrid


@pytest.mark.parametrize("shards", [1, 2, 8, 16])
def test_shares_are_of_the_ranks_that_share(shards: int) -> None:
    memory = estimate(dp=16, zero_stage="3", shard_ranks=shards).memory["first"]
    total = model("llama-3.1-8b").parameter_count().total
    assert float(memory.weights) * shards == 2.0 * total
    assert float(memory.gradients) * shards == 4.0 * total
    assert float(memory.optimizer) * shards == 12.0 * total


def test_gradients_are_scattered_within_and_summed_as_shares_across() -> None:
    e = estimate(dp=16, zero_stage="3", shard_ranks=4)
    stack, numbers = next((s, n) for s, n in e.step.stacks if s.is_layer)
    _, back, _ = training(stack.block, implementation("flash"), e.step.cut(stack), "none", frozenset())
    messages = [r.message for r in back if r.message is not None and r.message.inputs[0].name == "dWup"]
    sent = [(m.kind, m.axes, numbers.value(m.message)) for m in messages]
    whole = 4096.0 * 14336.0
    assert sent == [("reduce_scatter", ("dp",), whole), ("all_reduce", ("dpr",), whole / 4.0)]


def test_an_array_of_shares_is_its_scalars_bit_for_bit() -> None:
    shards = (2, 4, 16)
    many = amounts(estimate(dp=16, zero_stage="2", shard_ranks=np.array(shards, float)))
    for i, ranks in enumerate(shards):
        for name, value in amounts(estimate(dp=16, zero_stage="2", shard_ranks=ranks)).items():
            assert float(np.broadcast_to(np.asarray(many[name], float), (3,))[i]) == float(np.asarray(value)), name


def test_experts_have_room_among_the_ranks_that_share() -> None:
    e = estimate("mixtral-8x7b", dp=16, ep=4, zero_stage="3", shard_ranks=8)
    total = model("mixtral-8x7b").parameter_count().total
    experts = 32 * 8 * 3 * 4096 * 14336
    assert float(e.memory["first"].weights) == pytest.approx(2.0 * ((total - experts) / 8 + experts / 4 / 2), rel=1e-12)


@pytest.mark.parametrize(("dp", "ep", "shards"), [(16, 1, 3), (16, 8, 4)])
def test_shares_that_do_not_divide_break_a_rule(dp: int, ep: int, shards: int) -> None:
    assert "weights shared over" in estimate("mixtral-8x7b", dp=dp, ep=ep, zero_stage="3", shard_ranks=shards).reason


def test_offloaded_weights_cost_time_over_the_host_link_and_are_updated_there() -> None:
    recipe = {"lora_rank": 8.0, "offload_optimizer": "yes"}
    plan: dict[str, Any] = {"dp": 8, "zero_stage": "3"}
    there = estimate(recipe=Recipe(**recipe, offload_parameters="yes"), **plan)  # type: ignore[arg-type]
    state_alone = estimate(recipe=Recipe(**recipe), **plan)  # type: ignore[arg-type]
    assert there.expected is not None
    assert state_alone.expected is not None
    assert there.expected.offloading >= state_alone.expected.offloading == 0.0
    assert set(there.expected.update.kinds) == {"offload"}
    assert float(there.expected.update.seconds) < float(state_alone.expected.update.seconds)
