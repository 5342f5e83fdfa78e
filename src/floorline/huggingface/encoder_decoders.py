"""What the readers of encoder–decoders share: where each side's tokens are, and a decoder that finds the encoder's states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from floorline.block import Block
from floorline.blocks.heads import unread_table
from floorline.huggingface.config import Config
from floorline.masks import everything
from floorline.num import Num
from floorline.transformer import SOURCE, Stack

ENCODED = (("T", "M"), ("S", "M"), ("σ", "0*M"))
"""An encoder's own tokens are the M that its decoder attends to; nothing came before them."""
LOGITS = (("T", "O"),)
"""A head sees the positions whose logits are asked."""


def encoding(block: Block, repeat: Num = 1.0, sizes: Mapping[str, Num] | None = None, *, alone: bool = False) -> Stack:
    """A stack of the encoder's side.

    sizes  letters whose size is the encoder's own: it may have other heads and another feed-forward width
    alone  whether there is no decoder: then its tokens are the model's
    """
    tokens, side = ((), "") if alone else (ENCODED, SOURCE)
    return Stack(block, repeat, tokens=tokens, sizes=sizes or {}, mask=everything, modality=side)


def decoding(make: Callable[[bool], Block], repeat: Num = 1.0) -> Stack:
    """A stack of decoder layers.

    make  a layer, given whether the encoder's keys and values are in the cache already
    """
    return Stack(make(False), repeat, decode=make(True))


def first_and_rest(first: Stack, rest: Stack, count: int) -> tuple[Stack, ...]:
    """A first layer that does more than the others, and those."""
    return (first, replace(rest, repeat=count - 1.0)) if count > 1 else (first,)


def tables(tied: bool) -> tuple[tuple[Stack, ...], str, str]:
    """What stands before the two sides, and the names of their token tables.

    Where nothing is tied each side has its own table in transformers, and a third is stored that nobody reads.

    >>> tables(True)
    ((), '/We', '/We')
    """
    if tied:
        return (), "/We", "/We"
    return (Stack(unread_table()),), "/Wencoder_tokens", "/Wdecoder_tokens"


def also(config: Config, *names: str) -> None:
    """Second names of sizes, in published configurations beside the first."""
    for name in names:
        config.get(name)
