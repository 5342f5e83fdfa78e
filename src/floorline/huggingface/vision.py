"""What the readers of vision models share: pictures, patches, a tower of layers that every picture goes through once.

A tower binds T and S to the tokens of one picture, whatever the text's length; its layers keep no cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from floorline.block import Block
from floorline.blocks.attention import Attention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import LAYER_NORM, Norm
from floorline.errors import BadInput
from floorline.huggingface.config import Config, divide, rounded
from floorline.masks import everything
from floorline.num import Num
from floorline.transformer import Stack, Transformer

ONE_PICTURE = (("T", "m"), ("S", "m"), ("σ", "0*m"))
"""A tower's tokens are those of a picture, m, and nothing came before them."""
SAID_BUT_UNUSED = (
    *("model_type", "architectures", "torch_dtype", "dtype"),
    *("projection_dim", "num_image_tokens", "projector_hidden_act", "dropout"),
)
"""Keys that published configurations of a part have and that change nothing in it."""


@dataclass(frozen=True, kw_only=True)
class Tower:
    """Stacks over one picture.

    sizes     of its letters; m is the number of its tokens
    modality  "" where pictures are the model's only input, IMAGE where they are one of several
    own       whether the sizes are these stacks' alone: the model's text has others
    """

    sizes: Mapping[str, Num]
    modality: str = ""
    own: bool = True
    kept: Mapping[str, Num] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kept", self.sizes if self.own else {})

    def stack(self, block: Block, repeat: Num = 1.0) -> Stack:
        """A block that runs once for each picture, or several times in a row."""
        return Stack(block, repeat, tokens=ONE_PICTURE, sizes=self.kept, mask=everything, modality=self.modality)


def encoder(
    activation: str,
    *,
    bias: bool = True,
    rotary: bool = False,
    scale: Norm | None = None,
    gated: bool = False,
    drop: bool = False,
    attention_drop: bool = False,
    name: str = "block",
) -> Block:
    """A layer of a vision transformer (and of CLIP's text): norms before, biases everywhere.

    bias   of queries, keys and values
    scale  a learned factor for what each branch adds

    >>> [op.name for op in encoder("gelu").ops][:4]
    ['norm1', 'q', 'k', 'v']
    """
    attention = Attention(
        bias=bias, out_bias=True, rotary=rotary, cached=False, dropout=attention_drop, softmax="softmax_fp32"
    )
    ffn = FeedForward(activation, gated=gated, bias=True)
    return layer(*(Branch(part=p, before=LAYER_NORM, after=scale, drop=drop) for p in (attention, ffn)), name=name)


def pair(config: Config, key: str, default: Num) -> tuple[Num, Num]:
    """A size for both directions, or a list of height and width."""
    value = config.get(key)
    if not isinstance(value, list):
        size = config.size(key, default)
        return size, size
    if len(value) != 2:
        raise BadInput(f"{config.name}: {key} is {str(value)[:40]}; expected a whole number, or height and width")
    both = Config({"height": value[0], "width": value[1]}, f"{config.name} {key}")
    return both.size("height"), both.size("width")


def picture(
    config: Config, *, image: Num, patch: Num, channels: str = "num_channels", extra: Num = 0.0
) -> dict[str, Num]:
    """Letters of a picture: u, w its height and width, i, j a patch's, c channels, N patches, P positions and m tokens.

    extra  learned tokens beside the patches, each with a position

    >>> picture(Config({}, "vit"), image=224.0, patch=16.0, extra=1.0)["m"]
    197.0
    """
    (u, w), (i, j) = pair(config, "image_size", image), pair(config, "patch_size", patch)
    number = rounded(u / i) * rounded(w / j)
    total = number + extra
    return {"u": u, "w": w, "i": i, "j": j, "c": config.size(channels, 3.0), "N": number, "P": total, "m": total}


def widths(
    config: Config, *, width: Num, heads: Num, inner: Num = 0.0, key: str = "num_attention_heads"
) -> dict[str, Num]:
    """D, K, G, H and F of a tower, with what they are where the configuration leaves them out.

    inner  0 where F does not come from a key

    >>> widths(Config({"num_attention_heads": 6}, "vit"), width=384.0, heads=12.0)["H"]
    64.0
    """
    d, k = config.size("hidden_size", width), config.size(key, heads)
    sizes = {"D": d, "K": k, "G": 1.0, "H": divide(config, d, k, "hidden_size", key)}
    return {**sizes, "F": config.size("intermediate_size", inner)} if inner else sizes


def labels(config: Config) -> float:
    """How many classes a classifier tells apart: those of ``id2label``, else ``num_labels``, else 2; 0 for no classifier."""
    named = config.get("id2label")
    count = config.count("num_labels", 2.0)
    return float(len(named)) if isinstance(named, Mapping) else count


def architecture(config: Config, default: str) -> str:
    """The class that a configuration was saved from."""
    given = config.get("architectures")
    return str(given[0]) if isinstance(given, list) and given else default


def part(config: Config, key: str) -> Config:
    """A configuration inside this one; left out or null, everything in it is what its class says."""
    return config.part(key) if config.get(key) is not None else Config({}, f"{config.name} {key}", config.library)


def finish(model: Transformer, *parts: Config) -> Transformer:
    """The model, once nothing in the configurations of its parts was left that is not understood."""
    for config in parts:
        close(config)
    return model


def close(config: Config, *ignored: str) -> None:
    """Refuse what is not understood in the configuration of a part.

    ignored  keys that look like sizes and change nothing
    """
    for key in (*SAID_BUT_UNUSED, *ignored):
        config.get(key)
    config.finish()
