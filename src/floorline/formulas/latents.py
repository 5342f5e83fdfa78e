"""From pixels to latents: what a variational autoencoder leaves of a picture or a video, and how many tokens that is."""

from __future__ import annotations

import numpy as np

from floorline.num import Num, ceil, number


def latent_side(pixels: Num, down: Num) -> Num:
    """Latents along a side of a picture: whole ones only.

    LaTeX: \\lfloor h / r \\rfloor

    pixels  along the side [-]
    down    pixels of a latent along each side [-]

    Source: Rombach et al. 2021 (latent diffusion), arXiv:2112.10752, section 3.1; diffusers, pipeline_stable_diffusion_3.py.

    >>> latent_side(1024.0, 8.0)
    128.0
    """
    return number(np.floor(pixels / down))


def latent_frames(frames: Num, down: Num, first: Num) -> Num:
    """Frames of a latent video; a causal autoencoder keeps the first frame by itself.

    LaTeX: \\lceil (f - a) / r \\rceil + a

    frames  of the video [-]
    down    frames of a latent frame [-]
    first   1 where the first frame stands alone, else 0 [-]

    Source: Yang et al. 2024 (CogVideoX), arXiv:2408.06072, section 2.1: 49 frames become 13; Kong et al. 2024 (HunyuanVideo),
    arXiv:2412.03603, section 4.1.

    >>> latent_frames(49.0, 4.0, 1.0), latent_frames(88.0, 4.0, 0.0)
    (13.0, 22.0)
    """
    return number(ceil((frames - first) / down) + first)


def patches_along(latents: Num, patch: Num, filled: Num = 0.0) -> Num:
    """Tokens along a side: whole patches only, or the last one filled up.

    LaTeX: \\lfloor (h + a (p - 1)) / p \\rfloor

    latents  along the side [-]
    patch    latents of a token along each side [-]
    filled   1 where the last patch is filled up, else 0 [-]

    Source: Peebles and Xie 2022 (DiT), arXiv:2212.09748, section 3.2; filled up: Open-Sora 1.2, opensora/models/layers/blocks.py,
    PatchEmbed3D, which makes 27 of the 53 latents of 426 pixels.

    >>> patches_along(32.0, 2.0), patches_along(53.0, 2.0), patches_along(53.0, 2.0, 1.0)
    (16.0, 26.0, 27.0)
    """
    return number(np.floor((latents + filled * (patch - 1.0)) / patch))
