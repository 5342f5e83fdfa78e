"""Command-R and Aya: one norm for branches side by side, a tied head; the second generation sees a window in three layers
of four. Sources of the fields: transformers, configuration_cohere.py and configuration_cohere2.py."""

from __future__ import annotations

from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, parallel
from floorline.blocks.norm import SCALE_NORM
from floorline.huggingface.common import drops, head_sizes, language_model, text_layers
from floorline.huggingface.config import Config
from floorline.transformer import Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "cohere" or "cohere2".

    >>> small = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 4, "vocab_size": 100}
    >>> model = read(Config({"model_type": "cohere2", **small, "intermediate_size": 128, "sliding_window": 8}, "small"))
    >>> [float(stack.repeat) for stack in model.stacks]
    [1.0, 3.0, 1.0, 1.0]
    """
    second = config.text("model_type", "cohere") == "cohere2"
    bias = config.flag("attention_bias", False)
    normed = not second and config.flag("use_qk_norm", False)
    attention = Attention(
        bias=bias,
        out_bias=bias,
        rotary=True,
        head_norm=HeadNorm(SCALE_NORM, scale="KGH") if normed else None,
        softmax="softmax_fp32",
        dropout=drops(config, "attention_dropout"),
    )
    ffn = FeedForward(config.activation("hidden_act", "silu"), gated=True)
    block = parallel(Branch(part=attention, before=SCALE_NORM), Branch(part=ffn))
    every = config.count("sliding_window_pattern", 4.0, least=1.0)

    def rule(i: int) -> str:
        return "sliding_attention" if (i + 1) % every else "full_attention"

    stacks, order = text_layers(config, block, rule if second else None, 4096.0)
    config.get("head_dim")  # the second generation's is always the width over the heads
    sizes = {**head_sizes(config, head_dim="" if second else "head_dim"), "F": config.size("intermediate_size")}
    tied = config.flag("tie_word_embeddings", True)
    return language_model(config, sizes, stacks, SCALE_NORM, tied=tied, order=order)
