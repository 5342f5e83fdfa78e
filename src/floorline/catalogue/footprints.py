"""How the engines of the catalogue use memory: documented figures and habits, each with its source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from floorline.specs.footprint import Buffers, Footprint
from floorline.units import parse

FILE = Path(__file__).parent / "footprints.toml"


@cache
def entries() -> dict[str, dict[str, Any]]:
    """The file as it stands."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


@cache
def footprints() -> dict[str, Footprint]:
    """All of them by name.

    >>> footprints()["transformers-4.44"].logits
    'all'
    """
    return {name: made(entry) for name, entry in entries().items()}


def made(entry: Mapping[str, Any]) -> Footprint:
    """One of them: figures of bytes have a unit in the file and are rounded to whole bytes, all others stand as they are."""
    given: dict[str, Any] = {f.name: entry[f.name] for f in fields(Footprint) if f.name in entry}
    sized = [f.name for f in fields(Footprint) if f.metadata.get("unit") == "B" and isinstance(given.get(f.name), str)]
    given |= {name: float(round(parse(given[name], "B", name))) for name in sized}
    given |= {"buffers": Buffers(**entry["buffers"])} if "buffers" in entry else {}
    return Footprint(**given)


def footprint_of(name: str, version: tuple[int, ...] = ()) -> Footprint:
    """How an engine uses memory, as it was at a version; nothing more than weights, cache and tensors where nobody knows.

    >>> footprint_of("transformers", (4, 38, 2)).logits, footprint_of("transformers", (4, 46)).logits
    ('all', 'last')
    >>> footprint_of("trtllm-0.9").kv_block == footprint_of("trtllm").kv_block
    True
    >>> footprint_of("transformers-4.46") == footprint_of("transformers", (4, 46))
    True
    """
    known = footprints()
    older = {tuple(int(n) for n in key[len(name) + 1 :].split(".")): key for key in known if key.startswith(f"{name}-")}
    still = [until for until in older if version and version[: len(until)] <= until]
    if still:
        return known[older[min(still)]]
    base, _, until = name.rpartition("-")
    if name in known or not base:
        return known.get(name, Footprint())
    parts = until.split(".")
    return footprint_of(base, tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ())


def references_used() -> set[str]:
    """The sources of all of them."""
    return {source for entry in entries().values() for source in entry["sources"]}
