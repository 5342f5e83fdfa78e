"""AutoencoderKLHunyuanVideo15: causal convolutions whose pixels and frames become channels, attention of all frames in the middle.

Sources: Wu et al. 2025 (HunyuanVideo 1.5), arXiv:2511.18870; diffusers 0.42,
models/autoencoders/autoencoder_kl_hunyuanvideo15.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from floorline.autoencoder import AllFrames, Autoencoder, Cuts, Tile
from floorline.blocks.autoencoder import VOLUME, PixelNorm, head
from floorline.blocks.deep_compression import end_convolution, folding_down, folding_up
from floorline.blocks.norm import RMS_NORM
from floorline.errors import BadInput
from floorline.huggingface.autoencoders.common import CUBE, Grid, Style, changed, listed, network, resnets, stack
from floorline.huggingface.autoencoders.hunyuan_video import middle
from floorline.huggingface.config import Config
from floorline.transformer import Stack

STYLE = Style(VOLUME, PixelNorm(RMS_NORM))
TILE, OVERLAP = 256.0, 0.25
"""Pixels of a tile, and the share that the next one covers too (``tile_sample_min_height``, ``tile_overlap_factor``)."""
PIXELS, WITH_FRAMES = 4, 8
"""Pixels that become one, and pixels of two frames."""


def coarse(side: int, frames: int) -> Grid:
    """A level of the encoder: the first frame stays."""
    return Grid(f"floor(pixel_h/{side})", f"floor(pixel_w/{side})", f"floor((pixel_t - 1)/{frames}) + 1")


def fine(side: int, frames: int) -> Grid:
    """A level of the decoder: every frame but the first is doubled."""
    return Grid(f"{side}*latent_h", f"{side}*latent_w", f"{frames}*(latent_t - 1) + 1")


def encoder(
    widths: tuple[float, ...],
    layers: float,
    halvings: tuple[bool | None, ...],
    matches: bool,
    ends: tuple[float, float],
) -> Iterator[Stack]:
    """From pixels to the moments of latents.

    halvings  after each level: None for no change, else whether frames are halved too
    matches   whether a change of resolution makes the next level's channels
    """
    side, frames, before, grid = 1, 1, widths[0], coarse(1, 1)
    yield stack(end_convolution("conv_in", VOLUME, shortcut=False, data=True), grid.tokens, (ends[0], before))
    for level, (width, time) in enumerate(zip(widths, halvings, strict=True)):
        yield from resnets(STYLE, grid, (before, width), layers)
        before = width
        if time is not None:
            side, frames = 2 * side, frames * (2 if time else 1)
            before = widths[level + 1] if matches else width
            folds = WITH_FRAMES if time else PIXELS
            yield changed(folding_down(VOLUME, folds=folds), grid, coarse(side, frames), (width, before))
            grid = coarse(side, frames)
    yield from middle(STYLE, grid, widths[-1], True)
    yield stack(head(VOLUME, STYLE.norm), grid.tokens, (widths[-1], ends[1]))


def decoder(
    widths: tuple[float, ...],
    layers: float,
    doublings: tuple[bool | None, ...],
    matches: bool,
    ends: tuple[float, float],
) -> Iterator[Stack]:
    """From latents to pixels."""
    side, frames, before, grid = 1, 1, widths[0], fine(1, 1)
    yield stack(end_convolution("conv_in", VOLUME, shortcut=True, data=True), grid.tokens, (ends[0], before))
    yield from middle(STYLE, grid, before, True)
    for level, (width, time) in enumerate(zip(widths, doublings, strict=True)):
        yield from resnets(STYLE, grid, (before, width), layers + 1.0)
        before = width
        if time is not None:
            side, frames = 2 * side, frames * (2 if time else 1)
            before = widths[level + 1] if matches else width
            folds = WITH_FRAMES if time else PIXELS
            yield changed(folding_up(VOLUME, folds=folds), grid, fine(side, frames), (width, before))
            grid = fine(side, frames)
    yield stack(head(VOLUME, STYLE.norm), grid.tokens, (widths[-1], ends[1]))


def read(config: Config) -> Autoencoder:
    """A configuration of AutoencoderKLHunyuanVideo15.

    >>> read(Config({}, "hunyuan-video-1.5")).down
    16.0
    """
    widths = listed(config, "block_out_channels", (128.0, 256.0, 512.0, 1024.0, 1024.0))
    layers, latents = config.count("layers_per_block", 2.0, least=1.0), config.count("latent_channels", 32.0, least=1.0)
    ratio = config.count("spatial_compression_ratio", 16.0, least=1.0)
    times = config.count("temporal_compression_ratio", 4.0, least=1.0)
    space, time = math.log2(ratio), math.log2(times)
    if space != int(space) or time != int(time) or not time <= space < len(widths) or ratio > TILE / 2.0:
        raise BadInput(
            f"{config.name}: spatial_compression_ratio = {ratio:g} and temporal_compression_ratio = {times:g}; expected powers of "
            f"two, the second no larger than the first, which {len(widths)} levels of block_out_channels allow up to "
            f"{2 ** (len(widths) - 1)}"
        )
    halvings = tuple((i >= space - time if i < space else None) for i in range(len(widths)))
    doublings = tuple((i < time if i < space else None) for i in range(len(widths)))
    pixels, made = config.count("in_channels", 3.0, least=1.0), config.count("out_channels", 3.0, least=1.0)
    match_down = config.flag("downsample_match_channel", True)
    match_up = config.flag("upsample_match_channel", True)
    down = encoder(widths, layers, halvings, match_down, (pixels, 2.0 * latents))
    up = decoder(widths[::-1], layers, doublings, match_up, (latents, made))
    encode, decode = (Tile(size, float(int(size * (1.0 - OVERLAP)))) for size in (TILE, TILE // ratio))
    return Autoencoder(
        config.name,
        network(f"{config.name} encoder", down, CUBE),
        network(f"{config.name} decoder", up, CUBE),
        down=ratio,
        frames=times,
        first=1.0,
        latent_channels=latents,
        encoding=Cuts(AllFrames(), encode, encode),
        decoding=Cuts(AllFrames(), decode, decode),
        still=False,
    )
