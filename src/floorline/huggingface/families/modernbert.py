"""ModernBERT: rotary positions, gated feed-forward, a norm before each branch but the first; every few layers see everything,
those between a window to both sides.

Sources: Warner et al. 2024, arXiv:2412.13663, section 2.1; fields and defaults: transformers 5.23,
configuration_modernbert.py and modeling_modernbert.py.
"""

from __future__ import annotations

from floorline.block import Block
from floorline.blocks.attention import Attention
from floorline.blocks.embedding import embedding, final_norm
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.heads import Dense, on_masked, on_one, on_tokens
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import LAYER_NORM, SCALE_NORM, Norm
from floorline.errors import BadInput
from floorline.huggingface.common import by_kind, drops, layer_types, whole_layers
from floorline.huggingface.config import Config, divide
from floorline.huggingface.encoders import LABELS, built, encoder, label_sizes
from floorline.masks import around, everything
from floorline.transformer import Stack, Transformer

FULL, LOCAL = "full_attention", "sliding_attention"


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "modernbert"; without ``architectures`` it is the base model.

    >>> read(Config({"model_type": "modernbert", "architectures": ["ModernBertForMaskedLM"]}, "base")).parameter_count().total
    149655232.0
    """
    width, heads = config.size("hidden_size", 768.0), config.size("num_attention_heads", 12.0)
    norm = LAYER_NORM if config.flag("norm_bias", False) else SCALE_NORM
    known = on_top(config, norm)
    kind = built(config, ("ModernBert",), "Model", known)
    sizes = {
        "D": width,
        "K": heads,
        "G": 1.0,
        "H": divide(config, width, heads, "hidden_size", "num_attention_heads"),
        "F": config.size("intermediate_size", 1152.0),
        "V": config.size("vocab_size", 50368.0),
        **label_sizes(config, kind),
    }
    stacks, order = middle(config, norm)
    start = Stack(embedding(norm=norm, drop=drops(config, "embedding_dropout")))
    longest = config.size("max_position_embeddings", 8192.0)
    whole = (start, *stacks, Stack(final_norm(norm)))
    return encoder(config, sizes, whole, known[kind], longest=longest, learned=False, order=order)


def middle(config: Config, norm: Norm) -> tuple[tuple[Stack, ...], tuple[int, ...]]:
    """The layers: the first has no norm before its attention, since the embedding ends with one."""
    every = int(config.count("global_attn_every_n_layers", 3.0)) or 1
    kinds = layer_types(config, whole_layers(config, default=22.0), lambda i: LOCAL if i % every else FULL)
    strange = [kind for kind in kinds if kind not in (FULL, LOCAL)]
    if strange:
        raise BadInput(f"{config.name}: a layer is {strange[0][:40]!r}; expected {FULL} or {LOCAL}")
    side = config.size("sliding_window", config.size("local_attention", 128.0) // 2.0)
    bias, drop = config.flag("attention_bias", False), drops(config, "attention_dropout")
    attention = Attention(bias=bias, out_bias=bias, rotary=True, cached=False, dropout=drop)
    ffn = FeedForward(config.activation("hidden_activation", "gelu"), gated=True, bias=config.flag("mlp_bias", False))

    def made(kind: str) -> Stack:
        first = Branch(part=attention, before=None if kind.startswith("first ") else norm, drop=drop)
        block = layer(first, Branch(part=ffn, before=norm))
        if kind.endswith(LOCAL):
            return Stack(block, mask=around, sizes={"window": side})
        return Stack(block, mask=everything)

    return by_kind([f"first {kinds[0]}", *kinds[1:]], made)


def on_top(config: Config, norm: Norm) -> dict[str, tuple[Block, ...]]:
    """Heads by class: each has a matmul of its own before the labels or the vocabulary."""
    tied, logits_bias = config.flag("tie_word_embeddings", True), config.flag("decoder_bias", True)
    transform = Dense(
        name="transform",
        activation=config.activation("classifier_activation", "gelu"),
        norm=norm,
        bias=config.flag("classifier_bias", False),
    )
    one, each = (on_one(transform, LABELS),), (on_tokens(transform, LABELS),)
    return {
        "Model": (),
        "ForMaskedLM": (on_masked(transform, tied=tied, bias=logits_bias),),
        "ForSequenceClassification": one,
        "ForMultipleChoice": one,
        "ForTokenClassification": each,
        "ForQuestionAnswering": each,
    }
