"""Other names of the catalogue's models: one small file, so that an alias is found without reading every entry.

``python -m floorline.catalogue.spelling`` writes it anew from the entries; a test compares the two.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path

from floorline.errors import BadInput

MODELS = Path(__file__).parent / "models"
INDEX = MODELS / "index.json"
SEPARATORS = str.maketrans("", "", "-_ \t")


def plain(text: str) -> str:
    """A name as it is compared: case, spaces, underscores and hyphens do not count.

    >>> plain("Llama 3.1_8B"), plain("meta-llama/Llama-3.1-8B")
    ('llama3.18b', 'metallama/llama3.18b')
    """
    return text.lower().translate(SEPARATORS)


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Names of all models in the catalogue: those of its files."""
    return tuple(sorted(f.removesuffix(".json") for f in os.listdir(MODELS) if f.endswith(".json") and f != INDEX.name))


@lru_cache(maxsize=1)
def aliases() -> dict[str, str]:
    """Other names (hub ids, common spellings) → names, from the one file."""
    found: dict[str, str] = json.loads(INDEX.read_text())
    return found


@lru_cache(maxsize=1)
def spellings() -> dict[str, str]:
    """Names, aliases and hub ids without their organisation, all as they are compared → names.

    A hub id's last part that two models share belongs to neither.
    """
    short: dict[str, set[str]] = {}
    for alias, name in aliases().items():
        short.setdefault(plain(alias.rpartition("/")[2]), set()).add(name)
    found = {key: min(owners) for key, owners in short.items() if len(owners) == 1}
    return found | {plain(alias): name for alias, name in aliases().items()} | {plain(name): name for name in names()}


def find(text: str) -> str | None:
    """The name of the model that a text means, or None.

    >>> find("Llama 3.1 8B"), find("Meta-Llama-3.1-8B-Instruct"), find("nobody/knows")
    ('llama-3.1-8b', 'llama-3.1-8b', None)
    """
    name = text.lower()
    return name if name in names() else spellings().get(plain(text))


def hints() -> list[str]:
    """What an error may propose: names and hub ids."""
    return [*names(), *(alias for alias in aliases() if "/" in alias)]


def build() -> dict[str, str]:
    """The index anew: every alias of every entry.

    raises BadInput where two models would share a name, however it is spelt
    """
    found: dict[str, str] = {}
    owners = {plain(name): name for name in names()}
    for name in names():
        for alias in json.loads((MODELS / f"{name}.json").read_text())["aliases"]:
            owner = owners.setdefault(plain(alias), name)
            if owner != name:
                raise BadInput(f"{alias}: an alias of {name} and of {owner}; expected one of the two")
            found[alias] = name
    return dict(sorted(found.items()))


def text() -> str:
    """The file that the index should be."""
    return json.dumps(build(), indent=0, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    INDEX.write_text(text())
