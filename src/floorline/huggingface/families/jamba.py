"""Jamba: mostly Mamba layers, an attention layer in every eighth, and experts behind every other one.

Sources: Lieber et al. 2024, arXiv:2403.19887; fields and what is meant where one is left out: transformers 5.23,
models/jamba/configuration_jamba.py and modeling_jamba.py.
"""

from __future__ import annotations

from dataclasses import replace

from floorline.block import Block
from floorline.blocks.attention import Attention
from floorline.blocks.experts import Experts
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, Part, layer
from floorline.blocks.mamba import Mamba
from floorline.blocks.norm import RMS_NORM
from floorline.huggingface.common import by_kind, drops, language_model, whole_layers
from floorline.huggingface.config import Config
from floorline.huggingface.state_space import attention_sizes, rank, stepping
from floorline.num import Num
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "jamba".

    >>> read(Config({"model_type": "jamba"}, "jamba-v0.1")).parameter_count().total
    51570323328.0
    """
    mixers, after = parts(config)

    def block(kind: str, decode: bool) -> Block:
        mixer, feed_forward = kind.split()
        part = mixers[mixer]
        part = replace(part, decode=decode) if isinstance(part, Mamba) else part
        first = Branch(part=part, before=RMS_NORM, name=mixer)
        return layer(first, Branch(part=after[feed_forward], before=RMS_NORM), name=kind.replace(" ", "_"))

    def make(kind: str) -> Stack:
        return stepping(lambda decode: block(kind, decode)) if "mamba" in kind else Stack(block(kind, False))

    stacks, order = by_kind(kinds_of(config), make)
    tied = config.flag("tie_word_embeddings", False)
    return language_model(config, sizes(config), stacks, RMS_NORM, tied=tied, order=order)


def parts(config: Config) -> tuple[dict[str, Part], dict[str, Part]]:
    """What mixes tokens, and what follows, by name."""
    activation = config.activation("hidden_act", "silu")
    mamba = Mamba(
        activation=activation,
        bias=config.flag("mamba_proj_bias", False),
        conv_bias=config.flag("mamba_conv_bias", True),
        norm=RMS_NORM,
    )
    attention = Attention(dropout=drops(config, "attention_dropout"), softmax="softmax_fp32")
    feed_forward = FeedForward(activation, gated=True)
    return {"mamba": mamba, "attention": attention}, {"dense": feed_forward, "experts": Experts(activation=activation)}


def kinds_of(config: Config) -> list[str]:
    """The kind of each layer: "mamba dense", "attention experts", …"""
    experts = config.count("num_experts", 16.0)
    mixer = config.count("attn_layer_period", 8.0, 1.0), config.count("attn_layer_offset", 4.0)
    after = config.count("expert_layer_period", 2.0, 1.0), config.count("expert_layer_offset", 1.0)

    def kind(i: int) -> str:
        dense = i % after[0] != after[1] or experts <= 1.0
        return f"{'attention' if i % mixer[0] == mixer[1] else 'mamba'} {'dense' if dense else 'experts'}"

    return [kind(i) for i in range(whole_layers(config, default=32.0))]


def sizes(config: Config) -> dict[str, Num]:
    """Sizes of all letters."""
    width, inner = config.size("hidden_size", 4096.0), config.size("intermediate_size", 14336.0)
    return {
        **attention_sizes(config, 32.0, 8.0, width=width),
        "F": inner,
        "f": inner,
        "E": max(config.count("num_experts", 16.0), 1.0),
        "k": config.size("num_experts_per_tok", 2.0),
        "I": config.size("mamba_expand", 2.0) * width,
        "N": config.size("mamba_d_state", 16.0),
        "r": rank(config, "mamba_dt_rank", width),
        "w": config.size("mamba_d_conv", 4.0),
        "V": 65536.0,
    }
