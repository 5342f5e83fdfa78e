"""One model with another kind of attention: multi-head, grouped, multi-query or latent, everything else as it is.

Sources: Shazeer 2019, arXiv:1911.02150 (one key/value head); Ainslie et al. 2023, arXiv:2305.13245 (groups); DeepSeek-V2,
arXiv:2405.04434, section 2.1 (a latent of four head widths and a position part of half a head width, as its configuration has them:
kv_lora_rank 512, qk_rope_head_dim 64 and heads of 128).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from floorline.errors import BadInput

LATENT, POSITION = 4.0, 0.5
"""Width of the latent, and of the part that carries the position, over the width of a head."""
WORD = re.compile(r"(mha|gqa|mqa|mla)(\d*)")
LATENT_TYPES = ("llama", "mistral", "textbook")
"""Model types that stay themselves but for their attention where that becomes latent: full attention, a gated feed-forward."""


def with_attention(config: Mapping[str, Any], word: str, name: str = "the model") -> dict[str, Any]:
    """A configuration with another kind of attention.

    word    "mha"; "gqa8", with the key/value heads; "mqa"; "mla", or "mla512" with the width of the latent. Queries stay as wide as
            they are, and are not made of a latent.
    raises  BadInput for another word, or a model whose attention is already of another kind

    >>> heads = {"model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32}
    >>> with_attention(heads, "mqa")["num_key_value_heads"], with_attention(heads, "mla")["kv_lora_rank"]
    (1, 512)
    """
    match = WORD.fullmatch(word.lower())
    kind, count = match.groups() if match else ("", "")
    if not kind or ((kind == "gqa") != bool(count) and kind != "mla"):
        raise BadInput(f"attention is {word[:40]!r}; expected mha, gqa8 (with its key/value heads), mqa, mla or mla512")
    heads, width = config.get("num_attention_heads"), config.get("hidden_size")
    if not isinstance(heads, (int, float)) or not isinstance(width, (int, float)) or config.get("kv_lora_rank"):
        raise BadInput(
            f"{name}: its attention has no other kinds here; expected a model with num_attention_heads, such as llama-2-7b"
        )
    if kind != "mla":
        return {**config, "num_key_value_heads": {"mha": heads, "mqa": 1}.get(kind) or int(count)}
    return latent(config, name, float(heads), float(config.get("head_dim") or width / heads), float(count or 0))


def latent(config: Mapping[str, Any], name: str, heads: float, head: float, rank: float) -> dict[str, Any]:
    """A configuration with latent attention: of the same type where that has it, else as DeepSeek's with plain layers only.

    raises BadInput for a type that would change in more than its attention
    """
    kind = str(config.get("model_type"))
    if kind not in LATENT_TYPES:
        raise BadInput(
            f"{name}: latent attention can stand in for that of {', '.join(LATENT_TYPES)}; this is {kind[:40]!r}"
        )
    widths = {
        "kv_lora_rank": int(rank or LATENT * head),
        "q_lora_rank": None,
        "qk_nope_head_dim": int(head),
        "qk_rope_head_dim": int(POSITION * head),
        "v_head_dim": int(head),
        "num_key_value_heads": int(heads),
    }
    if kind == "textbook":
        return {**config, **widths}
    others = {k: v for k, v in config.items() if k not in ("head_dim", "sliding_window", "mlp_bias", "architectures")}
    plain = {"model_type": "deepseek_v3", "first_k_dense_replace": config.get("num_hidden_layers"), "moe_layer_freq": 1}
    return {**others, **plain, **widths}
