"""DBRX: sixteen experts of which a token chooses four, grouped queries. Source of the fields: transformers,
configuration_dbrx.py and modeling_dbrx.py."""

from __future__ import annotations

from floorline.blocks.attention import Attention
from floorline.blocks.experts import Experts
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import SCALE_NORM
from floorline.huggingface.common import drops, head_sizes, language_model, layers
from floorline.huggingface.config import Config, divide
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "dbrx", whose attention and experts have configurations of their own inside.

    >>> parts = {"attn_config": {"kv_n_heads": 2}, "ffn_config": {"ffn_hidden_size": 32}}
    >>> small = {"d_model": 64, "n_heads": 4, "n_layers": 2, "vocab_size": 100}
    >>> read(Config({**small, **parts}, "small")).sizes["E"]
    4.0
    """
    attn = Config({}, config.name) if config.get("attn_config") is None else config.part("attn_config")
    ffn = Config({}, config.name) if config.get("ffn_config") is None else config.part("ffn_config")
    config.get("num_key_value_heads")  # mirrors attn_config
    activation = Config({}, config.name) if ffn.get("ffn_act_fn") is None else ffn.part("ffn_act_fn")
    attention = Attention(rotary=True, softmax="softmax_fp32", dropout=drops(attn, "attn_pdrop"))
    mixture = Experts(activation=activation.activation("name", "silu"))
    drop = drops(config, "resid_pdrop")
    block = layer(
        Branch(part=attention, before=SCALE_NORM, drop=drop), Branch(part=mixture, before=SCALE_NORM, drop=drop)
    )
    heads = head_sizes(config, heads="n_heads", kv_heads="", width="d_model", head_dim="")
    kv = attn.size("kv_n_heads", 1.0)
    sizes = {
        **heads,
        "K": kv,
        "G": divide(config, heads["K"], kv, "n_heads", "kv_n_heads"),
        "E": ffn.size("moe_num_experts", 4.0),
        "k": ffn.size("moe_top_k", 1.0),
        "f": ffn.size("ffn_hidden_size", 3584.0),
    }
    ffn.get("hidden_size")
    for part in (attn, ffn, activation):
        part.finish()
    tied = config.flag("tie_word_embeddings", False)
    stacks = (Stack(block, layers(config, "n_layers")),)
    return language_model(config, sizes, stacks, SCALE_NORM, tied=tied, longest="max_seq_len")
