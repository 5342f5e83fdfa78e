"""Residual blocks and changes of resolution of deep compression autoencoders: pixels become channels, and channels pixels.

Letters: ``c`` ``o`` channels, ``y`` ``x`` height and width, ``u`` ``v`` after a change, ``i`` ``j`` a window, ``l`` channels
that are folded into pixels, or made of them.
Sources: Chen et al. 2024 (DC-AE), arXiv:2410.10733, section 3.2; diffusers 0.42, models/autoencoders/autoencoder_dc.py.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.autoencoder import ChannelNorm
from floorline.blocks.norm import residual
from floorline.convolution import convolution
from floorline.op import Op, elementwise, view

QUARTER, FOURFOLD = (("l", "o/4"),), (("l", "4*o"),)


@cache
def normed_residual(norm: ChannelNorm, activation: str = "silu") -> Block:
    """Two convolutions, then a norm, beside the input.

    >>> from floorline.blocks.autoencoder import GroupNorm
    >>> [op.name for op in normed_residual(GroupNorm(32)).ops]
    ['conv1', 'act', 'conv2', 'norm', 'add']
    """
    ops = (
        convolution("conv1", "x[Bcyx] Wconv1[ocij] -> m[Boyx]", bias=True),
        elementwise("act", "m[Boyx] -> a[Boyx]", activation),
        convolution("conv2", "a[Boyx] Wconv2[coij] -> r[Bcyx]"),
        *norm.ops("norm", "r", "n", "c", "yx"),
        residual("add", "x", "n", "out", "Bcyx"),
    )
    return block("resnet", "x[Bcyx]", ops, "out", layer=True)


def joined(name: str, source: str, before: str, *, shortcut: bool) -> tuple[Op, ...]:
    """What a block read, beside what it made."""
    if not shortcut:
        return (view(name, f"{source}[Bouv] -> out[Bouv]"),)
    return (elementwise(name, f"{source}[Bouv] {before} -> out[Bouv]", "add"),)


@cache
def folding_down(*, unshuffle: bool = True, shortcut: bool = True, data: bool = False) -> Block:
    """Half the height and width: a convolution whose pixels become channels, or one of stride two.

    shortcut  whether the input is added, its pixels averaged into channels
    data      whether it reads pixels as they are given

    >>> folding_down().ops[0].flops()[0].formula(), folding_down(unshuffle=False).ops[0].flops()[0].formula()
    ('2·B·l·y·x·c·i·j', '2·B·o·u·v·c·i·j')
    """
    given = "x[Bcyx]"
    if unshuffle:
        made: tuple[Op, ...] = (
            convolution("down", f"{given} Wdown[lcij] -> m[Blyx]", bias=True),
            view("unshuffle", "m[Blyx] -> r[Bouv]"),
        )
    else:
        made = (convolution("down", f"{given} Wdown[ocij] -> r[Bouv]", bias=True),)
    ops = (*made, *joined("join", "r", given, shortcut=shortcut))
    return block("down", "" if data else given, ops, "out", QUARTER if unshuffle else (), data=given if data else "")


@cache
def folding_up(*, interpolate: bool = False, shortcut: bool = True) -> Block:
    """Twice the height and width: a convolution whose channels become pixels, or nearest neighbours before one.

    >>> folding_up().ops[0].flops()[0].formula(), folding_up(interpolate=True).ops[1].flops()[0].formula()
    ('2·B·l·y·x·c·i·j', '2·B·o·u·v·c·i·j')
    """
    if interpolate:
        made: tuple[Op, ...] = (
            elementwise("nearest", "x[Bcyx] -> m[Bcuv]", "nearest"),
            convolution("up", "m[Bcuv] Wup[ocij] -> r[Bouv]", bias=True),
        )
    else:
        made = (
            convolution("up", "x[Bcyx] Wup[lcij] -> m[Blyx]", bias=True),
            view("shuffle", "m[Blyx] -> r[Bouv]"),
        )
    ops = (*made, *joined("join", "r", "x[Bcyx]", shortcut=shortcut))
    return block("up", "x[Bcyx]", ops, "out", () if interpolate else FOURFOLD)


@cache
def end_convolution(name: str, *, shortcut: bool, data: bool = False) -> Block:
    """A convolution to or from latents, beside channels that are averaged or repeated.

    >>> [op.name for op in end_convolution("conv_out", shortcut=True).ops]
    ['conv_out', 'join']
    """
    given = "x[Bcyx]"
    conv = convolution(name, f"{given} W{name}[ocij] -> m[Boyx]", bias=True)
    join = (
        elementwise("join", f"m[Boyx] {given} -> out[Boyx]", "add")
        if shortcut
        else view("join", "m[Boyx] -> out[Boyx]")
    )
    return block(name, "" if data else given, (conv, join), "out", data=given if data else "")


@cache
def norm_and_activation(norm: ChannelNorm, activation: str) -> Block:
    """What comes before a last change of resolution.

    >>> from floorline.blocks.autoencoder import GroupNorm
    >>> [op.name for op in norm_and_activation(GroupNorm(32), "relu").ops]
    ['norm_out', 'act_out']
    """
    ops = (*norm.ops("norm_out", "x", "n", "c", "yx"), elementwise("act_out", "n[Bcyx] -> out[Bcyx]", activation))
    return block("norm_out", "x[Bcyx]", ops, "out")
