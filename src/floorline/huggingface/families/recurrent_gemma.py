"""RecurrentGemma (Griffin): two layers with a linear recurrence, then one of local attention, a gated feed-forward in each.

The library keeps the states inside its modules, where they are no cache that it returns; counted as the library does, there is
none.

Sources: Botev et al. 2024, arXiv:2404.07839; fields and what is meant where one is left out: transformers 5.23,
models/recurrent_gemma/configuration_recurrent_gemma.py and modeling_recurrent_gemma.py.
"""

from __future__ import annotations

from dataclasses import replace

from floorline.block import Block
from floorline.blocks.attention import Attention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, Part, layer
from floorline.blocks.norm import RMS_NORM
from floorline.blocks.recurrent import RgLru
from floorline.errors import BadInput
from floorline.huggingface.common import by_kind, drops, language_model, seen, whole_layers
from floorline.huggingface.config import Config, divide
from floorline.huggingface.state_space import attention_sizes, stepping
from floorline.num import Num, floor, number
from floorline.transformer import Stack, Transformer

KINDS = ("recurrent", "recurrent", "attention")
MOST_KINDS = 100
"""The library repeats the list of kinds so many times, then cuts it to the number of layers."""


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "recurrent_gemma".

    >>> read(Config({"model_type": "recurrent_gemma", "num_hidden_layers": 3}, "small")).order
    (0, 0, 1)
    """
    activation = config.activation("hidden_activation", "gelu_pytorch_tanh")
    keeps, window = not config.library, config.size("attention_window_size", 2048.0)
    feed_forward = FeedForward(activation, gated=True, bias=True)
    attention = Attention(
        bias=config.flag("attention_bias", False),
        out_bias=True,
        rotary=True,
        cached=keeps,
        dropout=drops(config, "attention_dropout"),
        softmax="softmax_fp32",
    )

    def block(part: Part, name: str) -> Block:
        first = Branch(part=part, before=RMS_NORM, name="mixed")
        return layer(first, Branch(part=feed_forward, before=RMS_NORM), name=name)

    def step(decode: bool) -> Block:
        return block(RgLru(activation=activation, decode=decode, cached=keeps), "recurrent")

    def make(kind: str) -> Stack:
        if kind == "recurrent":
            return stepping(step)
        attends = block(attention, "attention")
        return replace(seen(config, "sliding_attention", attends, size=window), decode=attends)

    stacks, order = by_kind(kinds_of(config), make)
    tied = config.flag("tie_word_embeddings", True)
    return language_model(config, sizes(config), stacks, RMS_NORM, tied=tied, order=order)


def kinds_of(config: Config) -> list[str]:
    """The kind of each layer: the listed ones over and over.

    raises BadInput where they are no list of the two kinds, or too short for so many layers
    """
    listed, count = config.get("block_types") or list(KINDS), whole_layers(config, default=26.0)
    if not isinstance(listed, list) or not all(x in KINDS for x in listed):
        raise BadInput(
            f"{config.name}: block_types is {str(listed)[:60]!r}; expected a list of recurrent and attention"
        )
    if len(listed) * MOST_KINDS < count:
        raise BadInput(
            f"{config.name}: block_types lists {len(listed)} kinds, {MOST_KINDS} times over too few for {count} layers"
        )
    return [listed[i % len(listed)] for i in range(count)]


def sizes(config: Config) -> dict[str, Num]:
    """Sizes of all letters."""
    width = config.size("hidden_size", 2560.0)
    recurrent = config.size("lru_width", width)
    found = attention_sizes(config, 10.0, None, width=width)
    heads = found["K"] * found["G"]
    return {
        **found,
        "F": number(floor(config.size("intermediate_size", 7680.0) / 2.0)),
        "h": heads,
        "p": divide(config, recurrent, heads, "lru_width", "num_attention_heads"),
        "w": config.size("conv1d_width", 4.0),
        "V": 256000.0,
    }
