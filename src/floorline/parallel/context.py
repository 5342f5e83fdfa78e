"""Context parallelism: tokens over ranks. Attention needs all keys and values, or all tokens of some heads.

``gathered``  keys and values are gathered before attention (a ring sends the same bytes). Source: Liu et al. 2023,
              arXiv:2310.01889; Llama 3 herd of models 2024, arXiv:2407.21783, section 3.3.2.
``exchanged`` an all-to-all turns a split by tokens into one by heads and back. Source: Jacobs et al. 2023 (DeepSpeed
              Ulysses), arXiv:2309.14509, section 3.
``decoding``  one new token cannot be split: only the cached tokens are, and attention's statistics and output are reduced.
"""

from __future__ import annotations

from floorline.num import Num, minimum
from floorline.parallel.split import Split

AXES = ("cpk", "cpg")
TOKENS = tuple((letter, AXES) for letter in "TWSMC")
# its ranks keep the same weights as those of data parallelism: gradients are summed over both groups in one message
GATHERED = Split("data", AXES, TOKENS)
DECODING = Split("data", AXES, (("S", AXES),))
EXCHANGED = Split(
    "data",
    AXES,
    TOKENS,
    kernels=(("attention", (("K", ("cpk",)), ("G", ("cpg",)))),),
)


def context(kind: str, decoding: bool) -> Split:
    """The split of a phase.

    >>> context("all-to-all", decoding=False).places("BTKGS", "attention")
    {'cpk': 'K', 'cpg': 'G'}
    """
    if decoding:
        return DECODING
    return {"all-gather": GATHERED, "all-to-all": EXCHANGED}[kind]


def degrees(cp: Num, kv_heads: Num) -> dict[str, Num]:
    """Ranks of the two axes; ``kv_heads`` are those that tensor parallelism leaves to a rank."""
    heads = minimum(cp, kv_heads)
    return {"cpk": heads, "cpg": cp / heads}
