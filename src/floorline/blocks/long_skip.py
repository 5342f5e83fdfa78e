"""A long skip connection: a late layer takes what an early one made beside its own input, normalises both together, and brings
them to the model's width.

Letters: ``N`` = 2·D.
Source: Bao et al. 2022 (U-ViT), arXiv:2209.12152, section 3.1; with a norm: Li et al. 2024 (Hunyuan-DiT), arXiv:2405.08748,
section 2.1.
"""

from __future__ import annotations

from floorline.blocks.norm import LAYER_NORM, Norm
from floorline.op import Op, contraction, elementwise

DERIVED = (("N", "2*D"),)
"""What a block with such a connection derives."""


def long_skip(stream: str, earlier: str, target: str, norm: Norm = LAYER_NORM) -> tuple[Op, ...]:
    """From ``stream[BTD]`` and ``earlier[BTD]`` to ``target[BTD]``.

    >>> [op.name for op in long_skip("x", "earlier", "x0")], long_skip("x", "earlier", "x0")[-1].flops()[0].formula()
    (['beside', 'skip_norm', 'skip'], '2·B·T·N·D')
    """
    return (
        elementwise("beside", f"{stream}[BTD] {earlier}[BTD] -> both[BTN]", "concatenate", linear=True),
        norm.op("skip_norm", "both", "both_h", "BTN", "N"),
        contraction("skip", f"both_h[BTN] Wskip[ND] -> {target}[BTD]", bias=True),
    )
