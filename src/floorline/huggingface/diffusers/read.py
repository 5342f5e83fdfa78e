"""From a diffusers configuration to a model: dispatch by ``_class_name`` to one small file a class."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from floorline.errors import BadInput, near
from floorline.huggingface.config import LARGEST, Config
from floorline.huggingface.diffusers import CLASSES, MODEL_TYPES
from floorline.transformer import Transformer

U_NETS = "U-Nets are not covered; expected a diffusion transformer such as flux.1-dev or sd3.5-medium"


def read(config: Config) -> Transformer:
    """The denoiser that a ``transformer/config.json`` describes.

    raises BadInput for a class that is not known, with near ones, a U-Net, or absurdly many layers
    """
    kind = config.get("_class_name")
    for key in ("_diffusers_version", "_name_or_path", "torch_dtype", "dtype"):
        config.get(key)
    limited(config)
    other = config.values.get("model_type")
    if kind is None and isinstance(other, str) and other in MODEL_TYPES:
        for key in ("model_type", "architectures", "auto_map"):
            config.get(key)
        return cast(Transformer, import_module(f"floorline.huggingface.diffusers.{MODEL_TYPES[other]}").read(config))
    found = CLASSES.get(kind) if isinstance(kind, str) else None
    if found is None and "UNet" in str(kind):
        raise BadInput(f"{config.name}: _class_name {str(kind)[:40]!r}: {U_NETS}")
    if found is None:
        raise BadInput(
            f"{config.name}: _class_name {str(kind)[:40]!r} is not known; {near(str(kind), CLASSES)} "
            "(docs/architecture.md says how to add one: one file)"
        )
    return cast(Transformer, import_module(f"floorline.huggingface.diffusers.{found}").read(config))


def limited(config: Config) -> None:
    """Nothing, where no count of layers is absurdly large: some readers name every layer.

    raises BadInput where one is
    """
    for key, value in config.values.items():
        if "layers" in key or key == "depth":
            most = LARGEST["layers"]
            if isinstance(value, (int, float)) and value > most:
                shown = f"{value:g}" if value < 1e300 else "above 1e300"
                raise BadInput(
                    f"{config.name}: {key[:40]} is {shown}, beyond the limit of {most:g}; is it a typing error?"
                )
