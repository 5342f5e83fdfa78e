"""Convolutions over time between those over pictures: four in a row beside the input, which may halve or double the frames.

Letters: ``c`` ``o`` channels, ``t`` ``y`` ``x`` frames, height and width, ``n`` frames after; ``k`` ``i`` ``j`` a window;
``h`` frames that the window of the first convolution sees, ``l`` channels that two frames are made of.
Sources: Zhou et al. 2024 (Allegro), arXiv:2410.15458; diffusers 0.42, models/autoencoders/autoencoder_kl_allegro.py,
AllegroTemporalConvLayer.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.autoencoder import ChannelNorm
from floorline.blocks.norm import residual
from floorline.convolution import convolution
from floorline.op import Op, elementwise, view

HALVE, DOUBLE = "halve", "double"


def step(norm: ChannelNorm, at: int, source: str, target: str, weight: str, extent: str) -> tuple[Op, ...]:
    """A norm, an activation, a convolution; the first and the last frame are repeated around the others.

    at      which one of the layer
    weight  its letters, channels that it makes first
    """
    made, read = weight[0], weight[1]
    return (
        *norm.ops(f"norm{at}", source, f"n{at}", read, extent),
        elementwise(f"act{at}", f"n{at}[B{read}{extent}] -> a{at}[B{read}{extent}]", "silu"),
        convolution(f"conv{at}", f"a{at}[B{read}{extent}] Wconv{at}[{weight}] -> {target}[B{made}{extent}]", bias=True),
    )


@cache
def temporal_layer(norm: ChannelNorm) -> Block:
    """Four convolutions over time.

    >>> from floorline.blocks.autoencoder import GroupNorm
    >>> [str(t) for t in temporal_layer(GroupNorm(32)).weights() if t.name.startswith("Wconv") and "k" in t.letters][:2]
    ['Wconv1[ock]', 'Wconv2[cok]']
    """
    ops = (
        *step(norm, 1, "x", "m1", "ock", "tyx"),
        *step(norm, 2, "m1", "m2", "cok", "tyx"),
        *step(norm, 3, "m2", "m3", "ock", "tyx"),
        *step(norm, 4, "m3", "r", "cok", "tyx"),
        residual("add", "x", "r", "out", "Bctyx"),
    )
    return block("temporal", "x[Bctyx]", ops, "out", layer=True)


@cache
def temporal_change(norm: ChannelNorm, change: str) -> Block:
    """The same over windows of height and width too, the first of which makes half as many frames, or channels of twice as many.

    change  "halve" or "double"

    >>> from floorline.blocks.autoencoder import GroupNorm
    >>> [temporal_change(GroupNorm(32), change).ops[2].flops()[0].formula() for change in (HALVE, DOUBLE)]
    ['2·B·o·n·y·x·c·h·i·j', '2·B·l·t·y·x·c·i·j']
    """
    before = (
        *norm.ops("norm1", "x", "n1", "c", "tyx"),
        elementwise("act1", "n1[Bctyx] -> a1[Bctyx]", "silu"),
    )
    if change == HALVE:
        first: tuple[Op, ...] = (convolution("conv1", "a1[Bctyx] Wconv1[ochij] -> m1[Bonyx]", bias=True),)
        derived: tuple[tuple[str, str], ...] = (("h", "2"),)
    else:
        first = (
            convolution("conv1", "a1[Bctyx] Wconv1[lcij] -> f[Bltyx]", bias=True),
            view("unfold", "f[Bltyx] -> m1[Bonyx]"),
        )
        derived = (("l", "2*o"),)
    ops = (
        *before,
        *first,
        *step(norm, 2, "m1", "m2", "cokij", "nyx"),
        *step(norm, 3, "m2", "m3", "ockij", "nyx"),
        *step(norm, 4, "m3", "r", "cokij", "nyx"),
        elementwise("frames", "x[Bctyx] -> kept[Bcnyx]", "slice" if change == HALVE else "repeat"),
        residual("add", "kept", "r", "out", "Bcnyx"),
    )
    return block("temporal", "x[Bctyx]", ops, "out", derived, layer=True)


@cache
def temporal_start() -> Block:
    """A convolution of each picture, then one over time beside it.

    >>> [op.name for op in temporal_start().ops]
    ['conv_in', 'temporal', 'same', 'add']
    """
    ops = (
        convolution("conv_in", "x[Bctyx] Wconv_in[ocij] -> m[Botyx]", bias=True),
        convolution("temporal", "m[Botyx] Wtemporal[pok] -> r[Bptyx]", bias=True),
        view("same", "m[Botyx] -> skip[Bptyx]"),
        residual("add", "skip", "r", "out", "Bptyx"),
    )
    return block("conv_in", "x[Bctyx]", ops, "out", (("p", "o"),))


@cache
def temporal_end(norm: ChannelNorm) -> Block:
    """The last norm and activation, a convolution over time beside them, and one of each picture.

    >>> from floorline.blocks.autoencoder import GroupNorm
    >>> [op.name for op in temporal_end(GroupNorm(32, "t")).ops]
    ['norm_out', 'act_out', 'temporal', 'same', 'add', 'conv_out']
    """
    ops = (
        *norm.ops("norm_out", "x", "n", "c", "tyx"),
        elementwise("act_out", "n[Bctyx] -> a[Bctyx]", "silu"),
        convolution("temporal", "a[Bctyx] Wtemporal[pck] -> r[Bptyx]", bias=True),
        view("same", "a[Bctyx] -> skip[Bptyx]"),
        residual("add", "skip", "r", "s", "Bptyx"),
        convolution("conv_out", "s[Bptyx] Wconv_out[opij] -> out[Botyx]", bias=True),
    )
    return block("conv_out", "x[Bctyx]", ops, "out", (("p", "c"),))
