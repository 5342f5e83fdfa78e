"""What the readers of most families share: heads, windows, the two ends."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from floorline.block import Block
from floorline.blocks.embedding import embedding
from floorline.blocks.norm import Norm
from floorline.errors import BadInput
from floorline.huggingface.config import LARGEST, Config, divide
from floorline.huggingface.tops import top
from floorline.masks import Mask, causal, chunk, window
from floorline.num import Num
from floorline.transformer import Stack, Transformer

Kind = TypeVar("Kind", bound=Hashable)
"""What tells layers apart: a word, or several things together."""
WINDOWED = (("σ", "min(σ, window - 1)"), ("S", "σ + T"))
"""A layer that sees a window keeps the window's earlier tokens only."""
MASKS: dict[str, tuple[tuple[tuple[str, str], ...], Mask]] = {
    "full_attention": ((), causal),
    "sliding_attention": (WINDOWED, window),
    "chunked_attention": (WINDOWED, chunk),
}
"""Kinds of attention as Hugging Face's ``layer_types`` call them → what they keep, and what they see."""


def layers(config: Config, key: str = "num_hidden_layers", default: Num | None = None) -> Num:
    """How many layers run."""
    return config.size(key, default, most=LARGEST["layers"])


def whole_layers(config: Config, key: str = "num_hidden_layers", default: Num | None = None) -> int:
    """How many layers run, where their order is a pattern and the number therefore one, not an array."""
    count = layers(config, key, default)
    if not isinstance(count, float):
        raise BadInput(f"{config.name}: {key} is an array; layers of several kinds take one number at a time")
    if count > MOST_IN_A_PATTERN:
        raise BadInput(
            f"{config.name}: {key} is {count:g}, beyond the limit of {MOST_IN_A_PATTERN:,} layers in a pattern"
        )
    return int(count)


MOST_IN_A_PATTERN = 100_000


def head_sizes(
    config: Config,
    *,
    heads: str = "num_attention_heads",
    kv_heads: str = "num_key_value_heads",
    width: str = "hidden_size",
    head_dim: str = "head_dim",
    default_kv: Num | None = None,
    default_dim: Num | None = None,
) -> dict[str, Num]:
    """D, K, G and H from a configuration.

    kv_heads     key of K; "" for as many as query heads, which null means too
    head_dim     key of H; "" or null for the model's width over the heads
    default_kv   K where its key is left out; None for as many as query heads
    default_dim  H where its key is left out
    """
    wide, n = config.size(width), config.size(heads)
    k = config.maybe(kv_heads, default_kv) if kv_heads else None
    k = n if k is None else k
    h = config.maybe(head_dim, default_dim) if head_dim else None
    h = divide(config, wide, n, width, heads) if h is None else h
    return {"D": wide, "K": k, "G": divide(config, n, k, heads, kv_heads), "H": h}


def by_kind(
    kinds: Sequence[Kind], make: Callable[[Kind], Stack], start: int = 0
) -> tuple[tuple[Stack, ...], tuple[int, ...]]:
    """Layers of several kinds as one stack for each, in the order of first appearance, and the order of the layers.

    make   from a kind to its stack; its repeat becomes the number of layers of that kind
    start  index of the first stack among the model's layers
    """
    found = list(dict.fromkeys(kinds))
    stacks = tuple(replace(make(kind), repeat=float(kinds.count(kind))) for kind in found)
    order = tuple(start + found.index(kind) for kind in kinds)
    return stacks, order if len(found) > 1 else ()


def layer_types(config: Config, count: int, default: Callable[[int], str], key: str = "layer_types") -> list[str]:
    """The kind of each layer, listed or by the family's own rule.

    raises BadInput where the list is too short
    """
    given = config.get(key)
    if given is None:
        return [default(i) for i in range(count)]
    if not isinstance(given, list) or not all(isinstance(x, str) for x in given):
        raise BadInput(f"{config.name}: {key} is {str(given)[:40]!r}; expected a list of words, one for each layer")
    if len(given) != count:
        raise BadInput(f"{config.name}: {key} lists {len(given)} layers of {count}; expected one word for each layer")
    return given


def seen(config: Config, kind: str, make: Block, key: str = "sliding_window", size: Num | None = None) -> Stack:
    """A stack of attention layers of a kind: full, sliding or chunked.

    size  of the window, where it is not what the key says

    raises BadInput for a kind that is not known, or a window without a size
    """
    if kind not in MASKS:
        raise BadInput(f"{config.name}: a layer is {kind[:40]!r}; expected one of {', '.join(MASKS)}")
    tokens, mask = MASKS[kind]
    sizes: dict[str, Num] = {"window": config.size(key) if size is None else size} if tokens else {}
    return Stack(make, tokens=tokens, mask=mask, sizes=sizes)


def text_layers(
    config: Config, block: Block, rule: Callable[[int], str] | None = None, window_size: Num | None = None
) -> tuple[tuple[Stack, ...], tuple[int, ...]]:
    """The layers of a language model and their order: by ``layer_types``, by the family's rule, or all with full attention.

    rule         from a layer's index to its kind, where the configuration does not list them
    window_size  where sliding_window is left out
    """
    if config.get("layer_types") is None and rule is None:
        return (Stack(block, layers(config)),), ()
    kinds = layer_types(config, whole_layers(config), rule or (lambda i: "full_attention"))
    size = config.maybe("sliding_window", window_size)
    return by_kind(kinds, lambda kind: seen(config, kind, block, size=size if "sliding" in kind else None))


def alike(config: Config, block: Block, window_size: Num | None, key: str = "num_hidden_layers") -> tuple[Stack, ...]:
    """Layers that all see the same: a window, or everything where there is none."""
    if window_size is None:
        return (Stack(block, layers(config, key)),)
    windowed = seen(config, "sliding_attention", block, size=window_size)
    return (replace(windowed, repeat=layers(config, key)),)


def drops(config: Config, key: str, default: float = 0.0) -> bool:
    """Whether a dropout is there in training."""
    return config.share(key, default) > 0.0


def language_model(
    config: Config,
    sizes: Mapping[str, Num],
    stacks: tuple[Stack, ...],
    norm: Norm | None,
    *,
    tied: bool,
    order: tuple[int, ...] = (),
    bias: bool = False,
    start: Block | None = None,
    longest: str = "max_position_embeddings",
    learned: bool = False,
) -> Transformer:
    """Layers between a token table and a head, or what the class in ``architectures`` has instead.

    norm     before the head
    tied     whether the head reads the token table
    bias     of the logits
    start    the embedding, where it is more than a token table
    longest  key of the longest sequence that the model was made for
    learned  whether positions are a table, and that a hard limit
    """
    most = config.given(longest)
    first, last = Stack(start or embedding()), top(config, norm, tied=tied, bias=bias)
    made = {**sizes, "V": config.size("vocab_size", sizes.get("V"))}
    return Transformer(
        config.name, made, (first, *stacks, *last), max_positions=most, order=order, learned_positions=learned
    )
