"""What the host adds to the kernels of a step: starting each, where no captured graph does, and the engine's own work.

A host that starts kernels runs ahead of the device, so a step takes the longer of all starts and all kernels.
"""

from __future__ import annotations

import numpy as np

from floorline.letters import Numbers
from floorline.memory import kv_bytes
from floorline.num import Num, maximum, number, total, where
from floorline.program import Row
from floorline.specs.cluster import Cluster
from floorline.specs.engine import Engine
from floorline.step import Step
from floorline.tensor import WEIGHT

NARROW = 3.0
"""Operators that PyTorch starts for a matmul with quantised weights: it clears or makes inputs narrow, multiplies, adds a bias
(AutoGPTQ's exllamav2 linear; transformers' integrations/finegrained_fp8.py)."""


def starts(row: Row, numbers: Numbers, engine: Engine) -> Num:
    """What the host starts for a launch: one kernel, or each operator of a framework [-]."""
    if engine.starts == "kernels" or row.message is not None:
        return 1.0
    found = total(numbers.value(product) for product in row.starts)
    if engine.lays_out == "copying" and any(s.kind == "matmul" and not s.weights for s in row.sized):
        found = found + float(len(row.reads))
    if "softmax" in row.ops and "scores" not in row.ops:
        found = found + engine.score_passes
    narrow = any(p.tensor.role == WEIGHT and p.tensor.name in numbers.stored for p in row.reads)
    return found * NARROW if narrow else found


def host_time(step: Step, started: Num, kernels: Num, engine: Engine) -> Num:
    """What the host adds [s].

    started  launches or operators that it starts, if it does [-]
    kernels  all of the device's time [s]
    """
    graph = np.asarray(step.earlier + step.tokens) <= engine.graph_len
    captured = graph & (engine.launch == "graph")
    waiting = maximum(started * engine.launch_time - kernels, 0.0)
    return where(captured, 0.0, waiting) + engine.step_time


def cache_copy_time(step: Step, cluster: Cluster) -> Num:
    """Appending to a cache by copying all of it, as transformers does [s]: torch.cat of cache_utils.py's DynamicCache."""
    before = step.earlier / maximum(number(step.earlier + step.tokens), 1.0)
    return 2.0 * kv_bytes(step) * before / cluster.accelerator.memory_bandwidth
