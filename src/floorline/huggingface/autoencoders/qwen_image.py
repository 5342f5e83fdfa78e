"""AutoencoderKLQwenImage: that of Wan 2.1, trained further on pictures, which are videos of one frame.

Sources: Wu et al. 2025 (Qwen-Image), arXiv:2508.02324, section 2.3; diffusers 0.42,
models/autoencoders/autoencoder_kl_qwenimage.py.
"""

from __future__ import annotations

from floorline.autoencoder import Autoencoder
from floorline.huggingface.autoencoders import wan
from floorline.huggingface.autoencoders.common import listed
from floorline.huggingface.config import Config


def read(config: Config) -> Autoencoder:
    """A configuration of AutoencoderKLQwenImage.

    >>> read(Config({}, "qwen-image")).down
    8.0
    """
    channels = config.count("input_channels", 3.0, least=1.0)
    levels = len(listed(config, "dim_mult", (1.0, 2.0, 4.0, 4.0)))
    return wan.networks(config, (channels, channels), 1.0, 2.0 ** (levels - 1))
