"""Mamba: a selective state space, one state of N numbers for each of I channels, updated token by token.

    state = exp(dt · A) ∘ state + dt · B x        y = C state + D x

dt, B and C are made of the token itself (that is the selection); A and D are learned. Of the walk along the tokens only the
read-out C state is a contraction; the update is elementwise.

Sources: Gu and Dao 2023, arXiv:2312.00752; transformers 5.23, ``mamba_selective_scan`` and ``mamba_selective_state_update`` in
models/mamba/modeling_mamba.py. Several heads of channels, each with its own dt, B and C: models/zamba/modeling_zamba.py; norms of
dt, B and C: models/jamba/modeling_jamba.py and, without weights, models/falcon_mamba/modeling_falcon_mamba.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.blocks.causal_convolution import CausalConvolution
from floorline.blocks.norm import Norm
from floorline.op import Op, cache_write, contraction, elementwise
from floorline.scan import scan

STATE_FORMAT = (("state", "fp32"),)
"""States are kept in fp32 whatever the run's formats: transformers' ``update_recurrent_state`` stores what the scan made."""


@dataclass(frozen=True, kw_only=True)
class Mamba:
    """A selective state-space layer.

    activation  behind the convolution
    bias        of the projections in and out
    conv_bias   of the convolution
    norm        of dt, B and C
    heads       whether channels come in h heads of p, each with its own dt, B and C, instead of I together
    decode      whether this is one token with a state out of the cache

    Letters: I channels, or h heads of p channels; N state of a channel, r rank of dt, w window of the convolution.

    >>> [op.name for op in Mamba().ops("h", "out")][:6]
    ['in_inner', 'in_z', 'conv_inner', 'crop_inner', 'act_inner', 'tail_inner']
    """

    activation: str = "silu"
    bias: bool = False
    conv_bias: bool = True
    norm: Norm | None = None
    heads: bool = False
    decode: bool = False

    @property
    def convolution(self) -> CausalConvolution:
        """What comes before the state."""
        channels = (("inner", self.channels),)
        return CausalConvolution(channels=channels, bias=self.conv_bias, activation=self.activation, decode=self.decode)

    @property
    def channels(self) -> str:
        """Letters of the inner width."""
        return "hp" if self.heads else "I"

    @property
    def derived(self) -> tuple[tuple[str, str], ...]:
        """Letters of the convolution."""
        return self.convolution.derived

    @property
    def caches(self) -> str:
        """What an earlier step left."""
        return f"{self.convolution.caches} state[B{self.channels}N]" if self.decode else ""

    @property
    def formats(self) -> tuple[tuple[str, str], ...]:
        """Of the states."""
        return STATE_FORMAT

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From normalised states ``source[BTD]`` to the branch ``target[BTD]``."""
        c = self.channels
        return (
            contraction("in_inner", f"{source}[BTD] Win_inner[D{c}] -> inner[BT{c}]", kernel="in_proj", bias=self.bias),
            contraction("in_z", f"{source}[BTD] Win_z[D{c}] -> z[BT{c}]", kernel="in_proj", bias=self.bias),
            *self.convolution.ops(),
            *self.selection(self.convolution.result("inner")),
            *self.walk(self.convolution.result("inner")),
            elementwise("gate_scan", f"scanned[BT{c}] z[BT{c}] -> gated[BT{c}]", "gated_silu"),
            contraction("out", f"gated[BT{c}] Wout[{c}D] -> {target}[BTD]", bias=self.bias),
        )

    def selection(self, x: str) -> tuple[Op, ...]:
        """dt, B and C of each token."""
        c, h, one = self.channels, "h" if self.heads else "", self.channels[-1]
        made = {"step": f"{h}r", "b": f"{h}N", "c": f"{h}N"}
        norms = [
            self.norm.op(f"norm_{n}", f"{n}_raw", f"{n}_low", f"BT{w}", w[-1]) for n, w in made.items() if self.norm
        ]
        n = "low" if self.norm else "raw"
        return (
            *(
                contraction(f"make_{n}", f"{x}[BT{c}] Wmake_{n}[{c}{w[-1]}] -> {n}_raw[BT{w}]", kernel="x_proj")
                for n, w in made.items()
            ),
            *norms,
            contraction("step", f"step_{n}[BT{h}r] Wstep[{h}r{one}] -> step[BT{c}]", bias=True),
        )

    def walk(self, x: str) -> tuple[Op, ...]:
        """Along the tokens: decay, update, read-out; the last state is kept."""
        c, h, n = self.channels, "h" if self.heads else "", "low" if self.norm else "raw"
        given = f"{x}[BT{c}] step[BT{c}] b_{n}[BT{h}N] c_{n}[BT{h}N] Wa[{c}N] Wskip[{c}]"
        before = f" state[B{c}N]" if self.decode else ""
        made = f"scanned[BT{c}] last[B{c}N]"
        return (
            scan("scan", f"{given}{before} -> {made}", (f"BT{c}N",), "recurrent", kernel="scan"),
            cache_write("cache_state", f"last[B{c}N] -> kept_state[B{c}N]", kernel="scan", format="fp32"),
        )
