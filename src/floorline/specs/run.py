"""A whole training run, beside its single steps: tokens, failures, money. Frozen, no formulas."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.num import Num
from floorline.specs.fields import check, spec


@dataclass(frozen=True, kw_only=True)
class Run:
    """How long, at what risk, at what price.

    >>> Run(tokens=300e9).lost_time
    1200.0
    """

    tokens: Num | None = spec("tokens of the whole run, such as 300e9", default=None, aliases=("--tokens",), most=1e18)
    between_failures: Num = spec(
        "mean time between failures of one device; Llama 3's 16 384 had one in 50 700 hours of a device",
        unit="s",
        default=50700 * 3600.0,
        aliases=("--between-failures",),
        least=1.0,
        most=1e15,
        whole=False,
    )
    lost_time: Num = spec(
        "time that each failure costs all devices: restart, and steps since the last checkpoint; 0 for no failures",
        unit="s",
        default=1200.0,
        aliases=("--lost-time",),
        least=0.0,
        most=1e9,
        whole=False,
    )
    price: Num | None = spec(
        "what a device costs for an hour, in dollars",
        unit="USD/h",
        default=None,
        aliases=("--price",),
        least=0.0,
        most=1e6,
        whole=False,
    )
    power: Num | None = spec(
        "what a device draws while it works, such as '500 W'",
        unit="W",
        default=None,
        aliases=("--power",),
        least=0.0,
        most=1e6,
        whole=False,
    )

    def __post_init__(self) -> None:
        check(self)
