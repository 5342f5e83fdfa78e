"""The operator table: every launch and message of a step, with its serial time and what bounds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from floorline import program
from floorline.errors import NoModel
from floorline.kernel_times import KernelTimes
from floorline.letters import Numbers
from floorline.network import levels
from floorline.num import Num, total
from floorline.program import Row
from floorline.result import Result
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.engine import Engine
from floorline.step import Step

BOUNDS = ("compute", "memory", "launch", "link")


@dataclass(frozen=True)
class Launch(Result):
    """One launch or message of the serial model.

    name     of the kernel, with its block: "block.qkv"
    repeat   times that it runs in the step [-]
    flops    of one run [FLOP]
    bytes    read and written by one run [B]
    sent     put on the wire by one run [B]
    serial   time of one run [s]
    bound    compute, memory, launch or link; an array of them where numbers are arrays
    formula  its FLOP in letters
    filled   the same with the numbers in place
    expected, low, high  time of one run as measured kernels have it, and its 90 % interval [s]; None where no model is known, 0
    for what
             another launch does on its way
    kernels  the fitted models that it comes from
    """

    name: str
    repeat: Num
    flops: Num
    bytes: Num
    sent: Num
    serial: Num
    bound: object
    formula: str
    filled: str
    expected: Num | None = None
    low: Num | None = None
    high: Num | None = None
    kernels: tuple[str, ...] = ()


def launches(
    step: Step, cluster: Cluster, assumptions: Assumptions, engine: Engine | None = None
) -> tuple[Launch, ...]:
    """Every launch and message of a step, in order.

    >>> from floorline.catalogue.clusters import load_cluster
    >>> from floorline.catalogue.load import load_model
    >>> one = Step(load_model("gpt2"), 1.0, 1.0, 1023.0)
    >>> [str(x.bound) for x in launches(one, load_cluster("a100"), Assumptions()) if x.name == "block.qkv"]
    ['memory']
    """
    device, ways = cluster.accelerator, levels(cluster)
    bandwidth = device.memory_bandwidth * assumptions.memory_efficiency
    found = []
    times = KernelTimes(step, cluster, engine) if engine is not None else None
    masked = {id(stack): numbers for stack, numbers in step.numbers("causal")}
    for stack, numbers, row in step.rows(assumptions.fusion):
        cost = program.price(row, numbers, step.precision)
        rate = step.rate(row, numbers, cluster)
        serial = step.time(row, cost, numbers, cluster, assumptions, ways)
        link = serial if row.message is not None else -1.0
        launch = -1.0 if row.message is not None else assumptions.launch_time
        parts = (cost.flops / (rate * assumptions.compute_efficiency), cost.bytes / bandwidth, launch, link)
        bound = np.take(np.asarray(BOUNDS), np.argmax(np.stack(np.broadcast_arrays(*parts)), axis=0))
        found.append(
            Launch(
                name=f"{stack.block.name}.{row.name}",
                repeat=stack.repeat,
                flops=cost.flops,
                bytes=cost.bytes,
                sent=cost.sent,
                serial=serial,
                bound=bound,
                formula=" + ".join(p.formula() for _, p in row.flops),
                filled=" + ".join(numbers.filled(p) for _, p in row.flops),
                **(hoped(times, row, masked[id(stack)]) if times is not None else {}),
            )
        )
    return tuple(found)


def hoped(times: KernelTimes, row: Row, numbers: Numbers) -> dict[str, Any]:
    """What a launch is expected to take, as fields of ``Launch``."""
    try:
        found = times.launch(row, numbers)
    except NoModel:
        return {}
    ends = [time.model.interval(time.seconds) for time in found]
    low = total(time.seconds * np.exp(end[0]) for time, end in zip(found, ends, strict=True))
    high = total(time.seconds * np.exp(end[1]) for time, end in zip(found, ends, strict=True))
    kernels = tuple(dict.fromkeys(time.model.told for time in found))
    return {"expected": total(time.seconds for time in found), "low": low, "high": high, "kernels": kernels}
