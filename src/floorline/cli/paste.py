"""Plans of other frameworks on the command line: read with ``--from``, written with ``--as``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from floorline.cli.command import Flag, Given
from floorline.cli.flags import plain_number
from floorline.cli.model import load
from floorline.cli.output import note, print_json
from floorline.errors import BadInput, NotFound
from floorline.plan_files import WRITERS, read_plan, write_plan
from floorline.plan_files.plan_file import PlanFile, plain, texts
from floorline.report import envelope
from floorline.training.estimate import TrainingEstimate
from floorline.transformer import Transformer

FROM = Flag(
    "from_file",
    ("--from",),
    "a plan in a framework's own file: Megatron's arguments (a script, or YAML), torchtitan's TOML, DeepSpeed's JSON; - for "
    "standard input. Other flags win over it; Megatron's arguments may make the model too",
)
AS = Flag("as_form", ("--as",), f"print the plan as a file of a framework instead: {', '.join(WRITERS)}")
HELD = {"dp": "devices", "devices": "dp"}
"""What the command line says instead of what a file says: both at once contradict each other."""
MODEL_HINT = "MODEL is missing; expected a catalogue name, a hub id or a config.json"


def pasted(model: str | None, given: Given) -> tuple[str | Transformer, dict[str, Any]]:
    """The model and the flags, with those of a file where the command line has none.

    raises BadInput where there is no model
    """
    named = None if model in (None, "", "-") else model
    path = given.get("from_file")
    if path is None:
        if named is None:
            raise BadInput(f"{MODEL_HINT}, or --from with a file of Megatron arguments that make one")
        return named, dict(given)
    text = content(path)
    made = None if named is None else load(named, given)
    said = {name: number(value) for name, value in given.items() if value not in (None, False)}
    plan = read_plan(text, said, layers_of(made))
    if made is None:
        made = described(plan, given)
        plan = read_plan(text, said, layers_of(made))
    tell(plan, made_here=named is None)
    return made, merged(given, plan)


def number(value: object) -> str:
    """A flag's text with a number written out: a file's reader computes with it.

    >>> number("1e3"), number("block")
    ('1000', 'block')
    """
    found = plain_number(str(value))
    return str(value) if found is None or found in (float("inf"), float("-inf")) or found != found else plain(found)


def layers_of(model: Transformer | None) -> float | None:
    """How many layers a model has."""
    found = None if model is None else model.layers()
    return found if isinstance(found, float) else None


def described(plan: PlanFile, given: Given) -> Transformer:
    """The model that a file describes or names.

    raises BadInput where it does neither, or by a name that nobody knows
    """
    if plan.model is None:
        raise BadInput(f"{MODEL_HINT}: the {plan.form} file does not describe one")
    if isinstance(plan.model, Mapping):
        return load({**plan.model, "name": "model of the file"}, given)
    try:
        return load(plan.model, given)
    except NotFound:
        raise BadInput(f"{MODEL_HINT}: the file's {plan.model[:40]!r} is not known") from None


def content(path: str) -> str:
    """The text of a file, or of standard input.

    raises NotFound for a file that is not there, BadInput for one that holds no text
    """
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(
            f"--from {path[:80]!r}: there is no such file; expected the path of one, or - for standard input"
        ) from None
    except (IsADirectoryError, PermissionError) as error:
        raise BadInput(f"--from {path[:80]!r}: {error.strerror}; expected a file that can be read") from None
    except ValueError:
        raise BadInput(f"--from {path[:80]!r} holds no text in UTF-8; expected a script, TOML or JSON") from None


def merged(given: Given, plan: PlanFile) -> dict[str, Any]:
    """Flags of the command line, with the file's where there is none.

    >>> merged({"tp": "4", "pp": None}, PlanFile(form="megatron", flags={"tp": "8", "pp": "2"}))
    {'tp': '4', 'pp': '2'}
    """
    found = dict(given)
    for name, text in plan.flags.items():
        if found.get(name) in (None, False) and found.get(HELD.get(name, "")) is None:
            found[name] = text
    return found


def tell(plan: PlanFile, made_here: bool) -> None:
    """Say what a file holds that is not used, and what matters and could not be said."""
    note(f"read as {plan.form}: " + ", ".join(f"{name} {text}" for name, text in plan.flags.items()))
    for remark in (*plan.unmapped, *(plan.assumed if made_here else ())):
        note(f"  {remark}")
    if plan.ignored:
        note("read and not used: " + ", ".join(plan.ignored))


def show_as(form: str, model: str | Transformer, given: Given, e: TrainingEstimate) -> None:
    """The plan of an estimate as a file of a framework."""
    flags = texts(e.parallelism, e.workload, e.recipe, e.precision)
    written = write_plan(form, flags, layers_of(e.model))
    if given["json"]:
        name = model if isinstance(model, str) else model.name
        print_json(
            envelope("train", {**given, "model": name}, {"as": form, "text": written.text, "unsaid": written.unsaid})
        )
        return
    print(written.text)
    if written.unsaid:
        note(f"{form} has no word for, say beside --from: {' '.join(written.remarks)}")
