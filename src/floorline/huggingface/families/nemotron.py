"""Nemotron: squared ReLU without a gate, layer norms, grouped queries. Source of the fields: transformers,
configuration_nemotron.py; Parmar et al. 2024, arXiv:2402.16819, section 2."""

from __future__ import annotations

from floorline.blocks.attention import Attention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import LAYER_NORM
from floorline.huggingface.common import drops, head_sizes, language_model, layers
from floorline.huggingface.config import Config
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "nemotron".

    >>> small = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 100}
    >>> read(Config({**small, "intermediate_size": 128, "head_dim": 32}, "small")).sizes["H"]
    32.0
    """
    bias = config.flag("attention_bias", False)
    dropout = drops(config, "attention_dropout")
    attention = Attention(bias=bias, out_bias=bias, rotary=True, softmax="softmax_fp32", dropout=dropout)
    ffn = FeedForward(config.activation("hidden_act", "relu2"), bias=config.flag("mlp_bias", False))
    block = layer(Branch(part=attention, before=LAYER_NORM), Branch(part=ffn, before=LAYER_NORM))
    sizes = {**head_sizes(config), "F": config.size("intermediate_size")}
    tied = config.flag("tie_word_embeddings", False)
    return language_model(config, sizes, (Stack(block, layers(config)),), LAYER_NORM, tied=tied)
