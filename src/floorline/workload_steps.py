"""The steps of a workload: a prefill, decode steps at growing contexts, a closed loop's way to a first token and each later one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from floorline.feasible import spread
from floorline.num import Num, all_true, minimum, number
from floorline.phases import Phase
from floorline.serving import loop
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.engine import Engine
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.workload import Decode, Encode, Generate, Prefill, Serve, Train, Workload
from floorline.step import Step, generating, single
from floorline.transformer import Transformer

if TYPE_CHECKING:
    from numpy.typing import NDArray


def served(
    model: Transformer,
    workload: Serve,
    cluster: Cluster,
    plan: Parallelism,
    precision: Precision,
    assumed: Assumptions,
    engine: Engine,
    budget: Num,
    most: Num,
    feasible: NDArray[np.bool_],
) -> tuple[Phase, ...]:
    """The phases of a closed loop: a request's way to its first token, and each later one."""
    generating(model, "generation")
    assert workload.concurrency is not None
    found = loop(model, workload, plan, precision, assumed.attention, budget, most)
    prompts = replace(found.alone[0], batch=minimum(workload.concurrency, most))
    first = Phase("prefill", prompts, cluster, assumed, feasible, None, engine, found.first, found.alone[0])
    later = workload.output_len - 1.0
    return (
        first,
        Phase("decode", found.later.decode, cluster, assumed, feasible, later, engine, found.later, found.alone[1]),
    )


def tokens_made(workload: Workload) -> Num:
    """Tokens that a workload generates, over all of its sequences [-]."""
    if isinstance(workload, Serve):
        assert workload.concurrency is not None
        return workload.concurrency * workload.output_len
    sequences = workload.global_batch if isinstance(workload, Train) else workload.batch
    return sequences * (
        workload.output_len if isinstance(workload, Generate) else 0.0 if isinstance(workload, Encode) else 1.0
    )


def steps(
    model: Transformer, workload: Workload, plan: Parallelism, precision: Precision, attention: str
) -> tuple[tuple[str, Step, Num | None], ...]:
    """The phases of a workload: name, step, and how many of them at growing contexts (None: one)."""
    if isinstance(workload, Generate):
        generating(model, "generation")
        batch, source = workload.batch, workload.source_len
        prompt = Prefill(batch=batch, prompt_len=workload.prompt_len, cached_len=workload.cached_len, source_len=source)
        first = Decode(batch=batch, context_len=workload.cached_len + workload.prompt_len, source_len=source)
        prefill = steps(model, prompt, plan, precision, attention)
        (name, step, _), *_ = steps(model, first, plan, precision, attention)
        return (*prefill, (name, step, workload.output_len - 1.0)) if several(workload.output_len) else prefill
    step = single(model, workload, plan, precision, attention)
    name = "decode" if step.decoding else "encode" if isinstance(workload, Encode) else "prefill"
    return ((name, replace(step, batch=spread(step.batch, plan.dp)), None),)


def several(output_len: Num) -> bool:
    """Whether any point generates more than the token that its prefill gives."""
    return not all_true(number(output_len) <= 1.0)
