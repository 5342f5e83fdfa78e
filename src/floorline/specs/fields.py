"""Fields of the frozen specs: default, unit, doc and the names people type, written once.

Command-line flags, documentation and forms are made from this metadata.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, field, fields
from typing import Any

import numpy as np

from floorline.errors import BadInput
from floorline.num import Num, all_true, number


def spec(
    doc: str,
    *,
    unit: str = "-",
    default: Any = MISSING,
    aliases: tuple[str, ...] = (),
    least: float = 1.0,
    most: float = 1e9,
    whole: bool = True,
) -> Any:
    """A numeric field: what it means, its unit, its range, whether it must be whole, and the flags it answers to."""
    meta = {"doc": doc, "unit": unit, "aliases": aliases, "least": least, "most": most, "whole": whole}
    return field(default=default, metadata=meta) if default is not MISSING else field(metadata=meta)


def choice(doc: str, options: tuple[str, ...], default: str, aliases: tuple[str, ...] = ()) -> Any:
    """A field that picks code: one of a few words."""
    return field(default=default, metadata={"doc": doc, "options": options, "aliases": aliases})


def text(doc: str, aliases: tuple[str, ...] = ()) -> Any:
    """A field of words that other code reads; "" by default."""
    return field(default="", metadata={"doc": doc, "text": True, "aliases": aliases})


def check(instance: Any) -> None:
    """Hold every field of a spec to its metadata; numbers become floats or float64 arrays.

    raises BadInput that names the field, what it was, and what was expected
    """
    for item in fields(instance):
        if "options" in item.metadata:
            word = plain_word(getattr(instance, item.name))
            object.__setattr__(instance, item.name, word)
            check_choice(item, word)
        elif "unit" in item.metadata:
            object.__setattr__(instance, item.name, checked(item, getattr(instance, item.name)))


def plain_word(value: object) -> object:
    """True and False as yes and no, a number as its digits: ``sequence_parallel=True``, ``zero_stage=3``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, int) else value


def check_choice(item: Field[Any], value: object, name: str = "") -> None:
    """Refuse a word that is not among the options; ``name`` is what the error calls the field."""
    options = item.metadata["options"]
    if value not in options:
        raise BadInput(f"{name or item.name} is {str(value)[:40]!r}; expected one of {', '.join(options)}")


def checked(item: Field[Any], value: object, name: str = "") -> Num | None:
    """The value as a number within its range; None stays where it is the default; ``name`` is what an error calls it."""
    if value is None and item.default is None:
        return None
    meta, name = item.metadata, name or item.name
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        inside_range = meta["least"] <= value <= meta["most"]
        if inside_range and (not meta["whole"] or value == int(value)):
            return float(value)
    expected = f"{'a whole number' if meta['whole'] else 'a number'} from {meta['least']:g} to {meta['most']:g}"
    if isinstance(value, (bool, str, bytes)) or value is None:
        raise BadInput(f"{name} is {str(value)[:40]!r}; expected {expected}")
    try:
        result = number(value)
    except (TypeError, ValueError, OverflowError):
        raise BadInput(f"{name} is {str(value)[:40]!r}; expected {expected}") from None
    inside = (np.asarray(result) >= meta["least"]) & (np.asarray(result) <= meta["most"])
    if not all_true(inside):
        worst = float(np.asarray(result)[~inside].flat[0]) if np.ndim(result) else float(result)
        raise BadInput(f"{name} is {worst:g}; expected {expected}")
    if meta["whole"] and not all_true(np.asarray(result) == np.floor(result)):
        worst = float(np.asarray(result)[np.asarray(result) != np.floor(result)].flat[0])
        raise BadInput(f"{name} is {worst:g}; expected {expected}")
    return result


TOKENS = 1e9
"""The most tokens that a question may have."""


def sequences() -> Any:
    """The field that inference workloads share: how many at once."""
    return spec("sequences at once", aliases=("--batch-size",), default=1)


def cached() -> Any:
    """The field of a prompt: what came before it."""
    return spec(
        "tokens already in the cache before the prompt", aliases=("--cached-len",), default=0, least=0, most=TOKENS
    )


def source() -> Any:
    """The field of a decoder that attends to an encoder: what that read."""
    return spec(
        "tokens of the encoder's input, in encoder-decoder models",
        aliases=("--source-len",),
        default=0,
        least=0,
        most=TOKENS,
    )


def target() -> Any:
    """The field of what runs both sides of an encoder–decoder."""
    return spec(
        "tokens of the decoder's side, in encoder-decoder models",
        aliases=("--decoder-len", "--decoder-seq-length"),
        default=128,
        most=TOKENS,
    )


PIXELS = 1e5
"""The most pixels of a side, and frames."""


def height() -> Any:
    """The field of pictures and videos: pixels of the height."""
    return spec("pixels of a picture's height", aliases=("--height",), default=None, most=PIXELS)


def width() -> Any:
    """Pixels of the width."""
    return spec("pixels of a picture's width", aliases=("--width",), default=None, most=PIXELS)


def frames() -> Any:
    """Frames of a video."""
    return spec("frames of a video; 1 for a picture", aliases=("--frames", "--num-frames"), default=None, most=PIXELS)


def text_tokens() -> Any:
    """Tokens of the text that a picture or video is made from."""
    return spec(
        "tokens of the text that it is made from", aliases=("--text-tokens",), default=None, least=0, most=TOKENS
    )
