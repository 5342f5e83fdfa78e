"""A configuration in Hugging Face fields, read key by key, with kind errors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from floorline.errors import BadInput, near
from floorline.num import Array, Num, all_true, number

LARGEST = {"layers": 1e6, "size": 1e9}
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_new",
    "gelu_fast": "gelu_new",
    "gelu_pytorch_tanh": "gelu_pytorch_tanh",
    "gelu_python": "gelu",
    "gelu_10": "gelu",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "relu2": "relu2",
    "relu_squared": "relu2",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "silu": "silu",
    "swish": "silu",
}
"""transformers' names of activation functions → ours."""
STRUCTURAL = {
    "add_cross_attention",
    "per_layer_config",
    "qk_layernorm",
    "use_qk_norm",
    "sliding_window",
    "use_sliding_window",
}
"""Keys that change the architecture or its bytes where they are set, and that a family must read itself."""
ALSO = {
    "n_embd": ("hidden_size", "n_embed"),
    "n_layer": ("num_hidden_layers",),
    "n_head": ("num_attention_heads",),
    "n_positions": ("max_position_embeddings",),
    "d_model": ("hidden_size",),
    "d_kv": ("head_dim",),
    "dim": ("hidden_size",),
    "encoder_attention_heads": ("num_attention_heads",),
    "encoder_layers": ("num_hidden_layers",),
    "n_layers": ("num_hidden_layers",),
    "n_heads": ("num_attention_heads",),
    "max_seq_len": ("max_position_embeddings",),
    "hidden_size": ("n_embed", "n_embd"),
    "attention_window_size": ("sliding_window",),
    "num_layers": ("num_hidden_layers",),
    "num_heads": ("num_attention_heads",),
    "num_experts_per_tok": ("experts_per_token", "num_experts_per_token"),
    "num_local_experts": ("num_experts", "n_routed_experts"),
    "num_experts": ("num_local_experts",),
    "n_routed_experts": ("num_local_experts", "num_experts"),
}
"""Other names of a key that transformers takes too (the ``attribute_map`` of its configurations)."""
SYNONYMS = {
    "num_heads": ("num_attention_heads", "n_head"),
    "num_layers": ("num_hidden_layers", "n_layer"),
    "ffn_hidden_size": ("intermediate_size", "n_inner"),
    "n_positions": ("max_position_embeddings",),
    "hidden_dim": ("hidden_size",),
    "head_dim": ("attention_head_dim",),
    "block_size": ("max_position_embeddings",),
}
"""Keys that some configurations have besides the one that is read, with the same value."""
SIZE_WORDS = ("size", "dim", "num_", "heads", "layers", "experts", "rank", "width", "intermediate", "inner")
HARMLESS = {
    "num_labels",
    "n_ctx",
    "initializer_range",
    "id2label",
    "label2id",
    "pad_vocab_size_multiple",
    "task_specific_params",
    "num_return_sequences",
    "num_beams",
    "num_beam_groups",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "n_special",
    "embedding_size_note",
    "chunk_size_feed_forward",
    "rotary_dim",
    "max_window_layers",
    "_num_labels",
    "pooler_size_per_head",
    "pooler_fc_size",
    "pooler_num_fc_layers",
    "pooler_num_attention_heads",
    "tokenizer_vocab_size",
    "padded_vocab_size",
    "model_dtype",
    "rope_theta",
    "n_group",
    "topk_group",
    "num_nextn_predict_layers",
    "mtp_num_hidden_layers",
    "mtp_transformer_layers",
    "num_mtp_modules",
    "num_logits_to_keep",
    "pretraining_tp",
    "summary_proj_to_labels",
    "dim_note",
    "transformers_version",
}


def as_whole(value: object, least: float, most: float = LARGEST["size"]) -> float | None:
    """A whole number between two others, None for anything else: yes and no are no numbers.

    >>> as_whole(12, 0.0), as_whole(-1, 0.0), as_whole(True, 0.0)
    (12.0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if least <= value <= most and value == int(value) else None


class Config:
    """Reads keys, remembers which were read, and names what is missing, of a wrong type or not understood.

    values   the mapping of a ``config.json``
    name     what errors call it
    library  whether to count as the transformers library computes, where that is not what the arithmetic needs

    >>> Config({"n_layer": 12}, "gpt2").size("n_layer")
    12.0
    """

    def __init__(self, values: Mapping[str, object], name: str, library: bool = False) -> None:
        self.values = values
        self.name = name
        self.library = library
        self.inner = False
        self.read: set[str] = set()

    def get(self, key: str) -> object:
        """The raw value of a key, or None."""
        self.read.add(key)
        if key in self.values:
            self.read |= set(ALSO.get(key, ()))  # the first name counts
            return self.values[key]
        for other in ALSO.get(key, ()):
            if other in self.values:
                self.read.add(other)
                return self.values[other]
        return None

    def has(self, key: str) -> bool:
        """Whether a key is there, under its own name or another one of the family."""
        return key in self.values or any(other in self.values for other in ALSO.get(key, ()))

    def count(self, key: str, default: float = 0.0, least: float = 0.0) -> float:
        """A whole number that may be zero, and is one number, not an array: it decides what there is.

        raises BadInput for an array, or what is no whole number of at least ``least``
        """
        value = self.get(key)
        if value is None:
            return default
        if isinstance(value, np.ndarray):
            raise BadInput(f"{self.name}: {key} decides which layers there are; give one number at a time")
        found = as_whole(value, least)
        if found is None:
            raise BadInput(f"{self.name}: {key} is {str(value)[:40]!r}; expected a whole number, {least:g} or more")
        return found

    def size(self, key: str, default: Num | None = None, most: float = LARGEST["size"]) -> Num:
        """A positive whole number (or an array of them, in a sweep).

        raises BadInput where it is missing without default, no number, not whole, not positive or absurdly large
        """
        value = self.get(key)
        if value is None:
            if default is not None:
                return default
            raise BadInput(f"{self.name}: the key {key!r} is missing; expected a positive whole number{self.hint(key)}")
        if isinstance(value, np.ndarray):
            return self.sizes(key, value, most)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise BadInput(f"{self.name}: {key} is {str(value)[:40]!r}; expected a positive whole number")
        if value > most:
            shown = f"{value:g}" if value < 1e300 else "above 1e300"
            raise BadInput(f"{self.name}: {key} is {shown}, beyond the limit of {most:g}; is it a typing error?")
        if not value > 0 or value != int(value):
            raise BadInput(f"{self.name}: {key} is {str(value)[:40]}; expected a positive whole number")
        return float(value)

    def maybe(self, key: str, default: Num | None = None) -> Num | None:
        """A size that may be null: nothing at all; a key that is left out has the family's default."""
        return self.size(key, default) if not self.has(key) and default is not None else self.given(key)

    def given(self, key: str) -> Num | None:
        """A size, or None where the key is null or left out."""
        value = self.get(key)
        unused = key == "sliding_window" and not isinstance(value, (bool, np.ndarray)) and value == 0
        return None if value is None or unused else self.size(key)

    def sizes(self, key: str, values: Array, most: float) -> Num:
        """An array of positive whole numbers, in a sweep."""
        if not all_true((values >= 1) & (values <= most) & (values == np.floor(values))):
            raise BadInput(f"{self.name}: {key} has values that are no positive whole numbers up to {most:g}")
        return number(values)

    def flag(self, key: str, default: bool) -> bool:
        """A true or false."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise BadInput(f"{self.name}: {key} is {str(value)[:40]!r}; expected true or false")
        return value

    def text(self, key: str, default: str) -> str:
        """A word."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise BadInput(f"{self.name}: {key} is {str(value)[:40]!r}; expected a word, such as {default!r}")
        return value

    def activation(self, key: str, default: str) -> str:
        """The name of an activation function whose saved tensors are known."""
        name = self.text(key, default)
        if name not in ACTIVATIONS:
            raise BadInput(f"{self.name}: {key} is {name[:40]!r}; expected one of {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[name]

    def share(self, key: str, default: float) -> float:
        """A probability between 0 and 1."""
        value = self.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
            raise BadInput(f"{self.name}: {key} is {str(value)[:40]!r}; expected a number from 0 to 1")
        return float(value)

    def hint(self, key: str) -> str:
        """A near key that is there and was not read, in case of a typing error."""
        guess = near(key, [k for k in self.values if k not in self.read])
        return f"; {guess}" if guess.startswith("did you mean") else ""

    def part(self, key: str) -> Config:
        """A configuration inside this one, such as ``text_config``; its own keys are checked by its ``finish``.

        raises BadInput where it is no object
        """
        value = self.get(key)
        if not isinstance(value, Mapping):
            raise BadInput(f"{self.name}: {key} is {str(value)[:40]!r}; expected an object with the part's own keys")
        inside = Config(value, f"{self.name} {key}", self.library)
        inside.inner = True
        return inside

    def near_miss(self, key: str) -> bool:
        """Whether a key is nearly one that was read: a typing error."""
        from difflib import get_close_matches

        return bool(get_close_matches(key, self.read, n=1, cutoff=0.85))

    def finish(self) -> None:
        """Refuse keys that look like sizes and were not understood: a silent one would be a silent wrong number.

        raises BadInput that names the key
        """
        unread = {k: v for k, v in self.values.items() if k not in self.read and k not in HARMLESS and not empty(v)}
        for key in STRUCTURAL & unread.keys():
            if key != "sliding_window" or self.values.get("use_sliding_window") is not False:
                raise BadInput(
                    f"{self.name}: {key} is set, which is not read for a {self.values.get('model_type')!r} model yet; "
                    "set it to null to have the model without it"
                )
        odd = {k: v for k, v in unread.items() if self.suspicious(k, v)}
        if odd:
            known = sorted(k for k in self.read if looks_like_size(k) and k in self.values)
            kind = self.values.get("model_type")
            many = len(odd) > 1
            raise BadInput(
                f"{self.name}: {'the keys' if many else 'the key'} {', '.join(f'{k!r} ({v!r})' for k, v in odd.items())} "
                f"{'look like sizes' if many else 'looks like a size'} that a {kind!r} model does not have; "
                f"expected one of {', '.join(known)}; where it changes nothing, remove it or set it to null"
            )

    def suspicious(self, key: str, value: object) -> bool:
        """Whether an unread key may say something about sizes: a number under such a name, or a typing error."""
        if key.startswith("_") or key.endswith(("_token_id", "_dropout", "_eps", "_theta")) or isinstance(value, bool):
            return False
        if any(self.values.get(main) == value for main in SYNONYMS.get(key, ())):
            return False
        if isinstance(value, str):
            return self.near_miss(key)
        return isinstance(value, (int, float, list, np.ndarray)) and (looks_like_size(key) or self.near_miss(key))


def empty(value: object) -> bool:
    """Whether a value says that there is nothing: null, zero, false."""
    return value is None or (isinstance(value, (int, float)) and value == 0)


def looks_like_size(key: str) -> bool:
    """Whether a key's name is that of a size.

    >>> looks_like_size("num_experts"), looks_like_size("attention_bias")
    (True, False)
    """
    return key.startswith("n_") or any(word in key for word in SIZE_WORDS)


def rounded(value: Num) -> Num:
    """Rounded down, as ``//`` and ``int`` do.

    >>> rounded(7.0 / 2.0)
    3.0
    """
    return number(np.floor(value))


def divide(config: Config, whole: Num, parts: Num, whole_name: str, parts_name: str) -> Num:
    """``whole / parts`` where it comes out even.

    raises BadInput where it does not: heads must divide the width
    """
    quotient = whole / parts
    if isinstance(quotient, float) and quotient != int(quotient):
        raise BadInput(
            f"{config.name}: {parts_name} = {parts:g} does not divide {whole_name} = {whole:g}; nearest that do: "
            + ", ".join(f"{d:g}" for d in divisors_near(float(whole), float(parts)))
        )
    return quotient


def divisors_near(whole: float, wanted: float, count: int = 4) -> list[int]:
    """Divisors of ``whole`` closest to ``wanted``.

    >>> divisors_near(4096, 33)
    [16, 32, 64, 128]
    """
    n = int(whole)
    found = {d for d in range(1, math.isqrt(n) + 1) if n % d == 0} if n <= 10**9 else {1}
    found |= {n // d for d in found}
    return sorted(sorted(found, key=lambda d: abs(math.log(d / wanted)))[:count])
