"""Parameters equal those of Hugging Face transformers' own classes, built on PyTorch's meta device."""

import json
import math
import re
from collections import Counter
from typing import Any

import pytest

from floorline import load_model
from floorline.catalogue.load import models as models_shipped
from floorline.transformer import Transformer
from oracle import CONFIGS, ORACLE, Row, configs, model, rows

ROWS = rows("params.csv", CONFIGS)
BLOCKS = json.loads((ORACLE / "params_blocks.json").read_text())["models"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_parameters(row: Row) -> None:
    count = model(row["name"]).parameter_count()
    assert count.total == int(row["unique_params"])
    assert count.embedding == sum(int(row[f"{kind}_embedding"]) for kind in ("token", "position", "type"))
    assert count.head == int(row["lm_head_weight_untied"])
    assert count.active_per_token == int(row["active_params"])
    assert count.layers == int(row["blocks"])
    assert count.frozen == int(row["frozen_params"] or 0)
    assert count.non_embedding == count.total - count.embedding
    assert count.total == sum(float(m.parameters) for m in count.modules)


def our_layers(made: Transformer) -> Counter[int]:
    """How many layers have how many parameters."""
    found: Counter[int] = Counter()
    sizes: dict[int, float] = {}
    stacks = {id(stack): stack for stack in made.stacks if stack.is_layer}
    for (stack, _, tensor), module in zip(made.weights(), made.parameter_count().modules, strict=True):
        if id(stack) in stacks:
            each = float(module.parameters) / (1.0 if tensor.is_shared else float(stack.stored))
            sizes[id(stack)] = sizes.get(id(stack), 0.0) + each
    for key, size in sizes.items():
        assert size == int(size)
        found[int(size)] += int(stacks[key].stored)
    return found


def library_layer(kind: dict[str, Any]) -> int:
    """Parameters of one of the library's layers; of low-rank additions that a shared block lists for several, its own."""
    additions: Counter[str] = Counter()
    for name, shape in kind["tensors"].items():
        listed = re.search(r"adapter_list\.(\d+)\.", name)
        if listed:
            additions[listed[1]] += math.prod(shape)
    others = sum(additions.values()) - max(additions.values(), default=0)
    return int(kind["params"]) - others


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_parameters_by_layer(row: Row) -> None:
    """Every layer by itself: as many of each size as the library's class has."""
    kinds = [kind for stack in BLOCKS[row["name"]]["stacks"] for kind in stack["kinds"]]
    expected: Counter[int] = Counter()
    for kind in kinds:
        expected[library_layer(kind)] += kind["count"]
    assert our_layers(model(row["name"])) == expected


@pytest.mark.parametrize("row", [row for row in ROWS if row["published"]], ids=lambda row: row["name"])
def test_published_parameters(row: Row) -> None:
    """What the models' own pages say, where a figure is known to the last digit."""
    count = model(row["name"]).parameter_count()
    assert count.total == int(row["published"]) + int(row["published_diff"])
    assert count.total + count.buffers == int(row["published"]) or row["published_diff"] == "0"


def test_catalogue_counts_the_same() -> None:
    """The shipped models have the oracle's parameters."""
    totals = {row["name"]: int(row["unique_params"]) for row in ROWS}
    shipped = {m["name"]: load_model(m["name"]) for m in models_shipped() if m["name"] in totals}
    assert set(shipped) == set(configs())
    assert {name: made.parameter_count().total for name, made in shipped.items()} == totals
