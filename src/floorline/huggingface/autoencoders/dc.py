"""AutoencoderDC, of Sana: pixels become channels, residual blocks where pixels are many and linear attention where they are few.

Sources: Chen et al. 2024 (DC-AE), arXiv:2410.10733; Xie et al. 2024 (Sana), arXiv:2410.10629, section 2.1; diffusers 0.42,
models/autoencoders/autoencoder_dc.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from floorline.autoencoder import AllFrames, Autoencoder, Cuts, Tile
from floorline.blocks.autoencoder import PLANE, ChannelNorm, PixelNorm, head
from floorline.blocks.deep_compression import (
    end_convolution,
    folding_down,
    folding_up,
    norm_and_activation,
    normed_residual,
)
from floorline.blocks.multiscale_attention import TOKENS, WINDOWS, gated_convolution, multiscale_attention
from floorline.blocks.norm import Norm
from floorline.errors import BadInput
from floorline.huggingface.autoencoders.common import ACTIVATIONS, Grid, changed, kinds, listed, network, stack
from floorline.huggingface.config import Config, as_whole
from floorline.transformer import Stack

WIDTHS = (128.0, 256.0, 512.0, 512.0, 1024.0, 1024.0)
SCALES: tuple[tuple[float, ...], ...] = ((), (), (), (5.0,), (5.0,), (5.0,))
TILE, STRIDE = 512.0, 448.0
"""Pixels of a tile, and from one to the next (autoencoder_dc.py, ``tile_sample_min_height``)."""
NORMS: dict[str, ChannelNorm] = {
    "rms_norm": PixelNorm(Norm("rms_norm", bias=True)),
    "batch_norm": PixelNorm(Norm("batch_norm", bias=True, statistics=(0, 0))),
}
RESIDUAL, ATTENTION = "ResBlock", "EfficientViTBlock"


@dataclass(frozen=True)
class Level:
    """One level of resolution.

    width, layers  channels, and how many blocks
    kind           of the blocks
    scales         windows of the convolutions of attention
    norm           of the blocks, and their activation
    """

    width: float
    layers: float
    kind: str
    scales: tuple[float, ...]
    norm: str = "rms_norm"
    activation: str = "silu"


def coarse(level: int) -> Grid:
    """A level of the encoder."""
    return Grid(f"ceil(pixel_h/{2**level})", f"ceil(pixel_w/{2**level})")


def fine(factor: int) -> Grid:
    """A level of the decoder.

    factor  pixels of it along each side of a latent
    """
    return Grid(f"{factor}*latent_h", f"{factor}*latent_w")


def blocks(level: Level, grid: Grid, head_width: float) -> tuple[Stack, ...]:
    """The blocks of a level."""
    if level.layers == 0.0:
        return ()
    norm, channels = NORMS[level.norm], (level.width, level.width)
    if level.kind == RESIDUAL:
        return (stack(normed_residual(norm, level.activation), grid.tokens, channels, level.layers),)
    windows = {letter: size for pair, size in zip(WINDOWS, level.scales, strict=False) for letter in pair}
    attention = multiscale_attention(norm, len(level.scales))
    sizes = {"K": level.width // head_width, "H": head_width, "r": 3.0, **windows}
    pair = (
        stack(attention, (*grid.tokens, *TOKENS), channels, **sizes),
        stack(gated_convolution(NORMS["rms_norm"]), grid.tokens, channels),
    )
    return pair * int(level.layers)


def encoder(
    levels: tuple[Level, ...], head_width: float, ends: tuple[float, float], unshuffle: bool, sums: bool
) -> Iterator[Stack]:
    """From pixels to latents."""
    skips = levels[0].layers == 0.0
    if skips:
        first = folding_down(unshuffle=unshuffle, shortcut=False, data=True)
        yield changed(first, coarse(0), coarse(1), (ends[0], levels[1].width))
    else:
        yield stack(end_convolution("conv_in", shortcut=False, data=True), coarse(0).tokens, (ends[0], levels[0].width))
    for i, level in enumerate(levels):
        yield from blocks(level, coarse(i), head_width)
        if i < len(levels) - 1 and level.layers:
            down = folding_down(unshuffle=unshuffle)
            yield changed(down, coarse(i), coarse(i + 1), (level.width, levels[i + 1].width))
    last = coarse(len(levels) - 1)
    yield stack(end_convolution("conv_out", shortcut=sums), last.tokens, (levels[-1].width, ends[1]))


def decoder(
    levels: tuple[Level, ...],
    head_width: float,
    ends: tuple[float, float],
    interpolate: bool,
    sums: bool,
    activation: str,
) -> Iterator[Stack]:
    """From latents to pixels."""
    last = len(levels) - 1
    grids = [fine(2 ** (last - i)) for i in range(last + 1)]
    yield stack(end_convolution("conv_in", shortcut=sums, data=True), grids[last].tokens, (ends[0], levels[-1].width))
    for i in range(last, -1, -1):
        if i < last and levels[i].layers:
            up = folding_up(interpolate=interpolate)
            yield changed(up, grids[i + 1], grids[i], (levels[i + 1].width, levels[i].width))
        yield from blocks(levels[i], grids[i], head_width)
    if levels[0].layers:
        yield stack(head(PLANE, NORMS["rms_norm"], activation), grids[0].tokens, (levels[0].width, ends[1]))
        return
    yield stack(norm_and_activation(NORMS["rms_norm"], activation), grids[1].tokens, (levels[1].width, levels[1].width))
    yield changed(folding_up(interpolate=interpolate, shortcut=False), grids[1], grids[0], (levels[1].width, ends[1]))


def scales_of(
    config: Config, key: str, default: tuple[tuple[float, ...], ...], levels: int
) -> tuple[tuple[float, ...], ...]:
    """Windows of the convolutions of attention, some for each level.

    raises BadInput for what is no list of lists of odd numbers
    """
    value = config.get(key)
    rows = default if value is None else value
    if isinstance(rows, (list, tuple)) and len(rows) == levels and all(isinstance(row, (list, tuple)) for row in rows):
        found = [[as_whole(size, 1.0) for size in row] for row in rows]
        if all(len(row) <= len(WINDOWS) and all(size and size % 2.0 for size in row) for row in found):
            return tuple(tuple(size for size in row if size) for row in found)
    raise BadInput(
        f"{config.name}: {key} is {str(rows)[:60]!r}; expected {levels} lists, each of at most {len(WINDOWS)} odd numbers"
    )


def levels_of(config: Config, side: str, layers: tuple[float, ...]) -> tuple[Level, ...]:
    """The levels of the encoder or the decoder.

    side    "encoder" or "decoder"
    layers  where nothing is said

    raises BadInput where lists have different lengths, or a level but the first has no block
    """
    widths = listed(config, f"{side}_block_out_channels", WIDTHS)
    count, key = len(widths), f"{side}_layers_per_block"
    depths = listed(config, key, layers, least=0.0)
    if len(depths) != count or count < 2 or 0.0 in depths[1:]:
        raise BadInput(
            f"{config.name}: {key} is {str(list(depths))[:60]}; expected {count} whole numbers, at least two, of which only the "
            "first may be 0"
        )
    words = kinds(config, f"{side}_block_types", (RESIDUAL, ATTENTION), (RESIDUAL,) * count, count)
    scales = scales_of(config, f"{side}_qkv_multiscales", SCALES, count)
    if side == "encoder":
        norms, acts = ("rms_norm",) * count, ("silu",) * count
    else:
        norms = kinds(config, "decoder_norm_types", tuple(NORMS), ("rms_norm",) * count, count)
        acts = kinds(config, "decoder_act_fns", (*ACTIVATIONS, "relu6"), ("silu",) * count, count)
    return tuple(Level(*row) for row in zip(widths, depths, words, scales, norms, acts, strict=True))


def read(config: Config) -> Autoencoder:
    """A configuration of AutoencoderDC."""
    coarser = levels_of(config, "encoder", (2.0, 2.0, 2.0, 3.0, 3.0, 3.0))
    finer = levels_of(config, "decoder", (3.0,) * len(WIDTHS))
    if len(coarser) != len(finer):
        raise BadInput(
            f"{config.name}: the encoder has {len(coarser)} levels and the decoder {len(finer)}; expected as many"
        )
    pixels, latents = config.count("in_channels", 3.0, least=1.0), config.count("latent_channels", 32.0, least=1.0)
    head_width = config.count("attention_head_dim", 32.0, least=1.0)
    unshuffle = config.text("downsample_block_type", "pixel_unshuffle") == "pixel_unshuffle"
    interpolate = config.text("upsample_block_type", "pixel_shuffle") == "interpolate"
    down = encoder(coarser, head_width, (pixels, latents), unshuffle, config.flag("encoder_out_shortcut", True))
    last = config.text("decoder_conv_act_fn", "relu")
    up = decoder(finer, head_width, (latents, pixels), interpolate, config.flag("decoder_in_shortcut", True), last)
    ratio = 2.0 ** (len(coarser) - 1)
    encode, decode = Tile(TILE, STRIDE, multiple=ratio), Tile(TILE // ratio, STRIDE // ratio)
    window = {"i": 3.0, "j": 3.0}
    return Autoencoder(
        config.name,
        network(f"{config.name} encoder", down, window),
        network(f"{config.name} decoder", up, window),
        down=ratio,
        latent_channels=latents,
        encoding=Cuts(AllFrames(), encode, encode),
        decoding=Cuts(AllFrames(), decode, decode),
    )
