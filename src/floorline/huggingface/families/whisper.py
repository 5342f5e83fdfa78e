"""Whisper: an encoder of sound and a decoder of text.

The encoder always reads ``max_source_positions`` states, however long the sound was: shorter ones are filled up with silence.

Sources: Radford et al. 2022, arXiv:2212.04356, section 2.2; fields and defaults: transformers 5.23, configuration_whisper.py and
modeling_whisper.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from floorline.block import Block, block
from floorline.blocks.audio import spectrogram
from floorline.blocks.embedding import embedding, final_norm, head
from floorline.blocks.norm import LAYER_NORM
from floorline.huggingface.common import drops, layers
from floorline.huggingface.config import Config
from floorline.huggingface.encoder_decoders import (
    ENCODED,
    LOGITS,
    Layer,
    also,
    decoder_layer,
    decoding,
    encoder_layer,
    encoding,
    side_sizes,
)
from floorline.huggingface.encoders import built, label_sizes
from floorline.num import Num
from floorline.op import Op, contraction, elementwise
from floorline.transformer import Stack, Transformer

WINDOW = 3.0
"""Frames that each of the two convolutions sees at once."""
UNREAD = ("alignment_heads", "mask_feature_length", "mask_time_length", "median_filter_width")


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "whisper"; without ``architectures`` it generates.

    >>> read(Config({"model_type": "whisper"}, "whisper-tiny")).parameter_count().total
    37760640.0
    """
    tied = config.flag("tie_word_embeddings", True)
    known = ("ForConditionalGeneration", "Model", "ForAudioClassification")
    kind = built(config, ("Whisper",), known[0], known)
    width, target = config.size("d_model", 384.0), config.size("max_target_positions", 448.0)
    sizes: dict[str, Num] = {
        "D": width,
        **side_sizes(config, "decoder", width, 1536.0, 6.0),
        "V": config.size("vocab_size", 51865.0),
        "P": target,
        "M": config.size("max_source_positions", 1500.0),
        "N": config.size("classifier_proj_size", 256.0),
        **label_sizes(config, kind),
    }
    also(config, "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_size", *UNREAD)
    made = Layer(
        activation=config.activation("activation_function", "gelu"),
        before=True,
        drop=drops(config, "dropout"),
        attention_drop=drops(config, "attention_dropout"),
        key_bias=False,
    )
    encoder = encoder_side(config, made, {**side_sizes(config, "encoder", width, 1536.0, 6.0), "P": sizes["M"]})
    count = layers(config, "decoder_layers", 4.0)
    frozen = sizes["M"] * width
    if kind == "ForAudioClassification":
        stacks = (*(replace(s, modality="") for s in encoder), classifier(config))
        return Transformer(config.name, sizes, stacks, frozen=frozen)
    start = embedding(positions=True, drop=made.drop)
    decoder = Stack(start), decoding(lambda held: decoder_layer(made, held), count)
    top = Stack(final_norm(LAYER_NORM) if kind == "Model" else head(tied=tied, norm=LAYER_NORM), tokens=LOGITS)
    stacks = (*encoder, *decoder, top)
    return Transformer(config.name, sizes, stacks, max_positions=target, learned_positions=True, frozen=frozen)


def encoder_side(config: Config, made: Layer, sizes: dict[str, Num]) -> tuple[Stack, ...]:
    """Two convolutions, the layers, and a norm."""
    sound = {**sizes, "c": config.size("num_mel_bins", 80.0), "j": WINDOW}
    return (
        encoding(spectrogram(drop=made.drop), sizes=sound),
        encoding(encoder_layer(made), layers(config, "encoder_layers", 4.0), sizes),
        encoding(final_norm(LAYER_NORM)),
    )


def classifier(config: Config) -> Stack:
    """Every state through a matmul, their mean through another to the labels."""
    weighted = config.flag("use_weighted_layer_sum", False)
    kinds = {"Z": layers(config, "encoder_layers", 4.0) + 1.0}
    return Stack(classified(weighted), tokens=ENCODED, sizes=kinds if weighted else {})


@cache
def classified(weighted: bool) -> Block:
    """Labels of a sound.

    weighted  whether the states of all layers are added up first, each with a learned weight; Z are the layers and the first
              states

    >>> [str(t) for t in classified(False).weights()]
    ['Wprojector[DN]', 'Wprojector.bias[N]', 'Wlabels[NL]', 'Wlabels.bias[L]']
    """
    first: list[Op] = [elementwise("weigh", "x[BTD] Wlayers[Z] -> s[BTD]", "weighted_sum")] if weighted else []
    source = "s" if weighted else "x"
    ops = (
        *first,
        contraction("projector", f"{source}[BTD] Wprojector[DN] -> p[BTN]", bias=True),
        elementwise("mean", "p[BTN] -> one[BN]", "mean", reduces="T"),
        contraction("labels", "one[BN] Wlabels[NL] -> labels[BL]", bias=True),
    )
    return block("head", "x[BTD]", ops, "labels")
