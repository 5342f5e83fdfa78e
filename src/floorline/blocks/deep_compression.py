"""Residual blocks and changes of resolution of deep compression autoencoders: pixels become channels, and channels pixels.

Letters: ``c`` ``o`` channels, ``y`` ``x`` height and width, ``u`` ``v`` after a change, ``t`` ``n`` frames before and
after, ``i`` ``j`` (and ``k``) a window, ``l`` channels that are folded into pixels, or made of them.
Sources: Chen et al. 2024 (DC-AE), arXiv:2410.10733; diffusers 0.42, models/autoencoders/autoencoder_dc.py.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.autoencoder import PLANE, ChannelNorm, Space
from floorline.blocks.norm import residual
from floorline.blocks.resampling import after
from floorline.convolution import convolution
from floorline.op import Op, contraction, elementwise, view


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


def joined(made: str, given: str, *, shortcut: bool) -> Op:
    """What a block read, beside what it made."""
    return (
        elementwise("join", f"r{made} {given} -> out{made}", "add")
        if shortcut
        else view("join", f"r{made} -> out{made}")
    )


@cache
def folding_down(
    space: Space = PLANE, *, unshuffle: bool = True, shortcut: bool = True, data: bool = False, folds: int = 4
) -> Block:
    """Half the height and width: a convolution whose pixels become channels, or one of stride two.

    shortcut  whether the input is added, its pixels averaged into channels
    data      whether it reads pixels as they are given
    folds     pixels that become one: four, or eight of two frames

    >>> folding_down().ops[0].flops()[0].formula(), folding_down(unshuffle=False).ops[0].flops()[0].formula()
    ('2·B·l·y·x·c·i·j', '2·B·o·u·v·c·i·j')
    """
    e, w = space.extent, space.window
    given, made = f"x[Bc{e}]", f"[Bo{after(e)}]"
    if unshuffle:
        ops: tuple[Op, ...] = (
            convolution("down", f"{given} Wdown[lc{w}] -> m[Bl{e}]", bias=True),
            view("unshuffle", f"m[Bl{e}] -> r{made}"),
        )
    else:
        ops = (convolution("down", f"{given} Wdown[oc{w}] -> r{made}", bias=True),)
    ops = (*ops, joined(made, given, shortcut=shortcut))
    derived = (("l", f"o/{folds}"),) if unshuffle else ()
    return block("down", "" if data else given, ops, "out", derived, data=given if data else "")


@cache
def folding_up(space: Space = PLANE, *, interpolate: bool = False, shortcut: bool = True, folds: int = 4) -> Block:
    """Twice the height and width: a convolution whose channels become pixels, or nearest neighbours before one.

    folds  pixels that one becomes

    >>> folding_up().ops[0].flops()[0].formula(), folding_up(interpolate=True).ops[1].flops()[0].formula()
    ('2·B·l·y·x·c·i·j', '2·B·o·u·v·c·i·j')
    """
    e, w = space.extent, space.window
    given, made = f"x[Bc{e}]", f"[Bo{after(e)}]"
    if interpolate:
        ops: tuple[Op, ...] = (
            elementwise("nearest", f"{given} -> m[Bc{after(e)}]", "nearest"),
            convolution("up", f"m[Bc{after(e)}] Wup[oc{w}] -> r{made}", bias=True),
        )
    else:
        ops = (
            convolution("up", f"{given} Wup[lc{w}] -> m[Bl{e}]", bias=True),
            view("shuffle", f"m[Bl{e}] -> r{made}"),
        )
    ops = (*ops, joined(made, given, shortcut=shortcut))
    return block("up", given, ops, "out", () if interpolate else (("l", f"{folds}*o"),))


@cache
def unfolding(folds: int) -> Block:
    """A matmul whose channels become pixels, and frames. Source: diffusers, autoencoder_kl_mochi.py, MochiUpBlock3D.

    folds  pixels, of all frames, that one becomes

    >>> unfolding(8).ops[0].flops()[0].formula()
    '2·B·c·t·y·x·l'
    """
    ops = (
        contraction("up", "x[Bctyx] Wup[lc] -> m[Bltyx]", bias=True),
        view("shuffle", "m[Bltyx] -> out[Bonuv]"),
    )
    return block("up", "x[Bctyx]", ops, "out", (("l", f"{folds}*o"),))


@cache
def end_convolution(name: str, space: Space = PLANE, *, shortcut: bool, data: bool = False) -> Block:
    """A convolution to or from latents, beside channels that are averaged or repeated.

    >>> [op.name for op in end_convolution("conv_out", shortcut=True).ops]
    ['conv_out', 'join']
    """
    e, given = space.extent, f"x[Bc{space.extent}]"
    conv = convolution(name, f"{given} W{name}[oc{space.window}] -> r[Bo{e}]", bias=True)
    ops = (conv, joined(f"[Bo{e}]", given, shortcut=shortcut))
    return block(name, "" if data else given, ops, "out", data=given if data else "")


@cache
def norm_and_activation(norm: ChannelNorm, activation: str) -> Block:
    """What comes before a last change of resolution.

    >>> from floorline.blocks.autoencoder import GroupNorm
    >>> [op.name for op in norm_and_activation(GroupNorm(32), "relu").ops]
    ['norm_out', 'act_out']
    """
    ops = (*norm.ops("norm_out", "x", "n", "c", "yx"), elementwise("act_out", "n[Bcyx] -> out[Bcyx]", activation))
    return block("norm_out", "x[Bcyx]", ops, "out")
