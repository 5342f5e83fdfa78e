"""What the host adds to the kernels of a step: starting each, where no captured graph does, and the engine's own work.

A host that starts kernels runs ahead of the device, so a step takes the longer of all starts and all kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from floorline.letters import Numbers
from floorline.memory import kv_bytes
from floorline.message_times import operators
from floorline.num import Num, maximum, minimum, number, total, where
from floorline.program import Row
from floorline.specs.cluster import Cluster
from floorline.specs.engine import Engine
from floorline.step import Step
from floorline.tensor import WEIGHT

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOUR_BITS, EIGHT_BITS = 1.3, 5.5
"""Operators that PyTorch starts for a matmul with quantised weights. Four bits: one, whose kernels clear and multiply, and for some
a bias (AutoGPTQ's exllama linear, AutoAWQ's). Eight: it makes and widens tensors before, and narrows the result (AutoGPTQ's
qlinear_cuda_old: five or six)."""


REPEATED = frozenset({"scores", "values"})
"""Operators of attention before which repeat_kv of modeling_llama.py copies keys, or values, for each query head."""


def starts(row: Row, numbers: Numbers, engine: Engine) -> Num:
    """What the host starts for a launch: one kernel, or each operator of a framework; nothing for a message of one rank [-]."""
    if row.message is not None:
        begun = operators(row.message, numbers) if engine.starts == "operators" else 1.0
        return where(number(numbers.ranks(row.message.axes)) > 1.0, begun, 0.0)
    if engine.starts == "kernels":
        return 1.0
    found = total(numbers.value(product) for product in row.starts)
    if engine.lays_out == "copying" and any(s.kind == "matmul" and not s.weights for s in row.sized):
        found = found + float(len(row.reads))
    if "softmax" in row.ops and "scores" not in row.ops:
        found = found + engine.score_passes
    if engine.repeats_heads == "yes" and "G" in numbers.values:
        found = found + where(numbers.values["G"] > 1.0, float(len(REPEATED.intersection(row.ops))), 0.0)
    names = (p.tensor.name for p in row.reads if p.tensor.role == WEIGHT)
    sizes = [number(numbers.stored.get(name, WIDE)) for name in names]
    narrow = [size for size in sizes if np.all(np.asarray(size) < WIDE)]
    return found * where(narrow[0] < 1.0, FOUR_BITS, EIGHT_BITS) if narrow else found


WIDE = 2.0
"""Bytes of a weight that is not quantised."""


def waits(step: Step, engine: Engine) -> bool:
    """Whether the host waits for the device so often that it never runs ahead of it."""
    own = step.model.quantization
    fp8 = own is not None and own.arithmetic == "fp8"
    return engine.runs_ahead == "no" or (engine.runs_ahead == "not in fp8" and fp8)


def captured(step: Step, engine: Engine) -> NDArray[np.bool_]:
    """Whether a step is in a captured graph, so that the host starts nothing else."""
    return (np.asarray(step.earlier + step.tokens) <= engine.graph_len) & (engine.launch == "graph")


def host_time(step: Step, started: Num, kernels: Num, engine: Engine) -> Num:
    """What the host adds [s].

    started  launches or operators that it starts, if it does [-]
    kernels  all of the device's time [s]
    """
    starting = started * engine.launch_time
    waiting = starting if waits(step, engine) else maximum(starting - kernels, 0.0)
    return where(captured(step, engine), 0.0, waiting) + engine.step_time


def hidden_time(step: Step, started: Num, kernels: Num, engine: Engine) -> Num:
    """Of the host's starts, what is taken to happen while the device works, and may not [s]."""
    hidden = 0.0 if waits(step, engine) else minimum(started * engine.launch_time, kernels)
    return where(captured(step, engine), 0.0, hidden)


def cache_copy_time(step: Step, cluster: Cluster) -> Num:
    """Appending to a cache by copying all of it, as transformers does [s]: torch.cat of cache_utils.py's DynamicCache."""
    before = step.earlier / maximum(number(step.earlier + step.tokens), 1.0)
    return 2.0 * kv_bytes(step) * before / cluster.accelerator.memory_bandwidth
