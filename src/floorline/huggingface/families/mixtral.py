"""Mixtral and its relatives: decoders whose feed-forward is a mixture of experts. The table says what each does otherwise.

Sources of the fields and of what is done where one is left out: transformers 5.23, models/*/configuration_*.py and
modeling_*.py of each type (https://github.com/huggingface/transformers).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from floorline.block import Block
from floorline.blocks.attention import HeadNorm
from floorline.blocks.experts import Experts
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, Part, layer
from floorline.blocks.norm import LAYER_NORM, RMS_NORM
from floorline.errors import BadInput
from floorline.huggingface.common import by_kind, head_sizes, language_model, layer_types, layers, seen, whole_layers
from floorline.huggingface.config import Config
from floorline.huggingface.families.llama import Relative, attention
from floorline.num import Num, total
from floorline.transformer import Stack, Transformer

EACH, ALL = HeadNorm(RMS_NORM), HeadNorm(RMS_NORM, scale="KGH", over="KGH")


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """What one model type does otherwise than Mixtral.

    like         its attention and its norms
    experts      key of E, and what it is where it is left out
    chosen       experts a token, where num_experts_per_tok is left out
    width        key of an expert's inner width f, and its default
    shared       key of the shared expert's width, or of how many experts' widths it has; "" for none
    shared_gate  whether a learned number for each token scales it
    bias         of the experts' and the router's matmuls
    score        of the router
    plain        inner width of a plain layer, where intermediate_size is left out
    dense        which layers have a plain feed-forward instead: "" none, "step" as mlp_only_layers and decoder_sparse_step
                 say, "first" the first_k_dense_replace first
    dense_first  where that key is left out
    qk_norm      key that switches the head norm on, "" where it is always on or never
    head_bias    key of a bias of the logits
    alternate    whether every other layer sees a window, from the first on
    """

    like: Relative = field(default_factory=Relative)
    experts: tuple[str, Num] = ("num_local_experts", 8.0)
    chosen: Num = 2.0
    width: tuple[str, Num | None] = ("intermediate_size", None)
    shared: str = ""
    shared_gate: bool = False
    bias: bool = False
    score: str = "softmax"
    plain: Num | None = None
    dense: str = ""
    dense_first: float = 0.0
    qk_norm: str = ""
    head_bias: str = ""
    alternate: bool = False


MIXTURES = {
    "mixtral": Mixture(like=Relative(bias="no", kv_heads=8.0, windowed="all")),
    "granitemoe": Mixture(),
    "phimoe": Mixture(
        like=Relative(norm=LAYER_NORM, kv_heads=8.0, windowed="all"),
        experts=("num_local_experts", 16.0),
        head_bias="lm_head_bias",
    ),
    "olmoe": Mixture(like=Relative(head_norm=ALL), experts=("num_experts", 64.0), chosen=8.0),
    "minimax_m2": Mixture(
        like=Relative(bias="no", head_norm=ALL, kv_heads=8.0, head_dim=128.0),
        experts=("num_local_experts", 256.0),
        chosen=8.0,
        score="sigmoid",
    ),
    "qwen2_moe": Mixture(
        like=Relative(bias="qkv_bias", default_bias=True, out_bias="no", kv_heads=16.0, windowed="even", window=4096.0),
        experts=("num_experts", 60.0),
        chosen=4.0,
        width=("moe_intermediate_size", 1408.0),
        shared="shared_expert_intermediate_size",
        shared_gate=True,
        plain=5632.0,
        dense="step",
    ),
    "qwen3_moe": Mixture(
        like=Relative(head_norm=EACH, kv_heads=4.0, windowed="used"),
        experts=("num_experts", 128.0),
        chosen=8.0,
        width=("moe_intermediate_size", 768.0),
        plain=6144.0,
        dense="step",
    ),
    "glm4_moe": Mixture(
        like=Relative(out_bias="no", head_norm=EACH, kv_heads=8.0),
        experts=("n_routed_experts", 128.0),
        chosen=8.0,
        width=("moe_intermediate_size", 1408.0),
        shared="n_shared_experts",
        score="sigmoid",
        plain=10944.0,
        dense="first",
        dense_first=1.0,
        qk_norm="use_qk_norm",
    ),
    "gpt_oss": Mixture(
        like=Relative(default_bias=True, sinks=True, kv_heads=8.0, head_dim=64.0, window=128.0),
        experts=("num_local_experts", 128.0),
        chosen=4.0,
        bias=True,
        alternate=True,
    ),
}


def read(config: Config) -> Transformer:
    """A ``config.json`` of a type in the table.

    >>> from floorline.catalogue.load import model_entry
    >>> counted = read(Config(model_entry("mixtral-8x7b")["config"], "mixtral-8x7b")).parameter_count()
    >>> round(counted.total / 1e9), round(counted.active_per_token / 1e9)  # arXiv:2401.04088: 47B, of which 13B are used
    (47, 13)
    """
    own = MIXTURES[config.text("model_type", "mixtral")]
    like, _ = own.like, (config.get("use_qk_norm"), config.get("qk_norm_type"))
    if own.qk_norm and not config.flag(own.qk_norm, False):
        like = replace(like, head_norm=None)
    dense = FeedForward(config.activation("hidden_act", "silu"), gated=True)
    ffn: dict[str, Part] = {"experts": experts(config, own), "dense": dense}
    parts: tuple[Part, ...] = (attention(config, like),)

    def block(kind: str) -> Block:
        branches = (Branch(part=part, before=like.norm) for part in (*parts, ffn[kind]))
        return layer(*branches, name="block" if kind == "experts" else "dense_block")

    stacks, order = mixed_layers(config, own, block)
    heads = head_sizes(config, default_kv=like.kv_heads, default_dim=like.head_dim)
    sizes = {**heads, **expert_sizes(config, own)}
    tied = config.flag("tie_word_embeddings", False)
    bias = config.flag(own.head_bias, False) if own.head_bias else False
    made = language_model(config, sizes, stacks, like.norm, tied=tied, order=order, bias=bias)
    return with_corrections(made) if own.score == "sigmoid" else made


def with_corrections(model: Transformer) -> Transformer:
    """The model with what such a router adds to its scores to balance the load: a number for each expert, no parameter.

    Source: DeepSeek-V3, arXiv:2412.19437, section 2.1.2; ``e_score_correction_bias`` in transformers' modeling files.
    """
    sparse = total(stack.repeat for stack in model.stacks if stack.is_layer and "E" in stack.block.letters)
    return replace(model, buffers=sparse * model.sizes["E"])


def experts(config: Config, own: Mixture) -> Experts:
    """The mixture of a layer."""
    activation = config.activation("hidden_act", "silu")
    return Experts(
        activation=activation,
        bias=own.bias,
        router_bias=own.bias,
        score=own.score,
        shared=FeedForward(activation, gated=True, width="s", name="shared_") if own.shared else None,
        shared_gate=own.shared_gate,
    )


def expert_sizes(config: Config, own: Mixture) -> dict[str, Num]:
    """E, k, f, the shared expert's width s and a dense layer's F.

    raises BadInput where a token chooses more experts than there are
    """
    count, chosen = config.size(*own.experts), config.size("num_experts_per_tok", own.chosen)
    if isinstance(count, float) and isinstance(chosen, float) and chosen > count:
        raise BadInput(
            f"{config.name}: num_experts_per_tok is {chosen:g} of {count:g} experts; expected at most as many"
        )
    width = config.size(*own.width)
    dense = config.size("intermediate_size", own.plain) if own.dense else width
    found = {"E": count, "k": chosen, "f": width, "F": dense}
    if own.shared.startswith("n_"):
        return {**found, "s": config.size(own.shared, 1.0) * width}
    return {**found, "s": config.size(own.shared, 5632.0)} if own.shared else found


def mixed_layers(
    config: Config, own: Mixture, block: Callable[[str], Block]
) -> tuple[tuple[Stack, ...], tuple[int, ...]]:
    """Stacks of layers by what they attend to and by what follows, and the order of the layers."""
    window = attention_rule(config, own.like, own.alternate)
    plain = PLAIN[own.dense](config, own)
    if window is None and plain is None and config.get("layer_types") is None:
        return (Stack(block("experts"), layers(config)),), ()
    count = whole_layers(config)
    attends = layer_types(config, count, window or (lambda i: "full_attention"))
    kinds = [f"{a} {'dense' if plain is not None and plain(i) else 'experts'}" for i, a in enumerate(attends)]

    def make(kind: str) -> Stack:
        a, _, f = kind.partition(" ")
        size = None if a == "full_attention" else config.size("sliding_window", own.like.window)
        return seen(config, a, block(f), size=size)

    return by_kind(kinds, make)


def attention_rule(config: Config, like: Relative, alternate: bool) -> Callable[[int], str] | None:
    """Which layers see a window; None where all see everything."""
    if alternate:
        return lambda i: "full_attention" if i % 2 else "sliding_attention"
    if not like.windowed:
        return None
    window = config.maybe("sliding_window", like.window)
    used = like.windowed == "all" or config.flag("use_sliding_window", False)
    first = config.count("max_window_layers", 28.0)
    if window is None or not used:
        return None
    if like.windowed == "even":
        return lambda i: "sliding_attention" if i < first and i % 2 == 0 else "full_attention"
    return lambda i: "sliding_attention"


def never(config: Config, own: Mixture) -> None:
    """Every layer has experts."""


def stepped(config: Config, own: Mixture) -> Callable[[int], bool] | None:
    """Plain layers as ``mlp_only_layers`` lists them, and between those that ``decoder_sparse_step`` counts."""
    step, listed = config.count("decoder_sparse_step", 1.0, least=1.0), config.get("mlp_only_layers") or []
    if not isinstance(listed, list):
        raise BadInput(f"{config.name}: mlp_only_layers is {str(listed)[:40]!r}; expected a list of layers' indices")
    return None if step == 1.0 and not listed else lambda i: i in listed or (i + 1) % step != 0


def first(config: Config, own: Mixture) -> Callable[[int], bool] | None:
    """The first layers are plain."""
    many = config.count("first_k_dense_replace", own.dense_first)
    return (lambda i: i < many) if many else None


PLAIN: dict[str, Callable[[Config, Mixture], Callable[[int], bool] | None]] = {
    "": never,
    "step": stepped,
    "first": first,
}
