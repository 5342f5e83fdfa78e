"""AutoencoderKLLTXVideo: patches of pixels, much coarser latents, and a decoder that may denoise in its last step.

Sources: HaCohen et al. 2024 (LTX-Video), arXiv:2501.00103; diffusers 0.42,
models/autoencoders/autoencoder_kl_ltx.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from floorline.autoencoder import AllFrames, Autoencoder, Cuts, Tile
from floorline.blocks.autoencoder import VOLUME, convolved
from floorline.blocks.deep_compression import folding_down, folding_up
from floorline.blocks.noisy_residual import noisy_residual, pixel_head, time_vectors
from floorline.blocks.resampling import downsampling
from floorline.errors import BadInput
from floorline.huggingface.autoencoders.common import CUBE, Grid, changed, flags, kinds, listed, network, stack
from floorline.huggingface.config import Config
from floorline.transformer import Stack

EARLY, LATE = "LTXVideoDownBlock3D", "LTXVideo095DownBlock3D"
CONVOLUTION, FOLDED = "conv", {"spatial": (1, 2), "temporal": (2, 1), "spatiotemporal": (2, 2)}
"""How frames and pixels become fewer: a convolution of stride two, or frames and pixels along each side that become channels."""
TILE, STRIDE = 512.0, 448.0
"""Pixels of a tile, and from one to the next (autoencoder_kl_ltx.py, ``tile_sample_min_height``)."""
USUAL = (128.0, 256.0, 512.0, 512.0)
SCALING = (True, True, True, False)


@dataclass(frozen=True)
class Coarse:
    """A level of the encoder.

    channels  that come in, and go out
    layers    residual blocks
    change    how it becomes coarser, "" where it does not
    late      whether the change of resolution makes the channels that go out, in place of a residual block after it
    """

    channels: tuple[float, float]
    layers: float
    change: str
    late: bool


@dataclass(frozen=True)
class Fine:
    """A level of the decoder.

    channels  that come in, and go out
    layers    residual blocks, after the change of resolution
    doubles   whether frames and sides are doubled
    adds      whether what is read is added to what is made finer
    factor    channels that are read over those that are made
    noise     whether its residual blocks add noise
    """

    channels: tuple[float, float]
    layers: float
    doubles: bool
    adds: bool
    factor: float
    noise: bool


def resnets(
    grid: Grid, channels: tuple[float, float], count: float, noise: bool = False, timed: bool = False
) -> Iterator[Stack]:
    """So many residual blocks; the first may change the channels."""
    if channels[0] != channels[1]:
        yield stack(noisy_residual(shortcut=True, noise=noise, timed=timed), grid.tokens, channels)
        count -= 1.0
    if count:
        made = (channels[1], channels[1])
        yield stack(noisy_residual(noise=noise, timed=timed), grid.tokens, made, count)


def coarser(level: Coarse, grid: Grid) -> tuple[Stack, Grid]:
    """A change of resolution in the encoder; before frames are folded, the first one is repeated."""
    before, made = level.channels
    if level.change == CONVOLUTION:
        following = Grid(*(f"ceil(({text})/2)" for text in (grid.y, grid.x, grid.t)))
        return changed(downsampling(VOLUME), grid, following, (before, before)), following
    frames, side = FOLDED[level.change]
    given = Grid(grid.y, grid.x, f"{grid.t} + {frames - 1}")
    following = Grid(f"({grid.y})/{side}", f"({grid.x})/{side}", f"({given.t})/{frames}")
    return changed(folding_down(VOLUME, folds=frames * side * side), given, following, (before, made)), following


def encoder(levels: tuple[Coarse, ...], middle: float, patch: float, ends: tuple[float, float]) -> Iterator[Stack]:
    """From pixels to latents and one variance.

    middle  residual blocks at the end
    patch   pixels along each side that are read as channels of one
    """
    grid = Grid(f"pixel_h/{patch:g}", f"pixel_w/{patch:g}", "pixel_t")
    yield stack(convolved(VOLUME, "conv_in", data=True), grid.tokens, (ends[0], levels[0].channels[0]))
    for level in levels:
        before, made = level.channels
        yield from resnets(grid, (before, before), level.layers)
        if level.change:
            down, grid = coarser(level, grid)
            yield down
        if before != made and not level.late:
            yield from resnets(grid, (before, made), 1.0)
    last = levels[-1].channels[1]
    yield from resnets(grid, (last, last), middle)
    yield stack(pixel_head(), grid.tokens, (last, ends[1]))


def decoder(
    levels: tuple[Fine, ...], first: float, middle: tuple[float, bool], timed: bool, ends: tuple[float, float]
) -> Iterator[Stack]:
    """From latents to patches of pixels.

    first   channels of the latents' level
    middle  residual blocks at the start, and whether they add noise
    timed   whether it hears of a time
    """
    grid, side = Grid("latent_h", "latent_w", "latent_t"), 1
    yield stack(convolved(VOLUME, "conv_in", data=True), grid.tokens, (ends[0], first))
    if timed:
        yield stack(time_vectors(4, first=True), (), (first, first))
    yield from resnets(grid, (first, first), middle[0], middle[1], timed)
    for level in levels:
        before, made = level.channels
        if before != made:
            yield from resnets(grid, (before, made), 1.0, level.noise, timed)
        if timed:
            yield stack(time_vectors(4), (), (before, before))
        if level.doubles:
            side *= 2
            following = Grid(f"{side}*latent_h", f"{side}*latent_w", f"{side}*(latent_t - 1) + 1")
            up = folding_up(VOLUME, shortcut=level.adds, folds=8)
            yield changed(up, grid, following, (made * level.factor, made))
            grid = following
        yield from resnets(grid, (made, made), level.layers, level.noise, timed)
    last = levels[-1].channels[1]
    if timed:
        yield stack(time_vectors(2), (), (last, last))
    yield stack(pixel_head(timed=timed), grid.tokens, (last, ends[1]))


def of_length(config: Config, counts: dict[str, tuple[int, int]]) -> None:
    """Hold lists to their lengths.

    raises BadInput for one that has another
    """
    for key, (found, wanted) in counts.items():
        if found != wanted:
            raise BadInput(f"{config.name}: {key} has {found} values; expected {wanted}")


def coarse_levels(config: Config) -> tuple[tuple[Coarse, ...], float, int]:
    """Levels of the encoder, residual blocks after them, and how often it says that sides are halved.

    raises BadInput for lists that do not fit
    """
    widths = listed(config, "block_out_channels", USUAL)
    words = config.get("down_block_types")
    late = isinstance(words, (list, tuple)) and bool(words) and words[-1] == LATE
    count = len(widths) - 1 if late else len(widths)
    kinds(config, "down_block_types", (LATE if late else EARLY,), (EARLY,) * 4, count)
    layers = listed(config, "layers_per_block", (4.0, 3.0, 3.0, 3.0, 4.0), least=0.0)
    scaling = flags(config, "spatio_temporal_scaling", SCALING)
    types = kinds(config, "downsample_type", (CONVOLUTION, *FOLDED), (CONVOLUTION,) * 4, count) if late else ()
    config.get("downsample_type")
    of_length(config, {"layers_per_block": (len(layers), count + 1), "spatio_temporal_scaling": (len(scaling), count)})
    following = widths[1:] if late else (*widths[1:], widths[-1])
    levels = tuple(
        Coarse((before, made), n, "" if not halves else types[i] if late else CONVOLUTION, late)
        for i, (before, made, n, halves) in enumerate(zip(widths, following, layers, scaling, strict=False))
    )
    for level in levels:
        if late and level.channels[0] != level.channels[1] and level.change in ("", CONVOLUTION):
            raise BadInput(
                f"{config.name}: block_out_channels changes from {level.channels[0]:g} to {level.channels[1]:g} where {LATE} has "
                f"no downsample_type that makes channels; expected one of {', '.join(FOLDED)} there"
            )
    return levels, layers[-1], sum(scaling)


def fine_levels(config: Config) -> tuple[tuple[Fine, ...], float, tuple[float, bool]]:
    """Levels of the decoder, channels of the first, and residual blocks before them, with or without noise.

    raises BadInput for lists that do not fit
    """
    widths = listed(config, "decoder_block_out_channels", USUAL)[::-1]
    count = len(widths)
    layers = listed(config, "decoder_layers_per_block", (4.0, 3.0, 3.0, 3.0, 4.0), least=0.0)[::-1]
    scaling = flags(config, "decoder_spatio_temporal_scaling", SCALING)[::-1]
    noise = flags(config, "decoder_inject_noise", (False,) * 5)[::-1]
    adds = flags(config, "upsample_residual", (False,) * 4)[::-1]
    factors = listed(config, "upsample_factor", (1.0,) * 4)[::-1]
    lengths = {"decoder_layers_per_block": (len(layers), count + 1), "decoder_inject_noise": (len(noise), count + 1)}
    lengths |= {"decoder_spatio_temporal_scaling": (len(scaling), count), "upsample_residual": (len(adds), count)}
    of_length(config, {**lengths, "upsample_factor": (len(factors), count)})
    found, before = [], widths[0]
    for i, (width, factor) in enumerate(zip(widths, factors, strict=True)):
        channels = (before // factor, width // factor)
        found.append(Fine(channels, layers[i + 1], scaling[i], adds[i], factor, noise[i + 1]))
        before = channels[1]
    return tuple(found), widths[0], (layers[0], noise[0])


def read(config: Config) -> Autoencoder:
    """A configuration of AutoencoderKLLTXVideo.

    >>> read(Config({}, "ltx-video")).down
    32.0
    """
    coarse, last, halvings = coarse_levels(config)
    fine, first, middle = fine_levels(config)
    patch = config.count("patch_size", 4.0, least=1.0)
    if config.count("patch_size_t", 1.0, least=1.0) != 1.0:
        raise BadInput(f"{config.name}: patch_size_t must be 1, which is all that the library runs")
    for key in ("resnet_norm_eps", "encoder_causal", "decoder_causal"):
        config.get(key)
    down = config.count("spatial_compression_ratio", patch * 2.0**halvings, least=1.0)
    frames = config.count("temporal_compression_ratio", 2.0**halvings, least=1.0)
    if down > STRIDE:
        raise BadInput(
            f"{config.name}: a latent is {down:g} pixels wide; expected at most {STRIDE:g}, the stride of a tile"
        )
    pixels, made = config.count("in_channels", 3.0, least=1.0), config.count("out_channels", 3.0, least=1.0)
    latents, area = config.count("latent_channels", 128.0, least=1.0), patch * patch
    timed = config.flag("timestep_conditioning", False)
    up = decoder(fine, first, middle, timed, (latents, made * area))
    encode, decode = Tile(TILE, STRIDE), Tile(TILE // down, STRIDE // down)
    return Autoencoder(
        config.name,
        network(f"{config.name} encoder", encoder(coarse, last, patch, (pixels * area, latents + 1.0)), CUBE),
        network(f"{config.name} decoder", up, CUBE),
        down=down,
        frames=frames,
        first=1.0,
        latent_channels=latents,
        encoding=Cuts(AllFrames(), encode, encode),
        decoding=Cuts(AllFrames(), decode, decode),
        still=False,
    )
