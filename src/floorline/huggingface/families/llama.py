"""Llama and its relatives: rotary positions, grouped queries, a gated feed-forward, a norm before each. The table says what
each does otherwise.

Sources of the fields and of what is done where one is left out: transformers 5.23, models/*/configuration_*.py and
modeling_*.py of each type (https://github.com/huggingface/transformers).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from floorline.block import Block
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import PLAIN_NORM, RMS_NORM, Norm
from floorline.huggingface.common import alike, drops, head_sizes, language_model, text_layers
from floorline.huggingface.config import Config
from floorline.num import Num
from floorline.transformer import Stack, Transformer

Layers = tuple[tuple[Stack, ...], tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Relative:
    """What one model type does otherwise than Llama.

    bias         of queries, keys and values: the key that says so, "yes" or "no"
    default_bias where that key is left out
    out_bias     of the output projection: "same", "no", or the key that says so
    ffn_bias     whether mlp_bias is read
    norm         of the layer and before the head
    before, after  where the norms stand
    head_norm    of queries and keys
    sinks        whether each head has a learned logit beside the scores
    kv_heads     where num_key_value_heads is left out; None for as many as query heads
    head_dim     where it is left out; None for the width over the heads
    window       of every layer where sliding_window is left out; None for none
    windowed     "" none, "all" where sliding_window is set; where use_sliding_window is true "upper" from max_window_layers
                 on, "even" every other layer before them, "used" all, "rest" those without rotary positions
    tied         where tie_word_embeddings is left out
    dropout      of attention and of what branches add, where their keys are left out
    """

    bias: str = "attention_bias"
    default_bias: bool = False
    out_bias: str = "same"
    ffn_bias: bool = False
    norm: Norm = RMS_NORM
    before: bool = True
    after: bool = False
    head_norm: HeadNorm | None = None
    sinks: bool = False
    kv_heads: Num | None = None
    head_dim: Num | None = None
    window: Num | None = None
    windowed: str = ""
    tied: bool = False
    dropout: float = 0.0


RELATIVES = {
    "llama": Relative(ffn_bias=True),
    "mistral": Relative(bias="no", kv_heads=8.0, windowed="all", window=4096.0),
    "granite": Relative(ffn_bias=True),
    "seed_oss": Relative(
        default_bias=True, out_bias="attention_out_bias", ffn_bias=True, kv_heads=8.0, head_dim=128.0, dropout=0.1
    ),
    "qwen2": Relative(bias="yes", out_bias="no", kv_heads=32.0, windowed="upper"),
    "qwen3": Relative(head_norm=HeadNorm(RMS_NORM), kv_heads=32.0, head_dim=128.0, windowed="upper"),
    "smollm3": Relative(ffn_bias=True, kv_heads=4.0, windowed="rest", tied=True),
    "phi3": Relative(bias="no", windowed="all"),
    "olmo": Relative(norm=PLAIN_NORM),
    "olmo2": Relative(before=False, after=True, head_norm=HeadNorm(RMS_NORM, scale="KGH", over="KGH")),
    "glm": Relative(default_bias=True, out_bias="no", kv_heads=2.0, head_dim=128.0),
    "glm4": Relative(default_bias=True, out_bias="no", after=True, kv_heads=2.0, head_dim=128.0),
}


def read(config: Config) -> Transformer:
    """A ``config.json`` of a type in the table; sizes have no defaults, since a wrong guess is a silent wrong number.

    >>> from floorline.catalogue.load import model_entry
    >>> read(Config(model_entry("llama-3.1-8b")["config"], "llama-3.1-8b")).layers()
    32.0
    """
    own = RELATIVES[config.text("model_type", "llama")]
    ffn_bias = config.flag("mlp_bias", False) if own.ffn_bias else False
    ffn = FeedForward(config.activation("hidden_act", "silu"), gated=True, bias=ffn_bias)
    drop = drops(config, "residual_dropout", own.dropout) or drops(config, "resid_pdrop")
    before, after = own.norm if own.before else None, own.norm if own.after else None
    parts = (attention(config, own), ffn)
    block = layer(*(Branch(part=part, before=before, after=after, drop=drop) for part in parts))
    stacks, order = WINDOWS[own.windowed](config, block, own)
    heads = head_sizes(config, default_kv=own.kv_heads, default_dim=own.head_dim)
    sizes = {**heads, "F": config.size("intermediate_size")}
    tied = config.flag("tie_word_embeddings", own.tied)
    return language_model(config, sizes, stacks, own.norm, tied=tied, order=order)


def attention(config: Config, own: Relative) -> Attention:
    """The attention of a relative."""
    bias = own.bias == "yes" or (own.bias != "no" and config.flag(own.bias, own.default_bias))
    return Attention(
        bias=bias,
        out_bias=bias if own.out_bias == "same" else own.out_bias != "no" and config.flag(own.out_bias, False),
        rotary=True,
        head_norm=own.head_norm,
        sinks=own.sinks,
        softmax="softmax_fp32",
        dropout=drops(config, "attention_dropout", own.dropout),
    )


def everywhere(config: Config, block: Block, own: Relative) -> Layers:
    """The same window in every layer, or none."""
    return alike(config, block, config.maybe("sliding_window", own.window)), ()


def upper(config: Config, block: Block, own: Relative) -> Layers:
    """A window from ``max_window_layers`` on, where ``use_sliding_window`` is true."""
    first, used = config.count("max_window_layers", 28.0), config.flag("use_sliding_window", False)
    window = config.maybe("sliding_window", 4096.0)

    def rule(i: int) -> str:
        return "sliding_attention" if i >= first else "full_attention"

    return text_layers(config, block, rule if used and window is not None else None, 4096.0)


def rest(config: Config, block: Block, own: Relative) -> Layers:
    """A window in the layers without rotary positions, where ``use_sliding_window`` is true."""
    used, window = config.flag("use_sliding_window", False), config.given("sliding_window")
    every, listed = config.size("no_rope_layer_interval", 4.0), config.get("no_rope_layers")
    with_positions = listed if isinstance(listed, list) else None

    def rule(i: int) -> str:
        rotary = bool(with_positions[i]) if with_positions else (i + 1) % float(every) != 0
        return "full_attention" if rotary else "sliding_attention"

    return text_layers(config, block, rule if used and window is not None else None)


def none(config: Config, block: Block, own: Relative) -> Layers:
    """Full attention everywhere, unless ``layer_types`` lists something else."""
    return text_layers(config, block)


WINDOWS: dict[str, Callable[[Config, Block, Relative], Layers]] = {
    "": none,
    "all": everywhere,
    "upper": upper,
    "rest": rest,
}
