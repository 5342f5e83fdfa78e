"""Zamba-2: Mamba-2 layers; in front of some of them one of a few shared transformer blocks in turn, with low-rank additions.

Sources: Glorioso et al. 2024, arXiv:2411.15242; fields and what is meant where one is left out: transformers 5.23,
models/zamba2/configuration_zamba2.py and modeling_zamba2.py.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle

from floorline.blocks.attention import Attention
from floorline.blocks.layer import Branch, layer
from floorline.blocks.mamba2 import Mamba2
from floorline.blocks.norm import RMS_NORM
from floorline.blocks.shared_transformer import SharedTransformer, hybrid
from floorline.errors import BadInput
from floorline.huggingface.common import by_kind, drops, language_model
from floorline.huggingface.config import Config, divide
from floorline.huggingface.families.zamba import LAYERS, wide_heads
from floorline.huggingface.state_space import ignore, kinds, known, stepping
from floorline.num import Num, all_true
from floorline.transformer import Stack, Transformer

FRONT = ("linear_attention", *(("linear_attention",) * 5 + ("hybrid",)) * 7)
DEFAULT = (
    *FRONT,
    *("linear_attention",) * 4,
    "hybrid",
    *("linear_attention",) * 3,
    "hybrid",
    *("linear_attention",) * 2,
)
"""Layers where nothing is said: 54, nine of them hybrid."""


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "zamba2".

    >>> read(Config({"model_type": "zamba2"}, "zamba2")).layers()
    54.0
    """
    ignore(config, "num_hidden_layers", "hybrid_layer_ids", "kv_channels", "num_query_groups", "state_size")
    bias, tied = config.flag("add_bias_linear", False), config.flag("tie_word_embeddings", True)
    config.flag("use_conv_bias", True)  # the class has one always
    mamba = Mamba2(bias=bias)
    shared = SharedTransformer(
        attention=Attention(
            rotary=config.flag("use_mem_rope", False),
            dropout=drops(config, "attention_dropout"),
            softmax="softmax_fp32",
        ),
        activation=config.activation("hidden_act", "gelu"),
        bias=bias,
        attention_adapter=config.flag("use_shared_attention_adapter", False),
        adapter=True,
        apart=not tied,  # the library ties the blocks only where it ties the head
    )

    def make(kind: str) -> Stack:
        if kind == "linear_attention":
            own = Branch(part=mamba, before=RMS_NORM, name="mixed")
            return stepping(lambda decode: layer(replace(own, part=replace(mamba, decode=decode)), name="mamba"))
        one = replace(shared, index=int(kind.removeprefix("hybrid")))
        sharing = {"a": float(found.count(kind))} if one.apart else {}
        return stepping(lambda decode: hybrid(one, replace(mamba, decode=decode), kind), sizes=sharing)

    found = layer_kinds(config)
    stacks, order = by_kind(found, make)
    return language_model(config, sizes(config), stacks, RMS_NORM, tied=tied, order=order)


def layer_kinds(config: Config) -> list[str]:
    """The kind of each layer; a hybrid one with the number of its shared block: they take turns."""
    blocks = int(config.count("num_mem_blocks", 1.0)) or 1
    listed = kinds(config, "layers_block_type", "layer_types")
    turn = cycle(range(blocks))
    return [f"{k}{next(turn)}" if k == "hybrid" else k for k in known(config, listed or list(DEFAULT), LAYERS)]


def sizes(config: Config) -> dict[str, Num]:
    """Sizes of all letters."""
    width, heads = config.size("hidden_size", 2560.0), config.size("n_mamba_heads", 8.0)
    inner = config.size("mamba_expand", 2.0) * width
    shared = wide_heads(config, width, 32.0, None)
    if not all_true(shared["A"] == 2.0 * width) or not all_true(shared["H"] * shared["K"] * shared["G"] == 2.0 * width):
        raise BadInput(
            f"{config.name}: attention_hidden_size and attention_head_dim are read as twice the width and its share; "
            "leave them out"
        )
    if not all_true(config.size("mamba_headdim", inner / heads) * heads == inner):
        raise BadInput(
            f"{config.name}: n_mamba_heads × mamba_headdim is not mamba_expand × hidden_size; expected sizes that fit together"
        )
    return {
        **shared,
        "F": config.size("intermediate_size", 4.0 * width),
        "r": config.size("adapter_rank", 128.0),
        "h": heads,
        "p": config.size("mamba_headdim", divide(config, inner, heads, "mamba_expand × hidden_size", "n_mamba_heads")),
        "g": config.size("mamba_ngroups", 1.0),
        "N": config.size("mamba_d_state", 64.0),
        "w": config.size("mamba_d_conv", 4.0),
        "Q": config.size("chunk_size", 256.0),
        "V": 32000.0,
    }
