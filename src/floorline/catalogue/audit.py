"""What can be recomputed of the catalogue of models, recomputed: parameters against what their publishers count, and whether
every part of a diffusion pipeline is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from floorline.catalogue.load import from_catalogue
from floorline.catalogue.pipelines import autoencoder_entry, autoencoders, load_autoencoder
from floorline.catalogue.spelling import aliases, names, plain
from floorline.errors import BadInput
from floorline.huggingface.autoencoders import CLASSES
from floorline.result import Result

Entry = Mapping[str, Any]

TOLERANCE = 0.0
"""Parameters by which a count may miss the published one, after the difference that the entry gives a reason for."""

KEYS = {"name", "aliases", "published_parameters", "source", "note", "config"}
OPTIONAL = {"published_difference", "pipeline"}
PARTS = {"text_encoders", "autoencoder", "steps", "passes", "format", "source"}
PERHAPS = {"note", "latent"}
"""Keys of a pipeline."""


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
    found += around(entry) if "pipeline" in entry else []
    taken = {plain(name): name for name in names()} | {plain(alias): name for alias, name in aliases().items()}
    for alias in entry.get("aliases", ()):
        owner = taken.get(plain(alias))
        if owner != entry["name"]:
            found.append(f"the alias {alias} is {f'of {owner} too' if owner else 'not in the index'}")
    return [Finding(entry["name"], None, None, None, text, wrong=True) for text in found]


def around(entry: Entry) -> list[str]:
    """What is wrong with the pipeline of an entry.

    >>> from floorline.catalogue.load import model_entry
    >>> entry = model_entry("flux.1-dev")
    >>> around({**entry, "pipeline": {**entry["pipeline"], "autoencoder": "none", "steps": 0}})
    ["the autoencoder 'none' is not in the catalogue", 'the pipeline has steps = 0']
    """
    own, denoises = entry["pipeline"], from_catalogue(entry["name"]).latent is not None
    found = [] if denoises else ["a pipeline of what is no diffusion model"]
    found += [f"unknown key {key!r} of the pipeline" for key in sorted(set(own) - PARTS - PERHAPS)]
    missing = [f"the key {key!r} of the pipeline is missing" for key in sorted(PARTS - set(own))]
    if missing:
        return found + missing
    found += [] if own["source"] else ["no source of the pipeline"]
    found += [wrong for text in own["text_encoders"] for wrong in reads(text)]
    found += [] if own["autoencoder"] is None else decodes(own["autoencoder"])
    found += [] if own["autoencoder"] or own.get("note") else ["no autoencoder, and no note why"]
    return found + [f"the pipeline has {key} = {own[key]}" for key in ("steps", "passes") if not own[key] >= 1]


def reads(text: Entry) -> list[str]:
    """What is wrong with an encoder of the text: it is not there, has a head, or reads fewer tokens than it is given."""
    name = text["model"]
    if name not in names():
        return [f"the text encoder {name!r} is not in the catalogue"]
    model = from_catalogue(name)
    classes = model.config.get("architectures") or ["LMHead"]
    headed = any("For" in each or "LMHead" in each for each in classes) if isinstance(classes, list) else True
    found = [f"the text encoder {name} has a head"] if headed else []
    short = model.learned_positions and text.get("tokens", 0.0) > (model.max_positions or 0.0)
    return found + ([f"the text encoder {name} reads no {text['tokens']} tokens"] if short else [])


def decodes(name: str) -> list[str]:
    """What is wrong with an autoencoder; one of a class without a reader is not read."""
    if name not in autoencoders():
        return [f"the autoencoder {name!r} is not in the catalogue"]
    entry = autoencoder_entry(name)
    found = (
        [] if entry["name"] == name and entry["source"] else [f"the autoencoder {name} has no source, or another name"]
    )
    if entry["config"]["_class_name"] not in CLASSES:
        return found
    try:
        load_autoencoder(name)
    except BadInput as error:
        found.append(f"the autoencoder {name} is not read: {error}")
    return found
