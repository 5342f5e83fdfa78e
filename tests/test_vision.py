"""Pictures and sound: towers run once for each sequence, in passes that ask for them, and cost what PyTorch counts.

The figures are FlopCounterMode's over transformers 5.23's own classes with eager attention, on these small configurations.
"""

import pytest

from floorline import Encode, Prefill, Train, count, load_model
from floorline.transformer import Transformer

PICTURE: dict[str, object] = {
    "hidden_size": 48,
    "intermediate_size": 100,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
SMALL: dict[str, object] = {**PICTURE, "image_size": 40, "patch_size": 8}
TEXT: dict[str, object] = {
    "hidden_size": 32,
    "intermediate_size": 70,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 500,
}
GEMMA3: dict[str, object] = {
    "model_type": "gemma3",
    "mm_tokens_per_image": 16,
    "text_config": {"hidden_size": 96, "intermediate_size": 200, "num_hidden_layers": 8, "sliding_window": 1024},
    "vision_config": {**PICTURE, "image_size": 56, "patch_size": 7, "vision_use_head": False},
}
POOLED: dict[str, object] = {**GEMMA3, "vision_config": {**PICTURE, "image_size": 56, "patch_size": 7}}
LLAMA4: dict[str, object] = {
    "model_type": "llama4",
    "text_config": {
        **{"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 500},
        **{"num_hidden_layers": 4, "intermediate_size": 32, "intermediate_size_mlp": 64, "num_local_experts": 4},
    },
    "vision_config": {
        **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128},
        **{"image_size": 56, "patch_size": 14, "projector_input_dim": 40, "projector_output_dim": 40},
        "vision_output_dim": 40,
    },
}
QWEN35: dict[str, object] = {
    "model_type": "qwen3_5",
    "text_config": {
        **{"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 500},
        **{"num_hidden_layers": 4, "intermediate_size": 96, "linear_num_key_heads": 2, "linear_num_value_heads": 4},
        **{"linear_key_head_dim": 8, "linear_value_head_dim": 8},
    },
    "vision_config": {
        **{"depth": 2, "hidden_size": 32, "num_heads": 4, "intermediate_size": 60, "out_hidden_size": 64},
        **{"num_position_embeddings": 36, "patch_size": 4},
    },
}
BORROWING: dict[str, object] = {
    **{"hidden_size": 96, "num_hidden_layers": 10, "num_attention_heads": 8, "num_key_value_heads": 1},
    **{"intermediate_size": 200, "num_kv_shared_layers": 4, "hidden_size_per_layer_input": 16, "vocab_size": 1001},
    **{"vocab_size_per_layer_input": 1001, "sliding_window": 128, "use_double_wide_mlp": True},
    "layer_types": [*(["sliding_attention"] * 2 + ["full_attention"]) * 3, "full_attention"],
}
GEMMA4: dict[str, object] = {
    "model_type": "gemma4",
    "text_config": BORROWING,
    "vision_config": {
        **PICTURE,
        **{"num_key_value_heads": 2, "head_dim": 12, "patch_size": 8, "position_embedding_size": 77},
    },
    "audio_config": {},
}


@pytest.mark.parametrize(
    ("config", "flops"),
    [
        (GEMMA3, 7440384),
        (POOLED, 7440384 + 630528),  # the attention pooler of SigLIP, which Gemma's own configurations leave out
        (LLAMA4, 1585920),
        (QWEN35, 2138112),
        (GEMMA4, 2770145280 + 441807126528),  # 2520 patches; 3000 frames of sound
    ],
    ids=["gemma3", "gemma3-pooled", "llama4", "qwen3.5", "gemma4"],
)
def test_towers(config: dict[str, object], flops: int) -> None:
    """What the towers and their projections add to a pass over text alone."""
    model = load_model(config, "transformers")
    whole = count(model, Encode(batch=1, seq_len=5)).flops
    text = count(model, Prefill(batch=1, prompt_len=5, logits="all")).flops
    assert whole - text == flops
    if "audio_config" not in config:  # relative positions of sound are projected once, whatever the batch
        many = Encode(batch=3, seq_len=5), Prefill(batch=3, prompt_len=5, logits="all")
        assert count(model, many[0]).flops - count(model, many[1]).flops == 3 * flops


CLASSES = {str(i): f"class {i}" for i in range(7)}
TRAINED: dict[str, tuple[dict[str, object], str, int, int]] = {
    "vit": ({"model_type": "vit", **SMALL, "id2label": CLASSES}, "ViTForImageClassification", 15145920, 18580416),
    "deit": (
        {"model_type": "deit", **SMALL, "num_labels": 5},
        "DeiTForImageClassificationWithTeacher",
        15721344,
        19308672,
    ),
    "masked": (
        {"model_type": "deit", **SMALL, "encoder_stride": 8, "qkv_bias": False},
        "DeiTForMaskedImageModeling",
        18480384,
        22067712,
    ),
    "dinov2": (
        {"model_type": "dinov2", **SMALL, "mlp_ratio": 3, "num_labels": 9},
        "Dinov2ForImageClassification",
        17788032,
        23099520,
    ),
    "registers": (
        {
            **{"model_type": "dinov2_with_registers", **SMALL, "num_register_tokens": 3, "use_swiglu_ffn": True},
            **{"mlp_ratio": 5, "num_labels": 3},
        },
        "Dinov2WithRegistersForImageClassification",
        26234496,
        34363776,
    ),
    "clip": (
        {
            **{"model_type": "clip", "text_config": {**TEXT, "max_position_embeddings": 30}, "projection_dim": 20},
            "vision_config": SMALL,
        },
        "CLIPModel",
        21267168,
        26288864,
    ),
    "siglip": (
        {
            **{"model_type": "siglip", "vision_config": SMALL},
            "text_config": {**TEXT, "max_position_embeddings": 30, "hidden_size": 48},
        },
        "SiglipModel",
        27184896,
        33463296,
    ),
}


@pytest.mark.parametrize("name", TRAINED)
def test_training(name: str) -> None:
    """Forward and backward of two pictures (and texts of 25 tokens): pixels need no gradient; plain and checkpointed."""
    config, architecture, plain, again = TRAINED[name]
    model = load_model({**config, "architectures": [architecture]})
    work = Train(micro_batch=2, global_batch=2, seq_len=25)
    assert count(model, work).flops == plain
    assert count(model, work, recompute="full").flops == again


def total(**keys: object) -> float:
    """Parameters of a small ViT with a classifier."""
    made: Transformer = load_model(
        {"model_type": "vit", "architectures": ["ViTForImageClassification"], **SMALL, **keys}
    )
    return float(made.parameter_count().total)


def test_classes() -> None:
    """The names of classes count before their number; two where nothing is said, none for none."""
    bare = total(num_labels=0)
    each = 48 + 1
    assert total() - bare == 2 * each
    assert total(num_labels=11) - bare == 11 * each
    assert total(id2label=CLASSES, num_labels=3) - bare == 7 * each


def test_borrowed_keys() -> None:
    """Layers that borrow keys run for the positions whose logits are asked alone, and cache nothing."""
    config = {"model_type": "gemma4_text", **BORROWING}
    owned = load_model({**config, "num_kv_shared_layers": 0, "use_double_wide_mlp": False})
    borrowed = load_model(config)
    last, every = (count(borrowed, Prefill(prompt_len=64, logits=x)).flops for x in ("last", "all"))
    assert last < 0.75 * every
    kinds = [(s.block.caches() != (), float(s.repeat)) for s in borrowed.stacks if s.is_layer]
    assert sum(n for cached, n in kinds if cached) == 6.0
    assert sum(n for cached, n in kinds if not cached) == 4.0
    assert all(s.block.caches() for s in owned.stacks if s.is_layer)


def test_layer_by_layer() -> None:
    """The newer way to write heads of layers that see all says the same as the older one."""
    plain = {"model_type": "gemma4_text", **BORROWING, "num_hidden_layers": 6, "layer_types": None}
    older = load_model({**plain, "num_kv_shared_layers": 0, "global_head_dim": 64})
    newer = load_model({**plain, "num_kv_shared_layers": 0, "per_layer_config": {"05": {"head_dim": 64}}})
    assert older.parameter_count().total == newer.parameter_count().total
