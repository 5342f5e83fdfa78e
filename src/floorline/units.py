"""Units at the edges: text such as ``"3.35 TB/s"`` becomes an SI float and a float becomes text. Inside, all is SI.

GB is 10⁹ bytes and GiB is 2³⁰, always. A quantity has a dimension (bytes, bytes per second, …); the wrong one is an
error, so that 200 Gb/s can never be taken for 200 GB/s.
"""

from __future__ import annotations

import re

from floorline.errors import BadInput

DECIMAL = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
SMALL = {"n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "": 1.0}
BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}

UNITS: dict[str, tuple[str, float]] = {
    **{f"{p}B": ("B", f) for p, f in {**DECIMAL, **BINARY}.items()},
    **{f"{p}B/s": ("B/s", f) for p, f in {**DECIMAL, **BINARY}.items()},
    **{f"{p}b/s": ("B/s", f / 8.0) for p, f in DECIMAL.items()},
    **{f"{p}{op}/s": ("FLOP/s", f) for p, f in DECIMAL.items() for op in ("FLOP", "OP")},
    **{f"{p}{op}": ("FLOP", f) for p, f in DECIMAL.items() for op in ("FLOP", "OP")},
    **{f"{p}s": ("s", f) for p, f in SMALL.items()},
    **{f"{p}Hz": ("Hz", f) for p, f in DECIMAL.items()},
    **{f"{p}W": ("W", f) for p, f in DECIMAL.items()},
    "USD/h": ("USD/h", 1.0),
    "": ("", 1.0),
}
SPELLINGS = {"FLOPS": "FLOP/s", "FLOPs": "FLOP/s", "OPS": "OP/s", "bps": "b/s", "Bps": "B/s"}
"""What people write, and how it is written here."""

SPELT = re.compile("|".join(SPELLINGS))
LARGEST = 1e30
QUANTITY = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?)\s*([A-Za-zµ/]*)\s*")


def parse(text: str, dimension: str, what: str = "value") -> float:
    """The SI number in a text with a unit.

    text       "80 GB", "3.35 TB/s", "989.4 TFLOP/s", "5 us", "132"
    dimension  what it must be: "B", "B/s", "FLOP/s", "FLOP", "s", "Hz", "W", "USD/h" or "" for a plain number
    what       the name of the figure, for the error
    raises     BadInput where the number, the unit or the dimension is wrong

    >>> parse("80 GB", "B"), parse("400 Gb/s", "B/s")
    (80000000000.0, 50000000000.0)
    """
    from decimal import Decimal  # no count needs it

    match = QUANTITY.fullmatch(text)
    if match is None:
        raise BadInput(f"{what}: {text[:60]!r} is no number with a unit; expected for example {example(dimension)!r}")
    value, unit = match.groups()
    if unit not in UNITS or UNITS[unit][0] != dimension:
        kind = dimension or "a plain number"
        meant = SPELT.sub(lambda m: SPELLINGS[m[0]], unit)
        hint = f"; did you mean {value} {meant}?" if meant != unit and UNITS.get(meant, ("",))[0] == dimension else ""
        raise BadInput(
            f"{what}: {text[:60]!r} has the wrong unit; expected {kind}, for example {example(dimension)!r}{hint}"
        )
    result = float(
        Decimal(value) * Decimal(repr(UNITS[unit][1]))
    )  # 66.9 TFLOP/s is 66.9e12 exactly, not a bit beside it
    if abs(result) > LARGEST:
        raise BadInput(f"{what}: {text[:60]!r} is beyond any machine; expected for example {example(dimension)!r}")
    return result


def example(dimension: str) -> str:
    """A text of a dimension, for error messages.

    >>> example("B")
    '80 GB'
    """
    return {
        "B": "80 GB",
        "B/s": "3.35 TB/s",
        "FLOP/s": "989.4 TFLOP/s",
        "FLOP": "1 TFLOP",
        "s": "5 us",
        "Hz": "1.83 GHz",
        "W": "700 W",
        "USD/h": "2.99 USD/h",
    }.get(dimension, "132")


def scaled(value: float, steps: dict[str, float], unit: str, digits: int = 4) -> str:
    """``value`` with the largest prefix that leaves at least one.

    >>> scaled(2.5e12, DECIMAL, "FLOP")
    '2.5 TFLOP'
    """
    if value != value:
        return "–"
    chosen, factor = "", 1.0
    for prefix, step in steps.items():
        if prefix != "K" and abs(value) >= step * (1.0 - 1e-12):
            chosen, factor = prefix, step
    return f"{value / factor:.{digits}g} {chosen}{unit}"


def seconds(value: float) -> str:
    """A time for people.

    >>> seconds(0.0121), seconds(95.0)
    ('12.1 ms', '95 s')
    """
    if value == 0.0:
        return "0 s"
    return scaled(value, SMALL, "s")


def gib(value: float) -> str:
    """Memory in GiB (2³⁰ bytes).

    >>> gib(16060522496.0)
    '14.96 GiB'
    """
    return f"{value / BINARY['Gi']:.2f} GiB"


def flops(value: float) -> str:
    """Floating-point operations.

    >>> flops(291648307200.0)
    '291.6 GFLOP'
    """
    return scaled(value, DECIMAL, "FLOP")


def data(value: float) -> str:
    """Bytes moved, in decimal units as bandwidths are.

    >>> data(16.06e9)
    '16.06 GB'
    """
    return scaled(value, DECIMAL, "B")


def integer(value: float) -> str:
    """A count with its digits grouped; counts are exact up to 2⁵³.

    >>> integer(8030261248.0)
    '8 030 261 248'
    """
    return f"{value:,.0f}".replace(",", " ") if value == value else "–"


def count(value: float) -> str:
    """A large count in short: thousands, millions, billions.

    >>> count(8030261248.0)
    '8.030 B'
    """
    for suffix, step in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= step:
            return f"{value / step:.3f} {suffix}"
    return f"{value:.0f}"
