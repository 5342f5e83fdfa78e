"""Parameters equal those of Hugging Face transformers' own classes, built on PyTorch's meta device."""

import pytest

from floorline import load_model
from floorline.catalogue.load import models as models_shipped
from floorline.transformer import ParameterCount
from oracle import CONFIGS, FAMILIES, Row, models, rows

ROWS = rows("params.csv", CONFIGS)


def blocks(count: ParameterCount) -> float:
    """Parameters of the layers."""
    return sum(float(m.parameters) for m in count.modules if m.name.startswith("block."))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_parameters(row: Row) -> None:
    count = models()[row["name"]].parameter_count()
    assert count.total == int(row["unique_params"])
    assert count.embedding == int(row["token_embedding"]) + int(row["position_embedding"])
    assert count.head == int(row["lm_head_weight_untied"])
    assert count.active_per_token == int(row["active_params"])
    assert count.non_embedding == count.total - count.embedding
    assert blocks(count) == int(row["blocks"])
    assert blocks(count) == int(row["n_blocks"]) * int(row["block0_params"])
    assert count.total == sum(float(m.parameters) for m in count.modules)


@pytest.mark.parametrize("row", [row for row in ROWS if row["published"]], ids=lambda row: row["name"])
def test_published_parameters(row: Row) -> None:
    """What the models' own pages say, where a figure is known to the last digit."""
    assert models()[row["name"]].parameter_count().total == int(row["published"]) + int(row["published_diff"])


def test_catalogue_counts_the_same() -> None:
    """The shipped models of these families have the oracle's parameters."""
    totals = {row["name"]: int(row["unique_params"]) for row in ROWS}
    shipped = {m["name"]: load_model(m["name"]) for m in models_shipped() if m["config"]["model_type"] in FAMILIES}
    assert {name: model.parameter_count().total for name, model in shipped.items()} == totals
