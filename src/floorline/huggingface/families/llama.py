"""Llama: RMS norms, rotary positions, grouped queries, a gated feed-forward. Source of the fields: transformers,
configuration_llama.py (https://github.com/huggingface/transformers)."""

from __future__ import annotations

from floorline.blocks.decoder import DecoderKind, decoder
from floorline.blocks.embedding import embedding, head
from floorline.huggingface.config import LARGEST, Config, divide
from floorline.num import Num
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "llama"; sizes have no defaults, since a wrong guess is a silent wrong number.

    >>> from floorline.catalogue.load import model_entry
    >>> read(Config(model_entry("llama-3.1-8b")["config"], "llama-3.1-8b")).layers()
    32.0
    """
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    kv_heads = config.size("num_key_value_heads", heads)
    bias, ffn_bias = config.flag("attention_bias", False), config.flag("mlp_bias", False)
    head_dim: Num = (
        config.size("head_dim")
        if config.get("head_dim") is not None
        else divide(config, width, heads, "hidden_size", "num_attention_heads")
    )
    kind = DecoderKind(
        rms=True,
        activation=config.activation("hidden_act", "silu"),
        bias=bias,
        out_bias=bias,
        ffn_bias=ffn_bias,
        rotary=True,
        gated=True,
        softmax="softmax_fp32",
        attention_dropout=config.share("attention_dropout", 0.0) > 0.0,
    )
    sizes = {
        "D": width,
        "K": kv_heads,
        "G": divide(config, heads, kv_heads, "num_attention_heads", "num_key_value_heads"),
        "H": head_dim,
        "F": config.size("intermediate_size"),
        "V": config.size("vocab_size"),
    }
    stacks = (
        Stack(embedding()),
        Stack(decoder(kind), config.size("num_hidden_layers", most=LARGEST["layers"])),
        Stack(head(tied=config.flag("tie_word_embeddings", False), rms=True), tokens=(("T", "O"),)),
    )
    longest = None if config.get("max_position_embeddings") is None else config.size("max_position_embeddings")
    return Transformer(config.name, sizes, stacks, max_positions=longest)
