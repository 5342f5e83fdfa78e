"""BART and its relatives mBART, M2M-100 (NLLB) and Pegasus: an encoder and a decoder with biases and layer norms.

BART's norms stand behind each branch, the others' before it with one more at the end of each side. Positions are a learned
table (BART, mBART), a frozen one (Pegasus) or computed (M2M-100).

Sources: Lewis et al. 2019, arXiv:1910.13461, section 2.1; Liu et al. 2020 (mBART), arXiv:2001.08210; Fan et al. 2020 (M2M-100),
arXiv:2010.11125; Zhang et al. 2019 (Pegasus), arXiv:1912.08777; fields and defaults: transformers 5.23,
models/*/configuration_*.py and modeling_*.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from floorline.blocks.embedding import embedding, final_norm, head
from floorline.blocks.heads import on_one, on_tokens
from floorline.blocks.norm import LAYER_NORM
from floorline.huggingface.common import drops, layers
from floorline.huggingface.config import Config
from floorline.huggingface.encoder_decoders import (
    LOGITS,
    Layer,
    also,
    decoder_layer,
    decoding,
    encoder_layer,
    encoding,
    side_sizes,
    tables,
)
from floorline.huggingface.encoders import LABELS, POOLED, built, ends, label_sizes
from floorline.num import Num
from floorline.transformer import Stack, Transformer


@dataclass(frozen=True, kw_only=True)
class Relative:
    """What one model type does otherwise than BART.

    prefix      of its classes' names
    vocabulary  default of its size
    before      whether norms stand before each branch, and one at the end of each side
    start       whether the embedded tokens are normalised
    positions   rows of the table of positions beyond those that can be used; None where there is no table
    classifies  whether the family has classifiers
    labels      of a classifier where the configuration says nothing
    activation  of the feed-forward network
    """

    prefix: str
    vocabulary: float = 50265.0
    before: bool = True
    start: bool = False
    positions: float | None = 2.0
    classifies: bool = False
    labels: float = 2.0
    activation: str = "gelu"


RELATIVES = {
    "bart": Relative(prefix="Bart", before=False, start=True, classifies=True, labels=3.0),
    "mbart": Relative(prefix="MBart", start=True, classifies=True),
    "m2m_100": Relative(prefix="M2M100", vocabulary=128112.0, positions=None, activation="relu"),
    "pegasus": Relative(prefix="Pegasus", positions=0.0),
}


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "bart", "mbart", "m2m_100" or "pegasus"; without ``architectures`` it generates.

    >>> read(Config({"model_type": "bart"}, "bart-large")).parameter_count().total
    406291456.0
    """
    own = RELATIVES[config.text("model_type", "bart")]
    tied = config.flag("tie_word_embeddings", True)
    known = on_top(own, tied)
    kind = built(config, (own.prefix,), "ForConditionalGeneration", known)
    width, positions = config.size("d_model", 1024.0), config.size("max_position_embeddings", 1024.0)
    sizes: dict[str, Num] = {
        "D": width,
        **side_sizes(config, "decoder", width),
        "V": config.size("vocab_size", own.vocabulary),
        "P": positions + (own.positions or 0.0),
        **label_sizes(config, kind, own.labels, ForQuestionAnswering=2.0),
    }
    made = Layer(
        activation=config.activation("activation_function", own.activation),
        before=own.before,
        drop=drops(config, "dropout", 0.1),
        attention_drop=drops(config, "attention_dropout", 0.1 if own.prefix == "M2M100" else 0.0),
    )
    also(config, "num_hidden_layers", "num_attention_heads", "hidden_size", "extra_pos_embeddings", "_num_labels")
    stacks = sides(config, own, made, tied, side_sizes(config, "encoder", width))
    learned = own.positions is not None
    stacks += known[kind]
    frozen = 2.0 * positions * width if own.positions == 0.0 else 0.0
    return Transformer(config.name, sizes, stacks, max_positions=positions, learned_positions=learned, frozen=frozen)


def sides(config: Config, own: Relative, made: Layer, tied: bool, encoder: Mapping[str, Num]) -> tuple[Stack, ...]:
    """The encoder's stacks and the decoder's, without what stands on top."""
    unread, encoder_table, decoder_table = tables(tied)
    norm = LAYER_NORM if own.start else None
    learned = own.positions is not None
    start = embedding(positions=learned, norm=norm, drop=made.drop, name="encoder_embedding", table=encoder_table)
    second = embedding(positions=learned, norm=norm, drop=made.drop, table=decoder_table, embeds=tied)
    last = (encoding(final_norm(LAYER_NORM)),) if own.before else ()
    return (
        *unread,
        encoding(start),
        encoding(encoder_layer(made), layers(config, "encoder_layers", 12.0), encoder),
        *last,
        Stack(second),
        decoding(lambda held: decoder_layer(made, held), layers(config, "decoder_layers", 12.0)),
    )


def on_top(own: Relative, tied: bool) -> dict[str, tuple[Stack, ...]]:
    """Heads by class."""
    norm = LAYER_NORM if own.before else None
    last = (Stack(final_norm(norm)),) if norm else ()
    found: dict[str, tuple[Stack, ...]] = {
        "ForConditionalGeneration": (Stack(head(tied=tied, norm=norm), tokens=LOGITS),),
        "Model": last,
    }
    if not own.classifies:
        return found
    return {
        **found,
        "ForSequenceClassification": last + ends((on_one(POOLED, LABELS),)),
        "ForQuestionAnswering": last + ends((on_tokens(LABELS),)),
    }
