"""GPT-NeoX and Pythia: rotary positions, layer norms with biases, branches side by side. Source of the fields: transformers,
configuration_gpt_neox.py; Black et al. 2022, arXiv:2204.06745, section 2."""

from __future__ import annotations

from floorline.blocks.attention import Attention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer, parallel
from floorline.blocks.norm import LAYER_NORM
from floorline.huggingface.common import drops, head_sizes, language_model, layers
from floorline.huggingface.config import Config
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "gpt_neox".

    >>> small = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
    >>> read(Config({**small, "intermediate_size": 256, "vocab_size": 100}, "small")).layers()
    2.0
    """
    bias, drop = config.flag("attention_bias", True), drops(config, "hidden_dropout")
    attention = Attention(bias=bias, out_bias=bias, rotary=True, dropout=drops(config, "attention_dropout"))
    ffn = FeedForward(config.activation("hidden_act", "gelu"), bias=True)
    side_by_side = config.flag("use_parallel_residual", True)
    branches = tuple(Branch(part=part, before=LAYER_NORM, drop=drop) for part in (attention, ffn))
    block = parallel(*branches) if side_by_side else layer(*branches)
    sizes = {**head_sizes(config, kv_heads="", head_dim=""), "F": config.size("intermediate_size")}
    tied = config.flag("tie_word_embeddings", False)
    return language_model(config, sizes, (Stack(block, layers(config)),), LAYER_NORM, tied=tied)
