"""What an autoencoder does with pictures or videos: runs of one of its two networks, each a step over all of its stacks.

An encoder's stacks bind their extents to ``pixel_t`` ``pixel_h`` ``pixel_w``, a decoder's to ``latent_t`` ``latent_h``
``latent_w``; ``first`` is 1 where a run begins with the first frame of the video.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from floorline.autoencoder import Autoencoder, Cuts
from floorline.errors import BadInput
from floorline.formulas.latents import latent_frames, latent_side
from floorline.num import Num, all_true, maximum, number, total, where
from floorline.program import Cost
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.step import Step
from floorline.transformer import Transformer

ENCODE, DECODE = "encode", "decode"
NO_PLAN, USUAL = Parallelism(), Precision()


@dataclass(frozen=True)
class Clip:
    """Pictures or videos.

    batch          how many [-]
    frames         of each [-]
    height, width  in pixels [-]
    """

    batch: Num = 1.0
    frames: Num = 1.0
    height: Num = 1024.0
    width: Num = 1024.0


@dataclass(frozen=True)
class Extent:
    """What a network reads at once: elements along time, height and width, and whether the first frame is among them."""

    t: Num
    h: Num
    w: Num
    first: Num = 1.0


def network(autoencoder: Autoencoder, mode: str) -> tuple[Transformer, Cuts]:
    """The encoder or the decoder, and how what it reads is cut.

    raises BadInput for another word
    """
    if mode not in (ENCODE, DECODE):
        raise BadInput(f"{autoencoder.name}: mode is {mode[:40]!r}; expected {ENCODE!r} or {DECODE!r}")
    return (
        (autoencoder.encoder, autoencoder.encoding) if mode == ENCODE else (autoencoder.decoder, autoencoder.decoding)
    )


def whole(autoencoder: Autoencoder, mode: str, clip: Clip) -> Extent:
    """Everything that a network reads: pixels (or patches of them), or latents.

    raises BadInput where a picture is smaller than one latent, or has no frame
    """
    height, width = latent_side(clip.height, autoencoder.down), latent_side(clip.width, autoencoder.down)
    if not all_true(number(height * width) >= 1.0) or not all_true(number(clip.frames) >= 1.0):
        least = float(autoencoder.down)
        raise BadInput(
            f"{autoencoder.name}: a latent is {least:g} × {least:g} pixels; expected a height and width of at least {least:g}, "
            "and a frame"
        )
    frames = 1.0 if autoencoder.still else clip.frames
    if mode == ENCODE:
        patch = autoencoder.patch
        return Extent(frames, latent_side(clip.height, patch), latent_side(clip.width, patch))
    return Extent(latent_frames(frames, autoencoder.frames, autoencoder.first), height, width)


def extents(autoencoder: Autoencoder, mode: str, read: Extent) -> dict[str, Num]:
    """The numbers that stacks bind their letters to."""
    down = autoencoder.down / autoencoder.patch
    if mode == DECODE:
        pixels = Extent(read.t * autoencoder.frames, read.h * down, read.w * down)
        latents = read
    else:
        pixels = read
        frames = latent_frames(read.t, autoencoder.frames, read.first * autoencoder.first)
        latents = Extent(frames, latent_side(read.h, down), latent_side(read.w, down))
    return {
        "pixel_t": pixels.t,
        "pixel_h": pixels.h,
        "pixel_w": pixels.w,
        "latent_t": latents.t,
        "latent_h": latents.h,
        "latent_w": latents.w,
        "first": read.first,
    }


def step_of(model: Transformer, batch: Num, extent: Mapping[str, Num], plan: Parallelism, precision: Precision) -> Step:
    """One run of a network."""
    tokens = extent["latent_t"] * extent["latent_h"] * extent["latent_w"]
    return Step(model, batch, tokens, 0.0, tokens, plan, precision, every_logit=True, extent=extent)


def pictures(autoencoder: Autoencoder, clip: Clip) -> Num:
    """How many things are read side by side: videos, or all pictures of them."""
    return clip.batch * clip.frames if autoencoder.still else clip.batch


def autoencoder_step(
    model: Transformer,
    batch: Num,
    frames: Num,
    height: Num,
    width: Num,
    autoencoder: Autoencoder,
    plan: Parallelism = NO_PLAN,
    precision: Precision = USUAL,
) -> Step:
    """A whole clip at once by one of the two networks: what its arithmetic is where nothing is cut.

    model          the autoencoder's encoder or its decoder
    batch          pictures or videos [-]
    frames         of each [-]
    height, width  in pixels [-]

    raises BadInput where a picture is smaller than one latent
    """
    mode = ENCODE if model is autoencoder.encoder else DECODE
    clip = Clip(batch, frames, height, width)
    extent = extents(autoencoder, mode, whole(autoencoder, mode, clip))
    return step_of(model, pictures(autoencoder, clip), extent, plan, precision)


def autoencoder_runs(
    autoencoder: Autoencoder,
    mode: str,
    clip: Clip,
    *,
    tile: bool = False,
    plan: Parallelism = NO_PLAN,
    precision: Precision = USUAL,
) -> tuple[tuple[Num, Step], ...]:
    """The runs that the library makes of a clip, each with how often it is made: a few frames at a time, tile by tile.

    mode  "encode" or "decode"
    tile  whether pictures larger than a tile are cut into tiles that overlap; some libraries always do

    raises BadInput where a picture is smaller than one latent
    """
    model, cuts = network(autoencoder, mode)
    batch = pictures(autoencoder, clip)
    everything = whole(autoencoder, mode, clip)
    cut, uncut = parted(model, cuts.uncut)
    found: list[tuple[Num, Step]] = []
    for times, read in pieces(everything, cuts, tile or cuts.always):
        found.append((times, step_of(cut, batch, extents(autoencoder, mode, read), plan, precision)))
    if uncut is not None:
        found.append((1.0, step_of(uncut, batch, extents(autoencoder, mode, everything), plan, precision)))
    return tuple(found)


def parted(model: Transformer, names: tuple[str, ...]) -> tuple[Transformer, Transformer | None]:
    """A network without the blocks of some names, and those by themselves; None where there are none."""
    if not names:
        return model, None
    apart = tuple(stack for stack in model.stacks if stack.block.name in names)
    rest = tuple(stack for stack in model.stacks if stack.block.name not in names)
    return replace(model, stacks=rest), replace(model, stacks=apart)


def pieces(read: Extent, cuts: Cuts, tile: bool) -> Iterator[tuple[Num, Extent]]:
    """What is read at once, and how often; pieces that are nowhere there are left out."""
    for run, (times, height, width) in product(cuts.frames.runs(read.t), tiles(read, cuts, tile)):
        often = number(run.times * times)
        if not all_true(often == 0.0):
            yield often, Extent(run.frames, height, width, run.first)


def tiles(read: Extent, cuts: Cuts, tile: bool) -> Iterator[tuple[Num, Num, Num]]:
    """Times, height and width of the parts of a picture."""
    if not tile or cuts.height is None or cuts.width is None:
        yield 1.0, read.h, read.w
        return
    cut = maximum(where(cuts.height.cuts(read.h), 1.0, 0.0), where(cuts.width.cuts(read.w), 1.0, 0.0))
    yield number(1.0 - cut), read.h, read.w
    for (height, rows), (width, columns) in product(cuts.height.along(read.h), cuts.width.along(read.w)):
        yield number(cut * rows * columns), height, width


def autoencoder_cost(runs: tuple[tuple[Num, Step], ...], fusion: str = "unfused") -> Cost:
    """FLOP and bytes of all runs together, on one rank."""
    found = Cost()
    for times, step in runs:
        found = found + step.cost(fusion).times(times)
    return found


def autoencoder_flops(autoencoder: Autoencoder, mode: str, clip: Clip, *, tile: bool = False) -> Num:
    """FLOP of encoding or decoding a clip [-], as PyTorch's counter counts them: convolutions and matmuls.

    raises BadInput where a picture is smaller than one latent
    """
    runs = autoencoder_runs(autoencoder, mode, clip, tile=tile)
    return total(times * step.cost("unfused").flops for times, step in runs)
