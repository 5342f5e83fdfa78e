"""From a configuration to a model: dispatch by ``model_type`` to one small file a family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path

from floorline.errors import BadInput, near
from floorline.huggingface import quantization
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers import MODEL_TYPES
from floorline.huggingface.diffusers import read as diffusers
from floorline.huggingface.families import SHARED
from floorline.transformer import Transformer

Reader = Callable[[Config], Transformer]
FORMATS = {
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
    "half": "fp16",
    "fp16": "fp16",
    "bf16": "bf16",
    "fp32": "fp32",
    "float": "fp32",
    "auto": "bf16",
}
REGISTERED: dict[str, Reader] = {}


def register(model_type: str, reader: Reader) -> None:
    """Make a ``model_type`` known that has no file in ``families/``: a reader takes a Config and returns a Transformer.

    raises BadInput for a type that is built in
    """
    if model_type in families():
        raise BadInput(f"model_type {model_type!r} is built in; register your own under another name")
    REGISTERED[model_type] = reader


@cache
def families() -> tuple[str, ...]:
    """Model types with a file of their own."""
    found = (Path(__file__).parent / "families").glob("*.py")
    return tuple(sorted({*SHARED, *(p.stem for p in found if not p.stem.startswith("_"))}))


def reader(model_type: str) -> Reader | None:
    """What reads configurations of a type, or None where it is not known."""
    if model_type in REGISTERED:
        return REGISTERED[model_type]
    name = model_type.replace("-", "_")
    if name not in families() and model_type not in families():
        return None
    found: Reader = import_module(f"floorline.huggingface.families.{SHARED.get(model_type, name)}").read
    return found


def read(values: Mapping[str, object], name: str = "model", source: str = "", *, library: bool = False) -> Transformer:
    """The model that a ``config.json`` describes.

    values  Hugging Face fields, ``model_type`` among them
    name    what to call it
    library  whether to count as the transformers library computes, where that is not what the arithmetic needs
    raises  BadInput for a missing or unknown model_type (with near ones), a key that is missing, of the wrong type, or
            that looks like a size and is not understood

    >>> read({"model_type": "gpt2"}).parameter_count().total
    124439808.0
    """
    if not isinstance(values, Mapping):
        what = type(values).__name__
        raise BadInput(
            f"{name}: a configuration is a JSON object with Hugging Face fields, not a {what}; is it a config.json?"
        )
    kind = values.get("model_type")
    known = [*families(), *REGISTERED]
    if (kind is None and "_class_name" in values) or (isinstance(kind, str) and kind in MODEL_TYPES):
        return denoiser(values, name, source, library)
    if kind is None:
        raise BadInput(
            f"{name}: the key 'model_type' is missing; expected one of {len(known)} types, such as llama, qwen3_moe or bert"
        )
    found = reader(kind) if isinstance(kind, str) else None
    if found is None:
        text = values.get("text_config")
        inside = text.get("model_type") if isinstance(text, Mapping) else None
        if isinstance(inside, str) and reader(inside):
            raise BadInput(
                f"{name}: model_type {str(kind)[:40]!r} is not known, but its text part is a {inside!r}: give its text_config "
                "as a configuration of its own to have the language model alone"
            )
        raise BadInput(
            f"{name}: model_type {str(kind)[:40]!r} is not known; {near(str(kind), known)} "
            "(docs/architecture.md says how to add one: one file)"
        )
    config = Config(values, name, library)
    for key in ("model_type", "architectures", "torch_dtype", "dtype"):
        config.get(key)
    model, quantized = found(config), quantization.read(config)
    config.finish()
    stored = str(values.get("torch_dtype") or values.get("dtype") or "bfloat16").removeprefix("torch.")
    if stored not in FORMATS:
        raise BadInput(f"{name}: torch_dtype is {stored[:40]!r}; expected one of {', '.join(FORMATS)}")
    if quantized and FORMATS[stored] == "fp8":
        stored = "bfloat16"  # of what stays unquantised
    return replace(
        model,
        source=source,
        format=FORMATS[stored],
        config=dict(values),
        library=library,
        quantization=quantized or model.quantization,
    )


def denoiser(values: Mapping[str, object], name: str, source: str, library: bool) -> Transformer:
    """The diffusion transformer that a configuration of diffusers describes, which has a ``_class_name``.

    raises BadInput for a class that is not known, or a key that is not understood
    """
    config = Config(values, name, library)
    model = diffusers.read(config)
    config.finish()
    return replace(model, source=source, config=dict(values), library=library)
