"""From a diffusers configuration to an autoencoder: dispatch by ``_class_name`` to one small file a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import cast

from floorline.autoencoder import Autoencoder
from floorline.errors import BadInput, near
from floorline.huggingface.autoencoders import CLASSES
from floorline.huggingface.config import Config

HARMLESS = (
    "_diffusers_version",
    "_name_or_path",
    "torch_dtype",
    "dtype",
    "scaling_factor",
    "shift_factor",
    "latents_mean",
    "latents_std",
    "force_upcast",
)
"""Keys that change neither parameters nor arithmetic."""


def read(values: Mapping[str, object], name: str = "the autoencoder", source: str = "") -> Autoencoder:
    """The autoencoder that a ``vae/config.json`` describes.

    values  the mapping
    name    what errors call it
    source  where it was read

    raises BadInput for a class that is not known, with near ones, or a key that makes no sense

    >>> sd = {"_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2}
    >>> four = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    >>> read({**sd, **four}).parameters
    83653863.0
    """
    config = Config(values, name)
    kind = config.get("_class_name")
    for key in HARMLESS:
        config.get(key)
    found = CLASSES.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise BadInput(
            f"{name}: _class_name {str(kind)[:40]!r} is no autoencoder that is known; {near(str(kind), CLASSES)}"
        )
    made = cast(Autoencoder, import_module(f"floorline.huggingface.autoencoders.{found}").read(config))
    config.finish()
    return replace(made, config=values, source=source)
