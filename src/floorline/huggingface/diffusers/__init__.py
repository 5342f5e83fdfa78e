"""One file a class of diffusers' transformers, by the ``_class_name`` of its ``config.json``."""

CLASSES: dict[str, str] = {
    "AllegroTransformer3DModel": "allegro",
    "DiTTransformer2DModel": "dit",
    "FluxTransformer2DModel": "flux",
    "HunyuanVideoTransformer3DModel": "hunyuan_video",
    "LatteTransformer3DModel": "latte",
    "LTXVideoTransformer3DModel": "ltx_video",
    "PixArtTransformer2DModel": "pixart",
    "SD3Transformer2DModel": "sd3",
    "SanaTransformer2DModel": "sana",
    "WanTransformer3DModel": "wan",
}
"""``_class_name`` → the module that reads it."""
