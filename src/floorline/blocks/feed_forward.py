"""Feed-forward layers: two matmuls around an activation, or three with a gate."""

from __future__ import annotations

from floorline.op import Op, contraction, elementwise


def feed_forward(source: str, target: str, activation: str, *, bias: bool = False) -> tuple[Op, ...]:
    """Up, activation, down. Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 2.

    >>> [op.name for op in feed_forward("h2", "ffn", "gelu")]
    ['up', 'act', 'down']
    """
    return (
        contraction("up", f"{source}[BTD] Wup[DF] -> u[BTF]", bias=bias),
        elementwise("act", "u[BTF] -> m[BTF]", activation),
        contraction("down", f"m[BTF] Wdown[FD] -> {target}[BTD]", bias=bias),
    )


def gated_feed_forward(source: str, target: str, activation: str, *, bias: bool = False) -> tuple[Op, ...]:
    """Gate and up, their activated product, down. Source: Shazeer 2020, arXiv:2002.05202, eq. 6.

    >>> [op.name for op in gated_feed_forward("h2", "ffn", "silu")]
    ['gate', 'up', 'act', 'down']
    """
    return (
        contraction("gate", f"{source}[BTD] Wgate[DF] -> g[BTF]", kernel="gate_up", bias=bias),
        contraction("up", f"{source}[BTD] Wup[DF] -> u[BTF]", kernel="gate_up", bias=bias),
        elementwise("act", "g[BTF] u[BTF] -> m[BTF]", f"gated_{activation}"),
        contraction("down", f"m[BTF] Wdown[FD] -> {target}[BTD]", bias=bias),
    )
