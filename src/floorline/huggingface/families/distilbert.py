"""DistilBERT: BERT's layers, half as many, without token types and without a pooler.

Sources: Sanh et al. 2019, arXiv:1910.01108, section 3; fields and defaults: transformers 5.23, configuration_distilbert.py and
modeling_distilbert.py.
"""

from __future__ import annotations

from floorline.block import Block
from floorline.blocks.embedding import embedding
from floorline.blocks.heads import Dense, on_masked, on_one
from floorline.blocks.norm import LAYER_NORM
from floorline.huggingface.common import drops, layers
from floorline.huggingface.config import Config, divide
from floorline.huggingface.encoder_decoders import also
from floorline.huggingface.encoders import LABELS, behind, built, classifiers, encoder, label_sizes, stacked
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "distilbert"; without ``architectures`` it is the base model.

    >>> read(Config({"model_type": "distilbert"}, "distilbert")).parameter_count().total
    66362880.0
    """
    width, heads = config.size("dim", 768.0), config.size("n_heads", 12.0)
    positions = config.size("max_position_embeddings", 512.0)
    activation = config.activation("activation", "gelu")
    known = on_top(config.flag("tie_word_embeddings", True), activation)
    kind = built(config, ("DistilBert",), "Model", known)
    sizes = {
        "D": width,
        "K": heads,
        "G": 1.0,
        "H": divide(config, width, heads, "dim", "n_heads"),
        "F": config.size("hidden_dim", 3072.0),
        "V": config.size("vocab_size", 30522.0),
        "P": positions,
        **label_sizes(config, kind),
    }
    drop = drops(config, "dropout", 0.1)
    also(config, "hidden_size", "num_hidden_layers", "num_attention_heads")
    config.flag("sinusoidal_pos_embds", False)  # the table is stored either way, and frozen or not it counts
    block = behind(activation, drop=drop, attention_drop=drops(config, "attention_dropout", 0.1))
    start = Stack(embedding(positions=True, norm=LAYER_NORM, drop=drop))
    stacks = start, stacked(block, layers(config, "n_layers", 6.0))
    return encoder(config, sizes, stacks, known[kind], longest=positions)


def on_top(tied: bool, activation: str) -> dict[str, tuple[Block, ...]]:
    """Heads by class: a classifier has a matmul and a ReLU of its own before the labels."""
    pooled = Dense(name="pooled", activation="relu")
    return {
        "Model": (),
        "ForMaskedLM": (on_masked(Dense(name="transform", activation=activation, norm=LAYER_NORM), tied=tied),),
        **classifiers(pooled),
        "ForMultipleChoice": (on_one(pooled, LABELS),),
    }
