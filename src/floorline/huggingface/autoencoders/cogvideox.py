"""AutoencoderKLCogVideoX: causal convolutions over time, a few frames at a time, norms that see the latents.

Sources: Yang et al. 2024 (CogVideoX), arXiv:2408.06072, section 2.1; diffusers 0.42,
models/autoencoders/autoencoder_kl_cogvideox.py, models/downsampling.py, models/upsampling.py.
"""

from __future__ import annotations

import math

from floorline.autoencoder import Autoencoder, Cuts, FramesTogether, Tile
from floorline.blocks.autoencoder import FRAMES, VOLUME, GroupNorm, convolved, head, pointwise
from floorline.blocks.resampling import downsampling, upsampling
from floorline.blocks.spatial_norm import LATENTS, SpatialNorm
from floorline.errors import BadInput
from floorline.huggingface.autoencoders.common import (
    CUBE,
    Grid,
    Style,
    activation,
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
FRAMES_TOGETHER, LATENTS_TOGETHER = 8.0, 2.0
"""Frames, and latent frames, that are read at once (autoencoder_kl_cogvideox.py, ``num_sample_frames_batch_size``)."""
MIDDLE = 2.0
"""Residual blocks in the middle."""
OVERLAP_HEIGHT, OVERLAP_WIDTH = 1 / 6, 1 / 5
"""Shares of a tile that the next one covers too (autoencoder_kl_cogvideox.py)."""


def coarse(level: int, halvings: int) -> Grid:
    """A level of the encoder: of frames, an odd one stands alone; of the sides, halves are rounded down.

    halvings  of the frames
    """
    side, frames = 2**level, 2 ** min(level, halvings)
    return Grid(f"floor(pixel_h/{side})", f"floor(pixel_w/{side})", f"ceil(pixel_t/{frames})")


def fine(level: int, halvings: int) -> Grid:
    """A level of the decoder: frames are doubled, but the first of an odd number of them."""
    side, frames = 2**level, 2 ** min(level, halvings)
    odd = "(latent_t - 2*floor(latent_t/2))"
    return Grid(f"{side}*latent_h", f"{side}*latent_w", f"{frames}*latent_t - {frames - 1}*{odd}")


def encoder(
    style: Style, widths: tuple[float, ...], layers: float, halvings: int, ends: tuple[float, float]
) -> list[Stack]:
    """From pixels to the moments of latents."""
    grids = [coarse(level, halvings) for level in range(len(widths))]
    found = [stack(convolved(VOLUME, "conv_in", data=True), grids[0].tokens, (ends[0], widths[0]))]
    before = widths[0]
    for level, width in enumerate(widths):
        found += resnets(style, grids[level], (before, width), layers)
        if level < len(widths) - 1:
            block = downsampling(FRAMES, pool=level < halvings)
            found.append(changed(block, grids[level], grids[level + 1], (width, width)))
        before = width
    found += resnets(style, grids[-1], (before, before), MIDDLE)
    return [*found, stack(head(VOLUME, style.norm), grids[-1].tokens, (before, ends[1]))]


def decoder(
    style: Style, widths: tuple[float, ...], layers: float, halvings: int, ends: tuple[float, float]
) -> list[Stack]:
    """From latents to pixels; every norm sees the latents."""
    grids = [fine(level, halvings) for level in range(len(widths))]
    before = widths[-1]
    found = [stack(convolved(VOLUME, "conv_in", data=True), grids[0].tokens, (ends[0], before))]
    found += resnets(style, grids[0], (before, before), MIDDLE)
    for level, width in enumerate(reversed(widths)):
        found += resnets(style, grids[level], (before, width), layers + 1.0)
        if level < len(widths) - 1:
            found.append(changed(upsampling(FRAMES), grids[level], grids[level + 1], (width, width)))
        before = width
    return [*found, stack(head(VOLUME, style.norm), (*grids[-1].tokens, *style.more), (before, ends[1]))]


def tiles(config: Config, levels: int) -> tuple[Cuts, Cuts]:
    """Half the height and width that it was made for, with some overlap."""
    found: list[tuple[Tile, Tile]] = []
    for key, usual, overlap in (("sample_height", 480.0, OVERLAP_HEIGHT), ("sample_width", 720.0, OVERLAP_WIDTH)):
        size = float(config.count(key, usual, least=2.0) // 2.0)
        latent = float(int(size / 2.0 ** (levels - 1)))
        encode, decode = (Tile(side, float(int(side * (1.0 - overlap)))) for side in (size, latent))
        if decode.stride < 1.0:
            raise BadInput(
                f"{config.name}: {key} is {size * 2.0:g}; a tile of half of it holds no two latents; expected more"
            )
        found.append((encode, decode))
    (up, up_latent), (across, across_latent) = found
    return (
        Cuts(FramesTogether(FRAMES_TOGETHER), up, across),
        Cuts(FramesTogether(LATENTS_TOGETHER), up_latent, across_latent),
    )


def halved(config: Config) -> int:
    """How often frames are halved: the logarithm of the ratio, rounded down.

    raises BadInput for what is no ratio
    """
    value = config.get("temporal_compression_ratio")
    ratio = 4.0 if value is None else value
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 1.0 <= ratio <= 1e6:
        raise BadInput(f"{config.name}: temporal_compression_ratio is {str(ratio)[:40]!r}; expected a number such as 4")
    return int(math.log2(ratio))


def read(config: Config) -> Autoencoder:
    """A configuration of AutoencoderKLCogVideoX."""
    widths = listed(config, "block_out_channels", (128.0, 256.0, 256.0, 512.0))
    levels = len(widths)
    for key, word in (("down_block_types", "CogVideoXDownBlock3D"), ("up_block_types", "CogVideoXUpBlock3D")):
        kinds(config, key, (word,), (word,) * BLOCKS, levels)
    layers = config.count("layers_per_block", 3.0, least=1.0)
    latents = config.count("latent_channels", 16.0, least=1.0)
    pixels, made = config.count("in_channels", 3.0, least=1.0), config.count("out_channels", 3.0, least=1.0)
    halvings = min(halved(config), levels - 1)
    grouped, act = groups(config, widths), activation(config)
    plain = Style(VOLUME, GroupNorm(grouped), act)
    seeing = Style(VOLUME, SpatialNorm(grouped), act, more=LATENTS)
    down = encoder(plain, widths, layers, halvings, (pixels, 2.0 * latents))
    up = decoder(seeing, widths, layers, halvings, (latents, made))
    quant, post = config.flag("use_quant_conv", False), config.flag("use_post_quant_conv", False)
    if (quant or post) and made != latents:
        raise BadInput(
            f"{config.name}: use_quant_conv and use_post_quant_conv are as wide as out_channels = {made:g} in the library, which "
            f"latent_channels = {latents:g} do not fit; set both to false"
        )
    if quant:
        down.append(stack(pointwise(VOLUME, "quant"), coarse(levels - 1, halvings).tokens, (2.0 * made, 2.0 * made)))
    if post:
        up.insert(0, stack(pointwise(VOLUME, "post_quant", data=True), fine(0, halvings).tokens, (made, made)))
    encoding, decoding = tiles(config, levels)
    config.get("invert_scale_latents")
    return Autoencoder(
        config.name,
        network(f"{config.name} encoder", down, CUBE),
        network(f"{config.name} decoder", up, {**CUBE, "z": latents}),
        down=2.0 ** (levels - 1),
        frames=2.0**halvings,
        first=1.0,
        latent_channels=latents,
        encoding=encoding,
        decoding=decoding,
        still=False,
    )
