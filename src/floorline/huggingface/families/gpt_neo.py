"""GPT-Neo: learned positions, every other layer sees a window (its cache keeps all). Source of the fields: transformers,
configuration_gpt_neo.py and modeling_gpt_neo.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from floorline.blocks.attention import Attention
from floorline.blocks.embedding import embedding
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import LAYER_NORM
from floorline.errors import BadInput
from floorline.huggingface.common import by_kind, drops, head_sizes, language_model, whole_layers
from floorline.huggingface.config import Config
from floorline.masks import causal, window
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "gpt_neo".

    raises BadInput where attention_types do not list as many layers as there are

    >>> small = {"hidden_size": 64, "num_heads": 4, "num_layers": 2, "vocab_size": 100}
    >>> model = read(Config({**small, "max_position_embeddings": 32}, "small"))
    >>> [stack.mask.__name__ for stack in model.stacks]
    ['causal', 'causal', 'window', 'causal']
    """
    attention = Attention(out_bias=True, dropout=drops(config, "attention_dropout"))
    ffn = FeedForward(config.activation("activation_function", "gelu_new"), bias=True)
    drop = drops(config, "resid_dropout")
    block = layer(*(Branch(part=part, before=LAYER_NORM, drop=drop) for part in (attention, ffn)))
    count, seen = whole_layers(config, "num_layers"), config.size("window_size", 256.0)

    def make(kind: str) -> Stack:
        return Stack(block, mask={"global": causal, "local": window}[kind], sizes={"window": seen})

    stacks, order = by_kind(kinds(config, count), make)
    heads = head_sizes(config, heads="num_heads", kv_heads="", head_dim="")
    sizes = {**heads, "F": config.size("intermediate_size", 4.0 * heads["D"])}
    sizes["P"] = config.size("max_position_embeddings", 2048.0)
    start = embedding(positions=True, drop=drops(config, "embed_dropout"))
    tied = config.flag("tie_word_embeddings", True)
    model = language_model(config, sizes, stacks, LAYER_NORM, tied=tied, order=order, start=start, learned=True)
    return replace(model, max_positions=sizes["P"])


def kinds(config: Config, count: int) -> list[str]:
    """Global or local, for each layer: ``attention_types`` is a list of [pattern, times], ``attention_layers`` the whole."""
    listed, types = config.get("attention_layers"), config.get("attention_types")
    if types is not None or listed is None:
        try:
            pairs: Any = types or [[["global", "local"], count / 2]]
            listed = [kind for pattern, times in pairs for kind in list(pattern) * int(times)]
        except (TypeError, ValueError):
            raise BadInput(
                f'{config.name}: attention_types is {str(types)[:40]!r}; expected [[["global", "local"], 12]]'
            ) from None
    if not isinstance(listed, list) or len(listed) != count or set(listed) - {"global", "local"}:
        raise BadInput(
            f"{config.name}: attention_types list no {count} layers, each global or local; expected one for each"
        )
    return listed
