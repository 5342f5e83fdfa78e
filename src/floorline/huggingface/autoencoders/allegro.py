"""AutoencoderKLAllegro: pictures and time take turns, in tiles of frames, height and width: the library knows no other way.

Sources: Zhou et al. 2024 (Allegro), arXiv:2410.15458; diffusers 0.42, models/autoencoders/autoencoder_kl_allegro.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from floorline.autoencoder import Autoencoder, Cuts, Tile, WholeWindows
from floorline.blocks.autoencoder import FRAMES, PLANE, GroupNorm, pointwise
from floorline.blocks.resampling import downsampling, upsampling
from floorline.blocks.temporal_convolution import (
    DOUBLE,
    HALVE,
    temporal_change,
    temporal_end,
    temporal_layer,
    temporal_start,
)
from floorline.errors import BadInput
from floorline.huggingface.autoencoders.common import (
    CUBE,
    Grid,
    Style,
    activation,
    attention,
    changed,
    flags,
    groups,
    kinds,
    listed,
    network,
    resnets,
    stack,
)
from floorline.huggingface.config import Config
from floorline.transformer import Stack

BLOCKS = 4
WINDOW, STEP = 24.0, 16.0
"""Frames of a tile, and from one to the next (autoencoder_kl_allegro.py, ``tile_overlap_t``)."""
OVERLAP_HEIGHT, OVERLAP_WIDTH = 120.0, 80.0
"""Pixels of a tile that the next one covers too (``tile_overlap_h``, ``tile_overlap_w``)."""


@dataclass(frozen=True)
class Shape:
    """What a configuration says of one of the networks.

    widths   channels of each level, in the order in which they run
    layers   residual blocks of a level, each with convolutions over time
    changes  whether the frames of a level are halved, or doubled
    groups   of norms
    act      activation of residual blocks
    """

    widths: tuple[float, ...]
    layers: float
    changes: tuple[bool, ...]
    groups: int
    act: str

    @property
    def style(self) -> Style:
        """Residual blocks of each picture by itself."""
        return Style(FRAMES, GroupNorm(self.groups, "t"), self.act)


def coarse(side: int, frames: int) -> Grid:
    """A level of the encoder: halves are rounded down."""
    return Grid(f"floor(pixel_h/{side})", f"floor(pixel_w/{side})", f"floor(pixel_t/{frames})")


def fine(side: int, frames: int) -> Grid:
    """A level of the decoder."""
    return Grid(f"{side}*latent_h", f"{side}*latent_w", f"{frames}*latent_t")


def blocks(shape: Shape, grid: Grid, channels: tuple[float, float], count: float) -> Iterator[Stack]:
    """Residual blocks, each with convolutions over time after it."""
    made = channels[1]
    over_time = stack(temporal_layer(GroupNorm(shape.groups)), grid.tokens, (made, made))
    for i in range(int(count)):
        yield from resnets(shape.style, grid, channels if i == 0 else (made, made), 1.0)
        yield over_time


def middle(shape: Shape, grid: Grid, width: float) -> Iterator[Stack]:
    """Two residual blocks, between them attention over the pixels of each picture."""
    yield from blocks(shape, grid, (width, width), 1.0)
    yield attention(PLANE, GroupNorm(shape.groups), grid, width, "y*x", "B*t")
    yield from blocks(shape, grid, (width, width), 1.0)


def levels(shape: Shape, up: bool) -> Iterator[Stack]:
    """All levels: of the encoder, or where ``up`` of the decoder."""
    side, frames, before = 1, 1, shape.widths[0]
    at, change = (fine, DOUBLE) if up else (coarse, HALVE)
    for level, (width, changes) in enumerate(zip(shape.widths, shape.changes, strict=True)):
        grid = at(side, frames)
        yield from blocks(shape, grid, (before, width), shape.layers)
        if changes:
            frames *= 2
            following = at(side, frames)
            yield changed(temporal_change(GroupNorm(shape.groups), change), grid, following, (width, width))
            grid = following
        if level < len(shape.widths) - 1:
            side *= 2
            block = upsampling(FRAMES) if up else downsampling(FRAMES)
            yield changed(block, grid, at(side, frames), (width, width))
        before = width


def encoder(shape: Shape, side: int, frames: int, ends: tuple[float, float]) -> Iterator[Stack]:
    """From pixels to the moments of latents.

    side, frames  pixels of a latent along each side, and frames of one
    """
    last = coarse(side, frames)
    yield stack(temporal_start(), coarse(1, 1).tokens, (ends[0], shape.widths[0]))
    yield from levels(shape, False)
    yield from middle(shape, last, shape.widths[-1])
    yield stack(temporal_end(shape.style.norm), last.tokens, (shape.widths[-1], ends[1]))
    yield stack(pointwise(FRAMES, "quant"), last.tokens, (ends[1], ends[1]))


def decoder(shape: Shape, side: int, frames: int, ends: tuple[float, float]) -> Iterator[Stack]:
    """From latents to pixels."""
    first = fine(1, 1)
    yield stack(pointwise(FRAMES, "post_quant", data=True), first.tokens, (ends[0], ends[0]))
    yield stack(temporal_start(), first.tokens, (ends[0], shape.widths[0]))
    yield from middle(shape, first, shape.widths[0])
    yield from levels(shape, True)
    yield stack(temporal_end(shape.style.norm), fine(side, frames).tokens, (shape.widths[-1], ends[1]))


def tile(config: Config, overlap: float, size: float, ratio: float) -> tuple[Tile, Tile]:
    """Tiles along one side, of pixels and of latents.

    raises BadInput where a tile has no latent that is its own
    """
    stride = size - overlap
    if stride < ratio:
        raise BadInput(
            f"{config.name}: sample_size is {size:g}; tiles overlap by {overlap:g} pixels of it; expected more"
        )
    latent = Tile(size // ratio, stride // ratio, above=0.0, whole=True)
    return Tile(size, stride, above=0.0, whole=True), latent


def cuts(config: Config, ratio: float, frames: float) -> tuple[Cuts, Cuts]:
    """Tiles of pixels and of latents."""
    size = config.count("sample_size", 320.0, least=1.0)
    high, low_high = tile(config, OVERLAP_HEIGHT, size, ratio)
    wide, low_wide = tile(config, OVERLAP_WIDTH, size, ratio)
    latents = WholeWindows(WINDOW // frames, STEP // frames)
    return (
        Cuts(WholeWindows(WINDOW, STEP), high, wide, always=True, uncut=("quant",)),
        Cuts(latents, low_high, low_wide, always=True, uncut=("post_quant",)),
    )


def frames_of(config: Config, coarser: tuple[bool, ...], finer: tuple[bool, ...], levels: int) -> int:
    """Frames of a latent frame.

    raises BadInput where lists and the ratio say different things
    """
    frames = config.count("temporal_compression_ratio", 4.0, least=1.0)
    for key, found in (("temporal_downsample_blocks", coarser), ("temporal_upsample_blocks", finer)):
        if len(found) != levels or 2.0 ** sum(found) != frames or frames > STEP:
            raise BadInput(
                f"{config.name}: {key} is {str(list(found))[:40]}; expected {levels} of true and false that make "
                f"temporal_compression_ratio = {frames:g}, {STEP:g} at most"
            )
    return int(frames)


def read(config: Config) -> Autoencoder:
    """A configuration of AutoencoderKLAllegro.

    >>> read(Config({}, "allegro")).frames
    4.0
    """
    widths = listed(config, "block_out_channels", (128.0, 256.0, 512.0, 512.0))
    count = len(widths)
    for key, word in (("down_block_types", "AllegroDownBlock3D"), ("up_block_types", "AllegroUpBlock3D")):
        kinds(config, key, (word,), (word,) * BLOCKS, count)
    coarser = flags(config, "temporal_downsample_blocks", (True, True, False, False))
    finer = flags(config, "temporal_upsample_blocks", (False, True, True, False))
    side, frames = 2 ** (count - 1), frames_of(config, coarser, finer, count)
    layers, act = config.count("layers_per_block", 2.0, least=1.0), activation(config)
    latents, norms = config.count("latent_channels", 4.0, least=1.0), groups(config, widths)
    pixels, made = config.count("in_channels", 3.0, least=1.0), config.count("out_channels", 3.0, least=1.0)
    down, up = Shape(widths, layers, coarser, norms, act), Shape(widths[::-1], layers + 1.0, finer, norms, act)
    encoding, decoding = cuts(config, float(side), float(frames))
    return Autoencoder(
        config.name,
        network(f"{config.name} encoder", encoder(down, side, frames, (pixels, 2.0 * latents)), CUBE),
        network(f"{config.name} decoder", decoder(up, side, frames, (latents, made)), CUBE),
        down=float(side),
        frames=float(frames),
        latent_channels=latents,
        encoding=encoding,
        decoding=decoding,
        still=False,
    )
