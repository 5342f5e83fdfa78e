"""What a pipeline does not count, and what nobody said of it, in words."""

from __future__ import annotations

from collections.abc import Iterable

from floorline.autoencoder import Autoencoder
from floorline.pipeline import TextEncoder
from floorline.transformer import Transformer

IMAGE_ENCODER = "the image's encoder"
FIRST_IMAGE = "the encoding of the image that it starts from"
TEXTS, PIXELS = "the text's encoders", "the autoencoder"


def missing(words: str) -> str:
    """A part that an index names and that is not there.

    >>> missing("text_encoder_2")
    'text_encoder_2 (no config.json)'
    """
    return f"{words} (no config.json)"


def lacking(
    denoiser: Transformer,
    texts: tuple[TextEncoder, ...],
    autoencoder: Autoencoder | None,
    without: Iterable[str] = (),
    why: str = PIXELS,
) -> list[str]:
    """What a pipeline needs and has not, in words: encoders of a text that its denoiser reads, and an autoencoder.

    without  encoders that are named as not there already
    why      the words for an autoencoder that is not there
    """
    assert denoiser.latent is not None
    untold = denoiser.latent.text and not texts and not list(without)
    return [*([TEXTS] if untold else []), *([why] if autoencoder is None else [])]


def said(steps: float, passes: float, near: str = "") -> tuple[str, ...]:
    """Steps and passes that were taken from elsewhere, in words.

    near  the pipeline whose they are, "" where they are anybody's

    >>> said(50.0, 1.0), said(28.0, 2.0, "sd3.5-large")
    (('50 steps', 'one guidance pass'), ('28 steps, as sd3.5-large takes', '2 guidance passes, as sd3.5-large takes'))
    """
    of = f", as {near} takes" if near else ""
    return f"{steps:g} steps{of}", f"{'one guidance pass' if passes == 1 else f'{passes:g} guidance passes'}{of}"
