"""What every command takes: a model, other sizes of it, and whether to print JSON."""

from __future__ import annotations

from floorline.cli.command import Argument, Flag, Given
from floorline.errors import BadInput
from floorline.ranges import scalar
from floorline.transformer import Transformer

JSON = Flag("json", ("--json",), "print JSON with a schema version instead of tables", switch=True)
SET = Flag(
    "set",
    ("--set",),
    "other sizes of the model: KEY=VALUE[,KEY=VALUE] of its configuration, such as num_hidden_layers=4",
)


CONVENTION = Flag(
    "convention",
    ("--convention",),
    "arithmetic: what the model needs; transformers: what that library's classes do where they do otherwise",
    "arithmetic",
)


MODEL = Argument("model", "a catalogue name, a hub id, a config.json, or a folder that holds one")


def load(name: str, given: Given) -> Transformer:
    """The model, with other sizes where ``--set`` gives some."""
    from floorline.catalogue.load import load_model
    from floorline.huggingface.read import read

    convention = given.get("convention") or "arithmetic"
    model = load_model(name, convention)
    new = assignments(given.get("set") or "")
    if not new:
        return model
    library = convention == "transformers"
    return read({**model.config, **{k: typed(v) for k, v in new.items()}}, model.name, model.source, library=library)


def typed(text: str) -> object:
    """A configuration value: true, false, null, a number or a word."""
    if text in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[text]
    try:
        number = scalar(text)
    except BadInput:
        return text
    return int(number) if number == int(number) else number


def assignments(text: str) -> dict[str, str]:
    """KEY=VALUE pairs between commas.

    >>> assignments("n_layer=4,bias=false")
    {'n_layer': '4', 'bias': 'false'}
    """
    found = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key or not value:
            raise BadInput(f"{part[:40]!r} is no KEY=VALUE; expected such as num_hidden_layers=4")
        found[key.strip()] = value.strip()
    return found
