"""One file a class of diffusers' autoencoders, by the ``_class_name`` of its ``config.json``."""

CLASSES: dict[str, str] = {
    "AutoencoderKL": "kl",
}
"""``_class_name`` → the module that reads it."""
