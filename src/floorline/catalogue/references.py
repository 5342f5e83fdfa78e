"""The sources of the catalogue's figures: title, publisher, address, the day each was seen, and what it prints."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent / "references"
KEYS = {"title", "publisher", "address", "seen", "note"}


@cache
def references() -> dict[str, dict[str, str]]:
    """All of them by key.

    raises ValueError for a key that two files have

    >>> references()["nvidia-ampere-tuning-guide"]["publisher"]
    'NVIDIA'
    """
    found: dict[str, dict[str, str]] = {}
    for path in sorted(HERE.glob("*.toml")):
        for key, entry in tomllib.loads(path.read_text(encoding="utf-8")).items():
            if key in found:
                raise ValueError(f"{path.name}: the reference {key!r} is in another file too")
            found[key] = entry
    return found
