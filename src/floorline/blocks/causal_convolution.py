"""A short causal convolution along the tokens, each channel by itself: what most state-space layers do before their state.

Each output sees its token and the w − 1 before it. A prefill pads w − 1 zeros on both sides and drops what is too much; while
decoding, the last w inputs come out of the cache and the window slides over w + 1 of them, so two outputs are computed and
one is used. The library's arithmetic is counted, padding included, for there is no other.

Sources: Gu and Dao 2023 (Mamba), arXiv:2312.00752; transformers 5.23, ``causal_conv1d_fn`` and
``causal_conv1d_update`` in models/mamba/modeling_mamba.py, ``LinearAttentionLayer.update_conv_state`` in cache_utils.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.convolution import convolution
from floorline.op import Op, cache_write, elementwise, view

WIDTH = "max(T + w*min(before, 1), w) + w - 1"
"""Outputs of a prefill: the prompt (with w earlier inputs, where there are some), at least w of them, padded by w − 1."""


@dataclass(frozen=True, kw_only=True)
class CausalConvolution:
    """Convolutions over some tensors that are stored as one, an activation, and the inputs that the next token needs.

    channels    tensors and their letters besides B and T: (("inner", "hp"), ("b", "gN"))
    bias        one for each channel
    activation  behind it, "" for none
    decode      whether this is one token with earlier inputs out of the cache

    Letters: w width of the window, L outputs that are computed, J inputs seen while decoding.

    >>> [op.name for op in CausalConvolution(channels=(("inner", "I"),), activation="silu").ops()]
    ['conv_inner', 'crop_inner', 'act_inner', 'tail_inner', 'cache_inner']
    """

    channels: tuple[tuple[str, str], ...]
    bias: bool = True
    activation: str = "silu"
    decode: bool = False

    @property
    def derived(self) -> tuple[tuple[str, str], ...]:
        """L and J."""
        return (("J", "w + 1"), ("L", "2")) if self.decode else (("L", WIDTH),)

    @property
    def caches(self) -> str:
        """What an earlier step left."""
        return " ".join(f"seen_{name}[B{letters}w]" for name, letters in self.channels) if self.decode else ""

    def result(self, name: str) -> str:
        """What a channel's tensor is called behind the convolution."""
        return f"{name}_act" if self.activation else f"{name}_conv"

    def ops(self) -> tuple[Op, ...]:
        """From ``x[BT…]`` to its result, for each of the channels."""
        return tuple(op for name, letters in self.channels for op in self.channel(name, letters))

    def channel(self, x: str, letters: str) -> tuple[Op, ...]:
        """One of them."""
        label, source = "conv", f"{x}[BT{letters}]"
        seen = f"{x}_seen[BJ{letters}]" if self.decode else source
        keep = f"{x}[BT{letters}]" if self.decode else f"{x}_tail[B{letters}w]"
        slide = elementwise(f"slide_{x}", f"seen_{x}[B{letters}w] {source} -> {seen}", "concatenate", kernel=label)
        act = elementwise(f"act_{x}", f"{x}_conv[BT{letters}] -> {x}_act[BT{letters}]", self.activation, kernel=label)
        return (
            *((slide,) if self.decode else ()),
            convolution(
                f"conv_{x}", f"{seen} Wconv_{x}[{letters}w] -> {x}_all[BL{letters}]", bias=self.bias, kernel=label
            ),
            view(f"crop_{x}", f"{x}_all[BL{letters}] -> {x}_conv[BT{letters}]", kernel=label),
            *((act,) if self.activation else ()),
            *(() if self.decode else (view(f"tail_{x}", f"{source} -> {x}_tail[B{letters}w]", kernel=label),)),
            cache_write(f"cache_{x}", f"{keep} -> kept_{x}[B{letters}w]", kernel=label),
        )
