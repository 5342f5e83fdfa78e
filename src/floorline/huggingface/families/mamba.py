"""Mamba and Falcon Mamba: layers of a selective state space and nothing else. Falcon Mamba normalises dt, B and C.

Sources: Gu and Dao 2023, arXiv:2312.00752; Zuo et al. 2024 (Falcon Mamba), arXiv:2410.05355; fields and what is meant where one is
left out: transformers 5.23, models/mamba/configuration_mamba.py and models/falcon_mamba/configuration_falcon_mamba.py.
"""

from __future__ import annotations

from floorline.block import Block
from floorline.blocks.layer import Branch, layer
from floorline.blocks.mamba import Mamba
from floorline.blocks.norm import RMS_NORM, Norm
from floorline.huggingface.common import language_model, layers
from floorline.huggingface.config import Config
from floorline.huggingface.state_space import ignore, rank, stepping
from floorline.transformer import Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "mamba" or "falcon_mamba".

    >>> read(Config({"model_type": "mamba", "num_hidden_layers": 24}, "mamba-130m")).parameter_count().total
    129135360.0
    """
    ignore(config, "d_inner", "d_model", "n_layer")
    falcon = config.text("model_type", "mamba") == "falcon_mamba"
    norm = Norm("rms_norm", weight=False) if falcon else None
    activation, bias = config.activation("hidden_act", "silu"), config.flag("use_bias", False)
    conv_bias = config.flag("use_conv_bias", True)

    def block(decode: bool) -> Block:
        mamba = Mamba(activation=activation, bias=bias, conv_bias=conv_bias, norm=norm, decode=decode)
        return layer(Branch(part=mamba, before=RMS_NORM, name="mamba"))

    width = config.size("hidden_size", 768.0)
    # the library lets a stated width win over expand times the model's
    inner = config.size("intermediate_size", config.size("expand", 2.0) * width)
    own = {
        "D": width,
        "I": inner,
        "N": config.size("state_size", 16.0),
        "r": rank(config, "time_step_rank", width),
        "w": config.size("conv_kernel", 4.0),
        "V": 50280.0,
    }
    stack = stepping(block, layers(config, default=32.0))
    tied = config.flag("tie_word_embeddings", True)
    return language_model(config, own, (stack,), RMS_NORM, tied=tied)
