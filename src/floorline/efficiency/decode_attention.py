"""The time of decode attention: few queries over a long cache, which is bound by reading keys and values.

A tile is one sequence's head of keys and values with all its query heads packed as rows of the matrix unit; a long cache is cut
into parts that work at the same time and are added afterwards; the model takes the fastest cut. Tiles run in waves over the
multiprocessors; loading and their work overlap in part.

Valid for 1 to 64 packed rows, 1 to 10⁶ keys, heads from 64 to 576 wide.
Source of the form: Dao et al. 2023, "Flash-Decoding for long-context inference"; packing: Ainslie et al. 2023, arXiv:2305.13245.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from floorline.efficiency.attention import Attention
from floorline.efficiency.device import Device, Width, fits
from floorline.efficiency.parameter import parameter
from floorline.num import Num, ceil, maximum, minimum, power, where

PARTS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0)
BLOCK = 64.0
"""Keys that a tile takes at a time; no part is shorter."""

USUAL_WIDTH = 128.0


@dataclass(frozen=True)
class DecodeAttention:
    """Parameters of decode attention of one accelerator, engine and pair of formats."""

    launch: float = parameter("a launch that does nothing", 9e-6, 1e-6, 6e-5, "s")
    ragged: float = parameter("what more than one sequence adds to it", 1e-6, 1e-8, 2e-5, "s")
    bandwidth: float = parameter("share of the memory bandwidth that a large cache is read at", 0.9, 0.2, 1.0)
    cache_speed: float = parameter("last-level cache over memory, in bandwidth", 3.0, 1.0, 10.0)
    cache_share: float = parameter("share of the last-level cache that keeps keys and values", 1.0, 0.3, 2.0)
    resident: float = parameter("tiles at a time on a multiprocessor", 2.0, 0.5, 16.0)
    fill: float = parameter("start and end of a tile of heads 128 wide", 2e-6, 1e-8, 3e-5, "s")
    fill_width: float = parameter("head width at which half of that does not grow with width", 20.0, 1.0, 2000.0)
    stream: float = parameter(
        "rate at which a tile reads, over a multiprocessor's share of the bandwidth", 1.0, 0.05, 20.0
    )
    single: float = parameter("how much slower where a head has one query to itself", 1.0, 0.3, 4.0)
    matmul: float = parameter("share of the peak that packed rows reach", 0.3, 0.005, 1.0)
    rows: float = parameter("rows to which packed queries are padded", 16.0, 1.0, 128.0)
    reduction: float = parameter("adding the parts of a cut cache", 1e-6, 1e-8, 2e-5, "s")
    part: float = parameter("what each doubling of the parts adds to it", 3e-7, 1e-9, 5e-6, "s")
    parts: float = parameter("parts of a cache, at most", 64.0, 1.0, 128.0)
    single_parts: float = parameter("the same where a head has one query to itself", 64.0, 1.0, 128.0)
    tail: float = parameter("share of a last, partial wave that scheduling fills", 0.8, 1e-4, 1.0)
    overlap: float = parameter("exponent by which tiles' work and traffic add: 1 one after the other", 2.0, 1.0, 12.0)
    tile: float = parameter("handing out one tile", 1e-9, 1e-11, 1e-7, "s")


def decode_attention_time(
    p: DecodeAttention, device: Device, width: Width, a: Attention, repeated: bool = False
) -> Num:
    """The time of attention over a cache [s].

    p         fitted parameters
    device    the accelerator's figures
    width     bytes of elements
    a         sizes
    repeated  whether this is a measurement that reads the same small cache again and again, out of the last-level cache; in a
              model other layers come between
    """
    seen = a.keys * a.visible
    busy = tile_time(p, device, width, a)
    rows = ceil(a.group * a.queries / p.rows) * p.rows
    tiles = a.sequences * a.kv_heads
    product = 2.0 * tiles * rows * seen * (a.width + a.value_width) / (device.peak * p.matmul)
    moving = traffic(p, device, width, a, repeated)
    together = power(busy, p.overlap) + power(moving, p.overlap) + power(product, p.overlap)
    whole: Num = power(together, 1.0 / p.overlap)
    return p.launch + where(np.asarray(a.sequences) > 1.0, p.ragged, 0.0) + whole + tiles * p.tile


def head_by_head_time(p: DecodeAttention, device: Device, width: Width, a: Attention, splits: bool) -> Num:
    """The time of a kernel that takes each query head by itself, on units for vectors: keys and values that heads share come from
    memory once and from the last-level cache for each of them [s].

    splits  whether it cuts a long cache into parts

    Source of the form: FasterTransformer and TensorRT-LLM, ``decoderMaskedMultiheadAttentionTemplate.h``: a block for each query
    head and sequence.
    """
    heads = replace(a, kv_heads=a.kv_heads * a.group, group=1.0)
    whole = replace(p, parts=1.0, single_parts=1.0)
    shared = traffic(p, device, width, a, False)
    again = a.group * a.kept(width, a.keys * a.visible) / device.cache_rate
    busy, moving = tile_time(p if splits else whole, device, width, heads), maximum(shared, again)
    together: Num = power(power(busy, p.overlap) + power(moving, p.overlap), 1.0 / p.overlap)
    return (
        p.launch
        + where(np.asarray(a.sequences) > 1.0, p.ragged, 0.0)
        + together
        + heads.sequences * heads.kv_heads * p.tile
    )


def tile_time(p: DecodeAttention, device: Device, width: Width, a: Attention) -> Num:
    """All waves of tiles with the fastest cut of the cache, as far as loading keeps them waiting [s]."""
    alone = where(np.asarray(a.group * a.queries) == 1.0, 1.0, 0.0)
    blocks = ceil(a.keys * a.visible / BLOCK)
    step = width.cache * BLOCK * (a.width + a.value_width) * device.multiprocessors / (device.bandwidth * p.stream)
    step = step * (1.0 + alone * (p.single - 1.0))
    fill = p.fill * (a.width + p.fill_width) / (USUAL_WIDTH + p.fill_width)
    most = p.parts + alone * (p.single_parts - p.parts)
    tiles = a.sequences * a.kv_heads
    busy: Num = np.inf
    for n in PARTS:
        waves = tiles * n / (device.multiprocessors * p.resident)
        run = ceil(waves) * (1.0 - p.tail) + p.tail * maximum(waves, 1.0)
        time: Num = run * (fill + step * ceil(blocks / n))
        if n > 1.0:
            time = time + p.reduction + p.part * float(np.log2(n))
            time = where(np.asarray(minimum(blocks, most)) >= n, time, np.inf)
        busy = minimum(busy, time)
    return busy


def traffic(p: DecodeAttention, device: Device, width: Width, a: Attention, repeated: bool) -> Num:
    """Reading keys and values from memory, and queries and outputs from the cache [s]."""
    kept, own = a.kept(width, a.keys * a.visible), a.own(width)
    cached = own + (fits(kept, device.cache * p.cache_share) * kept if repeated else 0.0)
    rate = device.bandwidth * p.bandwidth
    return (kept + own - cached) / rate + cached / (rate * p.cache_speed)
