"""Nemotron-H and Nemotron 3: each layer is one thing alone: Mamba-2, attention without positions, a feed-forward, or experts.

A pattern of letters says which: M Mamba-2, * attention, - feed-forward, E experts. Experts may work in a narrower, latent width.

Sources: NVIDIA 2025, arXiv:2504.03624; fields and what is meant where one is left out: transformers 5.23,
models/nemotron_h/configuration_nemotron_h.py and modeling_nemotron_h.py.
"""

from __future__ import annotations

from dataclasses import replace

from floorline.block import Block
from floorline.blocks.attention import Attention
from floorline.blocks.experts import Experts
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, Part, layer
from floorline.blocks.mamba2 import Mamba2
from floorline.blocks.norm import RMS_NORM
from floorline.errors import BadInput
from floorline.huggingface.common import by_kind, drops, language_model
from floorline.huggingface.config import Config
from floorline.huggingface.state_space import attention_sizes, ignore, kinds, known, stepping
from floorline.num import Num
from floorline.transformer import Stack, Transformer

PATTERN = {"M": "linear_attention", "E": "moe", "*": "full_attention", "-": "mlp"}
DEFAULT = ["linear_attention", "moe", "full_attention", "mlp"]
IGNORED = (
    "num_hidden_layers",
    "attention_head_dim",
    "num_query_groups",
    "expand",
    "mamba_expand",
    "n_shared_experts",
    "time_step_rank",
    "sliding_window",
    "num_nextn_predict_layers",
    "mtp_layers_block_type",
    "mtp_hybrid_override_pattern",
)
"""Fields that the class does not use: the pattern says how many layers there are, heads how wide the state is."""


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "nemotron_h".

    >>> read(Config({"model_type": "nemotron_h", "hybrid_override_pattern": "M-M*"}, "small")).order
    (0, 1, 0, 2)
    """
    ignore(config, *IGNORED)
    parts = parts_of(config)

    def block(kind: str, decode: bool) -> Block:
        part = parts[kind]
        part = replace(part, decode=decode) if isinstance(part, Mamba2) else part
        return layer(Branch(part=part, before=RMS_NORM, name="mixed"), name=kind)

    def make(kind: str) -> Stack:
        return stepping(lambda decode: block(kind, decode)) if kind == "linear_attention" else Stack(block(kind, False))

    stacks, order = by_kind(layer_kinds(config), make)
    config.flag("tie_word_embeddings", False)  # the class ties nothing
    return language_model(config, sizes(config), stacks, RMS_NORM, tied=False, order=order)


def parts_of(config: Config) -> dict[str, Part]:
    """What each kind of layer does."""
    activation, bias = config.activation("mlp_hidden_act", "relu2"), config.flag("mlp_bias", False)
    latent = config.get("moe_latent_size") is not None
    return {
        "linear_attention": Mamba2(
            activation=config.activation("mamba_hidden_act", "silu"),
            bias=config.flag("use_bias", False),
            conv_bias=config.flag("mamba_conv_bias", config.flag("use_conv_bias", True)),
        ),
        "full_attention": Attention(dropout=drops(config, "attention_dropout"), softmax="softmax_fp32"),
        "mlp": FeedForward(activation, bias=bias),
        "moe": Experts(
            activation=activation,
            gated=False,
            score="sigmoid",
            shared=FeedForward(activation, bias=bias, width="s", name="shared_"),
            latent="l" if latent else "",
            latent_bias=bias,
        ),
    }


def layer_kinds(config: Config) -> list[str]:
    """The kind of each layer, as listed, as the pattern says, or one of each.

    raises BadInput for a letter that the pattern does not have
    """
    listed, pattern = kinds(config, "layers_block_type", "layer_types"), config.text("hybrid_override_pattern", "")
    if listed is None and pattern:
        odd = next((x for x in pattern if x not in PATTERN), None)
        if odd is not None:
            raise BadInput(
                f"{config.name}: hybrid_override_pattern has {odd!r}; expected letters of {' '.join(PATTERN)}"
            )
        listed = [PATTERN[x] for x in pattern]
    return known(config, listed or DEFAULT, tuple(PATTERN.values()))


def sizes(config: Config) -> dict[str, Num]:
    """Sizes of all letters; some have an older name, which wins."""
    found = {
        **attention_sizes(config, 32.0, 8.0, width=config.size("hidden_size", 4096.0), head=128.0),
        "F": config.size("intermediate_size", 21504.0),
        "h": config.size("mamba_num_heads", 128.0),
        "p": config.size("mamba_head_dim", 64.0),
        "g": config.size("mamba_n_groups", config.size("n_groups", 8.0)),
        "N": config.size("ssm_state_size", 128.0),
        "w": config.size("mamba_d_conv", config.size("conv_kernel", 4.0)),
        "Q": config.size("mamba_chunk_size", config.size("chunk_size", 128.0)),
        "E": config.size("n_routed_experts", 8.0),
        "k": config.size("num_experts_per_tok", 2.0),
        "f": config.size("moe_intermediate_size", 7688.0),
        "s": config.size("moe_shared_expert_intermediate_size", 7688.0),
        "V": 131072.0,
    }
    latent = config.given("moe_latent_size")
    return found if latent is None else {**found, "l": latent}
