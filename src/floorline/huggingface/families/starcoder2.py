"""StarCoder 2: grouped queries, rotary positions, layer norms, biases, a window. Source of the fields: transformers,
configuration_starcoder2.py; Lozhkov et al. 2024, arXiv:2402.19173, section 5."""

from __future__ import annotations

from floorline.blocks.attention import Attention
from floorline.blocks.embedding import embedding
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import LAYER_NORM
from floorline.huggingface.common import alike, drops, head_sizes, language_model
from floorline.huggingface.config import Config
from floorline.transformer import Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "starcoder2".

    >>> small = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 100}
    >>> read(Config({**small, "intermediate_size": 128, "num_key_value_heads": 2}, "small")).parameter_count().head
    0.0
    """
    bias, drop = config.flag("use_bias", True), drops(config, "residual_dropout")
    attention = Attention(
        bias=bias, out_bias=bias, rotary=True, softmax="softmax_fp32", dropout=drops(config, "attention_dropout")
    )
    ffn = FeedForward(config.activation("hidden_act", "gelu_pytorch_tanh"), bias=bias)
    block = layer(*(Branch(part=part, before=LAYER_NORM, drop=drop) for part in (attention, ffn)))
    sizes = {**head_sizes(config, default_kv=2.0), "F": config.size("intermediate_size")}
    stacks = alike(config, block, config.given("sliding_window"))
    start = embedding(drop=drops(config, "embedding_dropout"))
    tied = config.flag("tie_word_embeddings", True)
    return language_model(config, sizes, stacks, LAYER_NORM, tied=tied, start=start)
