"""What the readers of encoder–decoders share: where each side's tokens are, and a decoder that finds the encoder's states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from floorline.block import Block
from floorline.blocks.attention import Attention
from floorline.blocks.cross_attention import MEMORY, CrossAttention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.heads import unread_table
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import LAYER_NORM
from floorline.huggingface.config import Config, divide
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


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What the layers of both sides have in common, where all projections have biases and norms are layer norms.

    activation      of the feed-forward network
    before          whether norms stand before each branch, else behind it
    drop            dropout of what each branch adds, in training
    attention_drop  dropout of the attention weights
    key_bias        whether keys have a bias as queries and values have
    """

    activation: str
    before: bool
    drop: bool
    attention_drop: bool
    key_bias: bool = True

    def branch(self, part: Attention | CrossAttention | FeedForward, name: str) -> Branch:
        """A branch with its norm."""
        if self.before:
            return Branch(part=part, before=LAYER_NORM, drop=self.drop, name=name)
        return Branch(part=part, behind=LAYER_NORM, drop=self.drop, name=name)

    def attention(self, *, cached: bool) -> Branch:
        """Self-attention."""
        part = Attention(bias=True, key_bias=self.key_bias, out_bias=True, cached=cached, dropout=self.attention_drop)
        return self.branch(part, "attn")

    def feed_forward(self) -> Branch:
        """Two matmuls."""
        return self.branch(FeedForward(self.activation, bias=True), "ffn")


@cache
def encoder_layer(own: Layer) -> Block:
    """Attention to all of the source, then a feed-forward network.

    >>> encoder_layer(Layer(activation="gelu", before=True, drop=False, attention_drop=False)).caches()
    ()
    """
    return layer(own.attention(cached=False), own.feed_forward(), name="encoder_block")


@cache
def decoder_layer(own: Layer, held: bool) -> Block:
    """Attention to what is there, to the encoder's states, then a feed-forward network.

    held  whether the keys and values of the encoder's states are in the cache already

    >>> own = Layer(activation="gelu", before=True, drop=False, attention_drop=False)
    >>> [t.letters for t in decoder_layer(own, False).caches()]
    ['BSKH', 'BSKH', 'BMKH', 'BMKH']
    """
    cross = CrossAttention(bias=True, key_bias=own.key_bias, out_bias=True, dropout=own.attention_drop, held=held)
    branches = own.attention(cached=True), own.branch(cross, "cross"), own.feed_forward()
    return layer(*branches, inputs="" if held else MEMORY)


def side_sizes(config: Config, side: str, width: Num, ffn: float = 4096.0, heads: float = 16.0) -> dict[str, Num]:
    """Heads and feed-forward width of one side."""
    n = config.size(f"{side}_attention_heads", heads)
    return {
        "K": n,
        "G": 1.0,
        "H": divide(config, width, n, "d_model", f"{side}_attention_heads"),
        "F": config.size(f"{side}_ffn_dim", ffn),
    }
