"""AutoencoderKL, of Stable Diffusion, SDXL, SD3, FLUX, PixArt: residual blocks at each level, attention in the middle.

Sources: Rombach et al. 2021 (latent diffusion), arXiv:2112.10752, section 3.1; diffusers 0.42,
models/autoencoders/autoencoder_kl.py, models/autoencoders/vae.py, models/unets/unet_2d_blocks.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.autoencoder import AllFrames, Autoencoder, Cuts, Tile
from floorline.blocks.autoencoder import PLANE, GroupNorm, convolved, head, pointwise
from floorline.blocks.resampling import downsampling, upsampling
from floorline.errors import BadInput
from floorline.huggingface.autoencoders.common import (
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

WINDOW = {"i": 3.0, "j": 3.0}
OVERLAP = 0.25
"""Share of a tile that the next one covers too (autoencoder_kl.py, ``tile_overlap_factor``)."""


def coarse(level: int) -> Grid:
    """A level of the encoder: halves are rounded down."""
    return Grid(f"floor(pixel_h/{2**level})", f"floor(pixel_w/{2**level})")


def fine(level: int) -> Grid:
    """A level of the decoder."""
    return Grid(f"{2**level}*latent_h", f"{2**level}*latent_w")


def middle(style: Style, grid: Grid, channels: float, attends: bool) -> tuple[Stack, ...]:
    """Two residual blocks, between them attention over all pixels."""
    if not attends:
        return resnets(style, grid, (channels, channels), 2.0)
    block = resnets(style, grid, (channels, channels), 1.0)
    return (*block, attention(style.space, style.norm, grid, channels, "y*x"), *block)


def encoder(
    style: Style, widths: tuple[float, ...], layers: float, ends: tuple[float, float], attends: bool
) -> list[Stack]:
    """From pixels to the moments of latents.

    ends  channels of a pixel, and of the moments
    """
    found = [stack(convolved(PLANE, "conv_in", data=True), coarse(0).tokens, (ends[0], widths[0]))]
    before = widths[0]
    for level, width in enumerate(widths):
        found += resnets(style, coarse(level), (before, width), layers)
        if level < len(widths) - 1:
            found.append(changed(downsampling(PLANE), coarse(level), coarse(level + 1), (width, width)))
        before = width
    last = coarse(len(widths) - 1)
    found += middle(style, last, before, attends)
    return [*found, stack(head(PLANE, style.norm, "silu"), last.tokens, (before, ends[1]))]


def decoder(
    style: Style, widths: tuple[float, ...], layers: float, ends: tuple[float, float], attends: bool
) -> list[Stack]:
    """From latents to pixels.

    ends  channels of a latent, and of a pixel
    """
    before = widths[-1]
    found = [stack(convolved(PLANE, "conv_in", data=True), fine(0).tokens, (ends[0], before))]
    found += middle(style, fine(0), before, attends)
    for level, width in enumerate(reversed(widths)):
        found += resnets(style, fine(level), (before, width), layers + 1.0)
        if level < len(widths) - 1:
            found.append(changed(upsampling(PLANE), fine(level), fine(level + 1), (width, width)))
        before = width
    return [*found, stack(head(PLANE, style.norm, "silu"), fine(len(widths) - 1).tokens, (before, ends[1]))]


@dataclass(frozen=True)
class Usual:
    """What a class has where a configuration says nothing.

    widths   channels of each level
    layers   residual blocks of a level of the encoder
    latents  channels of a latent
    side     of the picture that it was made for
    """

    widths: tuple[float, ...] = (64.0,)
    layers: float = 1.0
    latents: float = 4.0
    side: float = 32.0


def tiles(config: Config, levels: int, usual: float) -> tuple[Cuts, Cuts]:
    """Tiles of pixels, and of latents: the picture that it was made for, and a quarter of overlap."""
    value = config.get("sample_size")
    pair = isinstance(value, (list, tuple))
    side = listed(config, "sample_size", (usual,))[0] if pair else config.count("sample_size", usual, least=1.0)
    latent = float(int(side / 2.0 ** (levels - 1)))
    encode, decode = (Tile(size, float(int(size * (1.0 - OVERLAP)))) for size in (side, latent))
    if decode.stride < 1.0:
        raise BadInput(f"{config.name}: sample_size is {side:g}; a tile of it holds no two latents; expected more")
    return Cuts(AllFrames(), encode, encode), Cuts(AllFrames(), decode, decode)


def levels_of(config: Config, key: str, usual: tuple[float, ...], blocks: str, word: str) -> tuple[float, ...]:
    """Channels of the levels of one network, all of one kind of block.

    raises BadInput for another kind
    """
    widths = listed(config, key, usual)
    kinds(config, blocks, (word,), (word,) * len(usual), len(widths))
    return widths


def read(config: Config, usual: Usual | None = None) -> Autoencoder:
    """A configuration of AutoencoderKL, or of a class that differs from it in what is usual.

    >>> read(Config({}, "the class's defaults")).down
    1.0
    """
    known = usual or Usual()
    widths = levels_of(config, "block_out_channels", known.widths, "down_block_types", "DownEncoderBlock2D")
    decoded = widths if usual is None else listed(config, "decoder_block_out_channels", widths)
    kinds(config, "up_block_types", ("UpDecoderBlock2D",), ("UpDecoderBlock2D",) * len(known.widths), len(decoded))
    if len(decoded) != len(widths):
        raise BadInput(f"{config.name}: decoder_block_out_channels has {len(decoded)} levels; expected {len(widths)}")
    layers = config.count("layers_per_block", known.layers, least=1.0)
    latents = config.count("latent_channels", known.latents, least=1.0)
    style = Style(PLANE, GroupNorm(groups(config, (*widths, *decoded))), activation(config))
    attends = config.flag("mid_block_add_attention", True)
    pixels, made = config.count("in_channels", 3.0, least=1.0), config.count("out_channels", 3.0, least=1.0)
    down = encoder(style, widths, layers, (pixels, 2.0 * latents), attends)
    up = decoder(style, decoded, layers, (latents, made), attends)
    if config.flag("use_quant_conv", True):
        down.append(stack(pointwise(PLANE, "quant"), coarse(len(widths) - 1).tokens, (2.0 * latents, 2.0 * latents)))
    if config.flag("use_post_quant_conv", True):
        up.insert(0, stack(pointwise(PLANE, "post_quant", data=True), fine(0).tokens, (latents, latents)))
    encoding, decoding = tiles(config, len(widths), known.side)
    return Autoencoder(
        config.name,
        network(f"{config.name} encoder", down, WINDOW),
        network(f"{config.name} decoder", up, WINDOW),
        down=2.0 ** (len(widths) - 1),
        latent_channels=latents,
        encoding=encoding,
        decoding=decoding,
    )
