"""Recipes: packed sequences, chunked losses, optimizers that multiply matrices, frameworks without a narrow copy of the weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floorline import Parallelism, Recipe, Train, estimate
from floorline.formulas.optimizer import newton_schulz_flops
from floorline.masks import causal, chunk, everything, window, within_documents
from floorline.num import number
from floorline.training.estimate import TrainingEstimate
from floorline.training.pricing import Serial


def run(
    plan: Parallelism | None = None, recipe: Recipe | None = None, engine: str = "any", **work: float
) -> TrainingEstimate:
    """Llama 3.1 8B on H100s."""
    workload = Train(**{"seq_len": 4096.0, "global_batch": 8.0, **work})
    return estimate("llama-3.1-8b", workload, "h100-sxm", parallelism=plan, recipe=recipe, engine=engine)


# Packed sequences


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 64), st.integers(1, 16), st.integers(1, 100))
def test_packed_pairs_are_those_of_the_documents(own: int, documents: int, seen: int) -> None:
    """Whatever the mask, by counting."""
    tokens = own * documents
    values = {"T": float(tokens), "S": float(tokens), "before": 0.0, "window": float(seen)}
    at = np.arange(tokens)
    query, key = at[:, None], at[None, :]
    together = query // own == key // own
    inside = {
        causal: key <= query,
        everything: key == key,
        window: (key <= query) & (query - key < seen),
    }
    for mask, left in inside.items():
        assert number(within_documents(mask, values, float(own))) == pytest.approx((together & left).mean())
    assert number(within_documents(chunk, values, 0.0)) == pytest.approx(chunk(values))


def test_packing_is_as_many_short_sequences() -> None:
    """Arithmetic of eight documents of 512 in a sequence of 4096 is that of eight sequences of 512; nothing else changes."""
    packed, apart = run(recipe=Recipe(document_len=512)), run(seq_len=512.0, global_batch=64.0)
    assert packed.flops.causal == pytest.approx(apart.flops.causal, rel=1e-12)
    assert packed.flops.hardware == pytest.approx(apart.flops.hardware, rel=1e-12)
    assert packed.flops.full == run().flops.full
    assert packed.peak_memory == run().peak_memory
    assert np.less(packed.step_time.serial, run().step_time.serial)


def test_documents_longer_than_the_sequence_are_one() -> None:
    assert run(recipe=Recipe(document_len=1e6)).step_time == run().step_time


def test_array_of_document_lengths_is_many_scalars() -> None:
    lengths = np.array([0.0, 256.0, 1000.0, 4096.0])
    many = run(recipe=Recipe(document_len=lengths)).step_time.expected
    each = [run(recipe=Recipe(document_len=float(n))).step_time.expected for n in lengths]
    assert np.array_equal(np.asarray(many), np.asarray(each))


# Chunked loss


def test_a_chunk_of_the_loss_has_its_share_of_the_logits() -> None:
    """Of 4096 tokens 512 at once: an eighth of the logits of 128 256 words in fp32 (Korthikanti et al. 2022, section 4.3: 4sbv)."""
    whole, cut = run(), run(recipe=Recipe(loss_chunk=512))
    logits = 4096 * 128256 * 4
    assert whole.kept.head - cut.kept.head == pytest.approx(logits * 7 / 8, rel=1e-3)
    assert cut.kept.layer == whole.kept.layer
    assert cut.kept.head_working == pytest.approx(whole.kept.head_working / 8)
    assert run(recipe=Recipe(loss_chunk=4096)).peak_memory == whole.peak_memory


def test_chunks_are_of_what_a_rank_has() -> None:
    """Two ranks of context parallelism have half of the tokens each, so that a chunk is twice the share."""
    plan = Parallelism(cp=2)
    whole, cut = run(plan).kept.head_working, run(plan, Recipe(loss_chunk=512)).kept.head_working
    assert cut == pytest.approx(whole / 4)


# Optimizers


LAYER = ((4096, 4096), (1024, 4096), (1024, 4096), (4096, 4096), (14336, 4096), (14336, 4096), (4096, 14336))
"""Matrices of a layer of Llama 3.1 8B: queries, keys, values, output, gate, up, down (its published configuration)."""


@pytest.mark.parametrize(("dp", "zero", "share"), [(1, "0", 1.0), (8, "0", 1.0), (8, "1", 1 / 8)])
def test_muon_takes_its_products(dp: int, zero: str, share: float) -> None:
    """At the peak, 5·(4·a²·b + 2·a³) FLOP of each matrix of each layer; shared with the optimizer's state."""
    plan = Parallelism(dp=dp, zero_stage=zero)
    muon, adam = (run(plan, Recipe(optimizer=name), micro_batch=1.0) for name in ("muon", "sgd-momentum"))
    flops = 32 * sum(newton_schulz_flops(float(min(s)), float(max(s)), 5.0) for s in LAYER)
    price = Serial(muon.step, muon.cluster)
    stage = muon.stages.first
    extra = muon.update(stage, price).kernels - adam.update(stage, price).kernels
    assert extra == pytest.approx(flops * share / 989.4e12, rel=1e-3)


def test_soap_takes_its_products() -> None:
    """In fp32 8·a·b·(a + b) FLOP of each matrix (soap.py: three projections, two products of the gradient)."""
    soap, adam = (run(recipe=Recipe(optimizer=name)) for name in ("soap", "sgd"))
    price = Serial(soap.step, soap.cluster)
    flops = 32 * sum(8.0 * a * b * (a + b) for a, b in LAYER)
    extra = soap.update(soap.stages.first, price).kernels - adam.update(adam.stages.first, price).kernels
    moved = 8.03e9 * 2 * (soap.state.moments - adam.state.moments) / 3.35e12
    assert extra - moved == pytest.approx(flops / soap.cluster.accelerator.peak("fp32"), rel=0.01)


def test_adapters_leave_muon_only_theirs() -> None:
    """Frozen weights are not orthogonalised."""
    whole = run(recipe=Recipe(optimizer="muon"))
    adapted = run(recipe=Recipe(optimizer="muon", lora_rank=16))
    price = Serial(whole.step, whole.cluster)
    few = replace(price, step=adapted.step)
    stage = whole.stages.first
    assert adapted.update(stage, few).kernels < whole.update(stage, price).kernels / 50


# Recomputation


def again(modules: str) -> float:
    """FLOP that are computed twice, over those of the forward pass's matmuls with weights."""
    recipe = Recipe(recompute="selective", recompute_modules=modules)
    extra = run(recipe=recipe, seq_len=64.0).flops.hardware - run(seq_len=64.0).flops.hardware
    return float(extra) / (2.0 * 8 * 64 * 32 * sum(a * b for a, b in LAYER))


def test_every_second_matmul_is_computed_again() -> None:
    """Keys, output and the second matrix of the feed-forward of q, k, v, o, w1, w3, w2 (torchtitan's count of matmuls)."""
    second = sum(a * b for a, b in (LAYER[1], LAYER[3], LAYER[5])) / sum(a * b for a, b in LAYER)
    assert again("every-2nd-matmul") == pytest.approx(second, rel=0.01)


def test_parts_without_matmuls_compute_none_again() -> None:
    assert again("non-matmul") == pytest.approx(0.0, abs=0.01)


def test_all_but_qkv_computes_the_rest_again() -> None:
    """Attention's output and the feed-forward's first two matrices: nobody needs the result of its last one."""
    rest = sum(a * b for a, b in LAYER[3:6]) / sum(a * b for a, b in LAYER)
    assert again("all-but-qkv") == pytest.approx(rest, rel=0.02)


@pytest.mark.parametrize("few", ["non-matmul", "every-2nd-matmul", "all-but-qkv"])
def test_more_recomputation_keeps_less(few: str) -> None:
    kept = [
        float(run(recipe=Recipe(recompute="selective", recompute_modules=few)).kept.layer),
        float(run().kept.layer),
        float(run(recipe=Recipe(recompute="full")).kept.layer),
    ]
    assert kept[2] < kept[0] < kept[1]


# Frameworks


def test_maxtext_keeps_sixteen_bytes_of_a_parameter() -> None:
    """Weights, gradients and two moments in fp32 (base.yml: weight_dtype, grad_dtype); Megatron-Core has eighteen."""
    maxtext, megatron = (run(engine=name).memory["first"].static for name in ("maxtext", "megatron-core"))
    assert megatron - maxtext == pytest.approx(2 * 8.03e9, rel=1e-3)
    assert maxtext == pytest.approx(16 * 8.03e9, rel=1e-3)
