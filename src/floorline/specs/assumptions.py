"""A user's own factors on the textbook sum, kept apart from the physics and always shown."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.num import Num
from floorline.specs.fields import check, choice, spec


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What the serial time assumes. The floor assumes none of it.

    >>> Assumptions().compute_efficiency
    1.0
    """

    compute_efficiency: Num = spec(
        "share of the peak that arithmetic reaches, in the serial time", default=1.0, least=1e-6, most=1.0, whole=False
    )
    memory_efficiency: Num = spec(
        "share of the memory bandwidth that is reached, in the serial time",
        default=1.0,
        least=1e-6,
        most=1.0,
        whole=False,
    )
    launch_time: Num = spec(
        "least time of a launch, in the serial time", unit="s", default=0.0, least=0.0, most=1.0, whole=False
    )
    message_latency: Num = spec(
        "time that a message takes before its first byte, in the serial time",
        unit="s",
        default=0.0,
        aliases=("--message-latency", "--link-latency"),
        least=0.0,
        most=1.0,
        whole=False,
    )
    expert_evenness: Num = spec(
        "how evenly tokens choose experts, in the serial time: 1 all of them alike, 0 every token the same few",
        default=1.0,
        least=0.0,
        most=1.0,
        whole=False,
    )
    attention: str = choice(
        "query-key pairs that the serial time and the FLOP count: the full square, or those a causal mask leaves",
        ("full", "causal"),
        "full",
    )
    fusion: str = choice(
        "operators that are one launch: none but stored-together projections, attention too, or everything",
        ("unfused", "flash", "compulsory"),
        "flash",
    )

    def __post_init__(self) -> None:
        check(self)
