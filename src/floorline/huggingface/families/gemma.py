"""Gemma, generations 1 to 3: wide heads, a gated feed-forward, a tied head; from 2 on norms on both sides of each branch and
windows in most layers; from 3 on norms of queries and keys.

Sources: Gemma 2, arXiv:2408.00118, section 2; Gemma 3, arXiv:2503.19786, section 2; fields and what is meant where one is left
out: transformers 5.23, models/gemma*/configuration_gemma*.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from floorline.block import Block
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import RMS_NORM
from floorline.huggingface.common import by_kind, drops, language_model, layer_types, layers, seen, whole_layers
from floorline.huggingface.config import Config, divide, rounded
from floorline.masks import everything
from floorline.num import Num
from floorline.transformer import Stack, Transformer


@dataclass(frozen=True, kw_only=True)
class Generation:
    """What one generation does, and its sizes where the configuration leaves them out.

    width, inner, depth, heads, kv_heads, vocabulary  hidden_size, intermediate_size, …
    activation  the key of the activation function
    both_sides  whether a branch ends with a norm too
    head_norm   of queries and keys
    every       one layer in so many sees all, the others a window; 0 where all see all
    halved      whether a layer that sees both ways has half the window on each side
    longest     max_position_embeddings
    """

    width: Num = 2304.0
    inner: Num = 9216.0
    depth: Num = 26.0
    heads: Num = 8.0
    kv_heads: Num = 4.0
    vocabulary: Num = 256000.0
    activation: str = "hidden_activation"
    both_sides: bool = True
    head_norm: HeadNorm | None = None
    every: float = 0.0
    halved: bool = False
    longest: Num = 8192.0


FIRST = Generation(
    width=3072.0, inner=24576.0, depth=28.0, heads=16.0, kv_heads=16.0, activation="hidden_act", both_sides=False
)
SECOND = Generation(every=2.0)
THIRD = Generation(vocabulary=262208.0, head_norm=HeadNorm(RMS_NORM), every=6.0, halved=True, longest=131072.0)
GENERATIONS = {"gemma": FIRST, "gemma2": SECOND, "gemma3_text": THIRD}


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "gemma", "gemma2" or "gemma3_text".

    >>> two = read(Config({"model_type": "gemma2"}, "gemma-2-2b"))
    >>> two.parameter_count().total, [float(s.repeat) for s in two.stacks]
    (2614341888.0, [1.0, 13.0, 13.0, 1.0])
    """
    own = GENERATIONS[config.text("model_type", "gemma")]
    return text(config, own, config.flag("tie_word_embeddings", True))


def text(config: Config, own: Generation, tied: bool) -> Transformer:
    """The language model, alone or inside one that sees pictures."""
    bias = config.flag("attention_bias", False)
    attention = Attention(
        bias=bias,
        out_bias=bias,
        rotary=True,
        head_norm=own.head_norm,
        softmax="softmax_fp32",
        dropout=drops(config, "attention_dropout"),
    )
    ffn = FeedForward(config.activation(own.activation, "gelu_pytorch_tanh"), gated=True)
    after = RMS_NORM if own.both_sides else None
    block = layer(*(Branch(part=part, before=RMS_NORM, after=after) for part in (attention, ffn)))
    heads, kv_heads = config.size("num_attention_heads", own.heads), config.size("num_key_value_heads", own.kv_heads)
    sizes = {
        "D": config.size("hidden_size", own.width),
        "K": kv_heads,
        "G": divide(config, heads, kv_heads, "num_attention_heads", "num_key_value_heads"),
        "H": config.size("head_dim", 256.0),
        "F": config.size("intermediate_size", own.inner),
        "V": own.vocabulary,
    }
    stacks, order = decoder(config, own, block)
    made = language_model(config, sizes, stacks, RMS_NORM, tied=tied, order=order)
    return replace(made, max_positions=config.size("max_position_embeddings", own.longest))


def decoder(config: Config, own: Generation, block: Block) -> tuple[tuple[Stack, ...], tuple[int, ...]]:
    """The layers and their order: all alike, or windows with a layer now and then that sees all."""
    both_ways = config.flag("use_bidirectional_attention", False)
    if not own.every:
        stack = Stack(block, layers(config, default=own.depth))
        return (replace(stack, mask=everything) if both_ways else stack,), ()
    for unused in ("_sliding_window_pattern", "sliding_window_size"):  # written by the library, never read
        config.get(unused)
    every = config.size("sliding_window_pattern", own.every) if own.halved else own.every
    window = config.maybe("sliding_window", 4096.0)
    if both_ways and own.halved and window is not None:
        window = rounded(window / 2.0) + 1.0

    def rule(i: int) -> str:
        return "sliding_attention" if (i + 1) % float(every) else "full_attention"

    def make(kind: str) -> Stack:
        stack = seen(config, kind, block, size=window)
        return replace(stack, mask=everything) if both_ways else stack

    return by_kind(layer_types(config, whole_layers(config, default=own.depth), rule), make)
