"""The time of an element-wise operator on m rows of n: blocks in waves over the multiprocessors, against its traffic.

A block of threads takes a row, walks along it in a loop, and leaves; as many blocks run at once as the multiprocessors hold
threads. So the time is quantised in m: 108 × 2 blocks of 1024 threads run at once on an A100, and a 217th row starts a second
wave. Where the operands fit in the last-level cache they come from there. A look-up of few rows goes by another kernel, which
takes them in turn.

Valid for 1 to 10⁵ rows of 512 to 3·10⁴ elements. Source of the form: the kernels of vLLM (``layernorm_kernels.cu``,
``activation_kernels.cu``, ``pos_encoding_kernels.cu``: a block for each token) and PyTorch (``Indexing.cu``).
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.efficiency.device import Device
from floorline.efficiency.parameter import parameter
from floorline.num import Num, ceil, floor, maximum, minimum, power, where


@dataclass(frozen=True)
class ElementWise:
    """Parameters of one operator on one accelerator."""

    launch: float = parameter("a launch that does nothing", 1.5e-6, 2e-7, 1e-5, "s")
    row: float = parameter("start, wait and end of a block", 1e-6, 1e-9, 2e-5, "s")
    element: float = parameter("further cycles of it for an element of its row", 0.5, 1e-3, 10.0)
    rate: float = parameter("elements that a multiprocessor full of blocks finishes in a cycle", 1.5, 0.1, 8.0)
    bandwidth: float = parameter("share of the memory bandwidth that a large transfer reaches", 0.88, 0.8, 1.0)
    cache_speed: float = parameter("last-level cache over memory, in bandwidth", 2.0, 1.0, 5.0)
    cache_share: float = parameter("share of the last-level cache that the operands find", 0.7, 0.05, 2.0)
    overlap: float = parameter("exponent by which waves and traffic add: 1 one after the other", 2.5, 1.0, 6.0)
    look_up: float = parameter("a row of a look-up of few", 7e-7, 1e-9, 1e-5, "s")


@dataclass(frozen=True)
class Operator:
    """What an operator does, whatever it runs on.

    passes   elements read and written for each of n
    threads  of a block, at most
    look_up  whether rows come from a table, few of them one after another
    """

    passes: float
    threads: float
    look_up: bool = False


OPERATORS = {
    "rmsnorm": Operator(2.0, 1024.0),
    "activation": Operator(3.0, 1024.0),
    "rope": Operator(2.0, 512.0),
    "add": Operator(3.0, 128.0),
    "embedding": Operator(2.0, 256.0, True),
}
"""n is the width of the result; of rope, of queries and keys together."""

FEW = 16.0
"""Rows up to which PyTorch looks them up one after another."""


def traffic_time(p: ElementWise, device: Device, size: Num) -> Num:
    """Reading and writing so many bytes [s], from the cache as far as they stay there."""
    kept = size / (1.0 + power(size / maximum(device.cache * p.cache_share, 1.0), 4.0))
    return (size - kept + kept / p.cache_speed) / (device.bandwidth * p.bandwidth)


def waves(operator: Operator, device: Device, m: Num, n: Num) -> Num:
    """Waves of blocks, a row each [-]."""
    together = device.multiprocessors * maximum(floor(device.threads / minimum(n, operator.threads)), 1.0)
    return ceil(m / together)


def element_wise_time(p: ElementWise, device: Device, op: str, width: float, m: Num, n: Num) -> Num:
    """The time of an operator [s].

    p       fitted parameters
    device  the accelerator's figures
    op      key of ``OPERATORS``
    width   of an element [B]
    m       rows [-]
    n       elements of a row of the result [-]
    """
    operator = OPERATORS[op]
    moving = traffic_time(p, device, operator.passes * width * m * n)
    waiting = waves(operator, device, m, n) * (p.row + p.element * n / device.clock)
    running = maximum(waiting, m * n / (device.multiprocessors * device.clock * p.rate))
    whole: Num = p.launch + power(power(moving, p.overlap) + power(running, p.overlap), 1.0 / p.overlap)
    if operator.look_up:
        return where(m <= FEW, p.launch + p.look_up * m + moving, whole)
    return whole
