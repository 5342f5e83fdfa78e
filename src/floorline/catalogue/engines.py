"""The engines of the catalogue: documented assumptions, each with its source."""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from floorline.catalogue.footprints import footprint_of
from floorline.errors import BadInput, near
from floorline.specs.engine import Engine
from floorline.units import parse

FILE = Path(__file__).parent / "engines.toml"


WORDS = tuple(
    f.name
    for f in fields(Engine)
    if f.name not in ("name", "until", "exchanges", "sources", "footprint", "launch_time", "step_time")
)
"""Keys of the file that are taken as they stand."""


@cache
def engines() -> dict[str, Engine]:
    """All of them by name.

    >>> engines()["eager"].launch_time * 1e6  # between 5 and 30 us of host work before a kernel
    18.0
    """
    found = {}
    for name, entry in tomllib.loads(FILE.read_text(encoding="utf-8")).items():
        given: dict[str, Any] = {
            key: parse(entry[key], "s", key) for key in ("launch_time", "step_time") if key in entry
        }
        given |= {key: entry[key] for key in WORDS if key in entry}
        given |= {"exchanges": tuple(entry["exchanges"])} if "exchanges" in entry else {}
        given |= {"until": tuple(int(part) for part in entry["until"].split("."))} if "until" in entry else {}
        found[name] = Engine(name=name, sources=tuple(entry.get("sources", ())), footprint=footprint_of(name), **given)
    return found


def references_used() -> set[str]:
    """The sources of all engines."""
    return {source for engine in engines().values() for source in engine.sources}


def load_engine(what: Engine | str | None) -> Engine:
    """An engine by name; None for the median of all kernels.

    raises BadInput for a name that is not in the catalogue
    """
    if isinstance(what, Engine):
        return what
    name = (what or "any").lower()
    if name not in engines():
        raise BadInput(f"engine is {name[:40]!r}; {near(name, engines())}; there are: {', '.join(engines())}")
    return engines()[name]


def of_version(name: str, version: tuple[int, ...]) -> Engine:
    """The engine of a name as it was at a version, its use of memory included: the oldest entry that still holds; without a version
    the newest.

    >>> of_version("trtllm", (0, 8, 0)).name, of_version("trtllm", (1, 0)).name, of_version("trtllm", ()).name
    ('trtllm-0.9', 'trtllm', 'trtllm')
    """
    older = {e.until: e for e in engines().values() if e.until and e.name.rpartition("-")[0] == name}
    still = [until for until in older if version and version[: len(until)] <= until]
    return replace(older[min(still)] if still else engines()[name], footprint=footprint_of(name, version))
