"""AutoencoderKLFlux2: AutoencoderKL with wider latents, whose decoder may have channels of its own.

Latents are normalised by a batch norm without weights after they are made. Source: diffusers 0.42,
models/autoencoders/autoencoder_kl_flux2.py.
"""

from __future__ import annotations

from floorline.autoencoder import Autoencoder
from floorline.huggingface.autoencoders import kl
from floorline.huggingface.config import Config

USUAL = kl.Usual(widths=(128.0, 256.0, 512.0, 512.0), layers=2.0, latents=32.0, side=1024.0)


def read(config: Config) -> Autoencoder:
    """A configuration of AutoencoderKLFlux2.

    >>> read(Config({}, "flux.2")).latent_channels
    32.0
    """
    for key in ("batch_norm_eps", "batch_norm_momentum", "patch_size"):
        config.get(key)
    return kl.read(config, USUAL)
