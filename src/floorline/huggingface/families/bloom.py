"""BLOOM: ALiBi positions (nothing to learn), a norm of the embedding. Source of the fields: transformers,
configuration_bloom.py; Le Scao et al. 2022, arXiv:2211.05100, section 3.2."""

from __future__ import annotations

from floorline.blocks.attention import Attention
from floorline.blocks.embedding import embedding
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import LAYER_NORM
from floorline.huggingface.common import drops, head_sizes, language_model, layers
from floorline.huggingface.config import Config
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "bloom".

    >>> read(Config({"hidden_size": 64, "n_head": 4, "n_layer": 2, "vocab_size": 100}, "small")).parameter_count().head
    0.0
    """
    drop = drops(config, "hidden_dropout")
    attention = Attention(bias=True, out_bias=True, softmax="softmax_fp32", dropout=drops(config, "attention_dropout"))
    block = layer(
        *(Branch(part=part, before=LAYER_NORM, drop=drop) for part in (attention, FeedForward("gelu", bias=True)))
    )
    heads = head_sizes(config, heads="n_head", kv_heads="", head_dim="")
    sizes = {**heads, "F": 4.0 * heads["D"]}
    stacks = (Stack(block, layers(config, "n_layer")),)
    tied = config.flag("tie_word_embeddings", True)
    return language_model(config, sizes, stacks, LAYER_NORM, tied=tied, start=embedding(norm=LAYER_NORM))
