"""Saved activations equal what PyTorch's autograd keeps: every row of the oracle, to the byte."""

from collections import Counter

import pytest

from floorline import load_model
from floorline.counts import saved_bytes
from floorline.specs.precision import Precision
from floorline.specs.workload import Train
from floorline.transformer import Transformer
from oracle import Row, table

VOCABULARY = 1024
ROWS = table("activations.csv")
FORMAT = {"bfloat16": "bf16", "float32": "fp32"}
IMPLEMENTATION = {
    ("eager", "meta", "0.0"): "unfused-meta",
    ("eager", "meta", "0.1"): "unfused-meta",
    ("eager", "cpu", "0.0"): "unfused-cpu",
    ("eager", "cpu", "0.1"): "unfused-cpu",
    ("meta_fa", "meta", "0.0"): "flash",
    ("sdpa", "cpu", "0.0"): "flash-cpu",
    ("sdpa", "cpu", "0.1"): "math-cpu",
    ("sdpa", "fake-cpu", "0.0"): "flash-cpu",
    ("sdpa", "fake-cpu", "0.1"): "math-cpu",
}
"""What ran: attention, where, dropout → the implementation with its table of saved tensors."""


def label(row: Row) -> str:
    keys = (
        "kind",
        "where",
        "batch",
        "seq",
        "hidden",
        "kv_heads",
        "attn",
        "dtype",
        "dropout",
        "activation",
        "checkpoint",
    )
    return "-".join(row[key] for key in keys)


def model(row: Row) -> Transformer:
    """The model of a row: its widths, three layers, a small vocabulary."""
    dropout, width = float(row["dropout"]), int(row["hidden"])
    if row["kind"] == "gpt2":
        assert int(row["intermediate"]) == 4 * width
        return load_model(
            {
                "model_type": "gpt2",
                "n_embd": width,
                "n_head": int(row["heads"]),
                "n_layer": 3,
                "n_positions": int(row["seq"]),
                "vocab_size": VOCABULARY,
                "activation_function": row["activation"],
                **dict.fromkeys(("attn_pdrop", "resid_pdrop", "embd_pdrop"), dropout),
            }
        )
    assert (row["kind"], dropout) == ("llama", 0.0)
    return load_model(
        {
            "model_type": "llama",
            "hidden_size": width,
            "num_attention_heads": int(row["heads"]),
            "num_key_value_heads": int(row["kv_heads"]),
            "intermediate_size": int(row["intermediate"]),
            "num_hidden_layers": 3,
            "max_position_embeddings": int(row["seq"]),
            "vocab_size": VOCABULARY,
            "hidden_act": row["activation"],
        }
    )


def saved(row: Row) -> dict[str, float]:
    """Our saved bytes by block."""
    found = saved_bytes(
        model(row),
        Train(micro_batch=int(row["batch"]), global_batch=int(row["batch"]), seq_len=int(row["seq"])),
        fusion=IMPLEMENTATION[row["attn"], row["where"], row["dropout"]],
        recompute="full" if row["checkpoint"] == "1" else "none",
        precision=Precision.of(FORMAT[row["dtype"]]),
    )
    return {name: float(value) for name, value in found.items()}


def test_no_row_is_left_out() -> None:
    assert Counter(row["kind"] for row in ROWS) == {"gpt2": 146, "llama": 47}
    assert len({label(row) for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_saved_by_a_layer(row: Row) -> None:
    assert saved(row)["block"] == int(row["saved_bytes_per_layer"])


def shared_by_layers(row: Row) -> int:
    """What the oracle's rest holds besides the two ends, since transformers makes it once for all layers.

    Llama's rotary tables, [T, H] each, unless its layers are checkpointed; the causal mask [B, T, T] that eager GPT-2
    hands to each layer, where they are.
    """
    batch, tokens = int(row["batch"]), int(row["seq"])
    size = {"bfloat16": 2, "float32": 4}[row["dtype"]]
    checkpoint = row["checkpoint"] == "1"
    if row["kind"] == "llama" and not checkpoint:
        return 2 * tokens * int(row["hidden"]) // int(row["heads"]) * size
    if row["kind"] == "gpt2" and row["attn"] == "eager" and checkpoint:
        return batch * tokens * tokens * size
    return 0


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_saved_by_the_two_ends(row: Row) -> None:
    """Embedding, final norm and head, without the loss, which the oracle leaves out."""
    loss = 4 * int(row["batch"]) * int(row["seq"]) * VOCABULARY  # log-probabilities in fp32
    found = saved(row)
    assert found["embedding"] + found["head"] - loss + shared_by_layers(row) == int(row["saved_bytes_rest"])
