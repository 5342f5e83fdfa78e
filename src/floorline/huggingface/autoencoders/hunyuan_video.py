"""AutoencoderKLHunyuanVideo: causal convolutions over time, attention of all frames in the middle, windows of frames that overlap.

Sources: Kong et al. 2024 (HunyuanVideo), arXiv:2412.03603; diffusers 0.42,
models/autoencoders/autoencoder_kl_hunyuan_video.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from floorline.autoencoder import Autoencoder, Cuts, FramesOverlap, Tile
from floorline.blocks.autoencoder import VOLUME, GroupNorm, convolved, head, pointwise
from floorline.blocks.resampling import downsampling, upsampling
from floorline.errors import BadInput
from floorline.huggingface.autoencoders.common import (
    CUBE,
    Grid,
    Style,
    activation,
    attention,
    changed,
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
TILE, STRIDE = 256.0, 192.0
"""Pixels of a tile, and from one to the next (autoencoder_kl_hunyuan_video.py, ``tile_sample_min_height``)."""
WINDOW, STEP = 16.0, 12.0
"""Frames that are read at once, besides the first, and from one window to the next (``tile_sample_min_num_frames``)."""
TIME_RATIO = 4.0
"""The one ratio of frames to latent frames that its decoder takes."""


@dataclass(frozen=True)
class Level:
    """How much coarser than pixels, or finer than latents, a level is."""

    side: int = 1
    frames: int = 1

    def halved(self, side: bool, frames: bool) -> Level:
        """The next one."""
        return Level(self.side * (2 if side else 1), self.frames * (2 if frames else 1))

    @property
    def coarse(self) -> Grid:
        """Of the encoder: halves are rounded up."""
        return Grid(f"ceil(pixel_h/{self.side})", f"ceil(pixel_w/{self.side})", f"ceil(pixel_t/{self.frames})")

    @property
    def fine(self) -> Grid:
        """Of the decoder: every frame but the first is doubled."""
        return Grid(f"{self.side}*latent_h", f"{self.side}*latent_w", f"{self.frames}*(latent_t - 1) + 1")


def changes(levels: int, space: int) -> tuple[tuple[bool, bool], ...]:
    """At which levels the sides are halved, and at which the frames: those before the last two.

    >>> changes(4, 3)
    ((True, False), (True, True), (True, True), (False, False))
    """
    time = int(math.log2(TIME_RATIO))
    return tuple((i < space, levels - 1 - time <= i < levels - 1) for i in range(levels))


def middle(style: Style, grid: Grid, channels: float, attends: bool) -> tuple[Stack, ...]:
    """Two residual blocks, between them attention over all pixels of all frames."""
    if not attends:
        return resnets(style, grid, (channels, channels), 2.0)
    block = resnets(style, grid, (channels, channels), 1.0)
    return (*block, attention(VOLUME, style.norm, grid, channels, "t*y*x"), *block)


def encoder(
    style: Style, widths: tuple[float, ...], layers: float, space: int, ends: tuple[float, float], attends: bool
) -> tuple[list[Stack], Level]:
    """From pixels to the moments of latents, and how coarse those are."""
    at, before = Level(), widths[0]
    found = [stack(convolved(VOLUME, "conv_in", data=True), at.coarse.tokens, (ends[0], before))]
    for width, (side, frames) in zip(widths, changes(len(widths), space), strict=True):
        found += resnets(style, at.coarse, (before, width), layers)
        if side or frames:
            following = at.halved(side, frames)
            found.append(changed(downsampling(VOLUME), at.coarse, following.coarse, (width, width)))
            at = following
        before = width
    found += middle(style, at.coarse, before, attends)
    return [*found, stack(head(VOLUME, style.norm), at.coarse.tokens, (before, ends[1]))], at


def decoder(
    style: Style, widths: tuple[float, ...], layers: float, space: int, ends: tuple[float, float], attends: bool
) -> list[Stack]:
    """From latents to pixels."""
    at, before = Level(), widths[-1]
    found = [stack(convolved(VOLUME, "conv_in", data=True), at.fine.tokens, (ends[0], before))]
    found += middle(style, at.fine, before, attends)
    for width, (side, frames) in zip(reversed(widths), changes(len(widths), space), strict=True):
        found += resnets(style, at.fine, (before, width), layers + 1.0)
        if side or frames:
            following = at.halved(side, frames)
            found.append(changed(upsampling(VOLUME), at.fine, following.fine, (width, width)))
            at = following
        before = width
    return [*found, stack(head(VOLUME, style.norm), at.fine.tokens, (before, ends[1]))]


def cuts(ratio: float, frames: float) -> Cuts:
    """Windows of frames and tiles.

    ratio, frames  pixels of an element along each side, and frames of one
    """
    tile = Tile(TILE // ratio, STRIDE // ratio)
    return Cuts(FramesOverlap(WINDOW // frames, WINDOW // frames + 1.0, STEP // frames), tile, tile)


def read(config: Config) -> Autoencoder:
    """A configuration of AutoencoderKLHunyuanVideo."""
    widths = listed(config, "block_out_channels", (128.0, 256.0, 512.0, 512.0))
    levels = len(widths)
    for key, word in (("down_block_types", "HunyuanVideoDownBlock3D"), ("up_block_types", "HunyuanVideoUpBlock3D")):
        kinds(config, key, (word,), (word,) * BLOCKS, levels)
    layers = config.count("layers_per_block", 2.0, least=1.0)
    latents = config.count("latent_channels", 16.0, least=1.0)
    ratio = config.count("spatial_compression_ratio", 8.0, least=1.0)
    if config.count("temporal_compression_ratio", TIME_RATIO, least=1.0) != TIME_RATIO or ratio > STRIDE:
        raise BadInput(
            f"{config.name}: temporal_compression_ratio must be 4, which is all that the library decodes, and "
            f"spatial_compression_ratio at most {STRIDE:g}"
        )
    style = Style(VOLUME, GroupNorm(groups(config, widths)), activation(config))
    attends, space = config.flag("mid_block_add_attention", True), int(math.log2(ratio))
    pixels, made = config.count("in_channels", 3.0, least=1.0), config.count("out_channels", 3.0, least=1.0)
    down, last = encoder(style, widths, layers, space, (pixels, 2.0 * latents), attends)
    up = decoder(style, widths, layers, space, (latents, made), attends)
    down.append(stack(pointwise(VOLUME, "quant"), last.coarse.tokens, (2.0 * latents, 2.0 * latents)))
    up.insert(0, stack(pointwise(VOLUME, "post_quant", data=True), Level().fine.tokens, (latents, latents)))
    return Autoencoder(
        config.name,
        network(f"{config.name} encoder", down, CUBE),
        network(f"{config.name} decoder", up, CUBE),
        down=float(last.side),
        frames=float(last.frames),
        first=1.0,
        latent_channels=latents,
        encoding=cuts(1.0, 1.0),
        decoding=cuts(ratio, TIME_RATIO),
        still=False,
    )
