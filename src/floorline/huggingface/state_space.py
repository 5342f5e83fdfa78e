"""What readers of state-space and hybrid families share: layers that do other work while decoding, and sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from floorline.block import Block
from floorline.errors import BadInput
from floorline.huggingface.config import Config, divide
from floorline.num import Num, ceil, number
from floorline.transformer import Stack

LEGACY = {"mamba": "linear_attention", "attention": "full_attention"}
"""Older names of kinds of layers → those of transformers 5 (``_LEGACY_LAYER_TYPE_REMAP`` in configuration_utils.py)."""


def stepping(make: Callable[[bool], Block], repeat: Num = 1.0, sizes: Mapping[str, Num] | None = None) -> Stack:
    """Layers that walk a prompt one way and take one step another way.

    make  from whether it decodes to the block; both have the same weights
    """
    return Stack(make(False), repeat, sizes=sizes or {}, decode=make(True))


def rank(config: Config, key: str, width: Num) -> Num:
    """Rank of the projection of dt: ⌈width / 16⌉ where it is "auto"."""
    return number(ceil(width / 16.0)) if automatic(config, key) else config.size(key)


def automatic(config: Config, key: str) -> bool:
    """Whether a size is "auto", or left out."""
    value = config.get(key)
    return value is None or (isinstance(value, str) and value == "auto")


def ignore(config: Config, *keys: str) -> None:
    """Fields of published configurations that have no effect in the library's class, sizes among them."""
    for key in keys:
        config.get(key)


def kinds(config: Config, *keys: str) -> list[str] | None:
    """The kind of each layer under the first of several keys that lists them, by its present name; None where none does.

    raises BadInput where it is no list of words
    """
    for key in keys:
        listed = config.get(key)
        if listed is None:
            continue
        words = [x for x in listed if isinstance(x, str)] if isinstance(listed, list) else []
        if not words or words != listed:
            raise BadInput(
                f"{config.name}: {key} is {str(listed)[:40]!r}; expected a list of words, one for each layer"
            )
        return [LEGACY.get(x, x) for x in words]
    return None


def known(config: Config, found: list[str], allowed: tuple[str, ...]) -> list[str]:
    """The same list.

    raises BadInput where a kind is not one of the family's
    """
    odd = next((x for x in found if x not in allowed), None)
    if odd is not None:
        raise BadInput(f"{config.name}: a layer is {odd[:40]!r}; expected one of {', '.join(allowed)}")
    return found


def attention_sizes(
    config: Config, heads: Num, kv_heads: Num | None, *, width: Num, head: Num | None = None
) -> dict[str, Num]:
    """D, K, G and H of the attention layers of a hybrid.

    heads     num_attention_heads where it is left out
    kv_heads  num_key_value_heads where it is left out, None for as many; null means as many in any case
    width     of the model
    head      of a head where nothing is said; None for the model's width over the heads
    """
    n = config.size("num_attention_heads", heads)
    k = config.maybe("num_key_value_heads", kv_heads)
    k = n if k is None else k
    h = config.given("head_dim")
    if h is None:
        h = divide(config, width, n, "hidden_size", "num_attention_heads") if head is None else head
    return {"D": width, "K": k, "G": divide(config, n, k, "num_attention_heads", "num_key_value_heads"), "H": h}
