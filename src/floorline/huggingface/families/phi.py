"""Phi 1 to 2 and Persimmon: rotary positions, layer norms, biases everywhere. Sources of the fields: transformers,
configuration_phi.py and configuration_persimmon.py; Li et al. 2023, arXiv:2309.05463."""

from __future__ import annotations

from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.embedding import embedding
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer, parallel
from floorline.blocks.norm import LAYER_NORM
from floorline.huggingface.common import drops, head_sizes, language_model, layers
from floorline.huggingface.config import Config
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "phi" (branches side by side, a head with a bias) or "persimmon".

    >>> small = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 100}
    >>> read(Config({"model_type": "phi", **small, "intermediate_size": 128}, "small")).layers()
    2.0
    """
    phi = config.text("model_type", "phi") == "phi"
    head_norm = HeadNorm(LAYER_NORM) if config.flag("qk_layernorm", not phi) else None
    dropout = drops(config, "attention_dropout")
    attention = Attention(
        bias=True, out_bias=True, rotary=True, head_norm=head_norm, softmax="softmax_fp32", dropout=dropout
    )
    ffn = FeedForward(config.activation("hidden_act", "gelu_new" if phi else "relu2"), bias=True)
    drop = drops(config, "resid_pdrop" if phi else "hidden_dropout")
    first = Branch(part=attention, before=LAYER_NORM, drop=drop and phi)
    second = Branch(part=ffn, before=None if phi else LAYER_NORM, drop=drop)
    block = parallel(first, second) if phi else layer(first, second)
    sizes = head_sizes(config, kv_heads="num_key_value_heads" if phi else "", head_dim="head_dim" if phi else "")
    sizes = {**sizes, "F": config.size("intermediate_size")}
    start = embedding(drop=drops(config, "embd_pdrop"))
    tied = config.flag("tie_word_embeddings", False)
    return language_model(config, sizes, (Stack(block, layers(config)),), LAYER_NORM, tied=tied, bias=phi, start=start)
