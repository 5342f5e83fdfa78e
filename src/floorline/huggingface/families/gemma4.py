"""Gemma 4: Gemma 3 with other heads in the layers that see all, and, by size, experts beside the feed-forward, inputs of each
layer, layers that read the keys and values of earlier ones; pictures and sound where the configuration has them.

Source: transformers 5.23, models/gemma4/configuration_gemma4.py and modeling_gemma4.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.dense_and_experts import DenseAndExperts
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import RMS_NORM, Norm
from floorline.blocks.per_layer import GIVEN, PerLayerInput, per_layer_inputs
from floorline.blocks.shared_cache import LENT, BorrowingAttention
from floorline.errors import BadInput
from floorline.huggingface.common import by_kind, drops, language_model, layer_types, seen, whole_layers
from floorline.huggingface.config import Config, divide, rounded
from floorline.huggingface.families._gemma4_towers import tower_stacks
from floorline.huggingface.vision import finish, part
from floorline.masks import everything
from floorline.num import Num
from floorline.transformer import Stack, Transformer

LAST_ROWS = (("before", "before + T - O"), ("T", "O"))
"""Layers without keys and values of their own: no later token asks for their other rows."""
UNSCALED = Norm("rms_norm", weight=False)
FULL, WINDOW = "full_attention", "sliding_attention"


@dataclass(frozen=True)
class Kind:
    """What tells layers apart.

    sees      "sliding_attention" or "full_attention"
    kv_heads  K
    width     of a head, H
    borrows   whether its keys and values are an earlier layer's
    """

    sees: str
    kv_heads: float
    width: float
    borrows: bool


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "gemma4" or "gemma4_text".

    >>> tiny = {"model_type": "gemma4_text", "num_hidden_layers": 6, "hidden_size_per_layer_input": 0}
    >>> [(s.block.name, float(s.repeat)) for s in read(Config(tiny, "tiny")).stacks]
    [('embedding', 1.0), ('block', 5.0), ('block', 1.0), ('head', 1.0)]
    """
    tied = config.flag("tie_word_embeddings", True)
    if config.text("model_type", "gemma4") == "gemma4_text":
        return text(config, tied)
    inner = part(config, "text_config")
    language = text(inner, tied)
    stacks = (*tower_stacks(config, language.sizes["D"]), *language.stacks)
    return finish(replace(language, name=config.name, stacks=stacks), inner)


def text(config: Config, tied: bool) -> Transformer:
    """The language model, alone or inside one that sees pictures."""
    kinds = kinds_of(config)
    sizes: dict[str, Num] = {"D": config.size("hidden_size", 2304.0), "V": 262144.0}
    if config.flag("enable_moe_block", False):
        chosen = {"E": "num_experts", "k": "top_k_experts", "f": "moe_intermediate_size"}
        sizes |= {letter: config.size(key) for letter, key in chosen.items()}
    for key in ("num_experts", "top_k_experts", "moe_intermediate_size", "vocab_size_per_layer_input"):
        config.get(key)  # without experts they say nothing
    stacks, order = by_kind(kinds, lambda kind: stack_of(config, kind))
    small = config.count("hidden_size_per_layer_input", 256.0)
    if small:
        sizes |= {"v": config.size("vocab_size_per_layer_input", 262144.0), "l": float(len(kinds)), "z": small}
        stacks = (Stack(per_layer_inputs(RMS_NORM)), *stacks)
    made = language_model(config, sizes, stacks, RMS_NORM, tied=tied, order=order)
    return replace(made, max_positions=config.size("max_position_embeddings", 131072.0))


def stack_of(config: Config, kind: Kind) -> Stack:
    """All layers of a kind."""
    activation = config.activation("hidden_activation", "gelu_pytorch_tanh")
    small = config.count("hidden_size_per_layer_input", 256.0) > 0.0
    block = layer(
        Branch(part=attention(config, kind), before=RMS_NORM, after=RMS_NORM),
        feed_forward(config, activation),
        *((Branch(part=PerLayerInput(activation), after=RMS_NORM),) if small else ()),
        inputs=GIVEN if small else "",
        caches=LENT if kind.borrows else "",
    )
    both_ways = config.text("use_bidirectional_attention", "vision") == "all"
    window = config.size("sliding_window", 512.0)
    stack = seen(config, kind.sees, block, size=rounded(window / 2.0) + 1.0 if both_ways else window)
    heads = config.size("num_attention_heads", 8.0)
    inner = config.size("intermediate_size", 9216.0)
    doubled = config.flag("use_double_wide_mlp", False) and kind.borrows
    own = {
        "K": kind.kv_heads,
        "G": divide(config, heads, kind.kv_heads, "num_attention_heads", "num_key_value_heads"),
        "H": kind.width,
        "F": 2.0 * inner if doubled else inner,
    }
    tokens = (*stack.tokens, *LAST_ROWS) if kind.borrows else stack.tokens
    return replace(stack, sizes={**stack.sizes, **own}, tokens=tokens, mask=everything if both_ways else stack.mask)


def attention(config: Config, kind: Kind) -> Attention:
    """Attention of a kind of layer; where keys are values too, that is so in layers that see all."""
    bias = config.flag("attention_bias", False)
    shared_kv = config.flag("attention_k_eq_v", False) and kind.sees == FULL
    own = BorrowingAttention if kind.borrows else Attention
    return own(
        bias=bias,
        out_bias=bias,
        rotary=True,
        head_norm=HeadNorm(RMS_NORM),
        value_norm=None if kind.borrows else UNSCALED,
        shared_kv=shared_kv,
        softmax="softmax_fp32",
        dropout=drops(config, "attention_dropout"),
    )


def feed_forward(config: Config, activation: str) -> Branch:
    """The dense network, with experts at its side or without."""
    network = FeedForward(activation, gated=True)
    if not config.flag("enable_moe_block", False):
        return Branch(part=network, before=RMS_NORM, after=RMS_NORM)
    return Branch(part=DenseAndExperts(activation=activation, network=network), after=RMS_NORM)


def kinds_of(config: Config) -> list[Kind]:
    """The kind of every layer. The last one sees all, whatever is listed."""
    count = whole_layers(config, default=30.0)
    listed = layer_types(config, count, lambda i: WINDOW if (i + 1) % 6 else FULL)
    sees = [*listed[:-1], FULL]
    k, h = config.size("num_key_value_heads", 4.0), config.size("head_dim", 256.0)
    given, others = by_layer(config), globally(config)
    found: list[Kind] = []
    for i, word in enumerate(sees):
        own = (others if word == FULL else {}) if given is None else given.get(i, {})
        borrows = i >= count - config.count("num_kv_shared_layers")
        found.append(Kind(word, own.get("num_key_value_heads", float(k)), own.get("head_dim", float(h)), borrows))
    owners = {kind.sees for kind in found if not kind.borrows}
    if any(kind.sees not in owners for kind in found):
        raise BadInput(
            f"{config.name}: num_kv_shared_layers leaves no layer of a kind with keys of its own; expected fewer than {count}"
        )
    return found


def globally(config: Config) -> dict[str, float]:
    """What layers that see all have otherwise: heads of their own width, and number where values are keys."""
    own = {"head_dim": float(config.size("global_head_dim", 512.0))}
    kv = config.given("num_global_key_value_heads")
    if kv is not None and config.flag("attention_k_eq_v", False):
        own["num_key_value_heads"] = float(kv)
    return own


def by_layer(config: Config) -> dict[int, dict[str, float]] | None:
    """What a newer configuration says layer by layer, in place of what layers that see all have; None where it does not.

    raises BadInput where a layer has something else than heads of its own
    """
    if "per_layer_config" not in config.values:
        return None
    given = config.get("per_layer_config") or {}
    if not isinstance(given, Mapping) or not all(str(i).isdigit() and isinstance(given[i], Mapping) for i in given):
        raise BadInput(
            f"{config.name}: per_layer_config is {str(given)[:40]}; expected an object for each layer's number"
        )
    unknown = {key for own in given.values() for key in own} - {"head_dim", "num_key_value_heads"}
    if unknown:
        wrong = ", ".join(sorted(unknown))
        raise BadInput(f"{config.name}: per_layer_config has {wrong}; expected head_dim and num_key_value_heads")
    layers = {int(i): Config(own, f"{config.name} layer {i}") for i, own in given.items()}
    return {i: {key: float(own.size(key)) for key in own.values} for i, own in layers.items()}
