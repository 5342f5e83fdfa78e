"""ALBERT: a narrow token table, and layers that share their parameters.

``num_hidden_groups`` groups are stored, each of ``inner_group_num`` layers; the layers of the model run through them.

Sources: Lan et al. 2019, arXiv:1909.11942, section 3.1; fields and defaults: transformers 5.23, configuration_albert.py and
modeling_albert.py (``AlbertTransformer``).
"""

from __future__ import annotations

from floorline.block import Block
from floorline.blocks.embedding import embedding
from floorline.blocks.heads import Dense, on_masked, on_one
from floorline.blocks.norm import LAYER_NORM
from floorline.huggingface.common import drops, layers
from floorline.huggingface.config import Config, divide
from floorline.huggingface.encoders import LABELS, POOLED, behind, built, classifiers, encoder, label_sizes, stacked
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "albert"; without ``architectures`` it is the base model.

    >>> small = {"model_type": "albert", "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    >>> read(Config(small, "albert")).parameter_count().total
    11683584.0
    """
    width, heads = config.size("hidden_size", 4096.0), config.size("num_attention_heads", 64.0)
    positions = config.size("max_position_embeddings", 512.0)
    activation = config.activation("hidden_act", "gelu_new")
    known = on_top(config.flag("tie_word_embeddings", True), activation)
    kind = built(config, ("Albert",), "Model", known)
    sizes = {
        "D": width,
        "K": heads,
        "G": 1.0,
        "H": divide(config, width, heads, "hidden_size", "num_attention_heads"),
        "F": config.size("intermediate_size", 16384.0),
        "V": config.size("vocab_size", 30000.0),
        "N": config.size("embedding_size", 128.0),
        "P": positions,
        "Y": config.size("type_vocab_size", 2.0),
        **label_sizes(config, kind),
    }
    drop = drops(config, "hidden_dropout_prob")
    block = behind(activation, drop=drop, attention_drop=drops(config, "attention_probs_dropout_prob"))
    start = embedding(positions=True, types=True, norm=LAYER_NORM, drop=drop, projected="N", projection_bias=True)
    inner = config.size("inner_group_num", 1.0)
    shared = stacked(block, layers(config, default=12.0) * inner, config.size("num_hidden_groups", 1.0) * inner)
    return encoder(config, sizes, (Stack(start), shared), known[kind], longest=positions)


def on_top(tied: bool, activation: str) -> dict[str, tuple[Block, ...]]:
    """Heads by class; one for masked tokens goes back to the table's width."""
    transform = Dense(name="transform", to="N", activation=activation, norm=LAYER_NORM)
    masked = on_masked(transform, tied=tied, spare=not tied)
    return {
        "Model": (on_one(POOLED, name="pooler"),),
        "ForMaskedLM": (masked,),
        "ForPreTraining": (on_one(POOLED, LABELS, name="order"), masked),
        **classifiers(POOLED),
    }
