"""T5, mT5 and umT5: an encoder and a decoder with a learned bias for buckets of relative positions, made in the first layer of
each side, in umT5 in every layer; RMS norms, no biases.

Sources: Raffel et al. 2019, arXiv:1910.10683, section 2.1; version 1.1 and mT5 (a gated feed-forward, an untied head): Xue et
al. 2020, arXiv:2010.11934, section 3.2; a bias for each layer: transformers 5.23, modeling_umt5.py; fields and defaults:
configuration_t5.py, configuration_mt5.py, configuration_umt5.py and modeling_t5.py. transformers 5 ties the head whatever the
configuration says; here ``tie_word_embeddings`` says so, since published checkpoints of version 1.1 have a head of their own.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block
from floorline.blocks.attention import Attention
from floorline.blocks.cross_attention import MEMORY, CrossAttention
from floorline.blocks.embedding import embedding, final_norm, head
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.heads import on_one, on_tokens
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import RMS_NORM
from floorline.errors import BadInput
from floorline.huggingface.common import drops, whole_layers
from floorline.huggingface.config import ACTIVATIONS, Config
from floorline.huggingface.encoder_decoders import LOGITS, also, decoding, encoding, first_and_rest
from floorline.huggingface.encoders import LABELS, POOLED, built, ends, label_sizes
from floorline.num import Num
from floorline.transformer import Stack, Transformer

BUCKETS, BIAS = "bucket_ids[TS]", "bias[KGTS]"
DEFAULTS = {
    "t5": {"vocab_size": 32128.0, "d_ff": 2048.0, "num_layers": 6.0, "num_heads": 8.0},
    "mt5": {"vocab_size": 250112.0, "d_ff": 1024.0, "num_layers": 8.0, "num_heads": 6.0},
    "umt5": {"vocab_size": 250112.0, "d_ff": 1024.0, "num_layers": 8.0, "num_heads": 6.0},
}
FEED_FORWARD = {"t5": "relu", "mt5": "gated-gelu", "umt5": "gated-gelu"}
ENCODERS = ("EncoderModel", "ForTokenClassification")
"""Classes that have no decoder."""


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "t5", "mt5" or "umt5"; without ``architectures`` it generates.

    >>> read(Config({"model_type": "t5"}, "t5-small")).parameter_count().total
    60506624.0
    """
    family = config.text("model_type", "t5")
    own = DEFAULTS[family]
    known = on_top(config.flag("tie_word_embeddings", True))
    kind = built(config, ("T5", "MT5", "UMT5"), "ForConditionalGeneration", known)
    heads = config.size("num_heads", own["num_heads"])
    count = whole_layers(config, "num_layers", own["num_layers"])
    sizes: dict[str, Num] = {
        "D": config.size("d_model", 512.0),
        "K": heads,
        "G": 1.0,
        "H": config.size("d_kv", 64.0),
        "F": config.size("d_ff", own["d_ff"]),
        "V": config.size("vocab_size", own["vocab_size"]),
        "R": config.size("relative_attention_num_buckets", 32.0),
        **label_sizes(config, kind),
    }
    also(config, "num_hidden_layers", "num_attention_heads", "hidden_size", "head_dim", "n_positions")
    drop, alone = drops(config, "dropout_rate", 0.1), kind in ENCODERS
    ffn = feed_forward(config, FEED_FORWARD[family])
    # as deep as the encoder, unless that depth goes by its second name: transformers then has its own default here
    depth = float(count) if config.given("num_layers") and "num_layers" in config.values else own["num_layers"]
    decoder = whole_layers(config, "num_decoder_layers", depth)
    every = family == "umt5"
    stacks = encoder_side(ffn, count, drop, alone, every) + (() if alone else decoder_side(ffn, decoder, drop, every))
    return Transformer(config.name, sizes, (*stacks, *known[kind]))


def feed_forward(config: Config, default: str) -> FeedForward:
    """Two matmuls, or three with a gate, as ``feed_forward_proj`` says: "relu", "gated-gelu".

    raises BadInput for another form of that word
    """
    text = config.text("feed_forward_proj", default)
    gate, _, name = text.rpartition("-")
    activation = "gelu_new" if text == "gated-gelu" else ACTIVATIONS.get(name, "")
    if gate not in ("", "gated") or not activation:
        raise BadInput(
            f"{config.name}: feed_forward_proj is {text[:40]!r}; expected an activation, such as relu or gated-gelu"
        )
    if config.get("dense_act_fn") is not None:  # what that word stands for, in configurations that were saved again
        activation = config.activation("dense_act_fn", "relu")
    return FeedForward(activation, gated=config.flag("is_gated_act", bool(gate)))


def encoder_side(ffn: FeedForward, count: int, drop: bool, alone: bool, every: bool = False) -> tuple[Stack, ...]:
    """Token table, the first layer, which makes the bias, the others, and a norm.

    every  whether every layer makes a bias of its own
    """
    first = encoder_layer(ffn, drop, first=True, given_on=not every)
    rest = first if every else encoder_layer(ffn, drop, first=False)
    return (
        encoding(embedding(drop=drop, name="encoder_embedding"), alone=alone),
        *first_and_rest(encoding(first, alone=alone), encoding(rest, alone=alone), count),
        encoding(final_norm(RMS_NORM), alone=alone),
    )


def decoder_side(ffn: FeedForward, count: int, drop: bool, every: bool = False) -> tuple[Stack, ...]:
    """The same table, and layers that attend to the encoder besides."""
    first = decoding(lambda held: decoder_layer(ffn, drop, first=True, held=held, given_on=not every))
    rest = first if every else decoding(lambda held: decoder_layer(ffn, drop, first=False, held=held))
    return Stack(embedding(drop=drop)), *first_and_rest(first, rest, count)


@cache
def encoder_layer(ffn: FeedForward, drop: bool, *, first: bool, given_on: bool = True) -> Block:
    """Attention and a feed-forward network, a norm before each.

    first     whether the bias of relative positions is made here; later layers are given it
    given_on  whether there are such layers
    """
    attention = Attention(cached=False, dropout=drop, position_bias="made" if first else "given")
    branches = Branch(part=attention, before=RMS_NORM, drop=drop), Branch(part=ffn, before=RMS_NORM, drop=drop)
    name, inputs = "encoder_block", BUCKETS if first else BIAS
    return layer(*branches, name=name, inputs=inputs, outputs="bias" if first and given_on else "")


@cache
def decoder_layer(ffn: FeedForward, drop: bool, *, first: bool, held: bool, given_on: bool = True) -> Block:
    """The same with attention to the encoder's states in between.

    held  whether its keys and values are in the cache already
    """
    attention = Attention(dropout=drop, position_bias="made" if first else "given")
    cross = CrossAttention(dropout=drop, held=held)
    branches = (
        Branch(part=attention, before=RMS_NORM, drop=drop),
        Branch(part=cross, before=RMS_NORM, drop=drop, name="cross"),
        Branch(part=ffn, before=RMS_NORM, drop=drop, name="ffn"),
    )
    given = BUCKETS if first else BIAS
    inputs = given if held else f"{given} {MEMORY}"
    return layer(*branches, inputs=inputs, outputs="bias" if first and given_on else "")


def on_top(tied: bool) -> dict[str, tuple[Stack, ...]]:
    """Heads by class; all but the plain encoder's follow the decoder's last norm."""
    last = (Stack(final_norm(RMS_NORM)),)
    return {
        "ForConditionalGeneration": (Stack(head(tied=tied, norm=RMS_NORM), tokens=LOGITS),),
        "WithLMHeadModel": (Stack(head(tied=tied, norm=RMS_NORM), tokens=LOGITS),),
        "Model": last,
        "EncoderModel": (),
        "ForTokenClassification": ends((on_tokens(LABELS),)),
        "ForSequenceClassification": last + ends((on_one(POOLED, LABELS),)),
        "ForQuestionAnswering": last + ends((on_tokens(LABELS),)),
    }
