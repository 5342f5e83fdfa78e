"""From a diffusers configuration to a model: dispatch by ``_class_name`` to one small file a class."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from floorline.errors import BadInput, near
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers import CLASSES, MODEL_TYPES
from floorline.transformer import Transformer


def read(config: Config) -> Transformer:
    """The denoiser that a ``transformer/config.json`` describes.

    raises BadInput for a class that is not known, with near ones
    """
    kind = config.get("_class_name")
    for key in ("_diffusers_version", "_name_or_path", "torch_dtype", "dtype"):
        config.get(key)
    other = config.values.get("model_type")
    if kind is None and isinstance(other, str) and other in MODEL_TYPES:
        for key in ("model_type", "architectures", "auto_map"):
            config.get(key)
        return cast(Transformer, import_module(f"floorline.huggingface.diffusers.{MODEL_TYPES[other]}").read(config))
    found = CLASSES.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise BadInput(
            f"{config.name}: _class_name {str(kind)[:40]!r} is not known; {near(str(kind), CLASSES)} "
            "(docs/architecture.md says how to add one: one file)"
        )
    return cast(Transformer, import_module(f"floorline.huggingface.diffusers.{found}").read(config))
