"""Feed-forward layers: two matmuls around an activation, or three with a gate."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.op import Op, contraction, elementwise


@dataclass(frozen=True)
class FeedForward:
    """Up, activation, down; with a gate, the activated gate multiplies what goes up.

    activation  "gelu", "silu", …
    gated       three matmuls instead of two
    bias        of all of them
    down_bias   of the last one, where it differs
    width       letter of the inner width
    name        prefix of names, where a block has more than one

    Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 2; gated: Shazeer 2020, arXiv:2002.05202, eq. 6.

    >>> [op.name for op in FeedForward("silu", gated=True).ops("h2", "ffn")]
    ['gate', 'up', 'act', 'down']
    """

    activation: str
    gated: bool = False
    bias: bool = False
    down_bias: bool | None = None
    width: str = "F"
    name: str = ""

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From ``source[BTD]`` to ``target[BTD]``."""
        n, f = self.name, self.width
        last_bias = self.bias if self.down_bias is None else self.down_bias
        down = contraction(f"{n}down", f"{n}m[BT{f}] W{n}down[{f}D] -> {target}[BTD]", bias=last_bias)
        if not self.gated:
            return (
                contraction(f"{n}up", f"{source}[BTD] W{n}up[D{f}] -> {n}u[BT{f}]", bias=self.bias),
                elementwise(f"{n}act", f"{n}u[BT{f}] -> {n}m[BT{f}]", self.activation),
                down,
            )
        label = f"{n}gate_up"
        return (
            contraction(f"{n}gate", f"{source}[BTD] W{n}gate[D{f}] -> {n}g[BT{f}]", kernel=label, bias=self.bias),
            contraction(f"{n}up", f"{source}[BTD] W{n}up[D{f}] -> {n}u[BT{f}]", kernel=label, bias=self.bias),
            elementwise(f"{n}act", f"{n}g[BT{f}] {n}u[BT{f}] -> {n}m[BT{f}]", f"gated_{self.activation}"),
            down,
        )
