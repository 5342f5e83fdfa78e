"""Counts of made-up configurations by other people's software: sizes and flags that no published model has.

    python make_variants.py CONFIGS.jsonl > counts.jsonl          counts of given configurations
    python make_variants.py --draw N [--seed S] > CONFIGS.jsonl   draw configurations of decoders at random

A configuration is a line of JSON, {"name": …, "config": {…}}. Its counts are those of the class that its "architectures"
names, built by Hugging Face transformers on PyTorch's meta device, as in ../oracle/make_oracle.py, whose functions do the
work: parameters, FLOP of a prefill, of a decode step after it and of forward and backward, bytes of the cache.
"""

import argparse
import contextlib
import importlib.util
import json
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
PREFILL, PAST = 40, 23


def oracle():
    """The oracle's functions, reading configurations from memory."""
    spec = importlib.util.spec_from_file_location("make_oracle", HERE.parent / "oracle" / "make_oracle.py")
    module = importlib.util.module_from_spec(spec)
    sys.argv = ["make_oracle"]
    spec.loader.exec_module(module)
    return module


def count(o, name, config):
    """One configuration's counts; what cannot be built or run is left out, with the reason."""
    o.read_config = lambda _: json.loads(json.dumps(config))
    o.INDEX[name] = dict(source="made up", source_kind="made up", published=None, note="", family=config["model_type"], hub_id=None)
    found = {"name": name, "config": config, "flops": [], "errors": []}

    def attempt(what, work):
        try:
            return work()
        except Exception as error:  # noqa: BLE001
            found["errors"].append(f"{what}: {type(error).__name__}: {str(error)[:120]}")
            return None

    row = attempt("params", lambda: o.params_row(name)[0])
    if row is None:
        return found
    keys = ("unique_params", "token_embedding", "position_embedding", "type_embedding", "lm_head_weight_untied", "blocks", "active_params")
    found["params"] = {k: row[k] for k in keys}
    o.is_moe = lambda _: True  # a key of experts may be left out; classes without experts take no such option
    kinds = o.defaults(name)
    if o.is_causal_lm(name):
        flops = [
            attempt("prefill", lambda: o.lm_prefill(name, 2, PREFILL, modules=None, **kinds)),
            attempt("decode", lambda: o.lm_decode(name, 3, PAST, **kinds)),
        ]
        if "batched" in str(kinds["experts"]) or kinds["experts"] is None:
            flops += [attempt(f"train {c}", lambda c=c: o.lm_train(name, 1, PREFILL, "eager", kinds["experts"], c)) for c in (False, True)]
        kv = attempt("kv", lambda: o.kv_row(name, 1, PREFILL))
        found["kv"] = kv and {"seq": PREFILL, "bytes": kv["total_bytes"]}
    else:
        modules = {}
        flops = [attempt("forward", lambda: o.other_forward(name, modules))]
    found["flops"] = [{k: r[k] for k in ("mode", "attn", "batch", "q_len", "past_len", "inputs", "total_flops")} for r in flops if r]
    return found


# ------------------------------------------------------------------ drawing
BOTH = (False, True)
LLAMA = {"attention_bias": BOTH, "mlp_bias": BOTH, "tie_word_embeddings": BOTH, "head_dim": (None, 8, 24)}
WINDOWED = {"sliding_window": (None, 7, 16, 64)}
EXPERTS = {"num_experts_per_tok": (1, 2, 3), "tie_word_embeddings": BOTH}
FLAGS = {
    "llama": ("LlamaForCausalLM", LLAMA),
    "mistral": ("MistralForCausalLM", {**WINDOWED, "tie_word_embeddings": BOTH, "head_dim": (None, 8)}),
    "granite": ("GraniteForCausalLM", LLAMA),
    "seed_oss": ("SeedOssForCausalLM", {**LLAMA, "attention_out_bias": BOTH}),
    "qwen2": ("Qwen2ForCausalLM", {**WINDOWED, "use_sliding_window": BOTH, "max_window_layers": (0, 1, 2), "tie_word_embeddings": BOTH}),
    "qwen3": ("Qwen3ForCausalLM", {**WINDOWED, "use_sliding_window": BOTH, "max_window_layers": (0, 1, 2), "tie_word_embeddings": BOTH, "attention_bias": BOTH, "head_dim": (8, 24)}),
    "smollm3": ("SmolLM3ForCausalLM", {**WINDOWED, "use_sliding_window": BOTH, "no_rope_layer_interval": (2, 3, 4), "attention_bias": BOTH, "mlp_bias": BOTH, "tie_word_embeddings": BOTH}),
    "phi3": ("Phi3ForCausalLM", {**WINDOWED, "tie_word_embeddings": BOTH}),
    "olmo": ("OlmoForCausalLM", {"attention_bias": BOTH, "tie_word_embeddings": BOTH, "clip_qkv": (None, 8.0)}),
    "olmo2": ("Olmo2ForCausalLM", {"attention_bias": BOTH, "tie_word_embeddings": BOTH}),
    "glm": ("GlmForCausalLM", {"attention_bias": BOTH, "head_dim": (8, 24), "tie_word_embeddings": BOTH}),
    "glm4": ("Glm4ForCausalLM", {"attention_bias": BOTH, "head_dim": (8, 24), "tie_word_embeddings": BOTH}),
    "cohere": ("CohereForCausalLM", {"attention_bias": BOTH, "use_qk_norm": BOTH, "tie_word_embeddings": BOTH}),
    "cohere2": ("Cohere2ForCausalLM", {"attention_bias": BOTH, "sliding_window": (7, 16), "sliding_window_pattern": (2, 3, 4), "tie_word_embeddings": BOTH}),
    "stablelm": ("StableLmForCausalLM", {"use_qkv_bias": BOTH, "qk_layernorm": BOTH, "use_parallel_residual": BOTH, "tie_word_embeddings": BOTH}),
    "starcoder2": ("Starcoder2ForCausalLM", {**WINDOWED, "use_bias": BOTH, "tie_word_embeddings": BOTH}),
    "nemotron": ("NemotronForCausalLM", {"attention_bias": BOTH, "mlp_bias": BOTH, "head_dim": (None, 8, 24), "tie_word_embeddings": BOTH}),
    "phi": ("PhiForCausalLM", {"qk_layernorm": BOTH, "tie_word_embeddings": BOTH}),
    "persimmon": ("PersimmonForCausalLM", {"qk_layernorm": BOTH, "tie_word_embeddings": BOTH, "num_key_value_heads": ("",)}),
    "gpt_neox": ("GPTNeoXForCausalLM", {"attention_bias": BOTH, "use_parallel_residual": BOTH, "tie_word_embeddings": BOTH, "num_key_value_heads": ("",)}),
    "falcon": ("FalconForCausalLM", {"new_decoder_architecture": BOTH, "multi_query": BOTH, "parallel_attn": BOTH, "bias": BOTH, "alibi": BOTH, "num_ln_in_parallel_attn": (None, 1, 2), "ffn_hidden_size": (None, 100), "tie_word_embeddings": BOTH, "num_key_value_heads": ("",), "num_kv_heads": (1, 2), "intermediate_size": ("",)}),
    "opt": ("OPTForCausalLM", {"do_layer_norm_before": BOTH, "word_embed_proj_dim": (None, 24), "enable_bias": BOTH, "layer_norm_elementwise_affine": BOTH, "tie_word_embeddings": BOTH, "ffn_dim": (100,), "num_key_value_heads": ("",), "intermediate_size": ("",), "_remove_final_layer_norm": BOTH}),
    "mixtral": ("MixtralForCausalLM", {**EXPERTS, **WINDOWED, "num_local_experts": (4, 6), "head_dim": (None, 8)}),
    "granitemoe": ("GraniteMoeForCausalLM", {**EXPERTS, "num_local_experts": (4, 6), "attention_bias": BOTH}),
    "phimoe": ("PhimoeForCausalLM", {"num_experts_per_tok": (2,), "num_local_experts": (4, 6), "attention_bias": BOTH, "lm_head_bias": BOTH, **WINDOWED}),
    "olmoe": ("OlmoeForCausalLM", {**EXPERTS, "num_experts": (4, 6), "attention_bias": BOTH}),
    "minimax_m2": ("MiniMaxM2ForCausalLM", {**EXPERTS, "num_local_experts": (4, 6), "head_dim": (8, 24)}),
    "qwen2_moe": ("Qwen2MoeForCausalLM", {**EXPERTS, "num_experts": (4, 6), "moe_intermediate_size": (20,), "shared_expert_intermediate_size": (28,), "decoder_sparse_step": (1, 2), "mlp_only_layers": ([], [0], [1]), "qkv_bias": BOTH, "use_sliding_window": BOTH, "sliding_window": (7, 16), "max_window_layers": (0, 1, 2)}),
    "qwen3_moe": ("Qwen3MoeForCausalLM", {**EXPERTS, "num_experts": (4, 6), "moe_intermediate_size": (20,), "decoder_sparse_step": (1, 2), "mlp_only_layers": ([], [0], [1]), "attention_bias": BOTH, "head_dim": (None, 8, 24), "use_sliding_window": BOTH, "sliding_window": (None, 7)}),
    "glm4_moe": ("Glm4MoeForCausalLM", {**EXPERTS, "n_routed_experts": (4, 6), "moe_intermediate_size": (20,), "n_shared_experts": (1, 2), "first_k_dense_replace": (0, 1, 2), "attention_bias": BOTH, "use_qk_norm": BOTH, "head_dim": (None, 8, 24)}),
    "gpt_oss": ("GptOssForCausalLM", {**EXPERTS, "num_local_experts": (4, 6), "attention_bias": BOTH, "sliding_window": (7, 16), "head_dim": (8, 24)}),
    "deepseek_v2": ("DeepseekV2ForCausalLM", {"q_lora_rank": (None, 12), "kv_lora_rank": (16,), "qk_nope_head_dim": (8, 12), "qk_rope_head_dim": (4, 8), "v_head_dim": (8, 20), "n_routed_experts": (4, 8), "num_experts_per_tok": (2,), "n_shared_experts": (1, 2), "moe_intermediate_size": (20,), "first_k_dense_replace": (0, 1, 2), "attention_bias": BOTH, "mlp_bias": BOTH, "n_group": (1,), "topk_group": (1,), "num_key_value_heads": ("",)}),
    "deepseek_v3": ("DeepseekV3ForCausalLM", {"q_lora_rank": (None, 12), "kv_lora_rank": (16,), "qk_nope_head_dim": (8, 12), "qk_rope_head_dim": (4, 8), "v_head_dim": (8, 20), "n_routed_experts": (4, 8), "num_experts_per_tok": (2, 3), "n_shared_experts": (1, 2), "moe_intermediate_size": (20,), "first_k_dense_replace": (0, 1, 2), "attention_bias": BOTH, "n_group": (1,), "topk_group": (1,), "num_key_value_heads": ("",)}),
    "deepseek_v32": ("DeepseekV32ForCausalLM", {"q_lora_rank": (12,), "kv_lora_rank": (16,), "qk_nope_head_dim": (8, 12), "qk_rope_head_dim": (4, 8), "v_head_dim": (8, 20), "n_routed_experts": (4, 8), "num_experts_per_tok": (2, 3), "n_shared_experts": (1, 2), "moe_intermediate_size": (20,), "first_k_dense_replace": (0, 1, 2), "attention_bias": BOTH, "n_group": (1,), "topk_group": (1,), "num_key_value_heads": ("",), "index_topk": (9, 64), "index_n_heads": (2, 3), "index_head_dim": (12, 16)}),
    "glm_moe_dsa": ("GlmMoeDsaForCausalLM", {"q_lora_rank": (12,), "kv_lora_rank": (16,), "qk_nope_head_dim": (8, 12), "qk_rope_head_dim": (4, 8), "v_head_dim": (8, 20), "n_routed_experts": (4, 8), "num_experts_per_tok": (2, 3), "n_shared_experts": (1, 2), "moe_intermediate_size": (20,), "first_k_dense_replace": (0, 1, 2), "attention_bias": BOTH, "n_group": (1,), "topk_group": (1,), "num_key_value_heads": ("",), "index_topk": (9, 64), "index_n_heads": (2, 3), "index_head_dim": (12, 16), "index_topk_freq": (1, 2, 3)}),
    "llama4_text": ("Llama4ForCausalLM", {**EXPERTS, "num_experts_per_tok": (1,), "num_local_experts": (4, 6), "intermediate_size_mlp": (36,), "attention_chunk_size": (8, 16), "interleave_moe_layer_step": (1, 2), "no_rope_layer_interval": (2, 4), "use_qk_norm": BOTH, "attention_bias": BOTH, "head_dim": (8, 24)}),
    "gemma": ("GemmaForCausalLM", {"attention_bias": BOTH, "head_dim": (8, 24), "tie_word_embeddings": BOTH}),
    "gemma2": ("Gemma2ForCausalLM", {"attention_bias": BOTH, "head_dim": (8, 24), "sliding_window": (7, 16), "tie_word_embeddings": BOTH}),
    "gemma3_text": ("Gemma3ForCausalLM", {"attention_bias": BOTH, "head_dim": (8, 24), "sliding_window": (7, 16), "sliding_window_pattern": (2, 3, 6), "tie_word_embeddings": BOTH}),
}
OTHER = {
    "gpt2": ("GPT2LMHeadModel", {"n_inner": (None, 100), "tie_word_embeddings": BOTH}),
    "gptj": ("GPTJForCausalLM", {"n_inner": (None, 100), "rotary_dim": (4,), "tie_word_embeddings": BOTH}),
    "gpt_bigcode": ("GPTBigCodeForCausalLM", {"n_inner": (None, 100), "multi_query": BOTH, "tie_word_embeddings": BOTH}),
}


def draw(kind, rng):
    """A made-up configuration of a type: sizes that fit each other, flags at random, now and then a key left out."""
    heads = rng.choice((2, 4, 6))
    width = heads * rng.choice((8, 16, 20))
    if kind in OTHER:
        cls, flags = OTHER[kind]
        sizes = {"n_embd": width, "n_head": heads, "n_layer": rng.choice((1, 2, 3)), "n_positions": 64, "vocab_size": rng.choice((99, 128))}
    else:
        cls, flags = FLAGS[kind]
        divisors = [d for d in (1, 2, 3) if heads % d == 0]
        sizes = {
            "hidden_size": width,
            "intermediate_size": rng.choice((40, 72, 100)),
            "num_hidden_layers": rng.choice((1, 2, 3, 4, 5)),
            "num_attention_heads": heads,
            "num_key_value_heads": rng.choice([heads, *(heads // d for d in divisors)]),
            "vocab_size": rng.choice((99, 128, 200)),
            "max_position_embeddings": 64,
        }
    chosen = {k: rng.choice(v) for k, v in flags.items() if rng.random() < 0.85 or len(v) == 1}
    config = {"architectures": [cls], "model_type": kind, **sizes, **chosen, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}
    return {k: v for k, v in config.items() if v != ""}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("configs", nargs="?")
    parser.add_argument("--draw", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.draw:
        rng = random.Random(given.seed)
        for kind in (*FLAGS, *OTHER):
            for i in range(given.draw):
                print(json.dumps({"name": f"{kind}-{given.seed}-{i}", "config": draw(kind, rng)}))
        return
    o = oracle()
    for line in pathlib.Path(given.configs).read_text().splitlines():
        case = json.loads(line)
        with contextlib.redirect_stderr(None):
            print(json.dumps(count(o, case["name"], case["config"])), flush=True)


if __name__ == "__main__":
    main()
