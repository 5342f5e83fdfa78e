"""From pixels to latents: what a variational autoencoder leaves of a picture or a video, and how many tokens that is."""

from __future__ import annotations

from floorline.num import Num, ceil, floor


def latent_side(pixels: Num, down: Num) -> Num:
    r"""Latents along a side of a picture: whole ones only.

    $$n = \lfloor \frac{h}{r} \rfloor$$

    pixels   h  along the side                      [-]
    down     r  pixels of a latent along each side  [-]
    returns  n  latents along the side              [-]

    Source: Rombach et al. 2021 (latent diffusion), arXiv:2112.10752, section 3.1. Example: diffusers'
    pipeline_stable_diffusion_3.py, 1024 pixels.

    >>> float(latent_side(1024.0, 8.0))
    128.0
    """
    return floor(pixels / down)


def latent_frames(frames: Num, down: Num, first: Num) -> Num:
    r"""Frames of a latent video that an encoder makes; a causal one keeps the first frame by itself.

    $$n = \lceil \frac{f - a}{r} \rceil + a$$

    frames   f  of the video                                 [-]
    down     r  frames of a latent frame                     [-]
    first    a  1 where the first frame stands alone, else 0 [-]
    returns  n  latent frames                                [-]

    Source: diffusers 0.42, models/autoencoders/autoencoder_kl_cogvideox.py: 13 latent frames are 49.

    >>> float(latent_frames(49.0, 4.0, 1.0)), float(latent_frames(88.0, 4.0, 0.0))
    (13.0, 22.0)
    """
    return ceil((frames - first) / down) + first


def denoised_frames(frames: Num, down: Num) -> Num:
    r"""Frames of a latent video that a pipeline denoises. Where the first frame stands alone, of the others whole latents only are
    made; else one that is not whole is filled up: both are as many.

    $$n = \lceil \frac{f}{r} \rceil = \lfloor \frac{f - 1}{r} \rfloor + 1$$

    frames   f  that are asked for        [-]
    down     r  frames of a latent frame  [-]
    returns  n  latent frames             [-]

    Source: diffusers 0.42, pipelines/cogvideo/pipeline_cogvideox.py and pipelines/hunyuan_video/pipeline_hunyuan_video.py,
    ``prepare_latents``: 49 frames are 13 and 129 are 33; pipelines/allegro/pipeline_allegro.py: 88 are 22.

    >>> [float(denoised_frames(frames, 4.0)) for frames in (49.0, 52.0, 129.0, 88.0)]
    [13.0, 13.0, 33.0, 22.0]
    """
    return ceil(frames / down)


def patches_along(latents: Num, patch: Num, filled: Num) -> Num:
    r"""Tokens along a side: whole patches only, or the last one filled up.

    $$n = \lfloor \frac{h + a (p - 1)}{p} \rfloor$$

    latents  h  along the side                             [-]
    patch    p  latents of a token along each side         [-]
    filled   a  1 where the last patch is filled up, else 0 [-]
    returns  n  tokens along the side                      [-]

    Source: Peebles and Xie 2022 (DiT), arXiv:2212.09748, section 3.2; filled up: Open-Sora 1.2, opensora/models/layers/blocks.py,
    PatchEmbed3D, which makes 27 of the 53 latents of 426 pixels.

    >>> [float(patches_along(length, 2.0, filled)) for length, filled in ((32.0, 0.0), (53.0, 0.0), (53.0, 1.0))]
    [16.0, 26.0, 27.0]
    """
    return floor((latents + filled * (patch - 1.0)) / patch)
