"""The oracle: exact counts by other people's software, for every model of Hugging Face transformers in it."""

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from floorline import load_model
from floorline.transformer import Transformer

ORACLE = Path(__file__).parents[1] / "validation/oracle"
CONFIGS = 221
"""Configurations of transformers' classes; those of diffusers are another library's."""

Row = Mapping[str, str]


def table(name: str) -> list[Row]:
    """All rows of a file; lines that begin with # are its header."""
    with (ORACLE / name).open(newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


@cache
def configs() -> dict[str, Path]:
    """Name → configuration, for every class of transformers."""
    names = [row["name"] for row in table("params.csv") if row["library"] == "transformers"]
    assert len(names) == CONFIGS
    return {name: ORACLE / "configs" / f"{name}.json" for name in names}


@cache
def model(name: str, convention: str = "arithmetic") -> Transformer:
    """A model of the oracle."""
    return load_model(configs()[name], convention)


def rows(name: str, count: int) -> list[Row]:
    """The rows of a file about these models; ``count`` is how many there must be, so that none is dropped silently."""
    found = [row for row in table(name) if row["name"] in configs()]
    assert len(found) == count
    return found
