"""Llama: RMS norms, rotary positions, grouped queries, a gated feed-forward. Source of the fields: transformers,
configuration_llama.py (https://github.com/huggingface/transformers)."""

from __future__ import annotations

from floorline.blocks.attention import Attention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import RMS_NORM
from floorline.huggingface.common import head_sizes, language_model, layers
from floorline.huggingface.config import Config
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "llama"; sizes have no defaults, since a wrong guess is a silent wrong number.

    >>> from floorline.catalogue.load import model_entry
    >>> read(Config(model_entry("llama-3.1-8b")["config"], "llama-3.1-8b")).layers()
    32.0
    """
    bias, ffn_bias = config.flag("attention_bias", False), config.flag("mlp_bias", False)
    attention = Attention(
        bias=bias,
        out_bias=bias,
        rotary=True,
        softmax="softmax_fp32",
        dropout=config.share("attention_dropout", 0.0) > 0.0,
    )
    ffn = FeedForward(config.activation("hidden_act", "silu"), gated=True, bias=ffn_bias)
    block = layer(Branch(part=attention, before=RMS_NORM), Branch(part=ffn, before=RMS_NORM))
    sizes = {**head_sizes(config), "F": config.size("intermediate_size")}
    tied = config.flag("tie_word_embeddings", False)
    return language_model(config, sizes, (Stack(block, layers(config)),), RMS_NORM, tied=tied)
