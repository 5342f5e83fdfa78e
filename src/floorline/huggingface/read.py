"""From a configuration to a model: dispatch by ``model_type`` to one small file a family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module

from floorline.errors import BadInput, near
from floorline.huggingface.config import Config
from floorline.transformer import Transformer

FAMILIES = {"gpt2": "gpt2", "llama": "llama", "textbook": "textbook"}
FORMATS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float8_e4m3fn": "fp8"}


def read(values: Mapping[str, object], name: str = "model", source: str = "") -> Transformer:
    """The model that a ``config.json`` describes.

    values  Hugging Face fields, ``model_type`` among them
    name    what to call it
    raises  BadInput for a missing or unknown model_type (with near ones), a key that is missing, of the wrong type, or
            that looks like a size and is not understood

    >>> read({"model_type": "gpt2"}).parameter_count().total
    124439808.0
    """
    if not isinstance(values, Mapping):
        raise BadInput(
            f"{name}: a configuration is a JSON object with Hugging Face fields, not {type(values).__name__}"
        )
    kind = values.get("model_type")
    if kind is None:
        raise BadInput(f"{name}: the key 'model_type' is missing; expected one of {', '.join(sorted(FAMILIES))}")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise BadInput(
            f"{name}: model_type {str(kind)[:40]!r} is not known; {near(str(kind), FAMILIES)} "
            "(docs/architecture.md says how to add one: one file)"
        )
    config = Config(values, name)
    for key in ("model_type", "architectures", "torch_dtype", "dtype"):
        config.get(key)
    model: Transformer = import_module(f"floorline.huggingface.{FAMILIES[kind]}").read(config)
    config.finish()
    stored = str(values.get("torch_dtype") or values.get("dtype") or "bfloat16").removeprefix("torch.")
    return replace(model, source=source, format=FORMATS.get(stored, "bf16"), config=dict(values))
