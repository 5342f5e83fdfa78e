"""The time of a dense matmul: tiles in waves over the multiprocessors, against its traffic.

A library picks a tile, of those that it has for so many rows, and splits k among idle multiprocessors where that
helps; the model takes the fastest. A tile's step along k takes as long as its arithmetic, slowed by loading operands
with little reuse, or as long as a load's latency. Tiles run in waves, one on each multiprocessor. Arithmetic and
traffic overlap in part. Narrow inputs are made out of 16-bit ones first, by kernels whose time counts.

Valid for C[m,n] = A[m,k]·B[k,n] with m, n from 1 to 10⁵ and k from 64 to 10⁵, on devices with multiprocessors. The
time never falls when m, n or k grow, but for m from 1 to 2 where ``one_row`` is above zero: every step of it is a
sum, a maximum or a minimum of things that grow. Tiles that a library keeps for few rows only are left out of the
minimum beyond those.

Sources: NVIDIA, "Matrix multiplication background user's guide", tile and wave quantization; tile sizes by rows:
dispatch of the CUTLASS fp8 kernels for sm89 and sm90 in vLLM and SGLang. The parameters are fitted to measured
kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from floorline.efficiency.device import Device, Width, fits
from floorline.efficiency.parameter import parameter
from floorline.num import Num, ceil, maximum, minimum, power, where

STEP = 64.0
"""Columns of k that a tile takes at a time."""

LEAST_STEPS = 2.0
"""No part of a split k has fewer steps."""

SAG_TIME = 1e-3
"""Kernel time at which half of the clock's sag is there [s]."""

PARTIAL = 8.0
"""Bytes to write and read a 32-bit partial sum of a split k [B]."""

ANY = np.inf


@dataclass(frozen=True)
class Library:
    """The kernels among which a library chooses.

    tiles   rows and columns of the result, and the most rows m of a matmul for which the library has this tile
    splits  whether it splits k among multiprocessors that would idle
    """

    tiles: tuple[tuple[int, int, float], ...]
    splits: bool = True


LIBRARIES = {
    "any": Library(((128, 256, ANY), (128, 128, ANY), (128, 64, ANY), (64, 128, ANY), (64, 64, ANY), (32, 64, ANY))),
    "rows-sm90": Library(((16, 64, 16), (64, 64, 64), (64, 128, 128), (128, 128, ANY)), False),
    "rows-sm89-vllm": Library(((16, 64, 16), (32, 64, 32), (64, 64, 64), (64, 128, 256), (128, 128, ANY)), False),
    "rows-sm89-sglang": Library(((16, 64, 16), (32, 64, 64), (64, 64, 128), (128, 64, 256), (128, 128, ANY)), False),
}
"""By name. ``any``: cuBLAS, cuBLASLt, DeepGEMM, FlashInfer: the best of all tiles; ``rows-…``: CUTLASS kernels whose
tile an engine picks by m alone, and which do not split k."""


@dataclass(frozen=True)
class Matmul:
    """Parameters of dense matmuls of one accelerator, one format and one engine (or the median over engines).

    library  key of ``LIBRARIES``: that which fits best
    """

    launch: float = parameter("launches of everything, those that make narrow inputs too", 2.5e-6, 2e-7, 1e-3, "s")
    efficiency: float = parameter("share of the peak that a very large tile sustains", 0.9, 0.05, 1.0)
    half_tile: float = parameter("tile, m·n/(m + n), at which loading operands halves that", 10.0, 0.01, 100.0)
    bandwidth: float = parameter("share of the memory bandwidth that a large transfer reaches", 0.85, 0.2, 1.0)
    ramp: float = parameter("most that memory takes to reach that", 1e-6, 1e-9, 1e-4, "s")
    k_step: float = parameter("least time of a step of 64 along k", 8e-8, 1e-9, 3e-6, "s")
    epilogue: float = parameter("share of writing a tile's result that nothing hides", 0.4, 0.001, 5.0)
    reduction: float = parameter("adding the parts of a split k", 3e-6, 1e-8, 2e-4, "s")
    overlap: float = parameter("exponent by which arithmetic and traffic add: 1 one after the other", 2.6, 1.0, 12.0)
    tail: float = parameter("share of a last, partial wave that scheduling fills", 0.6, 0.001, 1.0)
    sag: float = parameter("by how much a long kernel's clock is lower than a short one's", 0.2, 1e-4, 1.5)
    copies: float = parameter("sets of weights among which the measurement rotated", 6.0, 1.0, 1e4)
    cache_speed: float = parameter("last-level cache over memory, in bandwidth", 1.5, 1.0, 10.0)
    strip: float = parameter("columns of n after which activations beyond the cache are read again", 7e3, 32.0, 1e7)
    quantise_row: float = parameter("least time of making a row of narrow inputs", 1e-9, 1e-12, 1e-6, "s")
    quantise_bandwidth: float = parameter("share of the memory bandwidth of making narrow inputs", 0.7, 0.02, 3.0)
    one_row: float = parameter("what a single row takes longer, by another kernel", 1e-7, 1e-9, 1e-4, "s")
    library: str = "any"


def traffic_time(p: Matmul, device: Device, width: Width, m: Num, n: Num, k: Num, rotated: bool) -> Num:
    """Loading and storing [s]: weights from memory unless a measurement's copies of them fit in the cache; activations
    and results in the cache as far as they fit; activations that do not are read again for each strip of columns.

    rotated  whether this is a measurement that rotates among copies of its weights; in a model each layer has its own
    """
    weights, inputs = width.weights * k * n, width.activations * m * k
    others = inputs + width.result * m * n
    kept = fits(others, device.cache) * others
    if rotated:
        kept = kept + fits(weights * p.copies, device.cache) * weights
    again = inputs * (1.0 - fits(inputs, device.cache)) * n / p.strip
    moved = weights + others + again - kept * (1.0 - 1.0 / p.cache_speed)
    whole = moved / (device.bandwidth * p.bandwidth)
    return whole + p.ramp * whole / (whole + p.ramp)


def compute_time(p: Matmul, device: Device, width: Width, library: Library, m: Num, n: Num, k: Num) -> Num:
    """All waves of the fastest tile [s]."""
    count, steps = device.multiprocessors, ceil(k / STEP)
    rows = {r: ceil(m / r) / count for r in {tile[0] for tile in library.tiles}}
    columns = {c: ceil(n / c) for c in {tile[1] for tile in library.tiles}}
    closed = {
        most: where(np.asarray(m) <= most, 0.0, np.inf) for most in {tile[2] for tile in library.tiles} if most < ANY
    }
    rate, least = device.peak / count * p.efficiency, minimum(steps, LEAST_STEPS)
    best: Num = np.inf
    for r, c, most in library.tiles:
        loads = p.half_tile * (r + c) / (r * c)
        step = maximum(2.0 * r * c * STEP / rate * (1.0 + loads * loads), p.k_step)
        writing = r * c * width.result * p.epilogue * count / (device.bandwidth * p.bandwidth)
        waves = rows[r] * columns[c]
        whole, below = maximum(waves, 1.0), minimum(waves, 1.0)
        time: Num = (ceil(waves) * (1.0 - p.tail) + p.tail * whole) * (steps * step + writing * below)
        if library.splits:
            adding = writing + PARTIAL * r * c * count / (device.bandwidth * p.cache_speed)
            split = maximum(steps * below, least) * step + (p.reduction + adding)
            time = minimum(time, where(np.asarray(waves) < 1.0, split, np.inf))
        best = minimum(best, time + closed[most] if most < ANY else time)
    return best * (1.0 + p.sag * best / (best + SAG_TIME))


def quantise_time(p: Matmul, device: Device, width: Width, m: Num, k: Num) -> Num:
    """Making narrow inputs out of 16-bit ones [s]: row by row, or as fast as memory or the cache gives them."""
    size = (2.0 + width.activations) * m * k
    moved = size - fits(size, device.cache) * size * (1.0 - 1.0 / p.cache_speed)
    return maximum(p.quantise_row * m, moved / (device.bandwidth * p.quantise_bandwidth))


def matmul_time(p: Matmul, device: Device, width: Width, m: Num, n: Num, k: Num, rotated: bool = False) -> Num:
    """The time of C[m,n] = A[m,k]·B[k,n] [s].

    p        fitted parameters
    device   the accelerator's figures
    width    bytes of elements
    m, n, k  sizes [-]
    rotated  see ``traffic_time``

    >>> from dataclasses import fields
    >>> start = Matmul(*(f.metadata["start"] for f in fields(Matmul) if f.metadata))
    >>> h100 = Device(132.0, 989.4e12, 3.35e12, 50e6)
    >>> times = [float(matmul_time(start, h100, Width(), m, 8192.0, 8192.0)) for m in (1.0, 64.0, 8192.0)]
    >>> times[0] < 60e-6 < times[2], bool(2 * 8192.0**3 / 989.4e12 < times[2])
    (True, True)
    """
    busy = power(compute_time(p, device, width, LIBRARIES[p.library], m, n, k), p.overlap)
    moving = power(traffic_time(p, device, width, m, n, k, rotated), p.overlap)
    time: Num = power(busy + moving, 1.0 / p.overlap) + (p.launch + where(np.asarray(m) < 2.0, p.one_row, 0.0))
    return time + quantise_time(p, device, width, m, k) if width.narrow else time
