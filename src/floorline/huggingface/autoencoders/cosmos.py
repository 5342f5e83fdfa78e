"""AutoencoderKLCosmos: wavelets of pixels, convolutions over pictures and time in turns, attention within frames and along time.

Sources: NVIDIA 2025 (Cosmos), arXiv:2501.03575; diffusers 0.42, models/autoencoders/autoencoder_kl_cosmos.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from floorline.autoencoder import Autoencoder
from floorline.block import Block, block
from floorline.blocks.autoencoder import PLANE, VOLUME, GroupNorm, Space, pointwise
from floorline.blocks.factorised_residual import (
    factorised,
    factorised_down,
    factorised_head,
    factorised_residual,
    factorised_up,
)
from floorline.blocks.wavelets import inverse_wavelets, wavelets
from floorline.errors import BadInput
from floorline.huggingface.autoencoders.common import CUBE, Grid, attention, changed, listed, network, stack
from floorline.huggingface.config import Config
from floorline.masks import causal
from floorline.op import view
from floorline.transformer import Stack

NORM = GroupNorm(1, "t")
"""Each frame by itself, all channels together."""
ALONG_TIME = Space("t", "k")
HAAR, REARRANGE = "haar", "rearrange"
REARRANGED = block("patches", "", (view("patches", "x[Bctyx] -> out[Bonuv]"),), "out", data="x[Bctyx]")
"""Pixels and frames that become channels as they are."""


@dataclass(frozen=True)
class Level:
    """One level of the encoder or the decoder.

    channels     that come in, and go out
    attends      whether residual blocks have attention beside them
    space, time  whether height and width, and frames, are halved or doubled after it
    """

    channels: tuple[float, float]
    attends: bool
    space: bool
    time: bool


@dataclass(frozen=True)
class Shape:
    """What both networks share.

    layers  residual blocks of a level of the encoder; the decoder has one more
    patch   pixels along each side, and frames, that become channels
    haar    whether by wavelets
    """

    layers: float
    patch: int
    haar: bool


def coarser(grid: Grid, space: bool, time: bool) -> Grid:
    """A level of the encoder: halves of sides are rounded down, those of frames up."""
    y, x = (f"floor(({text})/2)" if space else text for text in (grid.y, grid.x))
    return Grid(y, x, f"ceil(({grid.t})/2)" if time else grid.t)


def finer(grid: Grid, space: bool, time: bool) -> Grid:
    """A level of the decoder: every frame but the first is doubled."""
    y, x = (f"2*({text})" if space else text for text in (grid.y, grid.x))
    return Grid(y, x, f"2*({grid.t}) - 1" if time else grid.t)


def attentions(grid: Grid, width: float) -> tuple[Stack, Stack]:
    """Attention over the pixels of each frame, then of each pixel to itself in earlier frames."""
    frames = attention(ALONG_TIME, NORM, grid, width, "t", "B*y*x")
    return attention(PLANE, NORM, grid, width, "y*x", "B*t"), replace(frames, mask=causal)


def blocks(grid: Grid, channels: tuple[float, float], count: float, attends: bool) -> Iterator[Stack]:
    """Residual blocks of a level."""
    made = channels[1]
    for i in range(int(count)):
        read = channels[0] if i == 0 else made
        yield stack(factorised_residual(NORM, shortcut=read != made), grid.tokens, (read, made))
        if attends:
            yield from attentions(grid, made)


def middle(grid: Grid, width: float) -> Iterator[Stack]:
    """A residual block, both kinds of attention, a residual block."""
    yield from blocks(grid, (width, width), 1.0, True)
    yield from blocks(grid, (width, width), 1.0, False)


def patched(shape: Shape, channels: float) -> tuple[list[Stack], Grid]:
    """From pixels to channels of patches; the first frame is repeated until it fills one.

    channels  of a pixel
    """
    p = shape.patch
    if not shape.haar:
        grid = Grid(f"pixel_h/{p}", f"pixel_w/{p}", f"(pixel_t - 1)/{p} + 1")
        return [changed(REARRANGED, Grid("pixel_h", "pixel_w", "pixel_t"), grid, (channels, channels * p**3))], grid
    found, grid = [], Grid("pixel_h", "pixel_w", f"pixel_t + {p - 1}")
    for level in range(int(math.log2(p))):
        made = Grid(*(f"ceil(({text})/2)" for text in (grid.y, grid.x, grid.t)))
        tokens = (*grid.to(made), ("Y", "y + 1"), ("X", "x + 1"))
        read = channels * 8.0**level
        found.append(stack(wavelets(first=level == 0), tokens, (read, 8.0 * read)))
        grid = made
    return found, grid


def unpatched(shape: Shape, grid: Grid, channels: float) -> Iterator[Stack]:
    """From channels of patches to pixels."""
    for level in range(int(math.log2(shape.patch)) if shape.haar else 0):
        made = Grid(*(f"2*({text})" for text in (grid.y, grid.x, grid.t)))
        read = channels * 8.0 ** (math.log2(shape.patch) - level)
        yield changed(inverse_wavelets(), grid, made, (read, read / 8.0))
        grid = made


def change(level: Level, grid: Grid, up: bool) -> tuple[tuple[Stack, ...], Grid]:
    """A change of resolution after a level; none where nothing changes."""
    if not (level.space or level.time):
        return (), grid
    after = (finer if up else coarser)(grid, level.space, level.time)
    made: Block = (factorised_up if up else factorised_down)(space=level.space, time=level.time)
    return (changed(made, grid, after, (level.channels[1], level.channels[1])),), after


def encoder(shape: Shape, levels: tuple[Level, ...], ends: tuple[float, float]) -> Iterator[Stack]:
    """From pixels to latents."""
    first, grid = patched(shape, ends[0])
    yield from first
    yield stack(factorised("conv_in"), grid.tokens, (ends[0] * shape.patch**3, levels[0].channels[0]))
    for level in levels:
        yield from blocks(grid, level.channels, shape.layers, level.attends)
        found, grid = change(level, grid, False)
        yield from found
    last = levels[-1].channels[1]
    yield from middle(grid, last)
    yield stack(factorised_head(NORM), grid.tokens, (last, ends[1]))
    yield stack(pointwise(VOLUME, "quant"), grid.tokens, (ends[1], ends[1]))


def decoder(shape: Shape, levels: tuple[Level, ...], ends: tuple[float, float]) -> Iterator[Stack]:
    """From latents to pixels."""
    grid, first = Grid("latent_h", "latent_w", "latent_t"), levels[0].channels[0]
    yield stack(pointwise(VOLUME, "post_quant", data=True), grid.tokens, (ends[0], ends[0]))
    yield stack(factorised("conv_in"), grid.tokens, (ends[0], first))
    yield from middle(grid, first)
    for level in levels:
        yield from blocks(grid, level.channels, shape.layers + 1.0, level.attends)
        found, grid = change(level, grid, True)
        yield from found
    patches = ends[1] * shape.patch**3
    yield stack(factorised_head(NORM), grid.tokens, (levels[-1].channels[1], patches))
    yield from unpatched(shape, grid, ends[1])


def coarse_levels(
    widths: tuple[float, ...], halvings: tuple[int, int], side: float, at: tuple[float, ...]
) -> tuple[Level, ...]:
    """Levels of the encoder.

    halvings  of height and width, and of frames
    side      resolution of the first
    at        resolutions that have attention
    """
    last = len(widths) - 2
    return tuple(
        Level(
            (widths[i], widths[i + 1]),
            side // 2**i in at,
            i < last and i < halvings[0],
            i < last and i < halvings[1],
        )
        for i in range(last + 1)
    )


def fine_levels(
    widths: tuple[float, ...], halvings: tuple[int, int], side: float, at: tuple[float, ...]
) -> tuple[Level, ...]:
    """Levels of the decoder, of which the first doubles frames never, and height and width only where they are doubled more often.

    side  resolution of the patches
    """
    last, (space, time) = len(widths) - 2, halvings
    found = []
    for i in range(last + 1):
        longer = i < last and 0 < i < time + 1
        larger = longer or (i < last and i < space and space > time)
        resolution = side // 2 ** (len(widths) - 2) * 2**i
        found.append(Level((widths[i], widths[i + 1]), resolution in at, larger, longer))
    return tuple(found)


def power(config: Config, key: str, default: float) -> float:
    """A power of two.

    raises BadInput for another number
    """
    value = config.count(key, default, least=1.0)
    if math.log2(value) % 1.0:
        raise BadInput(f"{config.name}: {key} is {value:g}; expected a power of two")
    return value


def read(config: Config) -> Autoencoder:
    """A configuration of AutoencoderKLCosmos.

    >>> read(Config({}, "cosmos")).frames
    8.0
    """
    coarse = listed(config, "encoder_block_out_channels", (128.0, 256.0, 512.0, 512.0))
    fine = listed(config, "decode_block_out_channels", (256.0, 512.0, 512.0, 512.0))[::-1]
    if min(len(coarse), len(fine)) < 2:
        raise BadInput(
            f"{config.name}: encoder_block_out_channels and decode_block_out_channels need two widths or more"
        )
    patch, kind = power(config, "patch_size", 4.0), config.text("patch_type", HAAR)
    if kind not in (HAAR, REARRANGE):
        raise BadInput(f"{config.name}: patch_type is {kind[:40]!r}; expected {HAAR!r} or {REARRANGE!r}")
    side, time = power(config, "spatial_compression_ratio", 8.0), power(config, "temporal_compression_ratio", 8.0)
    halvings = (int(math.log2(side) - math.log2(patch)), int(math.log2(time) - math.log2(patch)))
    attends = listed(config, "attention_resolutions", (32.0,))
    shape = Shape(config.count("num_layers", 2.0, least=1.0), int(patch), kind == HAAR)
    resolution = config.count("resolution", 1024.0, least=1.0) // patch
    pixels, made = config.count("in_channels", 3.0, least=1.0), config.count("out_channels", 3.0, least=1.0)
    latents = config.count("latent_channels", 16.0, least=1.0)
    down = encoder(shape, coarse_levels(coarse, halvings, resolution, attends), (pixels, latents))
    up = decoder(shape, fine_levels(fine, halvings, resolution, attends), (latents, made))
    return Autoencoder(
        config.name,
        network(f"{config.name} encoder", down, CUBE),
        network(f"{config.name} decoder", up, CUBE),
        down=side,
        frames=time,
        first=1.0,
        latent_channels=latents,
        still=False,
    )
