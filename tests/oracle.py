"""The oracle: exact counts by other people's software, for the model families that Floorline reads."""

import csv
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from floorline import load_model
from floorline.transformer import Transformer

ORACLE = Path(__file__).parents[1] / "validation/oracle"
FAMILIES = ("gpt2", "llama")
CONFIGS = 29

Row = Mapping[str, str]


def table(name: str) -> list[Row]:
    """All rows of a file; lines that begin with # are its header."""
    with (ORACLE / name).open(newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


@cache
def models() -> dict[str, Transformer]:
    """Name → model, for every configuration of the families."""
    paths = sorted((ORACLE / "configs").glob("*.json"))
    contents = {path: json.loads(path.read_text()) for path in paths if path.name != "index.json"}
    chosen = [path for path, config in contents.items() if config.get("model_type") in FAMILIES]
    assert len(chosen) == CONFIGS
    return {path.stem: load_model(path) for path in chosen}


def rows(name: str, count: int) -> list[Row]:
    """The rows of a file about these models; ``count`` is how many there must be, so that none is dropped silently."""
    found = [row for row in table(name) if row["name"] in models()]
    assert len(found) == count
    return found
