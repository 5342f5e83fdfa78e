"""Normalisation over the model width, and the residual addition."""

from __future__ import annotations

from floorline.op import Elementwise, elementwise


def layer_norm(name: str, source: str, target: str, letters: str = "BTD", *, bias: bool = True) -> Elementwise:
    """Layer normalisation: mean and variance of each row. Source: Ba et al. 2016, arXiv:1607.06450, eq. 3.

    >>> [str(t) for t in layer_norm("norm1", "x", "h").inputs]
    ['x[BTD]', 'Wnorm1[D]', 'Wnorm1.bias[D]']
    """
    shift = f" W{name}.bias[D]" if bias else ""
    return elementwise(
        name,
        f"{source}[{letters}] W{name}[D]{shift} -> {target}[{letters}]",
        "layer_norm",
        reduces="D",
        statistics=(2, 2),
    )


def rms_norm(name: str, source: str, target: str, letters: str = "BTD") -> Elementwise:
    """Root-mean-square normalisation: one statistic a row, no bias. Source: Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4.

    >>> [str(t) for t in rms_norm("norm1", "x", "h").inputs]
    ['x[BTD]', 'Wnorm1[D]']
    """
    return elementwise(
        name, f"{source}[{letters}] W{name}[D] -> {target}[{letters}]", "rms_norm", reduces="D", statistics=(1, 1)
    )


def residual(name: str, stream: str, branch: str, target: str, letters: str = "BTD") -> Elementwise:
    """The addition that joins a branch to the residual stream; gradients pass it unchanged.

    >>> residual("add1", "x", "attn", "x1").linear
    True
    """
    return elementwise(name, f"{stream}[{letters}] {branch}[{letters}] -> {target}[{letters}]", "add", linear=True)


def dropout(name: str, source: str, target: str, letters: str = "BTD", *, kernel: str = "") -> Elementwise:
    """Dropout: in training a mask is drawn and kept; in inference it is not there. Source: Srivastava et al. 2014, JMLR 15.

    >>> dropout("drop", "attn", "attn_drop").phase
    'train'
    """
    return elementwise(name, f"{source}[{letters}] -> {target}[{letters}]", "dropout", phase="train", kernel=kernel)
