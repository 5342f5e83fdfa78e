"""Falcon: grouped or single key/value heads, branches side by side with one norm or two. Source of the fields: transformers,
configuration_falcon.py and modeling_falcon.py; Almazrouei et al. 2023, arXiv:2311.16867, section 4."""

from __future__ import annotations

from floorline.block import Block
from floorline.blocks.attention import Attention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer, parallel
from floorline.blocks.norm import LAYER_NORM
from floorline.huggingface.common import drops, head_sizes, language_model, layers
from floorline.huggingface.config import Config
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "falcon".

    The library's class repeats keys and values of the new architecture for every query head before it caches them.

    >>> small = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 100}
    >>> read(Config(small, "small")).sizes["K"]
    1.0
    """
    new = config.flag("new_decoder_architecture", False)
    grouped = new or not config.flag("multi_query", True)
    heads = head_sizes(config, kv_heads="num_kv_heads" if grouped else "", head_dim="")
    if not grouped:
        config.get("num_kv_heads")
        heads = {**heads, "K": 1.0, "G": heads["K"]}
    elif not new:
        heads = {**heads, "K": heads["K"] * heads["G"], "G": 1.0}
    bias = config.flag("bias", False)
    attention = Attention(
        bias=bias,
        out_bias=bias,
        rotary=not config.flag("alibi", False),
        expanded=new and config.library,
        dropout=drops(config, "attention_dropout"),
    )
    ffn = FeedForward(config.activation("activation", "gelu"), bias=bias)
    stack = Stack(arranged(config, new, attention, ffn), layers(config))
    sizes = {**heads, "F": config.size("ffn_hidden_size", 4.0 * heads["D"])}
    tied = config.flag("tie_word_embeddings", True)
    return language_model(config, sizes, (stack,), LAYER_NORM, tied=tied)


def arranged(config: Config, new: bool, attention: Attention, ffn: FeedForward) -> Block:
    """The layer: one branch after the other, or side by side with one norm or with two."""
    drop, norms = drops(config, "hidden_dropout"), config.count("num_ln_in_parallel_attn", 2.0 if new else 1.0)
    both = tuple(Branch(part=part, before=LAYER_NORM, drop=drop) for part in (attention, ffn))
    if not config.flag("parallel_attn", True):
        return layer(*both)
    return parallel(*both) if norms == 2.0 else parallel(both[0], Branch(part=ffn, drop=drop))
