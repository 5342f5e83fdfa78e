"""Fewer and more frames, where the first one stays alone: a convolution over time that the first run leaves out.

Letters: ``t`` ``y`` ``x`` frames, height and width before, ``n`` ``u`` ``v`` after, ``g`` frames that the convolution over time
makes, none of the first run; ``c`` ``o`` ``p`` channels, ``k`` ``i`` ``j`` a window.
Sources: Wan Team 2025, arXiv:2503.20314, section 4.1; diffusers 0.42, models/autoencoders/autoencoder_kl_wan.py, WanResample.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.convolution import convolution
from floorline.op import elementwise, view


@cache
def frame_downsampling() -> Block:
    """Each frame by a convolution of stride two, then pairs of frames by another one.

    >>> frame_downsampling().ops[1].flops()[0].formula()
    '2·B·p·g·u·v·o·k'
    """
    ops = (
        convolution("down", "x[Bctyx] Wdown[ocij] -> m[Botuv]", bias=True),
        convolution("time", "m[Botuv] Wtime[pok] -> q[Bpguv]", bias=True),
        view("join", "m[Botuv] q[Bpguv] -> out[Bpnuv]"),
    )
    return block("down", "x[Bctyx]", ops, "out", (("p", "o"),))


@cache
def frame_upsampling() -> Block:
    """Two frames of each but the first by a convolution, then each frame made larger.

    >>> frame_upsampling().ops[0].flops()[0].formula()
    '2·B·p·g·y·x·c·k'
    """
    ops = (
        convolution("time", "x[Bctyx] Wtime[pck] -> q[Bpgyx]", bias=True),
        view("split", "x[Bctyx] q[Bpgyx] -> m[Bcnyx]"),
        elementwise("nearest", "m[Bcnyx] -> r[Bcnuv]", "nearest"),
        convolution("up", "r[Bcnuv] Wup[ocij] -> out[Bonuv]", bias=True),
    )
    return block("up", "x[Bctyx]", ops, "out", (("p", "2*c"),))


@cache
def level_shortcut() -> Block:
    """What a level read, averaged or repeated to what it made, is added to it.

    >>> level_shortcut().ops[0].linear
    True
    """
    op = elementwise("add", "x[Bctyx] shortcut[Bctyx] -> out[Bctyx]", "add", linear=True)
    return block("shortcut", "x[Bctyx] shortcut[Bctyx]", (op,), "out")
