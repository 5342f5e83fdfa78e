"""Bytes of the key/value cache equal those of transformers' own cache after a forward pass."""

import pytest

from floorline import load_cluster
from floorline.capacity import fit
from floorline.specs.precision import Precision
from oracle import Row, model, rows

CLUSTER = load_cluster("h100-sxm")
SOURCE = {"t5-base": 512, "flan-t5-xxl": 512, "bart-large": 512, "whisper-large-v3": 1500}
"""Tokens of the encoder, whose keys and values the decoder caches."""


@pytest.mark.parametrize("row", rows("kv.csv", 297), ids=lambda row: f"{row['name']}-{row['batch']}-{row['seq']}")
def test_kv_bytes(row: Row) -> None:
    """Of one sequence, of a batch and by token."""
    batch, length, total = int(row["batch"]), int(row["seq"]), int(row["total_bytes"])
    made, formats = model(row["name"], "transformers"), Precision.of(row["dtype"])
    source = SOURCE.get(row["name"], 0)
    alone = fit(made, CLUSTER, batch=batch, length=length, precision=formats, suggest=False, source_len=source)
    assert alone.kv_bytes == alone.memory.kv_cache == total
    assert alone.kv_per_token == float(row["bytes_per_token_average"])
    many = fit(made, CLUSTER, batch=7 * batch, length=length, precision=formats, suggest=False, source_len=source)
    assert many.kv_bytes == 7 * total
