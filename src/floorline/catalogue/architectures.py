"""Families of devices: what a multiprocessor holds."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from floorline.specs.architecture import Architecture, Multiprocessor

FILE = Path(__file__).parent / "architectures.toml"


@cache
def architectures() -> dict[str, Architecture]:
    """All of them by name.

    >>> architectures()["hopper"].occupancy.shared_memory / 1024  # CUDA: 228 KB of shared memory a multiprocessor
    228.0
    """
    found = {}
    for name, entry in tomllib.loads(FILE.read_text(encoding="utf-8")).items():
        held = entry.get("occupancy")
        occupancy = Multiprocessor(**{key: float(value) for key, value in held.items()}) if held else None
        rates = {key: float(value) for key, value in entry["per_clock"].items()}
        found[name] = Architecture(name, entry["title"], occupancy, rates, tuple(entry.get("sources", ())))
    return found
