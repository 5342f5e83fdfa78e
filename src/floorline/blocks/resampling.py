"""Coarser and finer: convolutions of stride two, and nearest neighbours before a convolution.

Letters: ``t`` ``y`` ``x`` frames, height and width before, ``n`` ``u`` ``v`` after; ``c`` ``o`` channels; ``k`` ``i`` ``j`` a
window.
Sources: Esser et al. 2020 (VQGAN), arXiv:2012.09841, table 7; diffusers 0.42, models/downsampling.py, models/upsampling.py.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.autoencoder import Space
from floorline.convolution import convolution
from floorline.op import Op, elementwise

AFTER = {"t": "n", "y": "u", "x": "v"}
"""Letter of an extent → the one after a change of resolution."""


def after(extent: str) -> str:
    """Letters of what is made.

    >>> after("tyx")
    'nuv'
    """
    return "".join(AFTER[letter] for letter in extent)


@cache
def downsampling(space: Space, *, pool: bool = False) -> Block:
    """A convolution whose stride is two along some sides.

    pool  whether pairs of frames are averaged before

    >>> downsampling(Space()).ops[0].flops()[0].formula()
    '2·B·o·u·v·c·i·j'
    """
    e, source = space.extent, f"x[Bc{space.extent}]"
    pooled = f"m[Bcn{e[1:]}]"
    ops: list[Op] = [elementwise("pool", f"{source} -> {pooled}", "mean")] if pool else []
    given = pooled if pool else source
    ops.append(convolution("down", f"{given} Wdown[oc{space.window}] -> out[Bo{after(e)}]", bias=True))
    return block("down", source, tuple(ops), "out")


@cache
def upsampling(space: Space) -> Block:
    """Each pixel repeated, then a convolution.

    >>> upsampling(Space()).ops[1].flops()[0].formula()
    '2·B·o·u·v·c·i·j'
    """
    e, made = space.extent, after(space.extent)
    ops = (
        elementwise("nearest", f"x[Bc{e}] -> r[Bc{made}]", "nearest"),
        convolution("up", f"r[Bc{made}] Wup[oc{space.window}] -> out[Bo{made}]", bias=True),
    )
    return block("up", f"x[Bc{e}]", ops, "out")
