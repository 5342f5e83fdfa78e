"""Zamba: Mamba layers; in front of every sixth or so the same transformer block, stored once.

Sources: Glorioso et al. 2024, arXiv:2405.16712; fields and what is meant where one is left out: transformers 5.23,
models/zamba/configuration_zamba.py and modeling_zamba.py.
"""

from __future__ import annotations

from dataclasses import replace

from floorline.blocks.attention import Attention
from floorline.blocks.layer import Branch, layer
from floorline.blocks.mamba import Mamba
from floorline.blocks.norm import RMS_NORM
from floorline.blocks.shared_transformer import SharedTransformer, hybrid
from floorline.huggingface.common import by_kind, drops, language_model, whole_layers
from floorline.huggingface.config import Config, divide
from floorline.huggingface.state_space import kinds, known, rank, stepping
from floorline.num import Num, floor, number
from floorline.transformer import Stack, Transformer

LAYERS = ("linear_attention", "hybrid")


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "zamba".

    >>> read(Config({"model_type": "zamba"}, "zamba-7b")).parameter_count().total
    7232490496.0
    """
    tied = config.flag("tie_word_embeddings", True)
    mamba = Mamba(
        activation=config.activation("hidden_mamba_act", "silu"),
        bias=config.flag("mamba_proj_bias", False),
        conv_bias=config.flag("mamba_conv_bias", True),
        heads=True,
    )
    shared = SharedTransformer(
        attention=Attention(dropout=drops(config, "attention_dropout"), softmax="softmax_fp32"),
        activation=config.activation("hidden_act", "gelu"),
        apart=not tied,  # the library ties the blocks only where it ties the head
    )

    def make(kind: str) -> Stack:
        if kind == "hybrid":
            return stepping(lambda decode: hybrid(shared, replace(mamba, decode=decode)))
        own = Branch(part=mamba, before=RMS_NORM, name="mixed")
        return stepping(lambda decode: layer(replace(own, part=replace(mamba, decode=decode)), name="mamba"))

    stacks, order = by_kind(layer_kinds(config), make)
    return language_model(config, sizes(config), stacks, RMS_NORM, tied=tied, order=order)


def layer_kinds(config: Config) -> list[str]:
    """The kind of each layer: listed, or two Mamba layers, a hybrid one, and then one in each period."""
    listed = kinds(config, "layers_block_type", "layer_types")
    period, offset = config.count("attn_layer_period", 6.0, 1.0), config.count("attn_layer_offset", 4.0)
    count = whole_layers(config, default=76.0)
    rest = [LAYERS[i % period == offset] for i in range(count - 3)]
    return known(config, listed or ["linear_attention", "linear_attention", "hybrid", *rest], LAYERS)


def sizes(config: Config) -> dict[str, Num]:
    """Sizes of all letters."""
    width, mamba_heads = config.size("hidden_size", 3712.0), config.size("n_mamba_heads", 2.0)
    inner = config.size("mamba_expand", 2.0) * width
    return {
        **wide_heads(config, width, 16.0, 16.0),
        "F": config.size("intermediate_size", 14848.0),
        "h": mamba_heads,
        "p": divide(config, inner, mamba_heads, "mamba_expand × hidden_size", "n_mamba_heads"),
        "N": config.size("mamba_d_state", 16.0),
        "r": rank(config, "mamba_dt_rank", width),
        "w": config.size("mamba_d_conv", 4.0),
        "V": 32000.0,
    }


def wide_heads(config: Config, width: Num, heads: Num, kv_heads: Num | None) -> dict[str, Num]:
    """D, A, K, G and H of the shared block, which reads two streams: a head has its share of both together.

    heads, kv_heads  where their keys are left out; None for as many key/value heads as query heads
    """
    n = config.size("num_attention_heads", heads)
    k = config.maybe("num_key_value_heads", kv_heads)
    k = n if k is None else k
    stated = config.given("attention_head_dim")
    stated = config.given("head_dim") if stated is None else stated
    return {
        "D": width,
        "A": config.size("attention_hidden_size", 2.0 * width),
        "K": k,
        "G": divide(config, n, k, "num_attention_heads", "num_key_value_heads"),
        "H": number(floor(2.0 * width / n)) if stated is None else stated,
    }
