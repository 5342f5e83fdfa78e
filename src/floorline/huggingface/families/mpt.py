"""MPT: ALiBi positions, layer norms without shift, no biases. Source of the fields: transformers, configuration_mpt.py and
modeling_mpt.py, whose feed-forward is four times the width whatever expansion_ratio says."""

from __future__ import annotations

from floorline.blocks.attention import Attention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import SCALE_NORM
from floorline.huggingface.common import drops, head_sizes, language_model, layers
from floorline.huggingface.config import Config
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "mpt".

    >>> read(Config({"d_model": 64, "n_heads": 4, "n_layers": 2, "vocab_size": 100}, "small")).sizes["F"]
    256.0
    """
    inner = config.part("attn_config") if config.get("attn_config") is not None else None
    drop = inner is not None and drops(inner, "attn_pdrop")
    attention = Attention(softmax="softmax_fp32", dropout=drop)
    parts = (attention, FeedForward("gelu"))
    block = layer(*(Branch(part=part, before=SCALE_NORM, drop=drop) for part in parts))
    heads = head_sizes(config, heads="n_heads", kv_heads="", width="d_model", head_dim="")
    config.get("expansion_ratio")
    sizes = {**heads, "F": 4.0 * heads["D"]}
    stacks = (Stack(block, layers(config, "n_layers")),)
    tied = config.flag("tie_word_embeddings", True)
    return language_model(config, sizes, stacks, SCALE_NORM, tied=tied, longest="max_seq_len")
