"""Qwen3.5, dense and with experts: the layers of Qwen3-Next in a model that reads pictures too; the text alone has its own types.

Source of the fields and of what is meant where one is left out: transformers 5.23, models/qwen3_5/configuration_qwen3_5.py,
models/qwen3_5_moe/configuration_qwen3_5_moe.py and their modeling files.
"""

from __future__ import annotations

from dataclasses import replace

from floorline.huggingface.config import Config
from floorline.huggingface.families._qwen3_5_vision import vision_stacks
from floorline.huggingface.families.qwen3_next import Relative, language
from floorline.huggingface.state_space import ignore
from floorline.transformer import Transformer

DENSE = Relative(width=4096.0, depth=32.0, kv_heads=4.0, vocabulary=248320.0, inner=12288.0)
EXPERTS = Relative(width=2048.0, depth=40.0, kv_heads=2.0, vocabulary=248320.0, experts=256.0, chosen=8.0)


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "qwen3_5" or "qwen3_5_moe", or of their text alone.

    >>> read(Config({"model_type": "qwen3_5_text", "num_hidden_layers": 4}, "small")).order
    (0, 0, 0, 1)
    """
    kind = config.text("model_type", "qwen3_5")
    own = EXPERTS if "moe" in kind else DENSE
    tied = config.flag("tie_word_embeddings", False)
    if kind.endswith("_text"):
        return text(config, own, tied)
    inside = Config({}, f"{config.name} text_config", config.library)
    if config.get("text_config") is not None:
        inside = config.part("text_config")
    model = text(inside, own, tied)
    inside.finish()
    return replace(model, name=config.name, stacks=(*vision_stacks(config), *model.stacks))


def text(config: Config, own: Relative, tied: bool) -> Transformer:
    """The language model; whether its head is tied is said of the whole model. Layers for several tokens at once are not built."""
    ignore(config, "model_type", "tie_word_embeddings", "mtp_num_hidden_layers", "mlp_only_layers")
    return language(config, own, tied)
