"""A denoiser beside the autoencoder whose latents it denoises: pixels and frames of a latent, and its channels."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from floorline.autoencoder import Autoencoder
from floorline.errors import BadInput
from floorline.num import Num
from floorline.transformer import Transformer

NOISE, LATENT = "noise", "latent"
"""What every denoiser makes, and reads: so many numbers of each token."""
AROUND = "BT"
"""Letters of these that no token has: pictures, and the tokens themselves."""


def beside(denoiser: Transformer, autoencoder: Autoencoder) -> Transformer:
    """The denoiser with pixels and frames of a latent as its autoencoder makes them; a picture's has no frames.

    Source: diffusers 0.42, pipelines/flux/pipeline_flux.py: ``vae_scale_factor`` is what the autoencoder's levels say.

    raises BadInput where the latents of the two have another number of channels
    """
    own = denoiser.latent
    assert own is not None
    fit(denoiser, autoencoder)
    if np.array_equal(own.length, 1.0):
        return replace(denoiser, latent=replace(own, down=autoencoder.down))
    frames = replace(own, down=autoencoder.down, frames=autoencoder.frames, first=autoencoder.first)
    return replace(denoiser, latent=frames)


def fit(denoiser: Transformer, autoencoder: Autoencoder) -> None:
    """Nothing, where a denoiser makes all channels of its autoencoder's latents, or each with its variance, and reads them.

    It may read more: a mask, a picture to start from. Source: Peebles and Xie 2022, arXiv:2212.09748, section 3.2 (the variance).

    raises BadInput where it does not
    """
    own, channels = denoiser.latent, autoencoder.latent_channels
    assert own is not None
    latents = own.patch * own.patch * own.patch_frames
    made, read = (of_token(denoiser, name) / latents for name in (NOISE, LATENT))
    if made not in (channels, 2.0 * channels) or read < channels:
        said = f"reads {read:g} and makes {made:g} channels of a latent ({latents:g} of which are a token)"
        raise BadInput(
            f"{denoiser.name}: its denoiser {said}, its autoencoder has {channels:g}; expected the same number: is the "
            "autoencoder that of another model?"
        )


def of_token(denoiser: Transformer, name: str) -> Num:
    """Numbers of one token of a tensor, that of the first block which has it.

    >>> from floorline.catalogue.load import load_model
    >>> flux, dit = load_model("flux.1-dev"), load_model("dit-xl-2-256")
    >>> of_token(flux, "noise"), of_token(dit, "latent"), of_token(dit, "noise")
    (64.0, 16.0, 32.0)
    """
    stack, tensor = next(
        (stack, tensor)
        for stack in denoiser.stacks
        for op in stack.block.ops
        for tensor in (*op.inputs, *op.outputs)
        if tensor.name == name
    )
    sizes = {**denoiser.sizes, **stack.sizes}
    return prod(sizes[letter] for letter in tensor.letters if letter not in AROUND)
