"""``floorline models``: the catalogue of models."""

from __future__ import annotations

from floorline.catalogue.load import from_catalogue, models
from floorline.cli.command import Argument, Command, Given
from floorline.cli.model import JSON
from floorline.cli.output import print_json, scalar, table
from floorline.errors import NotFound, near
from floorline.report import envelope
from floorline.units import count, integer


def models_command(search: str | None, given: Given) -> None:
    """Models of the catalogue, all or those whose name or hub id contains a word."""
    entries = list(models())
    found = [e for e in entries if not search or any(search.lower() in n for n in (e["name"], *e["aliases"]))]
    if not found:
        raise NotFound(f"no model contains {str(search)[:60]!r}; {near(str(search), [e['name'] for e in entries])}")
    totals = {e["name"]: scalar(from_catalogue(e["name"]).parameter_count().total) for e in found}
    if given["json"]:
        rows = [
            {**{k: e[k] for k in ("name", "aliases", "source", "note", "config")}, "parameters": totals[e["name"]]}
            for e in found
        ]
        print_json(envelope("models", {"search": search}, {"models": rows}))
        return
    lines = [
        (e["name"], e["config"]["model_type"], integer(totals[e["name"]]), count(totals[e["name"]]), e["source"])
        for e in found
    ]
    print(table(["name", "type", "parameters", "", "configuration read in"], lines, left=2))


command = Command(models_command, (JSON,), Argument("search", "a word in a name or hub id", "?"))
