"""Flags for the parts of a transformer over a video's tokens."""

from __future__ import annotations

from floorline.cli.command import Flag, Given
from floorline.cli.flags import SYNONYMS, build, of_spec, plain_number
from floorline.cli.output import scalar
from floorline.errors import BadInput
from floorline.formulas.latents import denoised_frames, latent_side, patches_along
from floorline.num import Num, ceil, number
from floorline.specs.fields import PIXELS
from floorline.specs.latent import Latent
from floorline.specs.module_sizes import SIDE, ModuleSizes
from floorline.specs.precision import FORMATS, Precision
from floorline.units import integer

SIDES = ("frames", "height", "width")
WIDTHS = of_spec(
    ModuleSizes,
    skip=("batch", "text_tokens", "text_width", *SIDES, *(f"window_{side}" for side in SIDES)),
)
"""Widths and heads."""
BATCH = Flag("batch", ("--batch-size",), "videos, or sequences, at once", "1")
TEXT = tuple(f for f in of_spec(ModuleSizes) if f.name in ("text_tokens", "text_width"))
TOKENS = Flag(
    "tokens",
    ("--tokens",),
    "tokens along time, height and width: 16x32x32, 32x32 of a picture, or of a sequence 4096",
    "16x32x32",
)
WINDOW = Flag("window", ("--window",), "tokens of a window along the same", "1x8x8")
PIXELS_FLAGS = (
    Flag("pixels", ("--pixels",), "frames, height and width of the video instead of tokens, such as 49x480x720"),
    Flag("down", ("--vae-down",), "pixels of a latent along each side", "8"),
    Flag("frames_down", ("--vae-frames",), "frames of a latent frame", "1"),
    Flag("first", ("--vae-first-frame",), "the first frame has a latent frame of its own", switch=True),
    Flag("patch", ("--patch", "--patch-size"), "latents of a token along each side", "2"),
    Flag("patch_frames", ("--patch-frames",), "latent frames of a token", "1"),
)
DTYPE = Flag("dtype", ("--dtype",), f"format of everything: {', '.join(FORMATS)}", "bf16")


def sizes(given: Given) -> ModuleSizes:
    """The sizes that flags say."""
    along = (
        of_pixels(given) if given.get("pixels") else product(given.get("tokens") or TOKENS.default, "--tokens", SIDE)
    )
    window = product(given.get("window") or WINDOW.default, "--window", SIDE)
    said = {**dict(zip(SIDES, along, strict=True)), **{f"window_{s}": w for s, w in zip(SIDES, window, strict=True)}}
    found: ModuleSizes = build(ModuleSizes, {**given, **{name: f"{value:.0f}" for name, value in said.items()}})
    return found


def product(text: str, flag: str, most: float) -> tuple[float, float, float]:
    """Frames, height and width of a text; what is left out in front is one.

    raises BadInput for anything else

    >>> product("16x32x32", "--tokens", 1e6), product("4k", "--tokens", 1e6)
    ((16.0, 32.0, 32.0), (1.0, 1.0, 4000.0))
    """
    words = text.replace("×", "x").split("x")
    found = [plain_number(word) for word in words]
    good = [n for n in found if n is not None and 1.0 <= n <= most and n == int(n)]
    if len(good) < len(words) or len(words) > 3:
        raise BadInput(f"{flag} is {text[:40]!r}; expected frames, height and width as whole numbers, such as 16x32x32")
    frames, height, width = [1.0] * (3 - len(good)) + good
    return frames, height, width


def of_pixels(given: Given) -> tuple[Num, Num, Num]:
    """Tokens of a video in pixels.

    raises BadInput where tokens are given as well, or a side is shorter than one
    """
    if given.get("tokens"):
        raise BadInput("--pixels and --tokens say the same thing twice; leave out one of the two")
    frames, height, width = product(given["pixels"], "--pixels", PIXELS)
    said = {"patch": "2", **{k: given[k] for k in ("down", "patch", "patch_frames") if given.get(k) is not None}}
    if given.get("frames_down") is not None:
        said["frames"] = given["frames_down"]
    own: Latent = build(Latent, {**said, "first": "1" if given.get("first") else "0"})
    along = ceil(denoised_frames(frames, own.frames) / own.patch_frames)
    tall, wide = (patches_along(latent_side(side, own.down), own.patch, own.filled) for side in (height, width))
    if not (tall >= 1.0 and wide >= 1.0):
        least = scalar(own.down * own.patch)
        raise BadInput(
            f"--pixels is {given['pixels'][:40]!r}; a token is {least:g} × {least:g} pixels: expected at least one"
        )
    return number(along), tall, wide


def precision(given: Given) -> Precision:
    """One format for everything."""
    name = SYNONYMS.get(given["dtype"], given["dtype"]) or "bf16"
    if name not in FORMATS:
        raise BadInput(f"--dtype is {name[:40]!r}; expected one of {', '.join(FORMATS)}")
    return Precision.of(name)


def told(z: ModuleSizes) -> str:
    """Tokens and widths for people."""
    s, f, h, w = (integer(scalar(n)) for n in (z.tokens, z.frames, z.height, z.width))
    heads = f"{integer(scalar(z.heads))} heads of {scalar(z.head_dim):g}"
    many = f"{integer(scalar(z.batch))} × " if scalar(z.batch) > 1.0 else ""
    return f"{many}{s} tokens, {f} frames of {h} × {w}; width {integer(scalar(z.hidden_size))}, {heads}"
