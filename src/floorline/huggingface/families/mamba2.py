"""Mamba-2: layers of a state space of many heads and nothing else.

Sources: Dao and Gu 2024, arXiv:2405.21060; fields and what is meant where one is left out: transformers 5.23,
models/mamba2/configuration_mamba2.py.
"""

from __future__ import annotations

from floorline.block import Block
from floorline.blocks.layer import Branch, layer
from floorline.blocks.mamba2 import Mamba2
from floorline.blocks.norm import RMS_NORM
from floorline.errors import BadInput
from floorline.huggingface.common import language_model, layers
from floorline.huggingface.config import Config
from floorline.huggingface.state_space import ignore, stepping
from floorline.num import all_true
from floorline.transformer import Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "mamba2".

    >>> sizes = {"hidden_size": 2560, "num_heads": 80, "n_groups": 1, "vocab_size": 50288, "tie_word_embeddings": True}
    >>> read(Config({"model_type": "mamba2", **sizes}, "mamba2-2.7b")).parameter_count().total
    2702599680.0
    """
    activation, bias = config.activation("hidden_act", "silu"), config.flag("use_bias", False)
    conv_bias = config.flag("use_conv_bias", True)

    def block(decode: bool) -> Block:
        mamba = Mamba2(activation=activation, bias=bias, conv_bias=conv_bias, decode=decode)
        return layer(Branch(part=mamba, before=RMS_NORM, name="mamba"))

    width, expand = config.size("hidden_size", 4096.0), config.size("expand", 2.0)
    heads, head = config.size("num_heads", 128.0), config.size("head_dim", 64.0)
    if not all_true(width * expand == heads * head):
        raise BadInput(
            f"{config.name}: expand × hidden_size = {expand * width} is not num_heads × head_dim = {heads * head}; "
            "expected the same"
        )
    ignore(config, "time_step_rank", "intermediate_size")
    own = {
        "D": width,
        "h": heads,
        "p": head,
        "g": config.size("n_groups", 8.0),
        "N": config.size("state_size", 128.0),
        "w": config.size("conv_kernel", 4.0),
        "Q": config.size("chunk_size", 256.0),
        "V": 32768.0,
    }
    stack = stepping(block, layers(config, default=64.0))
    tied = config.flag("tie_word_embeddings", False)
    return language_model(config, own, (stack,), RMS_NORM, tied=tied)
