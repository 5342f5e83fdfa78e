"""DeepSeek V2 to V3.2, Kimi K2, GLM-5: latent attention, many small experts beside shared ones, the first layers plain;
the newest with an indexer that selects keys.

Sources of the fields: transformers, configuration_deepseek_v2.py, configuration_deepseek_v3.py, configuration_deepseek_v32.py,
configuration_glm_moe_dsa.py and their modeling files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from floorline.blocks.experts import Experts
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.latent_attention import LatentAttention
from floorline.blocks.layer import Branch, Part, layer
from floorline.blocks.norm import RMS_NORM
from floorline.errors import BadInput
from floorline.huggingface.common import by_kind, drops, language_model, layer_types, whole_layers
from floorline.huggingface.config import Config
from floorline.huggingface.families.mixtral import with_corrections
from floorline.num import Num
from floorline.transformer import Stack, Transformer


@dataclass(frozen=True, kw_only=True)
class Generation:
    """What a generation has where a configuration leaves it out.

    query, latent, plain, position, value  widths: q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim
    experts, chosen, width, shared  n_routed_experts, num_experts_per_tok, moe_intermediate_size, n_shared_experts
    first        first_k_dense_replace
    score        of the router
    ffn_bias     whether mlp_bias is read
    heads        index_n_heads of the indexer; 0 for none
    """

    query: float = 1536.0
    latent: float = 512.0
    plain: float = 128.0
    position: float = 64.0
    value: float = 128.0
    experts: float = 256.0
    chosen: float | None = 8.0
    width: float = 2048.0
    shared: float = 1.0
    first: float = 3.0
    score: str = "sigmoid"
    ffn_bias: bool = False
    heads: float = 0.0


GENERATIONS = {
    "deepseek_v2": Generation(
        experts=64.0, chosen=None, width=1407.0, shared=2.0, first=0.0, score="softmax", ffn_bias=True
    ),
    "deepseek_v3": Generation(),
    "kimi_k2": Generation(),
    "deepseek_v32": Generation(heads=64.0),
    "glm_moe_dsa": Generation(query=2048.0, plain=192.0, value=256.0, heads=32.0),
}


def read(config: Config) -> Transformer:
    """A ``config.json`` of a type in the table; a q_lora_rank of null makes queries without a latent.

    The library's classes expand the latent again at every decode step, and compute all scores before they mask those that
    the indexer did not select.

    >>> small = {"model_type": "deepseek_v3", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 4}
    >>> rest = {"intermediate_size": 128, "vocab_size": 100, "moe_intermediate_size": 16, "n_routed_experts": 8}
    >>> [stack.block.name for stack in read(Config({**small, **rest}, "small")).stacks]
    ['embedding', 'dense_block', 'block', 'head']
    """
    own = GENERATIONS[config.text("model_type", "deepseek_v3")]
    activation = config.activation("hidden_act", "silu")
    ffn_bias = config.flag("mlp_bias", False) if own.ffn_bias else False
    sparse_layers = bool(own.heads)
    latent = config.maybe("q_lora_rank", own.query)
    if sparse_layers and latent is None:
        raise BadInput(f"{config.name}: q_lora_rank is null, but the indexer reads queries' latent; expected a width")
    attention = LatentAttention(
        query_latent=latent is not None,
        bias=config.flag("attention_bias", False),
        dense=config.library,
        dropout=drops(config, "attention_dropout"),
    )
    shared = FeedForward(activation, gated=True, bias=ffn_bias, width="s", name="shared_")
    parts: dict[str, Part] = {
        "dense": FeedForward(activation, gated=True, bias=ffn_bias),
        "sparse": Experts(activation=activation, score=own.score, shared=shared),
    }

    def make(kind: str) -> Stack:
        ffn, indexer = kind.split()
        mixer = replace(attention, indexer=indexer.replace("none", ""))
        branches = (Branch(part=mixer, before=RMS_NORM), Branch(part=parts[ffn], before=RMS_NORM))
        absorbed = (Branch(part=replace(mixer, absorbed=True), before=RMS_NORM), branches[1])
        name = "block" if ffn == "sparse" else "dense_block"
        return Stack(
            layer(*branches, name=name), decode=None if config.library else layer(*absorbed, name=name), either=True
        )

    stacks, order = by_kind(kinds(config, own), make)
    tied = config.flag("tie_word_embeddings", False)
    made = language_model(config, sizes(config, own, latent), stacks, RMS_NORM, tied=tied, order=order)
    return with_corrections(made) if own.score == "sigmoid" else made


def kinds(config: Config, own: Generation) -> list[str]:
    """For each layer whether its feed-forward is plain or sparse, and whether it has an indexer, shares one, or has none."""
    count = whole_layers(config)
    config.get("moe_layer_freq")  # every layer from first_k_dense_replace on is sparse
    first = config.count("first_k_dense_replace", own.first)
    ffn = layer_types(config, count, lambda i: "dense" if i < first else "sparse", "mlp_layer_types")
    if set(ffn) - {"dense", "sparse"}:
        raise BadInput(f"{config.name}: mlp_layer_types lists {sorted(set(ffn))}; expected dense and sparse")
    config.get("layer_types")  # indexed_attention everywhere
    if not own.heads:
        return [f"{kind} none" for kind in ffn]
    listed = layer_types(config, count, indexer_rule(config), "indexer_types")
    return [f"{kind} {'own' if which == 'full' else 'shared'}" for kind, which in zip(ffn, listed, strict=True)]


def indexer_rule(config: Config) -> Callable[[int], str]:
    """Which layers run an indexer of their own, where indexer_types does not list them."""
    pattern = config.get("index_topk_pattern")
    every, offset = max(config.count("index_topk_freq", 1.0), 1.0), config.count("index_skip_topk_offset", 2.0)
    words = {"F": "full", "S": "shared"}

    def rule(i: int) -> str:
        if isinstance(pattern, (str, list)) and pattern:
            return words.get(pattern[i], pattern[i])
        return "shared" if max(i - offset + 1, 0) % every else "full"

    return rule


def sizes(config: Config, own: Generation, latent: Num | None) -> Mapping[str, Num]:
    """D, K heads, L, c, N, r, U, the experts' E, k, f and s, the plain width F, and those of the indexer.

    raises BadInput where a token chooses more experts than there are
    """
    for key in ("head_dim", "qk_head_dim", "num_key_value_heads", "ep_size"):
        config.get(key)  # follow from the others
    width = config.size("moe_intermediate_size", own.width)
    found: dict[str, Num] = {
        "D": config.size("hidden_size"),
        "K": config.size("num_attention_heads"),
        "G": 1.0,
        "c": config.size("kv_lora_rank", own.latent),
        "N": config.size("qk_nope_head_dim", own.plain),
        "r": config.size("qk_rope_head_dim", own.position),
        "U": config.size("v_head_dim", own.value),
        "E": config.size("n_routed_experts", own.experts),
        "k": config.size("num_experts_per_tok", own.chosen),
        "f": width,
        "s": config.size("n_shared_experts", own.shared) * width,
        "F": config.size("intermediate_size"),
    }
    found["H"] = found["N"] + found["r"]
    if latent is not None:
        found["L"] = latent
    if own.heads:
        found["x"] = config.size("index_n_heads", own.heads)
        found["A"] = config.size("index_head_dim", 128.0)
        found["topk"] = config.size("index_topk", 2048.0)
    return found
