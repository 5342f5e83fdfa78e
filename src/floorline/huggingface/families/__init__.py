"""One file a family, named as its ``model_type``; types that differ only in names share one."""

SHARED: dict[str, str] = {
    "mistral": "llama",
}
"""``model_type`` → the module that reads it, where that has another name."""
