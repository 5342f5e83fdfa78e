"""What autoencoders of pictures and videos are made of: residual blocks of two convolutions, and attention in the middle.

Letters: ``c`` channels that come in, ``o`` those that go out (``p`` as many), ``t`` ``y`` ``x`` frames, height and width,
``k`` ``i`` ``j`` those of a window.

Sources: Rombach et al. 2021 (latent diffusion), arXiv:2112.10752, section 3.1; Esser et al. 2020 (VQGAN), arXiv:2012.09841,
table 7; diffusers 0.42, models/resnet.py, ResnetBlock2D, models/unets/unet_2d_blocks.py, UNetMidBlock2D.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache

from floorline.block import Block, block
from floorline.blocks.attention import Attention
from floorline.blocks.norm import Norm, residual
from floorline.convolution import convolution
from floorline.letters import without
from floorline.op import Op, contraction, elementwise, view


@dataclass(frozen=True)
class Space:
    """Over what a convolution runs.

    extent  letters of what it makes
    window  letters of what it sees of each
    """

    extent: str = "yx"
    window: str = "ij"


PLANE, VOLUME = Space(), Space("tyx", "kij")
FRAMES = Space("tyx", "ij")
"""A picture, a video, and a video picture by picture."""


class ChannelNorm(ABC):
    """A norm of an image's channels (abstract).

    data  what else it reads
    """

    data: str = ""

    @abstractmethod
    def ops(self, name: str, source: str, target: str, channel: str, extent: str) -> tuple[Op, ...]:
        """From one tensor to another."""


@dataclass(frozen=True)
class GroupNorm(ChannelNorm):
    """A mean and a variance for each group of channels. Source: Wu and He 2018, arXiv:1803.08494, section 3.1.

    apart  letters each of which has its own: "t" where every frame is normalised by itself

    >>> [str(t) for t in GroupNorm(32).ops("norm1", "x", "h", "c", "yx")[0].inputs]
    ['x[Bcyx]', 'Wnorm1[c]', 'Wnorm1.bias[c]']
    """

    groups: int
    apart: str = ""

    def ops(self, name: str, source: str, target: str, channel: str, extent: str) -> tuple[Op, ...]:
        row = channel + extent
        norm = Norm("group_norm", bias=True, statistics=(2 * self.groups, 2 * self.groups))
        return (norm.op(name, source, target, f"B{row}", without(row, self.apart), channel),)


@dataclass(frozen=True)
class PixelNorm(ChannelNorm):
    """The channels of each pixel normalised.

    >>> PixelNorm(Norm("rms_norm")).ops("norm1", "x", "h", "c", "yx")[0].reduces
    'c'
    """

    norm: Norm

    def ops(self, name: str, source: str, target: str, channel: str, extent: str) -> tuple[Op, ...]:
        return (self.norm.op(name, source, target, f"B{channel}{extent}", channel),)


@cache
def residual_block(
    space: Space, norm: ChannelNorm, activation: str = "silu", *, shortcut: bool = False, name: str = "resnet"
) -> Block:
    """Twice a norm, an activation and a convolution, beside the input; where channels change, the input takes a matmul.

    >>> [str(t) for t in residual_block(PLANE, GroupNorm(32)).weights() if "conv" in t.name]
    ['Wconv1[ocij]', 'Wconv1.bias[o]', 'Wconv2[coij]', 'Wconv2.bias[c]']
    """
    e, w, out = space.extent, space.window, "p" if shortcut else "c"
    skip = contraction("shortcut", f"x[Bc{e}] Wshortcut[pc] -> skip[Bp{e}]", bias=True)
    ops = (
        *norm.ops("norm1", "x", "n1", "c", e),
        elementwise("act1", f"n1[Bc{e}] -> a1[Bc{e}]", activation),
        convolution("conv1", f"a1[Bc{e}] Wconv1[oc{w}] -> m[Bo{e}]", bias=True),
        *norm.ops("norm2", "m", "n2", "o", e),
        elementwise("act2", f"n2[Bo{e}] -> a2[Bo{e}]", activation),
        convolution("conv2", f"a2[Bo{e}] Wconv2[{out}o{w}] -> r[B{out}{e}]", bias=True),
        *((skip,) if shortcut else ()),
        residual("add", "skip" if shortcut else "x", "r", "out", f"B{out}{e}"),
    )
    derived = (("p", "o"),) if shortcut else ()
    return block(name, f"x[Bc{e}]", ops, "out", derived, layer=True, data=norm.data)


@cache
def attention_block(space: Space, norm: ChannelNorm) -> Block:
    """Attention of one head over all pixels, beside the input: T and S are their number, D and H the channels.

    >>> attention_block(PLANE, GroupNorm(32)).ops[2].flops()[0].formula()
    '2·B·T·D·K·G·H'
    """
    e = space.extent
    ops = (
        *norm.ops("norm", "x", "n", "c", e),
        view("flatten", f"n[Bc{e}] -> h[BTD]"),
        *Attention(bias=True, out_bias=True, cached=False).ops("h", "attn"),
        view("picture", f"attn[BTD] -> r[Bc{e}]"),
        residual("add", "x", "r", "out", f"Bc{e}"),
    )
    return block("attention", f"x[Bc{e}]", ops, "out", layer=True)


@cache
def convolved(space: Space, name: str, *, data: bool = False) -> Block:
    """One convolution, such as the first.

    data  whether it reads what is given: pixels or latents

    >>> convolved(PLANE, "conv_in").ops[0].flops()[0].formula()
    '2·B·o·y·x·c·i·j'
    """
    e, given = space.extent, f"x[Bc{space.extent}]"
    op = convolution(name, f"{given} W{name}[oc{space.window}] -> out[Bo{e}]", bias=True)
    return block(name, "" if data else given, (op,), "out", data=given if data else "")


@cache
def pointwise(space: Space, name: str, *, data: bool = False) -> Block:
    """A convolution with a window of one, which is a matmul: moments of the latents, and back.

    >>> pointwise(PLANE, "quant").ops[0].flops()[0].formula()
    '2·B·c·y·x·o'
    """
    e, given = space.extent, f"x[Bc{space.extent}]"
    op = contraction(name, f"{given} W{name}[oc] -> out[Bo{e}]", bias=True)
    return block(name, "" if data else given, (op,), "out", data=given if data else "")


@cache
def head(space: Space, norm: ChannelNorm, activation: str = "silu") -> Block:
    """The last norm, activation and convolution.

    >>> [op.name for op in head(PLANE, GroupNorm(32)).ops]
    ['norm_out', 'act_out', 'conv_out']
    """
    e = space.extent
    ops = (
        *norm.ops("norm_out", "x", "n", "c", e),
        elementwise("act_out", f"n[Bc{e}] -> a[Bc{e}]", activation),
        convolution("conv_out", f"a[Bc{e}] Wconv_out[oc{space.window}] -> out[Bo{e}]", bias=True),
    )
    return block("conv_out", f"x[Bc{e}]", ops, "out", data=norm.data)


@cache
def pointwise_head(space: Space, norm: ChannelNorm | None, activation: str = "silu", *, bias: bool = True) -> Block:
    """The last norm, if any, activation and matmul.

    >>> [op.name for op in pointwise_head(VOLUME, None).ops]
    ['act_out', 'proj_out']
    """
    e = space.extent
    normed = norm.ops("norm_out", "x", "n", "c", e) if norm else ()
    ops = (
        *normed,
        elementwise("act_out", f"{'n' if norm else 'x'}[Bc{e}] -> a[Bc{e}]", activation),
        contraction("proj_out", f"a[Bc{e}] Wproj_out[oc] -> out[Bo{e}]", bias=bias),
    )
    return block("proj_out", f"x[Bc{e}]", ops, "out")
