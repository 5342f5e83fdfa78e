"""The time of prefill attention: many queries, flash attention's tiles of queries that walk along the keys.

A tile takes its blocks of keys one after the other, as many as a mask leaves; tiles are spread over the multiprocessors, and the
longest waits at the end. A few queries of grouped heads are packed into one tile where the kernel does that. Loading overlaps with
the arithmetic in part.

Valid for 1 to 10⁶ queries over as many or more keys (a filled cache), heads from 64 to 256 wide.
Source of the form: Dao 2023, arXiv:2307.08691, section 3.3; Shah et al. 2024, arXiv:2407.08608.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from floorline.efficiency.attention import Attention
from floorline.efficiency.device import Device, Width, fits
from floorline.efficiency.parameter import parameter
from floorline.num import Num, ceil, maximum, minimum, power, where

BLOCK = 128.0
"""Keys that a tile takes at a time."""


USUAL_WIDTH = 128.0
"""Of a head, for which kernels are made."""


@dataclass(frozen=True)
class PrefillAttention:
    """Parameters of prefill attention of one accelerator, engine and pair of formats."""

    launch: float = parameter("a launch that does nothing", 9e-6, 1e-6, 6e-5, "s")
    efficiency: float = parameter("share of the peak that very wide heads sustain", 0.8, 0.1, 1.0)
    half_width: float = parameter("head width that allows half of that", 20.0, 0.5, 300.0)
    least_width: float = parameter("head width to which arithmetic pads narrower ones", 32.0, 16.0, 256.0)
    single: float = parameter("how much slower where a head of keys has one query head", 1.0, 0.5, 3.0)
    wide: float = parameter(
        "by how much slower arithmetic is for each further 128 of a head wider than 128", 0.01, 1e-4, 3.0
    )
    bandwidth: float = parameter("share of the memory bandwidth that is reached", 0.7, 0.2, 1.0)
    cache_speed: float = parameter("last-level cache over memory, in bandwidth", 3.0, 1.0, 10.0)
    fill: float = parameter("start and end of a tile", 1e-6, 1e-8, 3e-5, "s")
    rows: float = parameter("queries of a tile", 128.0, 32.0, 256.0)
    packing: float = parameter("share of kernels that pack grouped heads into a tile", 0.5, 0.001, 1.0)
    tail: float = parameter("share of the longest tile that runs after the others", 0.5, 1e-3, 1.5)
    overlap: float = parameter("exponent by which arithmetic and traffic add: 1 one after the other", 2.0, 1.0, 12.0)
    sag: float = parameter("by how much a long kernel's clock is lower than a short one's", 0.15, 1e-6, 1.0)
    sag_time: float = parameter("kernel time at which half of that is lost", 5e-4, 1e-6, 1.0, "s")
    sequence: float = parameter("handling one sequence", 1e-8, 1e-10, 1e-5, "s")


def prefill_attention_time(
    p: PrefillAttention, device: Device, width: Width, a: Attention, repeated: bool = False
) -> Num:
    """The time of attention of a prompt, or of a chunk of it [s].

    p         fitted parameters
    device    the accelerator's figures
    width     bytes of elements
    a         sizes
    repeated  whether this is a measurement that reads the same operands again and again, out of the last-level cache; in a model,
              queries were just made and keys and values too, so they come from there as far as they fit anyway
    """
    del repeated
    moved = a.kept(width, a.keys) + a.own(width)
    kept = fits(moved, device.cache) * moved
    rate = device.bandwidth * p.bandwidth
    memory = (moved - kept) / rate + kept / (rate * p.cache_speed)
    loose, packed = a.group * ceil(a.queries / p.rows), ceil(a.queries * a.group / p.rows)
    tiles = a.sequences * a.kv_heads * (loose + (packed - loose) * p.packing)
    head, value_width = maximum(a.width, p.least_width), maximum(a.value_width, p.least_width)
    spilled = 1.0 + p.wide * maximum(head / USUAL_WIDTH - 1.0, 0.0)
    share = p.efficiency * head / (head + p.half_width) / spilled
    alone = 1.0 + (p.single - 1.0) * where(np.asarray(a.group) == 1.0, 1.0, 0.0)
    step = 2.0 * p.rows * BLOCK * (head + value_width) * alone * device.multiprocessors / (device.peak * share)
    walked = minimum(a.keys * a.visible + minimum(p.rows, a.queries) / 2.0, a.keys) + BLOCK / 2.0
    longest = p.fill + (a.keys + BLOCK / 2.0) / BLOCK * step
    every = tiles * (p.fill + walked / BLOCK * step) / device.multiprocessors
    busy = maximum(every, longest) + p.tail * longest
    time: Num = power(power(busy, p.overlap) + power(memory, p.overlap), 1.0 / p.overlap)
    return p.launch + time * (1.0 + p.sag * time / (time + p.sag_time)) + a.sequences * p.sequence
