"""A residual block that may hear of a time and add noise: its norms learn nothing, a table and the time scale and shift them.

Letters: ``c`` ``o`` (``p``) channels, ``t`` ``y`` ``x`` frames, height and width, ``k`` ``i`` ``j`` a window; ``n`` vectors that a
time makes, ``w`` its waves, ``v`` ``u`` widths of its two matmuls, ``a`` the one number that a time is multiplied by.
Sources: HaCohen et al. 2024 (LTX-Video), arXiv:2501.00103; noise for each channel: Karras et al. 2018 (StyleGAN),
arXiv:1812.04948; diffusers 0.42, models/autoencoders/autoencoder_kl_ltx.py, LTXVideoResnetBlock3d.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.conditioning import two_matmuls
from floorline.blocks.norm import LAYER_NORM, Norm, residual
from floorline.convolution import convolution
from floorline.op import Op, contraction, elementwise, view

PIXEL = Norm("rms_norm", weight=False)
"""The channels of each pixel, with nothing to learn."""
WAVES = 256.0
"""Of a time (models/embeddings.py, ``PixArtAlphaCombinedTimestepSizeEmbeddings``)."""


@cache
def time_vectors(count: int, *, first: bool = False) -> Block:
    """Two matmuls of a time.

    count  vectors as wide as the channels
    first  whether the time is multiplied by a number of the model's own before

    >>> [op.name for op in time_vectors(4).ops]
    ['waves', 'time_up', 'time_act', 'time_down', 'vectors']
    """
    times = (elementwise("times", "time[Ba] Wtimes[a] -> scaled[Ba]", "multiply"),) if first else ()
    ops = (
        *times,
        elementwise("waves", f"{'scaled' if first else 'time'}[Ba] -> waves[Bw]", "sinusoids"),
        *two_matmuls("time", "waves[Bw]", "vec[Bv]", "silu", inner="u"),
        view("vectors", "vec[Bv] -> out[Bnc]"),
    )
    derived = (("a", "1"), ("w", f"{WAVES:g}"), ("n", f"{count}"), ("v", f"{count}*c"), ("u", f"{count}*c"))
    return block("time", "", ops, "out", derived, data="time[Ba]")


def modulated(name: str, source: str, target: str, row: str, *, timed: bool) -> tuple[Op, ...]:
    """A norm, and where a time is heard its scale and shift."""
    norm = PIXEL.op(name, source, f"{name}_n" if timed else target, row, row[1])
    if not timed:
        return (norm,)
    scaled = elementwise(f"{name}_modulate", f"{name}_n[{row}] vec[Bnz] -> {target}[{row}]", "modulate")
    return norm, scaled


@cache
def noisy_residual(
    activation: str = "silu", *, shortcut: bool = False, noise: bool = False, timed: bool = False
) -> Block:
    """Twice a norm, an activation and a convolution; where channels change, the input takes a norm and a matmul.

    noise  whether noise of each pixel is added after each convolution, as much as each channel learned
    timed  whether norms are scaled and shifted by vectors of a time and a table

    >>> [op.name for op in noisy_residual(noise=True, timed=True).ops][:5]
    ['table', 'norm1', 'norm1_modulate', 'act1', 'conv1']
    >>> [str(t) for t in noisy_residual(shortcut=True).weights() if "shortcut" in t.name or "norm" in t.name]
    ['Wnorm3[c]', 'Wnorm3.bias[c]', 'Wshortcut[pc]', 'Wshortcut.bias[p]']
    """
    e, out = "tyx", "p" if shortcut else "c"
    table = (elementwise("table", "time[Bnz] Wtable[nz] -> vec[Bnz]", "add_table"),) if timed else ()
    skip = (
        LAYER_NORM.op("norm3", "x", "n3", f"Bc{e}", "c"),
        contraction("shortcut", f"n3[Bc{e}] Wshortcut[pc] -> skip[Bp{e}]", bias=True),
    )
    ops = (
        *table,
        *modulated("norm1", "x", "n1", f"Bc{e}", timed=timed),
        elementwise("act1", f"n1[Bc{e}] -> a1[Bc{e}]", activation),
        convolution("conv1", f"a1[Bc{e}] Wconv1[ockij] -> {'q1' if noise else 'm'}[Bo{e}]", bias=True),
        *((elementwise("noise1", f"q1[Bo{e}] Wnoise1[c] -> m[Bo{e}]", "add_noise"),) if noise else ()),
        *modulated("norm2", "m", "n2", f"Bo{e}", timed=timed),
        elementwise("act2", f"n2[Bo{e}] -> a2[Bo{e}]", activation),
        convolution("conv2", f"a2[Bo{e}] Wconv2[{out}okij] -> {'q2' if noise else 'r'}[B{out}{e}]", bias=True),
        *((elementwise("noise2", f"q2[B{out}{e}] Wnoise2[c] -> r[B{out}{e}]", "add_noise"),) if noise else ()),
        *(skip if shortcut else ()),
        residual("add", "skip" if shortcut else "x", "r", "out", f"B{out}{e}"),
    )
    derived = ((("p", "o"),) if shortcut else ()) + ((("n", "4"), ("z", "c")) if timed else ())
    return block("resnet", f"x[Bc{e}]{' time[Bnz]' if timed else ''}", ops, "out", derived, layer=True)


@cache
def pixel_head(*, timed: bool = False) -> Block:
    """The last norm, scaled and shifted where a time is heard, activation and convolution.

    >>> [op.name for op in pixel_head().ops]
    ['norm_out', 'act_out', 'conv_out']
    """
    table = (elementwise("table", "time[Bnz] Wtable[nz] -> vec[Bnz]", "add_table"),) if timed else ()
    ops = (
        *table,
        *modulated("norm_out", "x", "h", "Bctyx", timed=timed),
        elementwise("act_out", "h[Bctyx] -> a[Bctyx]", "silu"),
        convolution("conv_out", "a[Bctyx] Wconv_out[ockij] -> out[Botyx]", bias=True),
    )
    derived = (("n", "2"), ("z", "c")) if timed else ()
    return block("conv_out", f"x[Bctyx]{' time[Bnz]' if timed else ''}", ops, "out", derived)
