"""A denoising plan as splits of letters over mesh axes, each of a few lines; what is sent follows from them.

Ulysses and ring both cut the tokens. In attention Ulysses' ranks take heads instead, so that an all-to-all brings them there and
back; a ring's keep their queries and need all keys and values, which go around: as many bytes as an all-gather.

Sources: Jacobs et al. 2023 (Ulysses), arXiv:2309.14509, section 3; Liu et al. 2023 (ring), arXiv:2310.01889; both together: Fang
and Zhao 2024 (USP), arXiv:2405.07719.
"""

from __future__ import annotations

from floorline.num import Num, minimum
from floorline.parallel.plan import present
from floorline.parallel.split import Extra, Split
from floorline.specs.denoise_plan import DenoisePlan
from floorline.specs.parallelism import Parallelism

HEADS = ("uk", "ug")
"""Axes of Ulysses: key/value heads, then the query heads of each."""
ULYSSES = Split(
    "ulysses",
    HEADS,
    tuple((letter, HEADS) for letter in "TWSMC"),
    kernels=(("attention", (("K", ("uk",)), ("G", ("ug",)))),),
)
RING = Split("ring", ("ring",), tuple((letter, ("ring",)) for letter in "TWSMC"))
GUIDANCE = Split("guidance", ("guide",), (("B", ("guide",)),))
REPLICAS = Split("replicas", ("replica",), (("B", ("replica",)),))


def parallelism(plan: DenoisePlan, kv_heads: Num) -> Parallelism:
    """The plan of one pass over the transformer: its patch pipeline, which is a matter of time alone, left out.

    kv_heads  K, heads of the model [-]

    >>> [extra.split.group for extra in parallelism(DenoisePlan(ulysses=4, guidance=2), 24.0).extra]
    ['ulysses', 'guidance']
    """
    heads = minimum(plan.ulysses, kv_heads / plan.tp)
    axes = (
        (plan.ulysses, ULYSSES, {"uk": heads, "ug": plan.ulysses / heads}),
        (plan.ring, RING, {"ring": plan.ring}),
        (plan.guidance, GUIDANCE, {"guide": plan.guidance}),
        (plan.dp, REPLICAS, {"replica": plan.dp}),
    )
    return Parallelism(tp=plan.tp, extra=tuple(Extra(split, ranks) for degree, split, ranks in axes if present(degree)))
