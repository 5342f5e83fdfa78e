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
    "other sizes of the model: KEY=VALUE[,KEY=VALUE] of its configuration, such as num_hidden_layers=4; attention=mha, gqa8, mqa "
    "or mla changes its kind of attention",
)


CONVENTION = Flag(
    "convention",
    ("--convention",),
    "arithmetic: what the model needs; transformers: what that library's classes do where they do otherwise",
    "arithmetic",
)


MTP = Flag("mtp", ("--mtp",), "with the multi-token-prediction heads that the configuration announces", switch=True)
QUANTIZATION = Flag(
    "quantization",
    ("--quantization", "-q"),
    "how the weights are quantised: gptq, awq, fp8, mxfp4, nvfp4, bitsandbytes, int8, a GGUF mix such as q4_k_m, or none",
    "as the configuration says",
)
READ = (SET, CONVENTION, MTP, QUANTIZATION)
"""How a model is read, whatever is asked of it."""
MODEL = Argument("model", "a catalogue name, a hub id, a config.json, or a folder that holds one")


def load(name: object, given: Given) -> Transformer:
    """The model of a name or of a configuration, with other sizes where ``--set`` gives some."""
    from floorline.catalogue.load import load_model
    from floorline.huggingface.attention_variants import with_attention
    from floorline.huggingface.read import read
    from floorline.prediction_heads import with_prediction_heads
    from floorline.quantized import quantized

    convention = given.get("convention") or "arithmetic"
    model = load_model(name, convention)
    new = assignments(given.get("set") or "")
    if new:
        library = convention == "transformers"
        values = dict(model.config)
        for key, text in new.items():
            values = with_attention(values, text, model.name) if key == "attention" else put(values, key, typed(text))
        model = read(values, model.name, model.source, library=library)
    model = with_prediction_heads(model) if given.get("mtp") else model
    method = given.get("quantization")
    return model if method is None else quantized(model, method)


def put(values: dict[str, object], key: str, value: object) -> dict[str, object]:
    """A configuration with one key changed; a dot leads into a part of it.

    >>> put({"text_config": {"a": 1}}, "text_config.a", 2)
    {'text_config': {'a': 2}}
    """
    first, dot, rest = key.partition(".")
    if not dot:
        return {**values, key: value}
    inner = values.get(first)
    if not isinstance(inner, dict):
        raise BadInput(f"--set {key[:40]}: the configuration has no part {first[:40]!r}; expected one that it has")
    return {**values, first: put(inner, rest, value)}


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
