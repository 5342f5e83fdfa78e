"""From the tokens of a picture to tokens of the text: neighbours become one, and a projection brings them to the text's width.

Letters: ``q`` tokens that are left, ``b`` width of the text, ``e`` width of what neighbours are together, ``o`` ``s`` ``t`` ``z``
inner widths of the projection.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.norm import Norm
from floorline.op import Op, contraction, elementwise


@cache
def averaged(norm: Norm, *, matmul: bool = False, name: str = "projector") -> Block:
    """Neighbours are averaged, normalised and projected by one matmul.

    norm    of the averages
    matmul  whether averaging is a matmul with a matrix of zeros and shares, as one library does it

    Source: transformers, modeling_gemma3.py, Gemma3MultiModalProjector; modeling_gemma4.py, Gemma4VisionPooler.

    >>> from floorline.blocks.norm import RMS_NORM
    >>> averaged(RMS_NORM).ops[2].flops()[0].formula()
    '2·B·q·D·b'
    """
    mean: Op = elementwise("average", "x[BTD] -> g[BqD]", "average")
    if matmul:
        mean = contraction("average", "shares[BqT] x[BTD] -> g[BqD]")
    ops = (mean, norm.op("norm", "g", "n", "BqD", "D"), contraction("project", "n[BqD] Wproject[Db] -> y[Bqb]"))
    return block(name, "x[BTD] shares[BqT]" if matmul else "x[BTD]", ops, "y")


@cache
def merged(norm: Norm, activation: str, *, bias: bool, last: bool = False, name: str = "projector") -> Block:
    """Each token is normalised, neighbours are laid side by side, and two matmuls with an activation between follow.

    bias  of both
    last  whether another activation and a third matmul, without a bias, come after them

    Source: transformers, modeling_qwen3_5.py, Qwen3_5VisionPatchMerger; modeling_llama4.py, Llama4VisionPixelShuffleMLP and
    Llama4MultiModalProjector (last).

    >>> from floorline.blocks.norm import LAYER_NORM
    >>> [op.name for op in merged(LAYER_NORM, "gelu", bias=True).ops]
    ['norm', 'lay', 'up', 'act', 'down']
    """
    ops: list[Op] = [
        norm.op("norm", "x", "n"),
        elementwise("lay", "n[BTD] -> g[Bqe]", "pass"),
        contraction("up", "g[Bqe] Wup[eo] -> u[Bqo]", bias=bias),
        elementwise("act", "u[Bqo] -> m[Bqs]", activation),
        contraction("down", f"m[Bqs] Wdown[s{'t' if last else 'b'}] -> {'d[Bqt]' if last else 'y[Bqb]'}", bias=bias),
    ]
    if last:
        ops.append(elementwise("act_again", "d[Bqt] -> c[Bqz]", activation))
        ops.append(contraction("project", "c[Bqz] Wproject[zb] -> y[Bqb]"))
    return block(name, "x[BTD]", tuple(ops), "y")
