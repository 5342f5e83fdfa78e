"""Llama 4: chunked attention in three layers of four, experts in every layer or every other one, a shared expert beside
them. Source of the fields: transformers, configuration_llama4.py and modeling_llama4.py."""

from __future__ import annotations

from dataclasses import replace

from floorline.block import Block
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.experts import Experts
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import RMS_NORM
from floorline.errors import BadInput
from floorline.huggingface.common import by_kind, drops, head_sizes, language_model, layer_types, seen, whole_layers
from floorline.huggingface.config import Config
from floorline.huggingface.families._llama4_vision import vision_stacks
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "llama4" or "llama4_text".

    >>> small = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 4}
    >>> rest = {"intermediate_size": 32, "intermediate_size_mlp": 64, "vocab_size": 100, "head_dim": 16}
    >>> read(Config({"model_type": "llama4_text", **small, **rest}, "small")).layers()
    4.0
    """
    if config.text("model_type", "llama4") == "llama4_text":
        return text(config)
    inner = config.part("text_config")
    made = text(inner)
    inner.finish()
    config.flag("tie_word_embeddings", False)
    return replace(made, name=config.name, stacks=(*vision_stacks(config, made.sizes["D"]), *made.stacks))


def text(config: Config) -> Transformer:
    """The language model."""
    bias = config.flag("attention_bias", False)
    normed = config.flag("use_qk_norm", True)
    dropout = drops(config, "attention_dropout")
    plain = Attention(bias=bias, out_bias=bias, softmax="softmax_fp32", dropout=dropout)
    turned = replace(
        plain,
        rotary=True,
        head_norm=HeadNorm(replace(RMS_NORM, weight=False)) if normed else None,
        norm_last=True,
    )
    activation = config.activation("hidden_act", "silu")
    dense = FeedForward(activation, gated=True)
    # the library's class runs every expert on every token and lets the router's zeros cancel what was not chosen
    shared = FeedForward(activation, gated=True, width="f", name="shared_")
    mixture = Experts(activation=activation, score="sigmoid", shared=shared, dense=config.library)
    stacks, order = text_stacks(config, (plain, turned), (dense, mixture))
    heads = head_sizes(config, default_kv=8.0, default_dim=128.0)
    sizes = {
        **heads,
        "E": config.size("num_local_experts", 16.0),
        "k": config.size("num_experts_per_tok", 1.0),
        "f": config.size("intermediate_size"),
        "F": config.size("intermediate_size_mlp", 16384.0),
    }
    return language_model(config, sizes, stacks, RMS_NORM, tied=config.flag("tie_word_embeddings", False), order=order)


def text_stacks(
    config: Config, attentions: tuple[Attention, Attention], parts: tuple[FeedForward, Experts]
) -> tuple[tuple[Stack, ...], tuple[int, ...]]:
    """Layers by what they see, whether they turn positions, and whether they have experts."""
    count = whole_layers(config)
    every = config.count("no_rope_layer_interval", 4.0, least=1.0)
    listed = numbers(config, "no_rope_layers") or [int((i + 1) % every != 0) for i in range(count)]
    kinds = layer_types(config, count, lambda i: "chunked_attention" if listed[i] else "full_attention")
    step = int(config.count("interleave_moe_layer_step", 1.0, least=1.0))
    given = numbers(config, "moe_layers")
    sparse = set(range(step - 1, count, step) if given is None else given)
    words = [f"{kind} {int(bool(listed[i]))} {int(i in sparse)}" for i, kind in enumerate(kinds)]

    def make(word: str) -> Stack:
        kind, rotary, expert = word.split()
        size = config.size("attention_chunk_size", 8192.0) if kind != "full_attention" else None
        return seen(config, kind, block(attentions[int(rotary)], parts[int(expert)]), size=size)

    return by_kind(words, make)


def block(attention: Attention, part: FeedForward | Experts) -> Block:
    """One layer."""
    name = "block" if isinstance(part, Experts) else "dense_block"
    return layer(Branch(part=attention, before=RMS_NORM), Branch(part=part, before=RMS_NORM), name=name)


def numbers(config: Config, key: str) -> list[int] | None:
    """A list of layers, or None where the key is null, empty or left out."""
    given = config.get(key)
    if not given:
        return None if given is None or key == "no_rope_layers" else []
    if not isinstance(given, list) or not all(isinstance(x, int) for x in given):
        raise BadInput(f"{config.name}: {key} is {str(given)[:40]!r}; expected a list of whole numbers")
    return given
