"""GPT-BigCode (StarCoder, SantaCoder): GPT-2 with one key/value head for all queries. Source of the fields: transformers,
configuration_gpt_bigcode.py; Shazeer 2019, arXiv:1911.02150."""

from __future__ import annotations

from dataclasses import replace

from floorline.blocks.attention import Attention
from floorline.blocks.embedding import embedding
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import LAYER_NORM
from floorline.huggingface.common import drops, head_sizes, language_model, layers
from floorline.huggingface.config import Config
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "gpt_bigcode".

    >>> read(Config({"n_embd": 64, "n_head": 4, "n_layer": 2, "vocab_size": 100, "n_positions": 32}, "small")).sizes["G"]
    4.0
    """
    drop = drops(config, "resid_pdrop", 0.1)
    attention = Attention(bias=True, out_bias=True, dropout=drops(config, "attn_pdrop", 0.1))
    ffn = FeedForward(config.activation("activation_function", "gelu_pytorch_tanh"), bias=True)
    block = layer(*(Branch(part=part, before=LAYER_NORM, drop=drop) for part in (attention, ffn)))
    sizes = head_sizes(config, heads="n_head", kv_heads="", width="n_embd", head_dim="")
    config.get("num_key_value_heads")  # follows from multi_query
    if config.flag("multi_query", True):
        sizes = {**sizes, "K": 1.0, "G": sizes["K"]}
    sizes = {**sizes, "F": config.size("n_inner", 4.0 * sizes["D"]), "P": config.size("n_positions", 1024.0)}
    start = embedding(positions=True, drop=drops(config, "embd_pdrop", 0.1))
    stacks = (Stack(block, layers(config, "n_layer")),)
    tied = config.flag("tie_word_embeddings", True)
    model = language_model(
        config, sizes, stacks, LAYER_NORM, tied=tied, start=start, longest="n_positions", learned=True
    )
    return replace(model, max_positions=sizes["P"])
