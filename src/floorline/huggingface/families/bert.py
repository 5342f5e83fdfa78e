"""BERT and its nearest relatives RoBERTa, XLM-RoBERTa and ELECTRA: learned positions, token types, biases, norms behind.

The class that ``architectures`` names decides what stands on top: a pooler, a head for masked tokens, a classifier; without
that key it is the base model.

Sources: Devlin et al. 2018, arXiv:1810.04805, section 3; Liu et al. 2019 (RoBERTa), arXiv:1907.11692; Clark et al. 2020
(ELECTRA), arXiv:2003.10555; fields and defaults: transformers 5.23, models/*/configuration_*.py and modeling_*.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from floorline.block import Block
from floorline.blocks.embedding import embedding
from floorline.blocks.heads import Dense, on_masked, on_one, on_tokens
from floorline.blocks.norm import LAYER_NORM
from floorline.huggingface.common import drops, layers
from floorline.huggingface.config import Config, divide
from floorline.huggingface.encoders import (
    LABELS,
    POOLED,
    behind,
    built,
    classifiers,
    encoder,
    is_decoder,
    label_sizes,
    same,
    stacked,
)
from floorline.num import Num
from floorline.transformer import Stack, Transformer


@dataclass(frozen=True, kw_only=True)
class Relative:
    """What one model type does otherwise than BERT.

    prefix    of its classes' names
    sizes     defaults that differ
    padded    whether positions begin behind the padding token's number
    narrow    whether the token table may have a width of its own, as ELECTRA's, and the heads are ELECTRA's
    """

    prefix: str
    sizes: Mapping[str, float]
    padded: bool = False
    narrow: bool = False


BERT = {
    "vocab_size": 30522.0,
    "hidden_size": 768.0,
    "num_hidden_layers": 12.0,
    "num_attention_heads": 12.0,
    "intermediate_size": 3072.0,
    "max_position_embeddings": 512.0,
    "type_vocab_size": 2.0,
}
SMALL = {"hidden_size": 256.0, "num_attention_heads": 4.0, "intermediate_size": 1024.0}
RELATIVES = {
    "bert": Relative(prefix="Bert", sizes=BERT),
    "roberta": Relative(prefix="Roberta", sizes={**BERT, "vocab_size": 50265.0}, padded=True),
    "xlm-roberta": Relative(prefix="XLMRoberta", sizes=BERT, padded=True),
    "electra": Relative(prefix="Electra", sizes={**BERT, **SMALL}, narrow=True),
}


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "bert", "roberta", "xlm-roberta" or "electra".

    >>> read(Config({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "bert")).parameter_count().total
    109514298.0
    """
    own = RELATIVES[config.text("model_type", "bert")]
    made: dict[str, Num] = {key: config.size(key, default) for key, default in own.sizes.items()}
    width, heads = made["hidden_size"], made["num_attention_heads"]
    table = config.size("embedding_size", 128.0) if own.narrow else width
    positions = made["max_position_embeddings"]
    usable = positions - config.count("pad_token_id", 1.0) - 1.0 if own.padded else positions
    kind, blocks = on_top(config, own)
    sizes = {
        "D": width,
        "K": heads,
        "G": 1.0,
        "H": divide(config, width, heads, "hidden_size", "num_attention_heads"),
        "F": made["intermediate_size"],
        "V": made["vocab_size"],
        "P": positions,
        "Y": made["type_vocab_size"],
        "N": table,
        **label_sizes(config, kind, ForNextSentencePrediction=2.0, ForPreTraining=1.0 if own.narrow else 2.0),
    }
    drop, decoder = drops(config, "hidden_dropout_prob", 0.1), is_decoder(config)
    projected = "N" if own.narrow and not same(table, width) else ""
    start = embedding(
        positions=True, types=True, norm=LAYER_NORM, drop=drop, projected=projected, projection_bias=bool(projected)
    )
    block = behind(
        config.activation("hidden_act", "gelu"),
        drop=drop,
        attention_drop=drops(config, "attention_probs_dropout_prob", 0.1),
        cached=decoder,
    )
    stacks = Stack(start), stacked(block, layers(config, default=made["num_hidden_layers"]), decoder=decoder)
    return encoder(config, sizes, stacks, blocks, longest=usable)


def on_top(config: Config, own: Relative) -> tuple[str, tuple[Block, ...]]:
    """Which class is built, and its heads."""
    tied = config.flag("tie_word_embeddings", True)
    activation = config.activation("hidden_act", "gelu")
    known = electra(config, tied, activation) if own.narrow else bert(own, tied, activation)
    kind = built(config, (own.prefix,), "Model", known)
    return kind, known[kind]


def bert(own: Relative, tied: bool, activation: str) -> dict[str, tuple[Block, ...]]:
    """Heads of BERT, and of RoBERTa, which classifies without the pooler's weights but in the same way."""
    transform = Dense(name="transform", activation="gelu" if own.padded else activation, norm=LAYER_NORM)
    masked = on_masked(transform, tied=tied, spare=not tied)
    pooler = on_one(POOLED, name="pooler")
    found = {"Model": (pooler,), "ForMaskedLM": (masked,), **classifiers(POOLED)}
    if own.padded:
        return {**found, "ForCausalLM": (masked,)}
    relation = on_one(POOLED, LABELS, name="relation")
    return {
        **found,
        "LMHeadModel": (masked,),
        "ForPreTraining": (relation, masked),
        "ForNextSentencePrediction": (on_one(POOLED, LABELS),),
    }


def electra(config: Config, tied: bool, activation: str) -> dict[str, tuple[Block, ...]]:
    """Heads of ELECTRA: the discriminator's number for each token, the generator's logits, a summary of the first token."""
    masked = on_masked(Dense(name="transform", to="N", activation="gelu", norm=LAYER_NORM), tied=tied)
    discriminator = on_tokens(Dense(name="judge", activation=activation), Dense(name="labels", to="L"))
    summary = Dense(name="summary", to="Q", activation="gelu")
    projected = config.flag("summary_use_proj", True)
    return {
        "Model": (),
        "ForPreTraining": (discriminator,),
        "ForMaskedLM": (masked,),
        "ForCausalLM": (masked,),
        **classifiers(Dense(name="pooled", activation="gelu")),
        "ForMultipleChoice": (on_one(summary, LABELS) if projected else on_one(LABELS),),
    }
