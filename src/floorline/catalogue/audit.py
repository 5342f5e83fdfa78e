"""What can be recomputed of the catalogue of models, recomputed: parameters against what their publishers count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from floorline.catalogue.load import from_catalogue
from floorline.catalogue.spelling import aliases, names, plain
from floorline.errors import BadInput
from floorline.result import Result

Entry = Mapping[str, Any]

TOLERANCE = 0.0
"""Parameters by which a count may miss the published one, after the difference that the entry gives a reason for."""

KEYS = {"name", "aliases", "published_parameters", "source", "note", "config"}
OPTIONAL = {"published_difference", "pipeline"}


@dataclass(frozen=True)
class Finding(Result):
    """What an audit has to say of one model.

    model       its name
    published   parameters that its publisher counts, or None
    counted     parameters of its configuration, or None where that cannot be read
    difference  counted - published, or None
    reason      why the two differ, where the entry says so, or what is wrong
    wrong       whether this is outside the tolerance, or against the catalogue's rules
    """

    model: str
    published: float | None
    counted: float | None
    difference: float | None
    reason: str
    wrong: bool


def audit(entries: Iterable[Entry]) -> list[Finding]:
    """Every entry, recomputed; those of which there is nothing to say have no reason.

    >>> from floorline.catalogue.load import model_entry
    >>> audit([model_entry("deepseek-v3")])[0].difference
    -14848.0
    """
    return [finding for entry in entries for finding in (*rules(entry), count(entry))]


def count(entry: Entry) -> Finding:
    """The parameters of an entry's configuration against the published ones."""
    name, published = entry["name"], entry["published_parameters"]
    try:
        counted = float(from_catalogue(name).parameter_count().total)
    except BadInput as error:
        return Finding(name, published, None, None, f"not read: {error}", wrong=True)
    if published is None:
        return Finding(name, None, counted, None, "", wrong=False)
    difference = counted - published
    stated = entry.get("published_difference", {"parameters": 0, "reason": ""})
    wrong = not abs(difference - stated["parameters"]) <= TOLERANCE
    reason = stated["reason"] if not wrong else f"not the stated difference of {stated['parameters']:+}"
    return Finding(name, published, counted, difference, reason, wrong)


def rules(entry: Entry) -> list[Finding]:
    """What breaks the catalogue's rules: keys that nobody knows or that are missing, no source, a name taken twice."""
    keys = set(entry)
    found = [f"unknown key {key!r}" for key in sorted(keys - KEYS - OPTIONAL)]
    found += [f"the key {key!r} is missing" for key in sorted(KEYS - keys)]
    found += [] if entry.get("source") else ["no source"]
    taken = {plain(name): name for name in names()} | {plain(alias): name for alias, name in aliases().items()}
    for alias in entry.get("aliases", ()):
        owner = taken.get(plain(alias))
        if owner != entry["name"]:
            found.append(f"the alias {alias} is {f'of {owner} too' if owner else 'not in the index'}")
    return [Finding(entry["name"], None, None, None, text, wrong=True) for text in found]
