"""GPT-2: learned positions, layer norms, biases, a tied head. Source of the fields: transformers, configuration_gpt2.py.

Beyond Hugging Face's fields a ``bias`` of false leaves out every bias, as nanoGPT's configuration of that name does.
"""

from __future__ import annotations

from floorline.blocks.decoder import DecoderKind, decoder
from floorline.blocks.embedding import embedding, head
from floorline.huggingface.config import LARGEST, Config, divide
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "gpt2".

    >>> read(Config({"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257, "n_positions": 1024}, "gpt2")).layers()
    12.0
    """
    width, heads = config.size("n_embd", 768.0), config.size("n_head", 12.0)
    bias = config.flag("bias", True)
    tied = config.flag("tie_word_embeddings", True)
    positions = config.size("n_positions", 1024.0)
    kind = DecoderKind(
        rms=False,
        activation=config.activation("activation_function", "gelu_new"),
        norm_bias=bias,
        bias=bias,
        out_bias=bias,
        ffn_bias=bias,
        attention_dropout=config.share("attn_pdrop", 0.1) > 0.0,
        residual_dropout=config.share("resid_pdrop", 0.1) > 0.0,
    )
    sizes = {
        "D": width,
        "K": heads,
        "G": 1.0,
        "H": divide(config, width, heads, "n_embd", "n_head"),
        "F": config.size("n_inner", 4.0 * width),
        "V": config.size("vocab_size", 50257.0),
        "P": positions,
    }
    stacks = (
        Stack(embedding(positions=True, drop=config.share("embd_pdrop", 0.1) > 0.0)),
        Stack(decoder(kind), config.size("n_layer", 12.0, most=LARGEST["layers"])),
        Stack(head(tied=tied, rms=False, norm_bias=bias), tokens=(("T", "O"),)),
    )
    return Transformer(config.name, sizes, stacks, max_positions=positions, learned_positions=True)
