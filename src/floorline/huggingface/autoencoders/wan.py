"""AutoencoderKLWan, of Wan 2.1 and 2.2: the first frame alone, then four at a time, whose convolutions keep their last frames.

Sources: Wan Team 2025, arXiv:2503.20314, section 4.1; diffusers 0.42, models/autoencoders/autoencoder_kl_wan.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from floorline.autoencoder import Autoencoder, Cuts, FirstFrameAlone, Tile
from floorline.blocks.autoencoder import FRAMES, PLANE, VOLUME, PixelNorm, convolved, head, pointwise
from floorline.blocks.frame_resampling import frame_downsampling, frame_upsampling, level_shortcut
from floorline.blocks.norm import RMS_NORM
from floorline.blocks.resampling import downsampling, upsampling
from floorline.errors import BadInput
from floorline.huggingface.autoencoders.common import CUBE, Grid, Style, attention, listed, network, resnets, stack
from floorline.huggingface.config import Config
from floorline.transformer import Stack

STYLE = Style(VOLUME, PixelNorm(RMS_NORM))
TOGETHER = 4.0
"""Frames that are encoded at once, after the first (autoencoder_kl_wan.py, ``_encode``)."""
TILE, STRIDE = 256.0, 192.0
"""Of a tile, and from one to the next (autoencoder_kl_wan.py, ``tile_sample_min_height``)."""
MOST_HALVINGS = 2
"""Times that four frames can be halved before a convolution over time has too few."""


@dataclass(frozen=True)
class Shape:
    """What a configuration says of both networks.

    widths    channels of each level over those of the first
    layers    residual blocks of a level
    halvings  whether frames are halved after a level
    attends   resolutions over the first level's at which residual blocks have attention beside them
    sums      whether what a level reads is added to what it makes
    """

    widths: tuple[float, ...]
    layers: float
    halvings: tuple[bool, ...]
    attends: tuple[float, ...]
    sums: bool


def coarse(side: int, frames: int) -> Grid:
    """A level of the encoder: the first frame stays."""
    return Grid(f"floor(pixel_h/{side})", f"floor(pixel_w/{side})", f"first + (pixel_t - first)/{frames}")


def fine(side: int, frames: int) -> Grid:
    """A level of the decoder: every frame but the first is doubled."""
    return Grid(f"{side}*latent_h", f"{side}*latent_w", f"{frames}*(latent_t - first) + first")


def picture_attention(grid: Grid, channels: float) -> Stack:
    """Attention over the pixels of each frame by itself."""
    return attention(PLANE, STYLE.norm, grid, channels, "y*x", "B*t")


def middle(grid: Grid, channels: float) -> tuple[Stack, ...]:
    """A residual block, attention, a residual block."""
    block = resnets(STYLE, grid, (channels, channels), 1.0)
    return (*block, picture_attention(grid, channels), *block)


def resampled(before: Grid, after: Grid, channels: tuple[float, float], *, up: bool, time: bool) -> Stack:
    """A change of resolution, of frames too where ``time``."""
    tokens = before.to(after)
    if not time:
        return stack(upsampling(FRAMES) if up else downsampling(FRAMES), tokens, channels)
    made = ("g", f"{before.t} - first" if up else f"{after.t} - first")
    return stack(frame_upsampling() if up else frame_downsampling(), (*tokens, made), channels)


def encoder(shape: Shape, base: float, ends: tuple[float, float]) -> Iterator[Stack]:
    """From pixels to the moments of latents."""
    side, frames, before, grid = 1, 1, base, coarse(1, 1)
    yield stack(convolved(VOLUME, "conv_in", data=True), grid.tokens, (ends[0], base))
    for level, factor in enumerate(shape.widths):
        width, last = base * factor, level == len(shape.widths) - 1
        if not shape.sums and 1.0 / side in shape.attends:
            for i in range(int(shape.layers)):
                yield from resnets(STYLE, grid, (before if i == 0 else width, width), 1.0)
                yield picture_attention(grid, width)
        else:
            yield from resnets(STYLE, grid, (before, width), shape.layers)
        if not last:
            side, frames = 2 * side, frames * (2 if shape.halvings[level] else 1)
            yield resampled(grid, coarse(side, frames), (width, width), up=False, time=shape.halvings[level])
            grid = coarse(side, frames)
        if shape.sums:
            yield stack(level_shortcut(), grid.tokens, (width, width))
        before = width
    yield from middle(grid, before)
    yield stack(head(VOLUME, STYLE.norm), grid.tokens, (before, ends[1]))
    yield stack(pointwise(VOLUME, "quant"), grid.tokens, (ends[1], ends[1]))


def decoder(shape: Shape, base: float, ends: tuple[float, float]) -> Iterator[Stack]:
    """From latents to pixels; where nothing is added, a level hands on half of its channels."""
    side, frames, before, grid = 1, 1, base * shape.widths[-1], fine(1, 1)
    yield stack(pointwise(VOLUME, "post_quant", data=True), grid.tokens, (ends[0], ends[0]))
    yield stack(convolved(VOLUME, "conv_in"), grid.tokens, (ends[0], before))
    yield from middle(grid, before)
    for level, factor in enumerate(reversed(shape.widths)):
        width, last = base * factor, level == len(shape.widths) - 1
        yield from resnets(STYLE, grid, (before, width), shape.layers + 1.0)
        before = width
        if not last:
            time = shape.halvings[::-1][level]
            side, frames = 2 * side, frames * (2 if time else 1)
            before = width if shape.sums else width // 2
            yield resampled(grid, fine(side, frames), (width, before), up=True, time=time)
            grid = fine(side, frames)
            if shape.sums:
                yield stack(level_shortcut(), grid.tokens, (before, before))
    yield stack(head(VOLUME, STYLE.norm), grid.tokens, (before, ends[1]))


def shape_of(config: Config) -> Shape:
    """What both networks share.

    raises BadInput where a level is missing, or frames are halved too often
    """
    widths = listed(config, "dim_mult", (1.0, 2.0, 4.0, 4.0))
    halvings, attends = config.get("temperal_downsample"), config.get("attn_scales")
    halved = [False, True, True] if halvings is None else halvings
    scales = [] if attends is None else attends
    if (
        not isinstance(halved, (list, tuple))
        or any(not isinstance(h, bool) for h in halved)
        or len(halved) != len(widths) - 1
    ):
        raise BadInput(
            f"{config.name}: temperal_downsample is {str(halved)[:40]!r}; expected {len(widths) - 1} of true and false, one for "
            "each step between the levels of dim_mult"
        )
    if sum(halved) > MOST_HALVINGS:
        raise BadInput(
            f"{config.name}: temperal_downsample halves frames {sum(halved)} times; expected at most {MOST_HALVINGS}"
        )
    if not isinstance(scales, (list, tuple)) or any(not isinstance(s, (int, float)) for s in scales):
        raise BadInput(f"{config.name}: attn_scales is {str(scales)[:40]!r}; expected a list of numbers such as 0.5")
    layers = config.count("num_res_blocks", 2.0, least=1.0)
    return Shape(widths, layers, tuple(halved), tuple(float(s) for s in scales), config.flag("is_residual", False))


def networks(config: Config, ends: tuple[float, float], patch: float, ratio: float) -> Autoencoder:
    """Both networks.

    ends   channels of a pixel that come in, and go out
    patch  pixels along each side that are one element of what the encoder reads
    ratio  pixels of a latent, as tiles are cut

    raises BadInput where a tile has no latent
    """
    if ratio > STRIDE:
        raise BadInput(
            f"{config.name}: a latent is {ratio:g} pixels wide; expected at most {STRIDE:g}, the stride of a tile"
        )
    shape = shape_of(config)
    base, latents = config.count("base_dim", 96.0, least=1.0), config.count("z_dim", 16.0, least=1.0)
    decoded = config.count("decoder_base_dim", base, least=1.0)
    config.get("dropout")
    encode, decode = Tile(TILE, STRIDE, above=TILE // patch), Tile(TILE // ratio, STRIDE // ratio)
    return Autoencoder(
        config.name,
        network(f"{config.name} encoder", encoder(shape, base, (ends[0], 2.0 * latents)), CUBE),
        network(f"{config.name} decoder", decoder(shape, decoded, (latents, ends[1])), CUBE),
        down=patch * 2.0 ** (len(shape.widths) - 1),
        frames=2.0 ** sum(shape.halvings),
        first=1.0,
        latent_channels=latents,
        encoding=Cuts(FirstFrameAlone(TOGETHER), encode, encode),
        decoding=Cuts(FirstFrameAlone(1.0), decode, decode),
        patch=patch,
        still=False,
    )


def read(config: Config) -> Autoencoder:
    """A configuration of AutoencoderKLWan.

    >>> read(Config({"patch_size": 2, "is_residual": True}, "wan-2.2")).down
    16.0
    """
    pixels, made = config.count("in_channels", 3.0, least=1.0), config.count("out_channels", 3.0, least=1.0)
    for key in ("scale_factor_temporal", "clip_output"):
        config.get(key)
    ratio = config.count("scale_factor_spatial", 8.0, least=1.0)
    return networks(config, (pixels, made), config.count("patch_size", 1.0, least=1.0), ratio)
