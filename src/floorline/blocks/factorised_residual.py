"""Residual blocks and changes of resolution whose convolutions are over the picture, then over time.

Letters: ``c`` ``o`` (``p`` ``q`` as many as ``o``) channels, ``t`` ``y`` ``x`` frames, height and width, ``n`` ``u`` ``v`` after a
change; ``k`` ``i`` ``j`` a window.
Sources: NVIDIA 2025 (Cosmos), arXiv:2501.03575; factorised convolutions: Tran et al. 2017, arXiv:1711.11248; diffusers 0.42,
models/autoencoders/autoencoder_kl_cosmos.py, CosmosConvProjection3d, CosmosDownsample3d.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.autoencoder import ChannelNorm
from floorline.blocks.norm import residual
from floorline.convolution import convolution
from floorline.op import Op, contraction, elementwise, view


def projection(name: str, source: str, target: str, letters: str) -> tuple[Op, ...]:
    """A convolution over the picture, then one over time.

    letters  channels that are read, made by the first, made by the second

    >>> [op.flops()[0].formula() for op in projection("conv", "x", "out", "cop")]
    ['2·B·o·t·y·x·c·i·j', '2·B·p·t·y·x·o·k']
    """
    read, made, last = letters[0], letters[1], letters[2]
    return (
        convolution(f"{name}_s", f"{source}[B{read}tyx] W{name}_s[{made}{read}ij] -> {name}_m[B{made}tyx]", bias=True),
        convolution(f"{name}_t", f"{name}_m[B{made}tyx] W{name}_t[{last}{made}k] -> {target}[B{last}tyx]", bias=True),
    )


@cache
def factorised(name: str) -> Block:
    """Such a pair of convolutions by itself: the first one.

    >>> [op.name for op in factorised("conv_in").ops]
    ['conv_in_s', 'conv_in_t']
    """
    return block(name, "x[Bctyx]", projection(name, "x", "out", "cop"), "out", (("p", "o"),))


@cache
def factorised_residual(norm: ChannelNorm, *, shortcut: bool = False) -> Block:
    """Twice a norm, an activation and a pair of convolutions, beside the input.

    >>> from floorline.blocks.autoencoder import GroupNorm
    >>> [str(t) for t in factorised_residual(GroupNorm(1, "t")).weights() if t.name.startswith("Wconv") and "k" in t.letters]
    ['Wconv1_t[pok]', 'Wconv2_t[pok]']
    """
    skip: Op = view("same", "x[Bctyx] -> skip[Bptyx]")
    if shortcut:
        skip = contraction("shortcut", "x[Bctyx] Wshortcut[pc] -> skip[Bptyx]", bias=True)
    ops = (
        *norm.ops("norm1", "x", "n1", "c", "tyx"),
        elementwise("act1", "n1[Bctyx] -> a1[Bctyx]", "silu"),
        *projection("conv1", "a1", "m", "cop"),
        *norm.ops("norm2", "m", "n2", "p", "tyx"),
        elementwise("act2", "n2[Bptyx] -> a2[Bptyx]", "silu"),
        view("again", "a2[Bptyx] -> b2[Bqtyx]"),
        *projection("conv2", "b2", "r", "qop"),
        skip,
        residual("add", "skip", "r", "out", "Bptyx"),
    )
    return block("resnet", "x[Bctyx]", ops, "out", (("p", "o"), ("q", "o")), layer=True)


@cache
def factorised_head(norm: ChannelNorm) -> Block:
    """The last norm, activation and pair of convolutions.

    >>> from floorline.blocks.autoencoder import GroupNorm
    >>> [op.name for op in factorised_head(GroupNorm(1, "t")).ops]
    ['norm_out', 'act_out', 'conv_out_s', 'conv_out_t']
    """
    ops = (
        *norm.ops("norm_out", "x", "n", "c", "tyx"),
        elementwise("act_out", "n[Bctyx] -> a[Bctyx]", "silu"),
        *projection("conv_out", "a", "out", "cop"),
    )
    return block("conv_out", "x[Bctyx]", ops, "out", (("p", "o"),))


@cache
def factorised_down(*, space: bool, time: bool) -> Block:
    """Half the height and width, half the frames, or both: a convolution of stride two beside a mean, then a matmul.

    >>> [op.flops()[0].formula() for op in factorised_down(space=True, time=True).ops if op.flops()]
    ['2·B·o·t·u·v·c·i·j', '2·B·c·n·u·v·o·k', '2·B·c·n·u·v·o']
    """
    ops: tuple[Op, ...] = ()
    source, letters = "x", "ctyx"
    if space:
        ops += (
            convolution("height_width", "x[Bctyx] Wheight_width[ocij] -> s[Botuv]", bias=True),
            elementwise("pool_s", "x[Bctyx] s[Botuv] -> pooled_s[Botuv]", "mean"),
        )
        source, letters = "pooled_s", "otuv"
    if time:
        read, area = letters[0], letters[2:]
        made = "c" if read == "o" else "o"
        ops += (
            convolution("frames", f"{source}[B{letters}] Wframes[{made}{read}k] -> t[B{made}n{area}]", bias=True),
            elementwise("pool_t", f"{source}[B{letters}] t[B{made}n{area}] -> pooled_t[B{made}n{area}]", "mean"),
        )
        source, letters = "pooled_t", f"{made}n{area}"
    return block("down", "x[Bctyx]", (*ops, *mixed(source, letters)), "out")


@cache
def factorised_up(*, space: bool, time: bool) -> Block:
    """Twice the frames but the first, twice the height and width, or both: each repeated, a convolution beside it, then a matmul.

    >>> [op.flops()[0].formula() for op in factorised_up(space=True, time=True).ops if op.flops()]
    ['2·B·o·n·y·x·c·k', '2·B·c·n·u·v·o·i·j', '2·B·c·n·u·v·o']
    """
    ops: tuple[Op, ...] = ()
    source, letters = "x", "ctyx"
    if time:
        ops += (
            elementwise("repeat_t", "x[Bctyx] -> more[Bcnyx]", "repeat"),
            convolution("frames", "more[Bcnyx] Wframes[ock] -> t[Bonyx]", bias=True),
            view("same_t", "more[Bcnyx] -> skip_t[Bonyx]"),
            residual("add_t", "skip_t", "t", "longer", "Bonyx"),
        )
        source, letters = "longer", "onyx"
    if space:
        read, frames = letters[0], letters[1]
        made = "c" if read == "o" else "o"
        ops += (
            elementwise("repeat_s", f"{source}[B{letters}] -> finer[B{read}{frames}uv]", "repeat"),
            convolution(
                "height_width",
                f"finer[B{read}{frames}uv] Wheight_width[{made}{read}ij] -> s[B{made}{frames}uv]",
                bias=True,
            ),
            view("same_s", f"finer[B{read}{frames}uv] -> skip_s[B{made}{frames}uv]"),
            residual("add_s", "skip_s", "s", "larger", f"B{made}{frames}uv"),
        )
        source, letters = "larger", f"{made}{frames}uv"
    return block("up", "x[Bctyx]", (*ops, *mixed(source, letters)), "out")


def mixed(source: str, letters: str) -> tuple[Op, ...]:
    """The matmul at the end of a change of resolution."""
    read, extent = letters[0], letters[1:]
    made = "c" if read == "o" else "o"
    return (contraction("mix", f"{source}[B{letters}] Wmix[{made}{read}] -> out[B{made}{extent}]", bias=True),)
