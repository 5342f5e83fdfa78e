"""How much wider intervals of whole runs are than those of their kernels: one width for each kind of question."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

FILE = Path(__file__).parent / "widths.toml"


@cache
def widths() -> dict[str, float]:
    """Kind of question → half width, in the logarithm of the time; "host" of what the host adds.

    >>> sorted(widths())
    ['batch', 'denoise', 'host', 'loop', 'operators', 'pass', 'training', 'unknown']
    """
    return tomllib.loads(FILE.read_text(encoding="utf-8"))
