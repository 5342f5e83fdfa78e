"""State-space, recurrent and hybrid models: what tests against other people's counts do not say of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from floorline import load_cluster, load_model
from floorline.capacity import fit
from floorline.counts import count
from floorline.errors import BadInput
from floorline.specs.precision import Precision
from floorline.specs.workload import Decode, Prefill, Train

SMALL = {
    "hidden_size": 48,
    "vocab_size": 100,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
}
MAMBA = {"hidden_size": 48, "vocab_size": 100, "num_hidden_layers": 3}
MODELS: dict[str, dict[str, Any]] = {
    "mamba": MAMBA,
    "falcon_mamba": MAMBA,
    "mamba2": {**MAMBA, "num_heads": 12, "head_dim": 8, "n_groups": 3, "state_size": 16, "chunk_size": 16},
    "jamba": {**SMALL, "num_hidden_layers": 8, "num_experts": 4},
    "bamba": {**SMALL, "num_hidden_layers": 3, "mamba_n_heads": 12, "mamba_chunk_size": 16, "attn_layer_indices": [1]},
    "zamba": {**SMALL, "num_hidden_layers": 9},
    "zamba2": {
        **SMALL,
        "layers_block_type": ["mamba", "hybrid", "hybrid", "hybrid"],
        "num_mem_blocks": 2,
        "chunk_size": 16,
    },
    "nemotron_h": {**SMALL, "hybrid_override_pattern": "M-M*EM", "n_routed_experts": 4, "moe_latent_size": 24},
    "recurrent_gemma": {**SMALL, "num_hidden_layers": 4, "attention_window_size": 20},
    "rwkv": {"hidden_size": 48, "vocab_size": 100, "num_hidden_layers": 3},
    "qwen3_next": {**SMALL, "num_hidden_layers": 5, "num_experts": 16, "num_experts_per_tok": 4},
    "qwen3_5_text": {**SMALL, "num_hidden_layers": 5},
}
H100 = load_cluster("h100-sxm")


def made(kind: str, **changed: object) -> Any:
    """A small model of a type."""
    return load_model({"model_type": kind, "name": f"small {kind}", **MODELS[kind], **changed})


def kept(model: Any, length: float, cache: str = "bf16") -> Any:
    """Bytes that one sequence keeps."""
    formats = Precision.of("bf16").with_cache(cache)
    return fit(model, H100, batch=1, length=length, precision=formats, suggest=False).kv_bytes


@pytest.mark.parametrize("kind", MODELS)
def test_arrays_give_what_their_numbers_give(kind: str) -> None:
    model, batch, tokens = made(kind), np.array([1.0, 2.0, 7.0]), np.array([2.0, 16.0, 130.0])
    for work in (lambda b, t: Prefill(batch=b, prompt_len=t), lambda b, t: Decode(batch=b, context_len=t)):
        together = count(model, work(batch, tokens))
        for i in range(3):
            alone = count(model, work(float(batch[i]), float(tokens[i])))
            assert np.asarray(together.flops)[i] == alone.flops
            assert np.asarray(together.bytes)[i] == alone.bytes


@pytest.mark.parametrize("kind", MODELS)
def test_one_step_has_the_weights_of_a_prompt(kind: str) -> None:
    stepping = [s for s in made(kind).stacks if s.decode is not None]
    assert stepping
    for stack in stepping:
        assert {str(t) for t in stack.decode.weights()} == {str(t) for t in stack.block.weights()}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("fusion", ["unfused", "flash", "compulsory"])
def test_training_counts_its_forward_pass_as_inference_does(kind: str, fusion: str) -> None:
    model = made(kind)
    trained = count(model, Train(micro_batch=2, global_batch=2, seq_len=40), fusion=fusion)
    assert trained.forward == count(model, Prefill(batch=2, prompt_len=40, logits="all"), fusion=fusion).flops
    assert trained.backward > trained.forward


@pytest.mark.parametrize("kind", ["mamba", "mamba2", "rwkv"])
def test_a_state_does_not_grow(kind: str) -> None:
    assert kept(made(kind), 10) == kept(made(kind), 1000) > 0.0


def test_a_narrower_cache_leaves_states_in_fp32() -> None:
    inner, state, window, layers = 96.0, 16.0, 4.0, 3.0
    assert kept(made("mamba"), 10) == layers * inner * (4.0 * state + 2.0 * window)
    assert kept(made("mamba"), 10, "fp8") == layers * inner * (4.0 * state + window)


def test_shared_blocks_are_stored_once_where_the_head_is_tied() -> None:
    once, apart = made("zamba2"), made("zamba2", tie_word_embeddings=False)
    shared = [m for m in once.parameter_count().modules if "Wshared" in m.tensor]
    assert shared
    assert all(m.count == 1.0 for m in shared)
    assert not [m for m in apart.parameter_count().modules if "Wshared" in m.tensor]
    work = Prefill(batch=1, prompt_len=40)
    assert count(once, work).flops == count(apart, work).flops


def test_states_that_the_library_keeps_elsewhere_are_no_cache_of_it() -> None:
    config = {"model_type": "recurrent_gemma", **MODELS["recurrent_gemma"]}
    assert kept(load_model(config), 10) > 0.0
    assert kept(load_model(config, "transformers"), 10) == 0.0


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (
            "mamba",
            {"d_inner": 96, "d_model": 48, "n_layer": 3, "ssm_cfg": {}, "rms_norm": True, "fused_add_norm": True},
        ),
        ("mamba2", {"intermediate_size": 96, "norm_before_gate": True, "time_step_rank": 256}),
        ("zamba2", {"kv_channels": 12, "num_query_groups": 4, "state_size": 16, "hybrid_layer_ids": [1, 2, 3]}),
        (
            "nemotron_h",
            {"num_query_groups": 2, "attention_head_dim": 12, "time_step_rank": 256, "num_hidden_layers": 9},
        ),
    ],
)
def test_fields_without_effect_are_known(kind: str, fields: dict[str, object]) -> None:
    assert made(kind, **fields).parameter_count().total == made(kind).parameter_count().total


@pytest.mark.parametrize(
    ("kind", "changed", "says"),
    [
        ("mamba2", {"num_heads": 10}, "expected the same"),
        ("bamba", {"mamba_d_head": 10}, "expected the same"),
        ("bamba", {"attn_layer_indices": "all"}, "attn_layer_indices"),
        ("nemotron_h", {"hybrid_override_pattern": "MX"}, "'X'"),
        ("zamba", {"layers_block_type": ["mamba", "conv"]}, "'conv'"),
        ("zamba2", {"layers_block_type": []}, "layers_block_type"),
        ("recurrent_gemma", {"block_types": ["lstm"]}, "block_types"),
        ("qwen3_next", {"layer_types": ["full_attention"]}, "layer_types lists 1"),
        ("qwen3_next", {"mlp_only_layers": 3}, "mlp_only_layers"),
        ("rwkv", {"num_heads": 3}, "num_heads"),
    ],
)
def test_errors_say_what_is_wrong(kind: str, changed: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput) as error:
        made(kind, **changed)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
