"""One file a class of diffusers' autoencoders, by the ``_class_name`` of its ``config.json``."""

CLASSES: dict[str, str] = {
    "AutoencoderDC": "dc",
    "AutoencoderKL": "kl",
    "AutoencoderKLCogVideoX": "cogvideox",
    "AutoencoderKLHunyuanVideo": "hunyuan_video",
    "AutoencoderKLWan": "wan",
}
"""``_class_name`` → the module that reads it."""
