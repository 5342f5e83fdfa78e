"""Haar wavelets between pixels and channels: along time, height and width, a low and a high band each, half as long.

Letters: ``c`` channels, ``s`` ``r`` ``q`` bands along time, height and width, ``a`` ``b`` ``d`` windows of two;
``t`` ``y`` ``x`` frames, height and width before, ``Y`` ``X`` height and width filled up by one, ``n`` ``u`` ``v`` those after.
Sources: NVIDIA 2025 (Cosmos), arXiv:2501.03575; diffusers 0.42, models/autoencoders/autoencoder_kl_cosmos.py, CosmosPatchEmbed3d.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.op import Op, contraction, elementwise, view

BANDS = (("s", "2"), ("r", "2"), ("q", "2"), ("a", "2"), ("b", "2"), ("d", "2"))
FILTERS = "fs[sa] fr[rb] fq[qd]"


@cache
def wavelets(*, first: bool = False) -> Block:
    """A level of wavelets: a filled-up video, filtered along time, then height, then width.

    first  whether it reads pixels, the first frame of which is repeated before

    >>> [op.flops()[0].formula() for op in wavelets().ops if op.flops()]
    ['2·B·c·n·a·Y·X·s', '2·B·s·c·n·u·b·X·r', '2·B·s·r·c·n·u·v·d·q']
    """
    ops: tuple[Op, ...] = (
        elementwise("pad", "x[Bctyx] -> p[BcnaYX]", "pad"),
        contraction("time", "p[BcnaYX] fs[sa] -> low[BscnYX]"),
        view("rows", "low[BscnYX] -> rows[BscnubX]"),
        contraction("height", "rows[BscnubX] fr[rb] -> mid[BsrcnuX]"),
        view("columns", "mid[BsrcnuX] -> columns[Bsrcnuvd]"),
        contraction("width", "columns[Bsrcnuvd] fq[qd] -> bands[Bsrqcnuv]"),
        elementwise("rescale", "bands[Bsrqcnuv] -> scaled[Bsrqcnuv]", "multiply"),
        view("channels", "scaled[Bsrqcnuv] -> out[Bonuv]"),
    )
    derived = (*BANDS, ("o", "8*c"))
    given = "x[Bctyx]"
    return block("wavelets", "" if first else given, ops, "out", derived, data=f"{given if first else ''} {FILTERS}")


@cache
def inverse_wavelets() -> Block:
    """A level back: width, then height, then time.

    >>> [op.flops()[0].formula() for op in inverse_wavelets().ops if op.flops()]
    ['2·B·s·r·q·o·t·y·x·d', '2·B·s·r·o·t·y·v·b', '2·B·s·o·t·u·v·a']
    """
    ops: tuple[Op, ...] = (
        view("bands", "x[Bctyx] -> bands[Bsrqotyx]"),
        contraction("width", "bands[Bsrqotyx] fq[qd] -> columns[Bsrotyxd]"),
        view("columns", "columns[Bsrotyxd] -> mid[Bsrotyv]"),
        contraction("height", "mid[Bsrotyv] fr[rb] -> rows[Bsotybv]"),
        view("rows", "rows[Bsotybv] -> low[Bsotuv]"),
        contraction("time", "low[Bsotuv] fs[sa] -> frames[Botauv]"),
        elementwise("rescale", "frames[Botauv] -> scaled[Botauv]", "multiply"),
        view("video", "scaled[Botauv] -> out[Bonuv]"),
    )
    return block("wavelets", "x[Bctyx]", ops, "out", BANDS, data=FILTERS)
