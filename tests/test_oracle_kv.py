"""Bytes of the key/value cache equal those of transformers' own cache after a forward pass."""

import pytest

from floorline import load_cluster
from floorline.capacity import fit
from floorline.specs.precision import Precision
from oracle import Row, models, rows

CLUSTER = load_cluster("h100-sxm")


@pytest.mark.parametrize("row", rows("kv.csv", 53), ids=lambda row: f"{row['name']}-{row['batch']}-{row['seq']}")
def test_kv_bytes(row: Row) -> None:
    """Of one sequence, of a batch and by token."""
    batch, length, total = int(row["batch"]), int(row["seq"]), int(row["total_bytes"])
    model, formats = models()[row["name"]], Precision.of(row["dtype"])
    alone = fit(model, CLUSTER, batch=batch, length=length, precision=formats, suggest=False)
    assert alone.kv_bytes == alone.memory.kv_cache == total
    assert alone.kv_per_token == float(row["bytes_per_token_average"])
    many = fit(model, CLUSTER, batch=7 * batch, length=length, precision=formats, suggest=False)
    assert many.kv_bytes == 7 * total
