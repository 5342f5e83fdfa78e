"""One file a class of diffusers' transformers, by the ``_class_name`` of its ``config.json``."""

CLASSES: dict[str, str] = {
    "DiTTransformer2DModel": "dit",
    "FluxTransformer2DModel": "flux",
    "PixArtTransformer2DModel": "pixart",
    "SanaTransformer2DModel": "sana",
}
"""``_class_name`` → the module that reads it."""
