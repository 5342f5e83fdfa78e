"""GPT-2: learned positions, layer norms, biases, a tied head. Source of the fields: transformers, configuration_gpt2.py.

Beyond Hugging Face's fields a ``bias`` of false leaves out every bias, as nanoGPT's configuration of that name does.
"""

from __future__ import annotations

from floorline.blocks.attention import Attention
from floorline.blocks.embedding import embedding
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import LAYER_NORM, SCALE_NORM
from floorline.huggingface.config import LARGEST, Config, divide
from floorline.huggingface.tops import top
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
    norm = LAYER_NORM if bias else SCALE_NORM
    drop = config.share("resid_pdrop", 0.1) > 0.0
    attention = Attention(bias=bias, out_bias=bias, dropout=config.share("attn_pdrop", 0.1) > 0.0)
    ffn = FeedForward(config.activation("activation_function", "gelu_new"), bias=bias)
    block = layer(Branch(part=attention, before=norm, drop=drop), Branch(part=ffn, before=norm, drop=drop))
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
        Stack(block, config.size("n_layer", 12.0, most=LARGEST["layers"])),
        *top(config, norm, tied=tied),
    )
    return Transformer(config.name, sizes, stacks, max_positions=positions, learned_positions=True)
