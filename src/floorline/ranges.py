"""Numbers as people type them: one ("32k"), a list ("1,2,4"), a range ("128:4096:128"), powers ("2**0..2**10")."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from floorline.errors import BadInput

POWERS = re.compile(r"(\d+)\*\*(\d+)\.\.(?:\1\*\*)(\d+)")


def values(text: str) -> list[float]:
    """Numbers of a list or a range: "1,2,4", "128:4096:128" (the end included), "1..8", "2**0..2**10".

    raises BadInput for what is neither, an empty range, or more than ten million numbers

    >>> values("1,2,4"), values("128:512:128"), values("1..3"), values("2**0..2**3")
    ([1.0, 2.0, 4.0], [128.0, 256.0, 384.0, 512.0], [1.0, 2.0, 3.0], [1.0, 2.0, 4.0, 8.0])
    """
    found: list[float] = []
    for part in text.split(","):
        found += list(part_values(part.strip(), text))
    if not found:
        raise BadInput(f"{text[:60]!r} is an empty list; expected numbers such as 1,2,4 or 128:4096:128 or 2**0..2**10")
    return found


def part_values(part: str, text: str) -> Iterator[float]:
    """Numbers of one part between commas."""
    powers = POWERS.fullmatch(part.replace(" ", ""))
    if powers:
        base, first, last = (int(g) for g in powers.groups())
        if last > 60 or base > 1000:
            raise BadInput(f"{part!r}: the powers go beyond any size; expected such as 2**0..2**10")
        yield from (float(np.power(float(base), e)) for e in range(first, last + 1))
    elif ".." in part:
        yield from part_values(part.replace("..", ":"), text)
    elif ":" in part:
        ends = [scalar(p, text) for p in part.split(":")]
        if len(ends) not in (2, 3) or (len(ends) == 3 and ends[2] <= 0) or ends[1] < ends[0]:
            raise BadInput(
                f"{part!r} is no range; expected start:stop:step with start <= stop and step > 0, such as 128:4096:128"
            )
        step = ends[2] if len(ends) == 3 else 1.0
        count = int(np.floor((ends[1] - ends[0]) / step + 1e-9)) + 1
        if count > 10_000_000:
            raise BadInput(f"{part!r} has {count:,} values; expected at most 10,000,000")
        yield from (ends[0] + step * i for i in range(count))
    else:
        yield scalar(part, text)


SUFFIX = {"k": 1e3, "K": 1024.0, "m": 1e6, "M": 1024.0**2, "g": 1e9, "G": 1024.0**3}


def scalar(text: str, whole: str = "") -> float:
    """One number: "8192", "1e6", "0.5", "2**10", "32k" (thousands), "32K" (1024s), as vLLM reads them.

    >>> scalar("32k"), scalar("32K"), scalar("2**3")
    (32000.0, 32768.0, 8.0)
    """
    clean = text.strip().replace("_", "")
    base, power, exponent = clean.partition("**")
    try:
        if power:
            return float(np.power(float(base), float(exponent)))
        factor = SUFFIX.get(clean[-1:], 1.0)
        result = float(clean[:-1] if clean[-1:] in SUFFIX else clean) * factor
    except (ValueError, OverflowError):
        result = float("nan")
    if not np.isfinite(result):
        raise BadInput(
            f"{(whole or text)[:60]!r} is no number; expected such as 8192, 1e6, 32k, a list 1,2,4 or a range 128:4096:128"
        )
    return result
