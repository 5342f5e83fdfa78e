"""The model of articles and calculators: L layers of 12·D² parameters, nothing else counted.

Fields (Hugging Face's names where they exist): ``hidden_size``, ``num_hidden_layers``, ``num_attention_heads``,
``num_key_value_heads`` (1 for multi-query), ``head_dim``, ``intermediate_size`` (4·hidden_size) and, where logits are to
be counted, ``vocab_size``; for latent attention ``kv_lora_rank``, with ``qk_nope_head_dim``, ``qk_rope_head_dim`` and
``v_head_dim`` where they are not a head, half a head and a head wide.
"""

from __future__ import annotations

from floorline.blocks.embedding import embedding
from floorline.blocks.textbook import textbook, textbook_head, textbook_latent
from floorline.huggingface.config import LARGEST, Config, divide
from floorline.num import Num
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A configuration of model_type "textbook".

    >>> read(Config({"hidden_size": 8192, "num_hidden_layers": 64, "num_attention_heads": 128}, "52b")).parameter_count().total
    51539607552.0
    """
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    kv_heads = config.size("num_key_value_heads", heads)
    with_vocabulary = config.get("vocab_size") is not None
    sizes = {
        "D": width,
        "K": kv_heads,
        "G": divide(config, heads, kv_heads, "num_attention_heads", "num_key_value_heads"),
        "H": config.size("head_dim", divide(config, width, heads, "hidden_size", "num_attention_heads")),
        "F": config.size("intermediate_size", 4.0 * width),
        **({"V": config.size("vocab_size")} if with_vocabulary else {}),
    }
    repeat, latent = config.size("num_hidden_layers", most=LARGEST["layers"]), config.given("kv_lora_rank")
    layers = Stack(textbook(), repeat)
    if latent is not None:
        sizes |= latent_widths(config, latent, sizes["H"])
        layers = Stack(textbook_latent(False), repeat, decode=textbook_latent(True), either=True)
    ends = (Stack(embedding()), Stack(textbook_head(), tokens=(("T", "O"),))) if with_vocabulary else ()
    stacks = (ends[0], layers, ends[1]) if ends else (layers,)
    return Transformer(config.name, sizes, stacks)


def latent_widths(config: Config, latent: Num, head: Num) -> dict[str, Num]:
    """Widths of latent attention: of the latent, of the parts of a key without and with position, of a value."""
    config.get("q_lora_rank")  # queries are not made of a latent here
    return {
        "c": latent,
        "N": config.size("qk_nope_head_dim", head),
        "r": config.size("qk_rope_head_dim", head / 2.0),
        "U": config.size("v_head_dim", head),
    }
