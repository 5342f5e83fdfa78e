"""The time of a dense matmul: tiles in waves over the multiprocessors, against its traffic.

A library picks a tile and how many parts to split k into; the model takes the fastest of those that exist. A tile takes as long as
its arithmetic, or as its steps along k when these are short; tiles run in waves, one on each multiprocessor; loading and the
arithmetic overlap in part; the result of a tile is written with little to hide behind.

Valid for dense C[m,n] = A[m,k]·B[k,n] with m, n from 1 to 10⁶ and k from 64 to 10⁶, on devices with multiprocessors.
Source of the form: NVIDIA, "Matrix multiplication background user's guide", sections tile and wave quantization; the parameters
are fitted to measured kernels (see ``floorline.calibrate``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from floorline.num import Array, Num, ceil, maximum, minimum, power

TILES = ((256, 128), (128, 256), (128, 128), (256, 64), (64, 256), (128, 64), (64, 128), (64, 64))
SMALL_TILES = ((32, 128), (32, 64), (16, 128), (16, 64))
SPLITS = (1, 2, 3, 4, 6, 8, 12, 16)
STEP = 64.0
"""Columns of k that a tile takes at a time."""

LEAST_PART = 128.0
"""No part of a split k is shorter."""


def parameter(doc: str, start: float, low: float, high: float, unit: str = "-") -> Any:
    """A fitted number: what it means, where a fit starts, its range and its unit."""
    return field(metadata={"doc": doc, "start": start, "low": low, "high": high, "unit": unit})


@dataclass(frozen=True)
class Matmul:
    """Parameters of dense matmuls of one accelerator and one format."""

    launch: float = parameter("a launch that does nothing", 2.5e-6, 5e-7, 2e-5, "s")
    efficiency: float = parameter("share of the peak that a very large tile sustains", 0.92, 0.2, 1.0)
    half_tile: float = parameter("tile, m·n/(m + n), whose operands' reuse allows half of that", 4.0, 0.05, 60.0)
    bandwidth: float = parameter("share of the memory bandwidth that a large transfer reaches", 0.85, 0.3, 1.0)
    fill: float = parameter("start and end of a tile", 6e-7, 1e-9, 1e-5, "s")
    k_step: float = parameter("least time of a step along k", 1.2e-7, 1e-9, 2e-6, "s")
    epilogue: float = parameter("share of writing a tile's result that nothing hides", 0.4, 0.001, 3.0)
    reduction: float = parameter("adding the parts of a split k", 2e-6, 1e-8, 2e-5, "s")
    overlap: float = parameter("exponent by which arithmetic and traffic add: 1 one after the other", 3.0, 1.0, 12.0)
    tail: float = parameter("share of a last, partial wave that scheduling fills", 0.8, 0.0001, 1.0)
    sag: float = parameter("by how much a long kernel's clock is lower than a short one's", 0.15, 1e-6, 1.0)
    sag_time: float = parameter("kernel time at which half of that is lost", 5e-4, 1e-6, 1.0, "s")
    copies: float = parameter("sets of weights among which the measurement rotated", 6.0, 1.0, 1e4)
    cache_speed: float = parameter("last-level cache over memory, in bandwidth", 2.0, 1.0, 10.0)
    quantise: float = parameter("launch that makes narrow inputs out of 16-bit ones", 1.5e-6, 1e-9, 2e-5, "s")
    quantise_bandwidth: float = parameter("share of the memory bandwidth that it reaches", 0.7, 0.05, 3.0)


@dataclass(frozen=True)
class Device:
    """What the model needs of a device.

    multiprocessors  [-]
    peak             in the format [FLOP/s]
    bandwidth        of memory [B/s]
    cache            last-level [B]
    small_tiles      whether its libraries have tiles of 16 and 32 rows
    """

    multiprocessors: Num
    peak: Num
    bandwidth: Num
    cache: Num
    small_tiles: bool = True


@dataclass(frozen=True)
class Width:
    """Bytes of an element.

    weights, activations, result  [B]
    """

    weights: float = 2.0
    activations: float = 2.0
    result: float = 2.0

    @property
    def narrow(self) -> bool:
        """Whether inputs are made narrow first."""
        return self.activations < 2.0


def traffic_time(p: Matmul, device: Device, width: Width, m: Num, n: Num, k: Num, rotated: bool) -> Num:
    """Loading and storing [s]: weights from memory unless a measurement's copies of them fit in the cache, activations from the
    cache as far as they fit.

    rotated  whether this is a measurement that rotates among copies of its weights; in a model each layer has its own
    """
    weights, others = width.weights * k * n, width.activations * m * k + width.result * m * n
    kept = fits(others, device.cache) * others
    if rotated:
        kept = kept + fits(weights * p.copies, device.cache) * weights
    rate = device.bandwidth * p.bandwidth
    return (weights + others - kept) / rate + kept / (rate * p.cache_speed)


def fits(size: Num, cache: Num) -> Num:
    """How far something stays in a cache: nearly whole below its size, hardly at all above."""
    return 1.0 / (1.0 + power(size / maximum(cache, 1.0), 4.0))


def tile_time(
    p: Matmul, device: Device, width: Width, rows: int, columns: int, parts: int, m: Num, n: Num, k: Num
) -> Num:
    """All waves of one choice of tile and split [s]."""
    reuse = rows * columns / (rows + columns)
    rate = device.peak / device.multiprocessors * p.efficiency * reuse / (reuse + p.half_tile)
    length = ceil(k / (parts * STEP)) * STEP
    tiles = ceil(m / rows) * ceil(n / columns) * parts
    waves = tiles / device.multiprocessors
    run = ceil(waves) * (1.0 - p.tail) + p.tail * maximum(waves, 1.0)
    writing = rows * columns * width.result * minimum(tiles, device.multiprocessors) / (device.bandwidth * p.bandwidth)
    steps = maximum(2.0 * rows * columns * length / rate, length / STEP * p.k_step)
    short = run * (steps + p.fill + writing * p.epilogue)
    return short * (1.0 + p.sag * short / (short + p.sag_time))


def matmul_time(p: Matmul, device: Device, width: Width, m: Num, n: Num, k: Num, rotated: bool = False) -> Num:
    """The time of C[m,n] = A[m,k]·B[k,n] [s].

    p        fitted parameters
    device   the accelerator's figures
    width    bytes of elements
    m, n, k  sizes [-]
    rotated  see ``traffic_time``

    >>> from dataclasses import fields
    >>> start = Matmul(*(f.metadata["start"] for f in fields(Matmul)))
    >>> h100 = Device(132.0, 989.4e12, 3.35e12, 50e6)
    >>> times = [float(matmul_time(start, h100, Width(), m, 8192.0, 8192.0)) for m in (1.0, 64.0, 8192.0)]
    >>> times[0] < 60e-6 < times[2], bool(2 * 8192.0**3 / 989.4e12 < times[2])
    (True, True)
    """
    moving = power(traffic_time(p, device, width, m, n, k, rotated), p.overlap)
    best: Num = np.inf
    for rows, columns in (*TILES, *(SMALL_TILES if device.small_tiles else ())):
        for parts in SPLITS:
            busy = power(tile_time(p, device, width, rows, columns, parts, m, n, k), p.overlap)
            whole = power(busy + moving, 1.0 / p.overlap)
            if parts > 1:
                partial = 8.0 * parts * m * n / (device.bandwidth * p.cache_speed)
                allowed = np.where(np.asarray(ceil(k / (parts * STEP)) * STEP) >= LEAST_PART, 0.0, np.inf)
                whole = whole + p.reduction + partial + allowed
            best = minimum(best, whole)
    first = p.launch
    if width.narrow:
        made = (2.0 + width.activations) * m * k / (device.bandwidth * p.quantise_bandwidth)
        return first + p.quantise + made + best
    return first + best


def parameters(values: Array) -> Matmul:
    """Parameters from an array, in the order of the fields."""
    return Matmul(*(float(value) for value in values))
