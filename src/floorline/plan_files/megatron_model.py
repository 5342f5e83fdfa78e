"""The model that Megatron's arguments describe, as a configuration in Hugging Face's fields.

Source: NVIDIA/Megatron-LM, megatron/training/arguments.py (_add_network_size_args, _add_moe_args, _add_mla_args, validate_args) and
megatron/core/transformer/transformer_config.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from floorline.errors import BadInput
from floorline.plan_files.arguments import Arguments
from floorline.plan_files.plan_file import whole

NEEDED = ("num-layers", "hidden-size", "num-attention-heads")
MODEL_ARGUMENTS = (
    *NEEDED,
    *(
        "ffn-hidden-size",
        "vocab-size",
        "padded-vocab-size",
        "pad-vocab-size-to",
        "max-position-embeddings",
        "group-query-attention",
        "num-query-groups",
    ),
    *(
        "kv-channels",
        "swiglu",
        "squared-relu",
        "normalization",
        "untie-embeddings-and-output-weights",
        "disable-bias-linear",
    ),
    *(
        "add-qkv-bias",
        "qk-layernorm",
        "position-embedding-type",
        "no-position-embedding",
        "use-rotary-position-embeddings",
    ),
    *("hidden-dropout", "attention-dropout", "num-experts", "moe-router-topk", "moe-ffn-hidden-size", "moe-layer-freq"),
    *("moe-shared-expert-intermediate-size", "multi-latent-attention", "q-lora-rank", "kv-lora-rank", "qk-head-dim"),
    *("qk-pos-emb-head-dim", "v-head-dim"),
)
UNKNOWN = (
    "hybrid-layer-pattern",
    "hybrid-override-pattern",
    "heterogeneous-layers-config-path",
    "window-size",
    "spec",
    "encoder-num-layers",
)
"""Arguments of models that the fields below cannot say."""
VOCABULARY = ("vocab-size", "padded-vocab-size", "pad-vocab-size-to")
GPT2_VOCABULARY = 50257
Values = dict[str, object]


def model_of(args: Arguments) -> tuple[Values | None, tuple[str, ...]]:
    """A configuration, None where the text describes no model, and what was assumed for it.

    >>> from floorline.plan_files.arguments import arguments
    >>> model, assumed = model_of(arguments("--num-layers 2 --hidden-size 64 --num-attention-heads 4 --vocab-size 100"))
    >>> model["model_type"], model["n_inner"]
    ('gpt2', 256)
    """
    if not all(args.words.get(name) for name in NEEDED):
        return None, ()
    assumed = [f"--{name}: not read; the model is that of the other arguments" for name in UNKNOWN if args.has(name)]
    if not any(args.has(name) for name in VOCABULARY):
        assumed.append(f"--vocab-size is not in the text: {GPT2_VOCABULARY} of GPT-2 is taken; say --set vocab_size=…")
    kind = next(make for fits, make in KINDS if fits(args))
    values = kind(args, assumed)
    values["tie_word_embeddings"] = not args.has("untie-embeddings-and-output-weights")
    found = next((name for name in VOCABULARY if args.has(name)), None)
    values["vocab_size"] = size(args, found) if found else GPT2_VOCABULARY
    return values, tuple(assumed)


def size(args: Arguments, name: str, default: int | None = None) -> int:
    """The number of an argument."""
    text = args.text(name)
    return default if text is None and default is not None else whole(text, f"--{name}")


def width(args: Arguments) -> int:
    """The inner width: four times the hidden one, or two thirds of that in steps of 64 where it is gated."""
    hidden = size(args, "hidden-size")
    return size(args, "ffn-hidden-size", int(4 * hidden * 2 / 3) // 64 * 64 if args.has("swiglu") else 4 * hidden)


def rotary(args: Arguments) -> bool:
    """Whether positions are not a table."""
    kind = args.text("position-embedding-type") or "learned_absolute"
    return kind != "learned_absolute" or args.has("use-rotary-position-embeddings") or args.has("no-position-embedding")


def dropout(args: Arguments, name: str) -> float:
    """A dropout, 0.1 where it is left out."""
    text = args.text(name) or "0.1"
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0.0 <= found <= 1.0:
        raise BadInput(f"--{name} is {text[:40]!r}; expected a share from 0 to 1")
    return found


def common(args: Arguments) -> Values:
    """What every configuration with rotary positions has."""
    heads, hidden = size(args, "num-attention-heads"), size(args, "hidden-size")
    groups = size(args, "num-query-groups", heads) if args.has("group-query-attention") else heads
    return {
        "hidden_size": hidden,
        "num_hidden_layers": size(args, "num-layers"),
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "head_dim": size(args, "kv-channels", max(hidden // heads, 1)),
        "intermediate_size": width(args),
        "max_position_embeddings": size(args, "max-position-embeddings", size(args, "seq-length", 2048)),
        "attention_dropout": dropout(args, "attention-dropout"),
    }


def gpt2(args: Arguments, assumed: list[str]) -> Values:
    """A table of positions, layer norms, an inner layer that is not gated."""
    if args.has("group-query-attention"):
        assumed.append("--group-query-attention beside a table of positions: keys and values are priced with all heads")
    return {
        "model_type": "gpt2",
        "n_embd": size(args, "hidden-size"),
        "n_layer": size(args, "num-layers"),
        "n_head": size(args, "num-attention-heads"),
        "n_inner": width(args),
        "n_positions": size(args, "max-position-embeddings", size(args, "seq-length", 2048)),
        "bias": not args.has("disable-bias-linear"),
        "resid_pdrop": dropout(args, "hidden-dropout"),
        "embd_pdrop": dropout(args, "hidden-dropout"),
        "attn_pdrop": dropout(args, "attention-dropout"),
    }


def starcoder2(args: Arguments, assumed: list[str]) -> Values:
    """Rotary positions and an inner layer that is not gated."""
    act = "relu2" if args.has("squared-relu") else "gelu"
    drop, bias = dropout(args, "hidden-dropout"), not args.has("disable-bias-linear")
    own = {
        "model_type": "starcoder2",
        "hidden_act": act,
        "use_bias": bias,
        "residual_dropout": drop,
        "embedding_dropout": drop,
    }
    return {**common(args), **own}


def llama(args: Arguments, assumed: list[str]) -> Values:
    """A gated inner layer: Llama's, Qwen 2's with biases before attention, Qwen 3's with norms of queries and keys."""
    if (args.text("normalization") or "LayerNorm") != "RMSNorm":
        assumed.append("--normalization LayerNorm beside --swiglu: priced as RMSNorm")
    if args.has("qk-layernorm"):
        return {**common(args), "model_type": "qwen3"}
    if args.has("add-qkv-bias") and args.has("disable-bias-linear"):
        return {**common(args), "model_type": "qwen2"}
    bias = not args.has("disable-bias-linear")
    return {**common(args), "model_type": "llama", "attention_bias": bias, "mlp_bias": bias}


def mixtral(args: Arguments, assumed: list[str]) -> Values:
    """Experts in every layer; with a shared one Qwen 2's, with norms of queries and keys Qwen 3's."""
    if not args.has("swiglu"):
        assumed.append("experts without --swiglu: priced as gated")
    if args.has("moe-layer-freq") and first_plain(args) != 0:
        assumed.append("--moe-layer-freq: every layer is priced with experts")
    values = {**common(args), "num_experts_per_tok": size(args, "moe-router-topk", 2)}
    inner = size(args, "moe-ffn-hidden-size", width(args))
    if args.has("moe-shared-expert-intermediate-size"):
        shared = size(args, "moe-shared-expert-intermediate-size")
        own = {
            "model_type": "qwen2_moe",
            "shared_expert_intermediate_size": shared,
            "qkv_bias": args.has("add-qkv-bias"),
        }
        return {**values, **own, "num_experts": size(args, "num-experts"), "moe_intermediate_size": inner}
    if args.has("qk-layernorm"):
        own = {"model_type": "qwen3_moe", "num_experts": size(args, "num-experts"), "moe_intermediate_size": inner}
        return {**values, **own}
    return {
        **values,
        "model_type": "mixtral",
        "num_local_experts": size(args, "num-experts"),
        "intermediate_size": inner,
    }


def deepseek(args: Arguments, assumed: list[str]) -> Values:
    """Latent attention: DeepSeek's, with plain layers first and experts after them, or none."""
    values = common(args)
    for key in ("head_dim", "num_key_value_heads"):
        values.pop(key)
    inner, layers = size(args, "moe-ffn-hidden-size", width(args)), size(args, "num-layers")
    plain = first_plain(args) if args.has("num-experts") else layers
    if plain is None:
        assumed.append("--moe-layer-freq: every layer is priced with experts")
    shared = size(args, "moe-shared-expert-intermediate-size", inner)
    return {
        **values,
        "model_type": "deepseek_v3",
        "q_lora_rank": size(args, "q-lora-rank") if args.has("q-lora-rank") else None,
        "kv_lora_rank": size(args, "kv-lora-rank", 32),
        "qk_nope_head_dim": size(args, "qk-head-dim", 128),
        "qk_rope_head_dim": size(args, "qk-pos-emb-head-dim", 64),
        "v_head_dim": size(args, "v-head-dim", 128),
        "n_routed_experts": size(args, "num-experts", 8),
        "num_experts_per_tok": size(args, "moe-router-topk", 2),
        "moe_intermediate_size": inner,
        "n_shared_experts": max(shared // inner, 1),
        "first_k_dense_replace": plain or 0,
    }


def first_plain(args: Arguments) -> int | None:
    """Plain layers before those with experts, from ``([0]*3+[1]*58)`` or ``1``; None for any other pattern.

    >>> first_plain(Arguments({"moe-layer-freq": ("([0]*3+[1]*58)",)}))
    3
    """
    text = "".join(args.words.get("moe-layer-freq", ("1",))).replace(" ", "")
    found = re.fullmatch(r"\(?\[0\](?:\*(\d{1,6}))?\+\[1\](?:\*\d{1,6})?\)?", text)
    if found:
        return int(found[1] or 1)
    return 0 if re.fullmatch(r"1|\(?\[1\](\*\d+)?\)?", text) else None


KINDS: tuple[tuple[Callable[[Arguments], bool], Callable[[Arguments, list[str]], Values]], ...] = (
    (lambda args: args.has("multi-latent-attention"), deepseek),
    (lambda args: args.has("num-experts"), mixtral),
    (lambda args: args.has("swiglu"), llama),
    (rotary, starcoder2),
    (lambda args: True, gpt2),
)
"""What a text describes, the first that fits."""
