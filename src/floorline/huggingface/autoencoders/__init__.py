"""One file a class of diffusers' autoencoders, by the ``_class_name`` of its ``config.json``."""

CLASSES: dict[str, str] = {
    "AutoencoderDC": "dc",
    "AutoencoderKL": "kl",
    "AutoencoderKLAllegro": "allegro",
    "AutoencoderKLCogVideoX": "cogvideox",
    "AutoencoderKLCosmos": "cosmos",
    "AutoencoderKLFlux2": "flux2",
    "AutoencoderKLHunyuanVideo": "hunyuan_video",
    "AutoencoderKLHunyuanVideo15": "hunyuan_video15",
    "AutoencoderKLLTXVideo": "ltx",
    "AutoencoderKLMochi": "mochi",
    "AutoencoderKLQwenImage": "qwen_image",
    "AutoencoderKLWan": "wan",
}
"""``_class_name`` → the module that reads it."""
