"""The training frameworks of the catalogue: documented assumptions, each with its source."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from floorline.errors import BadInput, near
from floorline.specs.trainer import Trainer
from floorline.units import parse

FILE = Path(__file__).parent / "trainers.toml"

UNITS = {"launch_time": "s", "workspace": "B", "framework": "B"}


@cache
def trainers() -> dict[str, Trainer]:
    """All of them by name.

    >>> trainers()["megatron-lm-2021"].attention  # flash attention is of 2022
    'apart'
    """
    found = {}
    for name, entry in tomllib.loads(FILE.read_text(encoding="utf-8")).items():
        given: dict[str, Any] = {
            key: parse(value, UNITS[key], key) if key in UNITS else value
            for key, value in entry.items()
            if key != "sources"
        }
        found[name] = Trainer(name=name, sources=tuple(entry.get("sources", ())), **given)
    return found


def references_used() -> set[str]:
    """The sources of all frameworks."""
    return {source for trainer in trainers().values() for source in trainer.sources}


def load_trainer(what: Trainer | str | None) -> Trainer:
    """A framework by name; None for the usual one.

    raises BadInput for a name that is not in the catalogue
    """
    if isinstance(what, Trainer):
        return what
    name = (what or "any").lower()
    if name not in trainers():
        raise BadInput(
            f"engine is {name[:40]!r}; {near(name, trainers())}; for training there are: {', '.join(trainers())}"
        )
    return trainers()[name]
