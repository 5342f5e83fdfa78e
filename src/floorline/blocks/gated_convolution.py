"""A feed-forward network that sees each token's neighbours: matmuls with a gate, and a depthwise convolution before the gate.

Letters: F inner width, ``x`` ``y`` height and width of the convolution's window; each channel has a window of its own.

Sources: Xie et al. 2024 (Sana), arXiv:2410.10629, section 2.2, "Mix-FFN"; Xie et al. 2021 (SegFormer), arXiv:2105.15203, eq. 3;
diffusers, models/transformers/sana_transformer.py, GLUMBConv.
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.convolution import convolution
from floorline.op import Op, contraction, elementwise


@dataclass(frozen=True, kw_only=True)
class GatedConvolution:
    """Up and gate, an activation of both, a window for each of their channels, the gate, down.

    activation  of what goes up, and of the gate
    bias        of all but the last matmul, which has none

    Convolutions of one by one are matmuls, and are written as such.

    >>> ops = GatedConvolution().ops("h2", "ffn")
    >>> [op.name for op in ops]
    ['up', 'gate', 'act_up', 'act_gate', 'window_up', 'window_gate', 'act', 'down']
    >>> ops[4].flops()[0].formula()
    '2·B·T·F·x·y'
    """

    activation: str = "silu"
    bias: bool = True

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From ``source[BTD]`` to ``target[BTD]``."""
        both, window = "gate_up", "window"
        return (
            contraction("up", f"{source}[BTD] Wup[DF] -> u[BTF]", kernel=both, bias=self.bias),
            contraction("gate", f"{source}[BTD] Wgate[DF] -> g[BTF]", kernel=both, bias=self.bias),
            elementwise("act_up", "u[BTF] -> ua[BTF]", self.activation),
            elementwise("act_gate", "g[BTF] -> ga[BTF]", self.activation),
            convolution("window_up", "ua[BTF] Wwindow_up[Fxy] -> uw[BTF]", kernel=window, bias=self.bias),
            convolution("window_gate", "ga[BTF] Wwindow_gate[Fxy] -> gw[BTF]", kernel=window, bias=self.bias),
            elementwise("act", "gw[BTF] uw[BTF] -> m[BTF]", f"gated_{self.activation}"),
            contraction("down", f"m[BTF] Wdown[FD] -> {target}[BTD]"),
        )
