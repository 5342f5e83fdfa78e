"""``floorline models``: the catalogue of models."""

from __future__ import annotations

from typing import Any

from floorline.catalogue.load import from_catalogue, model_entry
from floorline.catalogue.spelling import aliases, hints, names, plain
from floorline.cli.command import Argument, Command, Flag, Given
from floorline.cli.model import JSON
from floorline.cli.output import note, print_json, scalar, table
from floorline.errors import BadInput, NotFound, OutsideTolerance, near
from floorline.report import envelope
from floorline.units import count, integer

AUDIT = Flag(
    "audit",
    ("--audit",),
    "recompute the catalogue: parameters against the published ones, names, sources; exit status 4 where something differs",
    switch=True,
)


def models_command(search: str | None, given: Given) -> None:
    """Models of the catalogue, all or those whose name or hub id contains a word; --audit recomputes them."""
    found = [model_entry(name) for name in matching(search)]
    if not found:
        raise NotFound(f"no model contains {str(search)[:60]!r}; {near(str(search), hints())}")
    if given["audit"]:
        show_audit(search, found, given)
        return
    totals = [parameters(e) for e in found]
    if given["json"]:
        keys = ("name", "aliases", "source", "note", "config")
        rows = [{**{k: e[k] for k in keys}, "parameters": total} for e, total in zip(found, totals, strict=True)]
        print_json(envelope("models", {"search": search}, {"models": rows}))
        return
    lines = [(e["name"], kind(e["config"]), *shown(total), e["source"]) for e, total in zip(found, totals, strict=True)]
    print(table(["name", "type", "parameters", "", "configuration read in"], lines, left=2))


def kind(config: dict[str, Any]) -> str:
    """What a configuration is one of: a type of transformers, or a class of diffusers.

    >>> kind({"model_type": "gpt2"}), kind({"_class_name": "FluxTransformer2DModel"})
    ('gpt2', 'FluxTransformer2DModel')
    """
    return str(config.get("model_type") or config["_class_name"])


def matching(search: str | None) -> list[str]:
    """Names of the models of which the name, or another one, contains a word, however it is spelt."""
    if not search:
        return list(names())
    word = plain(search)
    known = {name for alias, name in aliases().items() if word in plain(alias)}
    return [name for name in names() if name in known or word in plain(name)]


def parameters(entry: dict[str, Any]) -> float | None:
    """Parameters of a model: as published, by our convention, which an audit recomputes; counted where none are.

    None where the configuration cannot be read.
    """
    if entry["published_parameters"] is not None:
        return float(entry["published_parameters"] + entry.get("published_difference", {"parameters": 0})["parameters"])
    try:
        return scalar(from_catalogue(entry["name"]).parameter_count().total)
    except BadInput:
        return None


def shown(total: float | None) -> tuple[str, str]:
    """A number of parameters in full and short."""
    return whole(total), "" if total is None else count(total)


def show_audit(search: str | None, entries: list[dict[str, Any]], given: Given) -> None:
    """What an audit finds.

    raises OutsideTolerance where something is not as it should be
    """
    from floorline.catalogue.audit import TOLERANCE, audit

    findings = audit(entries)
    compared = [f for f in findings if f.difference is not None]
    wrong = [f for f in findings if f.wrong]
    summary = {
        "models": len(entries),
        "published": len(compared),
        "equal": sum(f.difference == 0 for f in compared),
        "explained": sum(f.difference != 0 and not f.wrong for f in compared),
        "wrong": len(wrong),
        "tolerance_parameters": TOLERANCE,
    }
    if given["json"]:
        print_json(envelope("models", {"search": search, "audit": True}, {"findings": findings, "summary": summary}))
    else:
        told = [f for f in findings if f.reason]
        rows = [(f.model, *(whole(n) for n in (f.published, f.counted, f.difference)), f.reason) for f in told]
        print(table(["model", "published", "counted", "difference", "why"], rows))
        note(
            f"{len(entries)} models, {len(compared)} with a published count: {summary['equal']} equal, "
            f"{summary['explained']} with a stated difference (tolerance {TOLERANCE:g} parameters)"
        )
    if wrong:
        raise OutsideTolerance(
            f"{len(wrong)} of {len(findings)} findings are wrong, the first for {wrong[0].model}: {wrong[0].reason}; "
            "correct the entry's configuration, or state the difference and its reason in it"
        )


def whole(value: float | None) -> str:
    """A number in full, or a dash."""
    return "–" if value is None else integer(value)


command = Command(models_command, (JSON, AUDIT), Argument("search", "a word in a name or hub id", "?"))
