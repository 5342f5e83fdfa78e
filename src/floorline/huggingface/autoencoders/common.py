"""What the readers of autoencoders share: lists of a configuration, and stacks of a level of resolution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from floorline.block import Block
from floorline.blocks.autoencoder import ChannelNorm, Space, attention_block, residual_block
from floorline.blocks.resampling import AFTER
from floorline.errors import BadInput
from floorline.huggingface.config import Config, as_whole
from floorline.masks import everything
from floorline.num import Num
from floorline.transformer import Stack, Transformer

ACTIVATIONS = ("silu", "swish", "mish", "gelu", "relu")
"""Names of diffusers' activations without parameters (models/activations.py, ACT2CLS)."""

CUBE = {"k": 3.0, "i": 3.0, "j": 3.0}
"""The window of convolutions over time, height and width."""


@dataclass(frozen=True)
class Grid:
    """Extents of a level as expressions; ``t`` is empty where there is no time.

    >>> Grid("8*latent_h", "8*latent_w").tokens
    (('y', '8*latent_h'), ('x', '8*latent_w'))
    """

    y: str
    x: str
    t: str = ""

    @property
    def tokens(self) -> tuple[tuple[str, str], ...]:
        """Letters and what they are."""
        return (*((("t", self.t),) if self.t else ()), ("y", self.y), ("x", self.x))

    def to(self, other: Grid) -> tuple[tuple[str, str], ...]:
        """Letters of this level, and of the one that is made of it."""
        return (*self.tokens, *((AFTER[letter], text) for letter, text in other.tokens))


@dataclass(frozen=True)
class Style:
    """Of what the blocks of a class are made.

    space       over what convolutions run
    norm        of residual blocks
    activation  of residual blocks
    more        letters that every stack binds besides
    """

    space: Space
    norm: ChannelNorm
    activation: str = "silu"
    more: tuple[tuple[str, str], ...] = ()


def stack(
    block: Block, tokens: tuple[tuple[str, str], ...], channels: tuple[float, float], repeat: float = 1.0, **sizes: Num
) -> Stack:
    """A stack whose letters c and o are channels.

    tokens    letters that it binds
    channels  that come in, and go out
    """
    own = {"c": channels[0], "o": channels[1], **sizes}
    return Stack(block, repeat, tokens=tokens, sizes=own, mask=everything)


def resnets(style: Style, grid: Grid, channels: tuple[float, float], count: float) -> tuple[Stack, ...]:
    """So many residual blocks, the first of which may change the channels."""
    tokens, made = (*grid.tokens, *style.more), channels[1]
    plain = residual_block(style.space, style.norm, style.activation)
    if channels[0] == made:
        return (stack(plain, tokens, channels, count),)
    first = residual_block(style.space, style.norm, style.activation, shortcut=True)
    later = (stack(plain, tokens, (made, made), count - 1.0),) if count > 1.0 else ()
    return stack(first, tokens, channels), *later


def attention(space: Space, norm: ChannelNorm, grid: Grid, channels: float, tokens: str, batch: str = "B") -> Stack:
    """Attention of one head.

    tokens  how many see each other
    batch   how often, beside each other
    """
    bound = (*grid.tokens, ("T", tokens), ("S", "T"), ("B", batch))
    block = attention_block(space, norm)
    return stack(block, bound, (channels, channels), D=channels, K=1.0, G=1.0, H=channels)


def changed(block: Block, before: Grid, after: Grid, channels: tuple[float, float]) -> Stack:
    """A change of resolution."""
    return stack(block, before.to(after), channels)


def network(name: str, stacks: Iterable[Stack], sizes: Mapping[str, Num]) -> Transformer:
    """The encoder or the decoder."""
    return Transformer(name, sizes, tuple(stacks))


def listed(config: Config, key: str, default: tuple[float, ...], least: float = 1.0) -> tuple[float, ...]:
    """Whole numbers, one a level.

    raises BadInput for what is no list of them
    """
    value = config.get(key)
    if value is None:
        return default
    found = [as_whole(v, least) for v in value] if isinstance(value, (list, tuple)) else []
    if not found or any(v is None for v in found):
        raise BadInput(
            f"{config.name}: {key} is {str(value)[:40]!r}; expected a list of whole numbers, {least:g} or more"
        )
    return tuple(v for v in found if v is not None)


def flags(config: Config, key: str, default: tuple[bool, ...]) -> tuple[bool, ...]:
    """True or false, one a level.

    raises BadInput for what is no list of them
    """
    value = config.get(key)
    found = default if value is None else value
    if not isinstance(found, (list, tuple)) or any(not isinstance(v, bool) for v in found):
        raise BadInput(f"{config.name}: {key} is {str(found)[:40]!r}; expected a list of true and false")
    return tuple(found)


def kinds(config: Config, key: str, allowed: tuple[str, ...], default: tuple[str, ...], levels: int) -> tuple[str, ...]:
    """Words, one a level, or one for all.

    raises BadInput for another word, or another number of them
    """
    value = config.get(key)
    words = default if value is None else (value,) * levels if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)) or len(words) != levels or any(w not in allowed for w in words):
        raise BadInput(
            f"{config.name}: {key} is {str(words)[:60]!r}; expected {levels} of {', '.join(allowed)}, one for each level"
        )
    return tuple(words)


def activation(config: Config, key: str = "act_fn") -> str:
    """An activation without parameters; "swish" is "silu".

    raises BadInput for another one
    """
    word = config.text(key, "silu")
    if word not in ACTIVATIONS:
        raise BadInput(f"{config.name}: {key} is {word[:40]!r}; expected one of {', '.join(ACTIVATIONS)}")
    return "silu" if word == "swish" else word


def groups(config: Config, channels: Iterable[float], default: float = 32.0) -> int:
    """Groups of a group norm.

    raises BadInput where they do not divide the channels
    """
    count = config.count("norm_num_groups", default, least=1.0)
    for width in channels:
        if width % count:
            raise BadInput(
                f"{config.name}: norm_num_groups = {count:g} does not divide {width:g} channels; expected a divisor of every "
                "width in block_out_channels"
            )
    return int(count)
