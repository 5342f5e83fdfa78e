"""RWKV-4: a recurrence in place of attention, a gated feed-forward, both blending each token with the one before it.

Sources: Peng et al. 2023, arXiv:2305.13048; fields and what is meant where one is left out: transformers 5.23,
models/rwkv/configuration_rwkv.py and modeling_rwkv.py.
"""

from __future__ import annotations

import numpy as np

from floorline.block import Block
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import LAYER_NORM
from floorline.blocks.recurrent import ChannelMix, TimeMix, after_norm
from floorline.huggingface.common import language_model, layers
from floorline.huggingface.config import Config
from floorline.huggingface.state_space import ignore, stepping
from floorline.transformer import Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "rwkv"; the first layer has a norm more than the others.

    >>> sizes = {"hidden_size": 768, "num_hidden_layers": 12}
    >>> read(Config({"model_type": "rwkv", **sizes}, "rwkv-4-169m")).parameter_count().total
    169342464.0
    """

    def block(decode: bool) -> Block:
        time, channel = TimeMix(decode=decode), ChannelMix(decode=decode)
        return layer(Branch(part=time, before=LAYER_NORM, name="time"), Branch(part=channel, before=LAYER_NORM))

    def first(decode: bool) -> Block:
        return after_norm(block(decode), LAYER_NORM)

    count = layers(config, default=32.0)
    others = (stepping(block, count - 1.0),) if np.any(np.asarray(count) > 1.0) else ()
    width = config.size("hidden_size", 4096.0)
    ignore(config, "rescale_every")  # divides by a power of two: nothing that is counted
    own = {
        "D": width,
        "A": config.size("attention_hidden_size", width),
        "F": config.size("intermediate_size", 4.0 * width),
        "V": 50277.0,
    }
    return language_model(
        config,
        own,
        (stepping(first), *others),
        LAYER_NORM,
        tied=config.flag("tie_word_embeddings", False),
        longest="context_length",
    )
