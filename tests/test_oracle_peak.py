"""Peak memory of a training step equals what PyTorch's MemTracker finds, by category."""

import json
from dataclasses import replace

import pytest

from floorline import Recipe, Train, estimate
from floorline.catalogue.trainers import load_trainer
from floorline.training.memory import TrainingMemory
from oracle import ORACLE, Row, table

ROWS = table("peak.csv")
NO_DROPOUT = dict.fromkeys(("attn_pdrop", "resid_pdrop", "embd_pdrop"), 0.0)
ATTENTION = {"eager": "apart", "sdpa": "flash-2"}
SMALL = 0.003
"""Share of the whole that causal masks, indices and scalars make up, which are no operator's."""


def label(row: Row) -> str:
    return "-".join(row[key] for key in ("name", "batch", "attn", "checkpoint"))


def memory(row: Row) -> TrainingMemory:
    """Ours of a row: weights, gradients and moments in 16 bits, an update by several kernels."""
    config = json.loads((ORACLE / "configs" / f"{row['name']}.json").read_text())
    batch = float(row["batch"])
    found = estimate(
        {**config, **(NO_DROPOUT if "gpt2" in row["name"] else {})},
        Train(micro_batch=batch, global_batch=batch, seq_len=float(row["seq"])),
        "a100-sxm-80gb",
        precision="bf16",
        recipe=Recipe(recompute="full" if row["checkpoint"] == "1" else "none", master_weights="no"),
        engine=replace(load_trainer("transformers"), attention=ATTENTION[row["attn"]]),
    )
    assert float(row["params"]) == float(found.trained_parameters)
    return found.memory["first"]


def test_no_row_is_left_out() -> None:
    assert len(ROWS) == len({label(row) for row in ROWS}) == 16


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_peak_by_category(row: Row) -> None:
    """Roots of second moments, which MemTracker counts among optimizer states, are working memory here."""
    found, whole = memory(row), float(row["total"])
    passing = max(float(row["optstate"]) - float(found.optimizer), 0.0)
    pairs = {
        "weights": (found.weights, float(row["parameter"]) + float(row["buffer"])),
        "gradients": (found.gradients, float(row["gradient"])),
        "optimizer": (found.optimizer, float(row["optstate"]) - passing),
        "activations": (found.activations, float(row["activation"])),
        "working": (found.working, float(row["temp"]) + passing),
        "all": (found.allocated - found.workspace, whole),
    }
    for name, (ours, theirs) in pairs.items():
        assert float(ours) == pytest.approx(theirs, abs=SMALL * whole), name
