"""AutoencoderKLMochi: waves of pixels, patches of pixels and frames become one, attention along time in the encoder.

Sources: Genmo 2024, Mochi 1, github.com/genmoai/models; diffusers 0.42, models/autoencoders/autoencoder_kl_mochi.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from floorline.autoencoder import AllFrames, Autoencoder, Cuts, Tile
from floorline.blocks.autoencoder import VOLUME, GroupNorm, pointwise, pointwise_head
from floorline.blocks.deep_compression import unfolding
from floorline.blocks.fourier_features import fourier_features
from floorline.blocks.frame_attention import TOKENS, frame_attention
from floorline.blocks.resampling import downsampling
from floorline.errors import BadInput
from floorline.huggingface.autoencoders.common import (
    CUBE,
    Grid,
    Style,
    activation,
    changed,
    flags,
    listed,
    network,
    resnets,
    stack,
)
from floorline.huggingface.config import Config
from floorline.masks import causal
from floorline.transformer import Stack

GROUPS = 32
"""Of every norm, each frame by itself."""
HEAD = 32.0
"""Width of a head."""
WAVES = 5
"""Channels of each channel of a pixel: itself, a sine and a cosine of two frequencies."""
TILE, STRIDE = 256.0, 192.0
"""Pixels of a tile, and from one to the next (autoencoder_kl_mochi.py, ``tile_sample_min_height``)."""


@dataclass(frozen=True)
class Shape:
    """What a configuration says of both networks.

    layers   residual blocks: of the first level, of each further one, and of the middle
    frames   that become one from level to level
    sides    pixels along each side that become one
    attends  whether residual blocks of the encoder have attention beside them, one for each of ``layers``
    """

    layers: tuple[float, ...]
    frames: tuple[int, ...]
    sides: tuple[int, ...]
    attends: tuple[bool, ...]


def coarser(grid: Grid, frames: int, side: int) -> Grid:
    """A level of the encoder: a convolution whose stride is its window, the first frame repeated before the others.

    >>> coarser(Grid("pixel_h", "pixel_w", "pixel_t"), 3, 2).tokens
    (('t', 'ceil((pixel_t)/3)'), ('y', 'floor((pixel_h + 0)/2)'), ('x', 'floor((pixel_w + 0)/2)'))
    """
    padded = 2 * ((side - 1) // 2)
    y, x = (f"floor(({text} + {padded})/{side})" for text in (grid.y, grid.x))
    return Grid(y, x, f"ceil(({grid.t})/{frames})")


def finer(grid: Grid, frames: int, side: int) -> Grid:
    """A level of the decoder: every frame becomes as many; those before the first are dropped at the very end."""
    return Grid(f"{side}*{grid.y}", f"{side}*{grid.x}", f"{frames}*{grid.t}")


def blocks(style: Style, grid: Grid, width: float, layers: float, attends: bool) -> Iterator[Stack]:
    """Residual blocks of a level, with attention along time beside each where ``attends``."""
    if not attends:
        yield from resnets(style, grid, (width, width), layers)
        return
    heads = {"K": width // HEAD, "G": 1.0, "H": HEAD}
    seen = stack(frame_attention(style.norm), (*grid.tokens, *TOKENS), (width, width), **heads)
    for _ in range(int(layers)):
        yield from resnets(style, grid, (width, width), 1.0)
        yield replace(seen, mask=causal)


def encoder(style: Style, shape: Shape, widths: tuple[float, ...], ends: tuple[float, float]) -> Iterator[Stack]:
    """From pixels to the moments of latents."""
    grid = Grid("pixel_h", "pixel_w", "pixel_t")
    yield stack(fourier_features(WAVES), grid.tokens, (ends[0], widths[0]))
    yield from blocks(style, grid, widths[0], shape.layers[0], shape.attends[0])
    for i in range(len(widths) - 1):
        frames, side = shape.frames[i], shape.sides[i]
        following = coarser(grid, frames, side)
        window = {"k": float(frames), "i": float(side), "j": float(side)}
        down = changed(downsampling(VOLUME), grid, following, (widths[i], widths[i + 1]))
        yield replace(down, sizes={**down.sizes, **window})
        grid = following
        yield from blocks(style, grid, widths[i + 1], shape.layers[i + 1], shape.attends[i + 1])
    yield from blocks(style, grid, widths[-1], shape.layers[-1], shape.attends[-1])
    yield stack(pointwise_head(VOLUME, style.norm, style.activation, bias=False), grid.tokens, (widths[-1], ends[1]))


def decoder(style: Style, shape: Shape, widths: tuple[float, ...], ends: tuple[float, float]) -> Iterator[Stack]:
    """From latents to pixels, without attention."""
    grid = Grid("latent_h", "latent_w", "latent_t")
    yield stack(pointwise(VOLUME, "conv_in", data=True), grid.tokens, (ends[0], widths[-1]))
    yield from blocks(style, grid, widths[-1], shape.layers[-1], False)
    for i in range(len(widths) - 2, -1, -1):
        frames, side = shape.frames[i], shape.sides[i]
        yield from blocks(style, grid, widths[i + 1], shape.layers[i + 1], False)
        following = finer(grid, frames, side)
        yield changed(unfolding(frames * side * side), grid, following, (widths[i + 1], widths[i]))
        grid = following
    yield from blocks(style, grid, widths[0], shape.layers[0], False)
    yield stack(pointwise_head(VOLUME, None, style.activation), grid.tokens, (widths[0], ends[1]))


def shape_of(config: Config, levels: int) -> Shape:
    """What both networks share.

    raises BadInput where a list is too short or too long
    """
    layers = listed(config, "layers_per_block", (3.0, 3.0, 4.0, 6.0, 3.0), least=0.0)
    frames = listed(config, "temporal_expansions", (1.0, 2.0, 3.0))
    sides = listed(config, "spatial_expansions", (2.0, 2.0, 2.0))
    attends = flags(config, "add_attention_block", (False, True, True, True, True))
    for key, found, wanted in (
        ("layers_per_block", layers, levels + 1),
        ("temporal_expansions", frames, levels - 1),
        ("spatial_expansions", sides, levels - 1),
        ("add_attention_block", attends, levels + 1),
    ):
        if len(found) != wanted:
            raise BadInput(f"{config.name}: {key} has {len(found)} values; expected {wanted} for {levels} levels")
    return Shape(layers, tuple(map(int, frames)), tuple(map(int, sides)), attends)


def widths_of(config: Config, key: str, usual: tuple[float, ...]) -> tuple[float, ...]:
    """Channels of the levels of one network.

    raises BadInput where a norm has no whole groups of them
    """
    widths = listed(config, key, usual)
    for width in widths:
        if width % GROUPS:
            raise BadInput(f"{config.name}: {key} has {width:g} channels; expected multiples of {GROUPS}")
    return widths


def read(config: Config) -> Autoencoder:
    """A configuration of AutoencoderKLMochi.

    >>> read(Config({}, "mochi")).frames
    6.0
    """
    coarse = widths_of(config, "encoder_block_out_channels", (64.0, 128.0, 256.0, 384.0))
    fine = widths_of(config, "decoder_block_out_channels", (128.0, 256.0, 512.0, 768.0))
    if len(coarse) != len(fine):
        raise BadInput(
            f"{config.name}: the encoder has {len(coarse)} levels and the decoder {len(fine)}; expected as many"
        )
    shape = shape_of(config, len(coarse))
    pixels, latents = config.count("in_channels", 15.0, least=1.0), config.count("latent_channels", 12.0, least=1.0)
    ratio = float(math.prod(shape.sides))
    if pixels % WAVES or ratio > STRIDE:
        raise BadInput(
            f"{config.name}: in_channels must be a multiple of {WAVES}, a pixel and its waves, not {pixels:g}, and a latent at "
            f"most {STRIDE:g} pixels wide, the stride of a tile, not {ratio:g}"
        )
    style = Style(VOLUME, GroupNorm(GROUPS, "t"), activation(config))
    up = decoder(style, shape, fine, (latents, config.count("out_channels", 3.0, least=1.0)))
    encode, decode = Tile(TILE, STRIDE), Tile(TILE // ratio, STRIDE // ratio)
    return Autoencoder(
        config.name,
        network(f"{config.name} encoder", encoder(style, shape, coarse, (pixels, 2.0 * latents)), CUBE),
        network(f"{config.name} decoder", up, CUBE),
        down=ratio,
        frames=float(math.prod(shape.frames)),
        first=1.0,
        latent_channels=latents,
        encoding=Cuts(AllFrames(), encode, encode),
        decoding=Cuts(AllFrames(), decode, decode),
        still=False,
    )
