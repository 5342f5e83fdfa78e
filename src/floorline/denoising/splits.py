"""A denoising plan as splits of letters over mesh axes (``parallel/pictures.py``), with their degrees."""

from __future__ import annotations

from floorline.num import Num, minimum
from floorline.parallel.pictures import GUIDANCE, REPLICAS, RING, ULYSSES
from floorline.parallel.plan import present
from floorline.parallel.split import Extra
from floorline.specs.denoise_plan import DenoisePlan
from floorline.specs.parallelism import Parallelism


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
