"""Pixels beside sines and cosines of them at several frequencies, before a first matmul.

Letters: ``f`` channels of a pixel, ``c`` those and their waves, ``o`` channels of the first level.
Sources: Tancik et al. 2020, arXiv:2006.10739; diffusers 0.42, models/autoencoders/autoencoder_kl_mochi.py,
FourierFeatures.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.op import contraction, elementwise


@cache
def fourier_features(channels: int) -> Block:
    """Waves of each pixel, then a matmul.

    channels  that one channel of a pixel becomes: itself, a sine and a cosine of each frequency

    >>> [op.name for op in fourier_features(5).ops]
    ['waves', 'proj_in']
    """
    ops = (
        elementwise("waves", "x[Bftyx] -> w[Bctyx]", "sinusoids"),
        contraction("proj_in", "w[Bctyx] Wproj_in[oc] -> out[Botyx]", bias=True),
    )
    return block("proj_in", "", ops, "out", (("f", f"c/{channels}"),), data="x[Bftyx]")
