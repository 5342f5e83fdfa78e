"""Normalisation, the residual addition, dropout."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.op import Elementwise, elementwise


@dataclass(frozen=True)
class Norm:
    """Normalisation of rows.

    function    "layer_norm" or "rms_norm"
    weight      whether each element has a learned scale
    bias        and a learned shift
    statistics  numbers a row, forward and backward

    >>> [str(t) for t in LAYER_NORM.op("norm1", "x", "h").inputs]
    ['x[BTD]', 'Wnorm1[D]', 'Wnorm1.bias[D]']
    """

    function: str
    weight: bool = True
    bias: bool = False
    statistics: tuple[int, int] = (1, 1)

    def op(
        self, name: str, source: str, target: str, letters: str = "BTD", over: str = "D", weight: str = ""
    ) -> Elementwise:
        """The operator.

        letters  of what is normalised
        over     those of a row
        weight   those of the scale, where it is not one for each element of a row
        """
        scale = f" W{name}[{weight or over}]" if self.weight else ""
        shift = f" W{name}.bias[{weight or over}]" if self.weight and self.bias else ""
        return elementwise(
            name,
            f"{source}[{letters}]{scale}{shift} -> {target}[{letters}]",
            self.function,
            reduces=over,
            statistics=self.statistics,
        )


RMS_NORM = Norm("rms_norm")
"""Root mean square: one statistic a row, no shift. Source: Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4."""
LAYER_NORM = Norm("layer_norm", bias=True, statistics=(2, 2))
"""Mean and variance. Source: Ba et al. 2016, arXiv:1607.06450, eq. 3."""
SCALE_NORM = Norm("layer_norm", statistics=(2, 2))
"""Layer norm without a shift."""
PLAIN_NORM = Norm("layer_norm", weight=False, statistics=(2, 2))
"""Layer norm with nothing to learn. Source: Groeneveld et al. 2024 (OLMo), arXiv:2402.00838, section 2.1."""


def residual(
    name: str, stream: str, branch: str, target: str, letters: str = "BTD", *, kernel: str = ""
) -> Elementwise:
    """The addition that joins a branch to the residual stream; gradients pass it unchanged.

    >>> residual("add1", "x", "attn", "x1").linear
    True
    """
    pattern = f"{stream}[{letters}] {branch}[{letters}] -> {target}[{letters}]"
    return elementwise(name, pattern, "add", kernel=kernel, linear=True)


def dropout(name: str, source: str, target: str, letters: str = "BTD", *, kernel: str = "") -> Elementwise:
    """Dropout: in training a mask is drawn and kept; in inference it is not there. Source: Srivastava et al. 2014, JMLR 15.

    >>> dropout("drop", "attn", "attn_drop").phase
    'train'
    """
    return elementwise(name, f"{source}[{letters}] -> {target}[{letters}]", "dropout", phase="train", kernel=kernel)
