"""Bamba: Mamba-2 layers with a feed-forward each, and attention instead of the state space in a few listed layers.

Source of the fields and of what is meant where one is left out: transformers 5.23, models/bamba/configuration_bamba.py and
modeling_bamba.py.
"""

from __future__ import annotations

from floorline.block import Block
from floorline.blocks.attention import Attention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, Part, layer
from floorline.blocks.mamba2 import Mamba2
from floorline.blocks.norm import RMS_NORM
from floorline.errors import BadInput
from floorline.huggingface.common import by_kind, drops, language_model, whole_layers
from floorline.huggingface.config import Config, divide
from floorline.huggingface.state_space import attention_sizes, automatic, stepping
from floorline.num import Num, all_true
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "bamba".

    >>> read(Config({"model_type": "bamba", "num_hidden_layers": 2, "attn_layer_indices": [1]}, "small")).layers()
    2.0
    """
    activation, bias = config.activation("hidden_act", "silu"), config.flag("attention_bias", False)
    proj_bias, conv_bias = config.flag("mamba_proj_bias", False), config.flag("mamba_conv_bias", True)
    attention = Attention(
        bias=bias, out_bias=bias, rotary=True, dropout=drops(config, "attention_dropout"), softmax="softmax_fp32"
    )
    feed_forward = FeedForward(activation, gated=True, bias=config.flag("mlp_bias", False))

    def block(part: Part, name: str) -> Block:
        return layer(
            Branch(part=part, before=RMS_NORM, name=name), Branch(part=feed_forward, before=RMS_NORM), name=name
        )

    def step(decode: bool) -> Block:
        return block(Mamba2(activation=activation, bias=proj_bias, conv_bias=conv_bias, decode=decode), "mamba")

    def make(kind: str) -> Stack:
        return stepping(step) if kind == "mamba" else Stack(block(attention, "attention"))

    stacks, order = by_kind(kinds_of(config), make)
    tied = config.flag("tie_word_embeddings", False)
    return language_model(config, sizes(config), stacks, RMS_NORM, tied=tied, order=order)


def kinds_of(config: Config) -> list[str]:
    """The kind of each layer: attention where ``attn_layer_indices`` says so.

    raises BadInput where that is no list of whole numbers
    """
    listed = config.get("attn_layer_indices") or []
    if not isinstance(listed, list) or not all(isinstance(i, int) for i in listed):
        raise BadInput(f"{config.name}: attn_layer_indices is {str(listed)[:40]!r}; expected a list of layers' indices")
    return ["attention" if i in listed else "mamba" for i in range(whole_layers(config, default=32.0))]


def sizes(config: Config) -> dict[str, Num]:
    """Sizes of all letters.

    raises BadInput where the state heads do not make up the inner width
    """
    width, heads = config.size("hidden_size", 4096.0), config.size("mamba_n_heads", 128.0)
    inner = config.size("mamba_expand", 2.0) * width
    even = divide(config, inner, heads, "mamba_expand × hidden_size", "mamba_n_heads")
    head = even if automatic(config, "mamba_d_head") else config.size("mamba_d_head")
    if not all_true(head * heads == inner):
        raise BadInput(
            f"{config.name}: mamba_n_heads × mamba_d_head = {heads * head} is not mamba_expand × hidden_size = {inner}; "
            "expected the same"
        )
    return {
        **attention_sizes(config, 32.0, 8.0, width=width),
        "F": config.size("intermediate_size", 14336.0),
        "h": heads,
        "p": head,
        "g": config.size("mamba_n_groups", 1.0),
        "N": config.size("mamba_d_state", 256.0),
        "w": config.size("mamba_d_conv", 4.0),
        "Q": config.size("mamba_chunk_size", 256.0),
        "V": 128000.0,
    }
