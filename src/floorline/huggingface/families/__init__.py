"""One file a family, named as its ``model_type``; types that differ only in names share one."""

SHARED: dict[str, str] = {
    "gpt_oss": "mixtral",
    "glm4_moe": "mixtral",
    "qwen3_moe": "mixtral",
    "qwen2_moe": "mixtral",
    "minimax_m2": "mixtral",
    "olmoe": "mixtral",
    "phimoe": "mixtral",
    "granitemoe": "mixtral",
    "gemma2": "gemma",
    "gemma3_text": "gemma",
    "persimmon": "phi",
    "cohere2": "cohere",
    "glm4": "llama",
    "glm": "llama",
    "olmo2": "llama",
    "olmo": "llama",
    "phi3": "llama",
    "smollm3": "llama",
    "qwen3": "llama",
    "qwen2": "llama",
    "seed_oss": "llama",
    "granite": "llama",
    "mistral": "llama",
}
"""``model_type`` → the module that reads it, where that has another name."""
