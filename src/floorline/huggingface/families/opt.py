"""OPT: learned positions with two extra rows, ReLU; the 350M has norms behind and a narrower token table. Source of the
fields: transformers, configuration_opt.py and modeling_opt.py; Zhang et al. 2022, arXiv:2205.01068."""

from __future__ import annotations

from floorline.blocks.attention import Attention
from floorline.blocks.embedding import embedding
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import LAYER_NORM, PLAIN_NORM
from floorline.huggingface.common import drops, head_sizes, layers
from floorline.huggingface.config import Config
from floorline.huggingface.encoders import same
from floorline.huggingface.tops import top
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "opt".

    >>> small = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 100, "ffn_dim": 256}
    >>> read(Config({**small, "max_position_embeddings": 30}, "small")).sizes["P"]
    32.0
    """
    bias, drop = config.flag("enable_bias", True), drops(config, "dropout", 0.1)
    norm = LAYER_NORM if config.flag("layer_norm_elementwise_affine", True) else PLAIN_NORM
    first = config.flag("do_layer_norm_before", True)
    attention = Attention(bias=bias, out_bias=bias, dropout=drops(config, "attention_dropout"))
    ffn = FeedForward(config.activation("activation_function", "relu"), bias=bias)
    before, behind = (norm, None) if first else (None, norm)
    block = layer(*(Branch(part=part, before=before, behind=behind, drop=drop) for part in (attention, ffn)))
    last = norm if first and not config.flag("_remove_final_layer_norm", False) else None
    heads = head_sizes(config, kv_heads="", head_dim="")
    positions, table = config.size("max_position_embeddings", 2048.0), config.size("word_embed_proj_dim", heads["D"])
    narrow = "" if same(table, heads["D"]) else "w"
    sizes = {**heads, "F": config.size("ffn_dim"), "V": config.size("vocab_size"), "P": positions + 2.0, "w": table}
    tied = config.flag("tie_word_embeddings", True)
    stacks = (
        Stack(embedding(positions=True, projected=narrow, early=True)),
        Stack(block, layers(config)),
        *top(config, last, tied=tied, narrowed=narrow),
    )
    return Transformer(config.name, sizes, stacks, max_positions=positions, learned_positions=True)
