"""StableLM: Llama with layer norms; some with norms of each head of its own, some with branches side by side. Source of the
fields: transformers, configuration_stablelm.py and modeling_stablelm.py."""

from __future__ import annotations

from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer, parallel
from floorline.blocks.norm import LAYER_NORM, SCALE_NORM
from floorline.huggingface.common import drops, head_sizes, language_model, layers
from floorline.huggingface.config import Config
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "stablelm".

    >>> small = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 100}
    >>> read(Config({**small, "intermediate_size": 128, "num_key_value_heads": 2}, "small")).sizes["G"]
    2.0
    """
    drop = drops(config, "hidden_dropout")
    attention = Attention(
        bias=config.flag("use_qkv_bias", False),
        rotary=True,
        head_norm=HeadNorm(SCALE_NORM, scale="KGH") if config.flag("qk_layernorm", False) else None,
        softmax="softmax_fp32",
        dropout=drops(config, "attention_dropout"),
    )
    ffn = FeedForward(config.activation("hidden_act", "silu"), gated=True)
    first, second = (Branch(part=part, before=LAYER_NORM, drop=drop) for part in (attention, ffn))
    side_by_side = config.flag("use_parallel_residual", False)
    block = parallel(first, Branch(part=ffn, drop=drop)) if side_by_side else layer(first, second)
    sizes = {**head_sizes(config, head_dim="", default_kv=32.0), "F": config.size("intermediate_size")}
    tied = config.flag("tie_word_embeddings", False)
    return language_model(config, sizes, (Stack(block, layers(config)),), LAYER_NORM, tied=tied)
