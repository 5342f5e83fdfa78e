"""What the readers of diffusers' classes share: heads, feed-forward networks, the stack of a stream, the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from floorline.block import Block
from floorline.blocks.feed_forward import FeedForward
from floorline.errors import BadInput
from floorline.huggingface.config import Config, as_whole, rounded
from floorline.masks import everything
from floorline.num import Num, all_true
from floorline.specs.latent import Latent
from floorline.transformer import Stack, Transformer

WAVES = 256.0
"""Sines and cosines of a time (diffusers, models/embeddings.py, Timesteps)."""
FEED_FORWARD = {
    "gelu": ("gelu", False),
    "gelu-approximate": ("gelu_pytorch_tanh", False),
    "geglu": ("gelu", True),
    "geglu-approximate": ("quick_gelu", False),
    "swiglu": ("silu", True),
    "linear-silu": ("silu", False),
}
"""diffusers' names of feed-forward networks → activation, and whether it is gated (models/attention.py, FeedForward)."""


def heads(
    config: Config,
    count: float,
    width: float,
    *,
    heads: str = "num_attention_heads",
    head_dim: str = "attention_head_dim",
) -> dict[str, Num]:
    """D, K, G and H: the model's width is that of all heads.

    count, width  what the class has where its keys are left out

    >>> heads(Config({"num_attention_heads": 24}, "sd3"), 18.0, 64.0)["D"]
    1536.0
    """
    k, h = config.size(heads, count), config.size(head_dim, width)
    return {"D": k * h, "K": k, "G": 1.0, "H": h}


def feed_forward(
    config: Config, default: str, *, key: str = "activation_fn", bias: bool = True, name: str = ""
) -> FeedForward:
    """The feed-forward network that a word names."""
    word = config.text(key, default)
    if word not in FEED_FORWARD:
        raise BadInput(f"{config.name}: {key} is {word[:40]!r}; expected one of {', '.join(FEED_FORWARD)}")
    activation, has_gate = FEED_FORWARD[word]
    return FeedForward(activation, gated=has_gate, bias=bias, name=name)


def stack(
    block: Block,
    repeat: Num = 1.0,
    sizes: Mapping[str, Num] | None = None,
    tokens: tuple[tuple[str, str], ...] = (),
    whole: str = "",
) -> Stack:
    """A stack in which every token sees every other.

    whole  letters that no plan cuts
    """
    return Stack(block, repeat, tokens=tokens, sizes=sizes or {}, mask=everything, whole=whole)


def optional(config: Config, key: str, default: float | None) -> Num | None:
    """A size that null switches off; left out, what its class has."""
    return config.given(key) if key in config.values else default


def ignored(config: Config, *keys: str) -> None:
    """Keys that change neither parameters nor arithmetic."""
    for key in keys:
        config.get(key)


def scaled(width: Num, ratio: object, config: Config, key: str = "mlp_ratio") -> Num:
    """A width times a ratio, rounded down.

    raises BadInput where the ratio is no positive number
    """
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0.0 < ratio < 1e4:
        raise BadInput(f"{config.name}: {key} is {str(ratio)[:40]!r}; expected a positive number")
    return rounded(width * float(ratio))


def same(config: Config, key: str, found: Num, wanted: Num) -> None:
    """A width that another one must equal, for the class brings what is that wide to it.

    raises BadInput where it does not

    >>> same(Config({}, "latte-1"), "cross_attention_dim", 1152.0, 1152.0)
    """
    if not all_true(np.equal(found, wanted)):
        raise BadInput(
            f"{config.name}: {key} is {float(np.ravel(found)[0]):g}; expected the model's width, {float(np.ravel(wanted)[0]):g}"
        )


def video_patch(config: Config, usual: tuple[float, ...] = (1.0, 2.0, 2.0)) -> tuple[Num, Num]:
    """Latent frames of a patch, and latents along each of its sides, from ``patch_size``: frames, height, width.

    raises BadInput where these are no three whole numbers, or no square

    >>> video_patch(Config({"patch_size": [1, 2, 2]}, "wan2.1-t2v-14b"))
    (1.0, 2.0)
    """
    value = config.get("patch_size")
    found = tuple(value) if isinstance(value, (list, tuple)) else usual if value is None else ()
    if len(found) != 3 or any(as_whole(v, 1.0) is None for v in found) or found[1] != found[2]:
        raise BadInput(
            f"{config.name}: patch_size is {str(value)[:40]!r}; expected three whole numbers, frames, height and width, "
            "the last two the same, such as [1, 2, 2]"
        )
    return float(found[0]), float(found[1])


def denoiser(
    config: Config, sizes: Mapping[str, Num], stacks: Iterable[Stack], latent: Latent, order: tuple[int, ...] = ()
) -> Transformer:
    """The model.

    order  of its layers, each the index of its stack among them, where kinds of layers alternate
    """
    return Transformer(config.name, sizes, tuple(stacks), latent=latent, order=order)
