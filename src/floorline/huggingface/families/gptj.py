"""GPT-J: rotary positions, one norm for both branches, a head with a bias. Source of the fields: transformers,
configuration_gptj.py; Wang and Komatsuzaki 2021."""

from __future__ import annotations

from floorline.blocks.attention import Attention
from floorline.blocks.embedding import embedding
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, parallel
from floorline.blocks.norm import LAYER_NORM
from floorline.huggingface.common import drops, head_sizes, language_model, layers
from floorline.huggingface.config import Config
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "gptj".

    >>> read(Config({"n_embd": 64, "n_head": 4, "n_layer": 2, "vocab_size": 100}, "small")).sizes["F"]
    256.0
    """
    drop = drops(config, "resid_pdrop")
    attention = Attention(rotary=True, dropout=drops(config, "attn_pdrop"))
    ffn = FeedForward(config.activation("activation_function", "gelu_new"), bias=True)
    block = parallel(Branch(part=attention, before=LAYER_NORM, drop=drop), Branch(part=ffn, drop=drop))
    heads = head_sizes(config, heads="n_head", kv_heads="", width="n_embd", head_dim="")
    sizes = {**heads, "F": config.size("n_inner", 4.0 * heads["D"])}
    return language_model(
        config,
        sizes,
        (Stack(block, layers(config, "n_layer")),),
        LAYER_NORM,
        tied=config.flag("tie_word_embeddings", False),
        bias=True,
        start=embedding(drop=drops(config, "embd_pdrop")),
        longest="n_positions",
    )
