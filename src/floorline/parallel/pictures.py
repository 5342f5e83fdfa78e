"""How pictures and videos are shared out: tokens, guidance passes, pictures, each a split of a few lines; what is sent follows.

Ulysses and ring both cut the tokens. In attention Ulysses' ranks take heads instead, so that an all-to-all brings them there and
back; a ring's keep their queries and need all keys and values, which go around: as many bytes as an all-gather.

Sources: Jacobs et al. 2023 (Ulysses), arXiv:2309.14509, section 3; Liu et al. 2023 (ring), arXiv:2310.01889; both together: Fang
and Zhao 2024 (USP), arXiv:2405.07719.
"""

from __future__ import annotations

from floorline.parallel.split import Split

TURNS = ("ring",)
"""The axis around which a ring passes keys and values, while attention works on those that are there."""
HEADS = ("uk", "ug")
"""Axes of Ulysses: key/value heads, then the query heads of each."""
ULYSSES = Split(
    "ulysses",
    HEADS,
    tuple((letter, HEADS) for letter in "TWSMC"),
    kernels=(("attention", (("K", ("uk",)), ("G", ("ug",)))),),
)
RING = Split("ring", TURNS, tuple((letter, TURNS) for letter in "TWSMC"))
GUIDANCE = Split("guidance", ("guide",), (("B", ("guide",)),))
REPLICAS = Split("replicas", ("replica",), (("B", ("replica",)),))
