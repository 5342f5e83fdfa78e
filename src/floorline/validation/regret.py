"""How much slower the plan that is predicted best is than the one that was measured best, where runs try several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from floorline.result import Result
from floorline.validation.cases import Case

SAME = ("source", "model", "layers_override", "accelerator", "devices", "global_batch", "seq_len", "engine")
"""What runs of one question share."""

PLAN = (
    "tp",
    "pp",
    "vpp",
    "dp",
    "cp",
    "ep",
    "zero",
    "sequence_parallel",
    "recompute",
    "recompute_modules",
    "micro_batch",
    "offload",
    "weights",
)
"""What tells plans apart."""

FEWEST = 3
"""Plans that a question needs."""


@dataclass(frozen=True)
class Regret(Result):
    """Over questions that have at least three plans.

    questions  how many
    mean       time of the plan predicted best over that of the best, less one; the mean of all questions [-]
    none       share of the questions in which they are the same plan [-]
    by         question → its regret
    """

    questions: int
    mean: float
    none: float
    by: Mapping[str, float]

    def answer(self) -> Mapping[str, Any]:
        """The figures, without the questions one by one."""
        return {"questions": self.questions, "mean": self.mean, "none": self.none}


def regret(priced: Iterable[tuple[Case, float]]) -> Regret | None:
    """The regret of some runs of training with their expected values; None where no question has enough plans.

    priced  each case with what is expected of it, in its own metric: a time, or a rate
    """
    found: dict[tuple[str, ...], dict[tuple[str, ...], list[tuple[float, float]]]] = {}
    for case, expected in priced:
        if case.word("kind") != "training" or not case.word("global_batch"):
            continue
        times = (1.0 / expected, 1.0 / case.value) if case.is_rate else (expected, case.value)
        same = (case.metric, *(case.word(column) for column in SAME))
        plan = tuple(case.word(column) for column in PLAN)
        found.setdefault(same, {}).setdefault(plan, []).append(times)
    by = {" ".join(same): of_question(list(plans.values())) for same, plans in found.items() if len(plans) >= FEWEST}
    if not by:
        return None
    values = np.array(list(by.values()))
    return Regret(len(by), float(np.mean(values)), float(np.mean(values == 0.0)), by)


def of_question(plans: Sequence[Sequence[tuple[float, float]]]) -> float:
    """One question's regret; of a plan that was measured several times the median counts.

    >>> of_question([[(1.0, 12.0)], [(2.0, 10.0)], [(3.0, 30.0)]])  # the first is predicted best, and takes 12 for 10
    0.2
    """
    medians = [tuple(float(np.median(column)) for column in zip(*plan, strict=True)) for plan in plans]
    picked = min(medians, key=lambda plan: plan[0])
    best = min(plan[1] for plan in medians)
    return round(picked[1] / best - 1.0, 12)
