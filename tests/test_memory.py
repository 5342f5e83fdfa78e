"""Memory by engine: what its terms are, that arrays equal their points, and what measured runs say of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import floorline
from floorline.catalogue.engines import engines
from floorline.catalogue.footprints import footprint_of, footprints
from floorline.catalogue.load import load_model
from floorline.footprints import buffer_bytes, dequantised_bytes, logit_bytes, table_bytes, tables
from floorline.memory import Memory, inference_memory, kv_bytes, weight_bytes
from floorline.quantized import quantized
from floorline.specs.footprint import Buffers, Footprint
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.step import Step
from floorline.validation import case_memory
from floorline.validation.cases import Case, read

VALIDATION = Path(__file__).parent.parent / "validation"
MODELS = VALIDATION / "models"
MODEL = "llama-3.1-8b"


def prompt(name: str = MODEL, batch: float = 2.0, tokens: float = 100.0, tp: float = 1.0) -> Step:
    """A prompt on as many tensor-parallel ranks."""
    return Step(load_model(name), batch, tokens, 0.0, 1.0, Parallelism(tp=tp), Precision.of("bf16"))


def held(step: Step, length: float, footprint: Footprint) -> Memory:
    """Its memory."""
    return inference_memory(step, length, "flash", None, footprint)


@cache
def cases() -> tuple[Case, ...]:
    """The judged runs of inference."""
    return tuple(c for c in read(VALIDATION / "cases" / "inference.csv") if c.word("judged") == "yes")


def test_nothing_is_added_where_nothing_is_said() -> None:
    """An engine of which nobody knows anything takes weights, cache and the largest step's tensors."""
    step = prompt()
    bare, plain = inference_memory(step, 128.0, "flash", 8192.0), held(step, 128.0, Footprint())
    assert bare.answer() == plain.answer()
    assert bare.workspace == bare.graphs == bare.framework == 0.0
    assert bare.total == bare.weights + bare.kv_cache + bare.activations == bare.allocated
    assert bare.weights == weight_bytes(step)


@pytest.mark.parametrize("name", sorted(footprints()))
def test_each_kind_counts(name: str) -> None:
    """The total is the sum of its kinds, none of which is negative; several devices need buffers for messages."""
    used = footprint_of(name)
    one, two = held(prompt(), 128.0, used), held(prompt(tp=2.0), 128.0, used)
    for m in (one, two):
        assert m.total == sum(m.kinds.values())
        assert all(size >= 0.0 for size in m.kinds.values())
        assert m.total == m.allocated + m.graphs + m.framework
    assert two.framework == one.framework + used.communication
    assert two.weights < one.weights


@pytest.mark.parametrize("name", sorted(footprints()))
def test_arrays_equal_their_points(name: str) -> None:
    """Memory of many batches, lengths and degrees at once is that of each, bit for bit."""
    used = footprint_of(name)
    batch, tokens, tp = np.array([1.0, 3.0, 64.0]), np.array([1.0, 17.0, 3000.0]), np.array([1.0, 2.0, 8.0])
    model = quantized(load_model(MODEL), "gptq")
    many = replace(prompt(), model=model, batch=batch, tokens=tokens, parallelism=Parallelism(tp=tp))
    together = inference_memory(many, tokens + 5.0, "flash", None, used)
    for i in range(3):
        one = replace(
            prompt(),
            model=model,
            batch=float(batch[i]),
            tokens=float(tokens[i]),
            parallelism=Parallelism(tp=float(tp[i])),
        )
        alone = inference_memory(one, float(tokens[i]) + 5.0, "flash", None, used)
        for kind, size in alone.kinds.items():
            assert size == np.broadcast_to(together.kinds[kind], 3)[i], kind


def test_a_sequence_takes_whole_blocks() -> None:
    """17 tokens take two blocks of 16."""
    step = prompt(batch=3.0, tokens=16.0)
    assert held(step, 17.0, Footprint(kv_block=16)).kv_cache == held(step, 32.0, Footprint()).kv_cache


def test_tables_are_padded_copied_and_repeated() -> None:
    """GPT-2's 50 257 words become 50 304; a head of its own is a second table; whole tables are on each of two ranks."""
    step, split = prompt("gpt2"), prompt("gpt2", tp=2.0)
    assert tables(step) == (1.0, 50257.0 * 768 * 2)
    assert table_bytes(step, Footprint(vocab_multiple=64)) == pytest.approx(47 * 768 * 2, rel=1e-9)
    assert table_bytes(step, Footprint(head="copy")) == 50257 * 768 * 2
    assert table_bytes(split, Footprint(tables="whole")) == 50257 * 768 * 2 / 2
    assert table_bytes(prompt(), Footprint(head="copy")) == 0.0  # it has a head of its own


def test_logits_of_all_positions() -> None:
    """Two prompts of 100 tokens, 128 256 words, in bf16 and fp32."""
    assert logit_bytes(prompt(), Footprint(logits="all", logit_bytes=6)) == 2 * 100 * 128256 * 6
    assert logit_bytes(prompt(), Footprint()) == 0.0
    assert (
        held(prompt(tokens=4000.0), 4001.0, Footprint(logits="all", logit_bytes=6)).activations >= 8000.0 * 128256 * 6
    )


def test_a_matrix_is_brought_to_16_bits() -> None:
    """The largest of Llama's has 4096 by 14 336 elements; fp8 needs none."""
    used, step = Footprint(dequantised="in memory"), prompt()
    made = replace(step, model=quantized(step.model, "gptq"))
    assert dequantised_bytes(made, used) == 4096 * 14336 * 2
    assert dequantised_bytes(made, Footprint()) == dequantised_bytes(step, used) == 0.0
    assert dequantised_bytes(replace(step, model=quantized(step.model, "fp8")), used) == 0.0


def test_a_cache_that_is_copied_has_one_layer_twice() -> None:
    """While decoding, the keys of one of 32 layers exist twice."""
    step = prompt(batch=1.0, tokens=1.0)
    kept = held(step, 100_000.0, Footprint())
    copied = held(step, 100_000.0, Footprint(cache="copied"))
    assert copied.kv_cache == kept.kv_cache
    assert copied.activations - kept.activations == pytest.approx(kept.kv_cache / 64)


@pytest.mark.parametrize("name", ["mistral-7b-v0.1", "gemma-3-12b-text", "gpt-oss-20b"])
def test_windows_are_cut_or_whole(name: str) -> None:
    """Kept whole, every layer has every token: twice the tokens take twice the cache."""
    step, length = prompt(name, tokens=20_000.0), 20_001.0
    cut, whole = (held(step, length, Footprint(windows=word)).kv_cache for word in ("cut", "whole"))
    twice = held(step, 2 * length, Footprint(windows="whole")).kv_cache
    assert whole > cut == kv_bytes(replace(step, tokens=1.0, earlier=length - 1.0, decoding=True))
    assert twice == 2 * whole


def test_buffers_of_fastertransformer_by_hand() -> None:
    """GPT of 24 layers, 2048 wide, 32 heads: 2 sequences of 136 tokens, term by term."""
    model = load_model(MODELS / "gpt-1.3b.json")
    step = Step(model, 2.0, 128.0, 0.0, 1.0, Parallelism(), Precision.of("fp16"))
    tokens, wide, words = 2 * 136, 2048, 51200
    by_hand = tokens * (5 * wide + 8 * wide + 4 * wide) * 2  # hidden, attention, feed-forward
    by_hand += 2 * 32 * 136**2 * 6 + 2 * 136**2 * 2  # scores in two formats, mask
    by_hand += 2 * words * 28 + 136 * words * 2  # sampling, table of positions
    used = footprint_of("fastertransformer")
    assert used.buffers is not None
    assert buffer_bytes(step, 136.0, used.buffers) == by_hand
    assert held(step, 136.0, used).activations == by_hand
    assert buffer_bytes(step, 136.0, Buffers()) == 0.0


def test_versions() -> None:
    """The oldest entry that still holds; without a version the newest."""
    assert footprint_of("transformers", (4, 38, 2)).logits == "all"
    assert footprint_of("transformers", (4, 44, 1)).logits == "all"
    assert footprint_of("transformers", (4, 46)).windows == "whole"
    assert footprint_of("transformers", (4, 56)).windows == footprint_of("transformers").windows == "cut"
    assert footprint_of("nobody") == Footprint()


def test_engines_have_footprints() -> None:
    """Each engine of the catalogue says how it uses memory."""
    for name, engine in engines().items():
        assert engine.footprint == footprint_of(name) != Footprint(), name


def test_fit_and_infer_take_an_engine() -> None:
    """Static engines may use all of the memory and run prompts at once; vLLM's budget is 90 %."""
    paged, static = (floorline.fit(MODEL, "h100-sxm", batch=4, length=8192, engine=e) for e in ("vllm", "transformers"))
    assert static.budget == pytest.approx(paged.budget / 0.9)
    assert static.memory.activations > paged.memory.activations
    assert static.max_concurrency == static.max_batch > 0
    assert paged.memory.graphs > 0.0 == static.memory.graphs
    assert static.engine == "transformers"
    work = floorline.Generate(batch=4, prompt_len=8191, output_len=1)
    e = floorline.estimate(MODEL, work, "h100-sxm", engine="transformers")
    assert e.memory.answer() == static.memory.answer()


def test_peak_memory_of_measured_runs() -> None:
    """81 judged peaks of FasterTransformer and Transformers, in no way fitted to."""
    measured = [c for c in cases() if c.metric == "peak_memory_bytes"]
    hoped = [case_memory.expected(c, MODELS) for c in measured]
    errors = np.abs([np.log(h.value / c.value) for h, c in zip(hoped, measured, strict=True)])
    assert len(errors) == 81
    assert np.median(errors) <= 0.05
    assert np.quantile(errors, 0.9) <= 0.16
    inside = np.mean([h.low <= c.value <= h.high for h, c in zip(hoped, measured, strict=True)])
    assert 0.8 <= inside <= 0.97


def test_out_of_memory_of_measured_runs() -> None:
    """All runs that failed are found, and nearly none that ran is called so."""
    found = case_memory.verdicts(cases(), MODELS)
    assert found.failed == 12
    assert found.missed == ()
    assert found.ran > 1400
    assert len(found.called) <= 0.002 * found.ran
