"""Qwen3-Next: three layers of linear attention with the gated delta rule, then one of gated attention; experts behind each.

Sources: https://huggingface.co/docs/transformers/model_doc/qwen3_next; fields and what is meant where one is left out:
transformers 5.23, models/qwen3_next/configuration_qwen3_next.py and modeling_qwen3_next.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from floorline.block import Block
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.delta_net import CHUNK, DeltaNet
from floorline.blocks.experts import Experts
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, Part, layer
from floorline.blocks.norm import RMS_NORM
from floorline.errors import BadInput
from floorline.huggingface.common import by_kind, drops, language_model, whole_layers
from floorline.huggingface.config import Config
from floorline.huggingface.state_space import attention_sizes, ignore, kinds, known, stepping
from floorline.num import Num
from floorline.transformer import Stack, Transformer

MIXERS = ("linear_attention", "full_attention")


@dataclass(frozen=True, kw_only=True)
class Relative:
    """What one model of this line does otherwise, and its sizes where the configuration leaves them out.

    width, depth, kv_heads, vocabulary  hidden_size, num_hidden_layers, …
    inner       width of a dense feed-forward, 0 where there is none
    experts     how many, 0 where all layers are dense
    chosen      experts a token
    stepped     whether mlp_only_layers and decoder_sparse_step make some layers dense
    together    whether the linear attention's projections are stored as one
    """

    width: Num
    depth: Num
    kv_heads: Num
    vocabulary: Num
    inner: Num = 0.0
    experts: float = 0.0
    chosen: Num = 0.0
    stepped: bool = False
    together: bool = False


NEXT = Relative(
    width=2048.0, depth=48.0, kv_heads=2.0, vocabulary=151936.0, inner=5632.0, experts=512.0, chosen=10.0, stepped=True,
    together=True,
)  # fmt: skip


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "qwen3_next".

    >>> read(Config({"model_type": "qwen3_next", "num_hidden_layers": 4}, "small")).order
    (0, 0, 0, 1)
    """
    return language(config, NEXT, config.flag("tie_word_embeddings", False))


def language(config: Config, own: Relative, tied: bool) -> Transformer:
    """The language model of a configuration of this line."""
    ignore(config, "use_sliding_window", "sliding_window", "max_window_layers", "intermediate_size")
    activation = config.activation("hidden_act", "silu")
    after: dict[str, Part] = {"dense": FeedForward(activation, gated=True)}
    if own.experts:
        shared = FeedForward(activation, gated=True, width="s", name="shared_")
        after["experts"] = Experts(activation=activation, shared=shared, shared_gate=True)
    bias = config.flag("attention_bias", False)
    attention = Attention(
        bias=bias,
        out_bias=bias,
        rotary=True,
        head_norm=HeadNorm(RMS_NORM),
        gate=True,
        dropout=drops(config, "attention_dropout"),
        softmax="softmax_fp32",
    )

    def block(kind: str, decode: bool) -> Block:
        mixer, feed_forward = kind.split()
        linear = DeltaNet(activation=activation, together=own.together, decode=decode)
        first = Branch(part=linear if mixer == "linear_attention" else attention, before=RMS_NORM, name="mixed")
        return layer(first, Branch(part=after[feed_forward], before=RMS_NORM), name=kind.replace(" ", "_"))

    def make(kind: str) -> Stack:
        return stepping(lambda decode: block(kind, decode)) if "linear" in kind else Stack(block(kind, False))

    stacks, order = by_kind(layer_kinds(config, own), make)
    return language_model(config, sizes(config, own), stacks, RMS_NORM, tied=tied, order=order)


def layer_kinds(config: Config, own: Relative) -> list[str]:
    """The kind of each layer: "linear_attention experts", "full_attention dense", …

    raises BadInput where layer_types lists too few layers
    """
    count, every = whole_layers(config, default=own.depth), config.count("full_attention_interval", 4.0, least=1.0)
    mixers = kinds(config, "layer_types") or [MIXERS[(i + 1) % every == 0] for i in range(count)]
    if len(mixers) < count:
        raise BadInput(
            f"{config.name}: layer_types lists {len(mixers)} layers of {count}; expected one word for each layer"
        )
    dense = feed_forwards(config, own)
    return [f"{m} {'dense' if dense(i) else 'experts'}" for i, m in enumerate(known(config, mixers[:count], MIXERS))]


def feed_forwards(config: Config, own: Relative) -> Callable[[int], bool]:
    """Which layers have a plain feed-forward.

    raises BadInput where mlp_only_layers is no list
    """
    if not own.stepped:
        return lambda i: own.experts == 0.0
    step, listed = config.count("decoder_sparse_step", 1.0, least=1.0), config.get("mlp_only_layers") or []
    if not isinstance(listed, list):
        raise BadInput(f"{config.name}: mlp_only_layers is {str(listed)[:40]!r}; expected a list of layers' indices")
    none = config.count("num_experts", own.experts) == 0.0
    return lambda i: none or i in listed or (i + 1) % step != 0


def sizes(config: Config, own: Relative) -> dict[str, Num]:
    """Sizes of all letters."""
    width = config.size("hidden_size", own.width)
    found = {
        **attention_sizes(config, 16.0, own.kv_heads, width=width, head=256.0),
        "g": config.size("linear_num_key_heads", 16.0),
        "h": config.size("linear_num_value_heads", 32.0),
        "N": config.size("linear_key_head_dim", 128.0),
        "p": config.size("linear_value_head_dim", 128.0),
        "w": config.size("linear_conv_kernel_dim", 4.0),
        "Q": CHUNK,
        "V": own.vocabulary,
    }
    if own.inner:
        found["F"] = config.size("intermediate_size", own.inner)
    if own.experts:
        found["f"] = config.size("moe_intermediate_size", 512.0)
        found["s"] = config.size("shared_expert_intermediate_size", 512.0)
        found["E"] = max(config.count("num_experts", own.experts), 1.0)
        found["k"] = config.size("num_experts_per_tok", own.chosen)
        found.setdefault("F", found["f"])
    return found
