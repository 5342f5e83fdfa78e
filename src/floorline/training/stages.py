"""How layers are dealt out to pipeline stages, and which stage is the slowest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from floorline.num import Num, ceil, maximum, number, where
from floorline.specs.parallelism import Parallelism


@dataclass(frozen=True, eq=False)
class Stage:
    """What one stage runs.

    layers           of it [-]
    embedding, head  1 where it has them, else 0 [-]
    index            from 0 [-]
    exists           whether the pipeline has such a stage
    """

    layers: Num
    embedding: Num
    head: Num
    index: Num
    exists: Num

    def picked(self, better: object, other: Stage) -> Stage:
        """This one where a condition holds, else the other."""
        return Stage(
            where(better, self.layers, other.layers),
            where(better, self.embedding, other.embedding),
            where(better, self.head, other.head),
            where(better, self.index, other.index),
            where(better, self.exists, other.exists),
        )


@dataclass(frozen=True, eq=False)
class Stages:
    """The kinds of stages that a pipeline has: its first, those between, and its last; of one stage only the first.

    first, middle, last  stages
    """

    first: Stage
    middle: Stage
    last: Stage

    @property
    def all(self) -> tuple[Stage, ...]:
        """All kinds."""
        return (self.first, self.middle, self.last)


def stages(layers: Num, plan: Parallelism) -> Stages:
    """Layers on each kind of stage: as many on each as on the fullest, what is missing on the last; where the ends count as
    layers, the first and the last have one less.

    Source: Megatron-LM, --account-for-embedding-in-pipeline-split and --account-for-loss-in-pipeline-split; BigScience's 176B
    model, 70 layers and two ends on 12 stages: 5 layers on the first and the last, 6 on the others
    (bigscience-workshop/bigscience, train/tr11-176B-ml/README.md).

    >>> found = stages(70.0, Parallelism(pp=12, ends_as_layers="yes"))
    >>> [float(stage.layers) for stage in found.all]
    [5.0, 6.0, 5.0]
    """
    p, ends = number(plan.pp), 1.0 if plan.ends_as_layers == "yes" else 0.0
    chunks = p * plan.virtual_stages
    fullest = ceil((layers + 2.0 * ends) / chunks) * plan.virtual_stages
    alone, several, between = (
        number(np.asarray(p <= 1.0) * 1.0),
        number((np.asarray(p) > 1.0) * 1.0),
        number((np.asarray(p) > 2.0) * 1.0),
    )
    first = where(alone > 0.0, layers, fullest - ends)
    last = maximum(layers - first - fullest * maximum(p - 2.0, 0.0), 0.0) * several
    return Stages(
        Stage(first, 1.0 + 0.0 * p, alone, 0.0 * p, 1.0 + 0.0 * p),
        Stage(fullest * between, 0.0 * p, 0.0 * p, 1.0 + 0.0 * p, between),
        Stage(last, 0.0 * p, several, p - 1.0, several),
    )
