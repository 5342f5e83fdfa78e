"""Latents to tokens and back: a matmul over each patch, since windows do not overlap.

Letters: ``c`` channels of the latents, ``o`` those that are predicted, ``i`` ``j`` ``l`` height, width and frames of a patch.
Source: Peebles and Xie 2022 (DiT), arXiv:2212.09748, section 3.2, "patchify" and "transformer decoder".
"""

from __future__ import annotations

from floorline.op import Op, contraction

PATCH = "cij"
"""Letters of a picture's patch; a video's has l frames too."""


def patchify(name: str = "patch", target: str = "x", patch: str = PATCH, *, bias: bool = True) -> Op:
    """Each patch becomes a token.

    >>> patchify().flops()[0].formula()
    '2·B·T·c·i·j·D'
    """
    return contraction(name, f"latent[BT{patch}] W{name}[{patch}D] -> {target}[BTD]", bias=bias)


def unpatchify(source: str, name: str = "unpatch", patch: str = "ijo", *, bias: bool = True) -> Op:
    """Each token becomes a patch of the noise (or the velocity) again.

    >>> unpatchify("h").flops()[0].formula()
    '2·B·T·D·i·j·o'
    """
    return contraction(name, f"{source}[BTD] W{name}[D{patch}] -> noise[BT{patch}]", bias=bias)
