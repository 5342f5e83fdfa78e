"""The time of a layer of gated experts on one rank: which experts routing hits, two grouped matmuls, what glues them.

Routing decides how many pairs of token and expert a rank gets, how many of its experts are read and how rows spread
over them; a grouped matmul cuts every expert's rows into tiles, which run in waves over the multiprocessors while the
weights of the experts that are hit stream in; rows are permuted, activated and combined at the memory's pace; a fixed
time goes to launches. No help of caches is assumed: measured times show next to none.

Valid for m from 1 to 10⁵ tokens and 1 to 1024 experts, on devices with multiprocessors. All functions are elementwise.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from floorline.efficiency.device import Device
from floorline.efficiency.parameter import parameter
from floorline.formulas.experts import hit_share
from floorline.num import Num, ceil, log1p, log2, maximum, minimum, power, where

TILES = ((16, 64), (16, 128), (32, 128), (64, 64), (64, 128), (128, 128), (128, 256))
"""Rows of one expert, columns."""

SMALL_ROWS = 32
"""Tiles of at most so many rows are small ones."""

STEP = 64.0
"""Columns of k that a tile takes at a time."""

SAG_TIME = 1e-3
"""Kernel time at which half of what a long kernel's clock loses is lost [s]."""

SAMPLED_RANGE = 200.0
"""Least ratio of the most to the least likely expert where routing is skewed: the benchmark's."""

TOKENS_RANGE = 0.8
"""That ratio as a share of the tokens, where this is more: the benchmark's."""

FULLEST = 0.55
"""By how many standard deviations of a rank's load the fullest rank is above the mean, for each doubling of the ranks:
a Monte Carlo of the benchmark's sampling gives 0.53 to 0.6 from 2 to 256 ranks."""


@dataclass(frozen=True)
class Grouped:
    """Parameters of grouped matmuls of one accelerator, engine and format."""

    launch: float = parameter("all launches of a layer when they do nothing", 2e-5, 1e-6, 2e-4, "s")
    efficiency: float = parameter("share of the peak that a very large tile sustains", 0.8, 0.1, 1.0)
    half_tile: float = parameter("tile, m·n/(m + n), whose operands' reuse allows half of that", 8.0, 0.05, 200.0)
    bandwidth: float = parameter("share of the memory bandwidth at which weights are read", 0.8, 0.2, 1.0)
    fill: float = parameter("start and end of a tile", 1e-6, 1e-9, 2e-5, "s")
    k_step: float = parameter("least time of a step of 64 along k", 1.2e-7, 1e-9, 2e-6, "s")
    tail: float = parameter("share of a last, partial wave that scheduling fills", 0.5, 0.001, 1.0)
    leak: float = parameter("share of the shorter of arithmetic and reading that nothing hides", 0.3, 0.001, 1.0)
    reread: float = parameter("rows after which weights are read again that the cache cannot keep", 1e4, 64.0, 1e6)
    large_from: float = parameter("rows an expert above which the engine has only tiles of 64 and more", 1e3, 0.01, 1e5)
    sag: float = parameter("by how much a long kernel's clock is lower than a short one's", 0.1, 1e-6, 1.0)


@dataclass(frozen=True)
class Experts(Grouped):
    """Parameters of expert layers of one accelerator, engine, kernel and format."""

    several: float = parameter("launches that a single token does without", 2e-6, 1e-9, 5e-5, "s")
    per_expert: float = parameter("routing and scheduling of each expert that the rank holds", 2e-8, 1e-11, 2e-6, "s")
    around: float = parameter("passes over rows of k and n that permuting and activating a pair take", 3.0, 0.01, 40.0)
    combine: float = parameter("passes over a row of k for each token and choice, here or not", 0.5, 0.001, 20.0)
    remote: float = parameter("share of a pair's work that a pair of another rank costs here", 1e-3, 1e-4, 1.0)
    untuned: float = parameter("by how much slower tiles are where experts are split over many ranks", 0.01, 0.001, 4.0)


@dataclass(frozen=True)
class Load:
    """What one rank gets.

    pairs     of token and expert, at least 1 [-]
    hit       experts with any rows, at least 1 [-]
    heaviest  rows of the fullest expert [-]
    span      logarithm of the ratio of the most to the least loaded of these; 0 where rows are spread evenly [-]
    """

    pairs: Num
    hit: Num
    heaviest: Num
    span: Num


def even(m: Num, experts: Num, chosen: Num, ranks: Num) -> Load:
    """The load of a rank where every expert gets as many tokens as any other.

    m        tokens that enter [-]
    experts  of all ranks [-]
    chosen   by each token [-]
    ranks    that share the experts [-]
    """
    pairs = maximum(m * chosen / ranks, 1.0)
    hit = minimum(experts / ranks, ceil(pairs))
    return Load(pairs, hit, pairs / hit, 0.0 * pairs)


def at_random(m: Num, experts: Num, chosen: Num, ranks: Num) -> Load:
    """The expected load of a rank whose experts are all equally likely; arguments as of ``even``."""
    pairs = maximum(m * chosen / ranks, 1.0)
    hit = maximum(experts / ranks * hit_share(m, chosen / experts), 1.0)
    return Load(pairs, hit, pairs / hit, 0.0 * pairs)


def skewed(m: Num, experts: Num, chosen: Num, ranks: Num, skew: Num) -> Load:
    """The expected load of the fullest rank where an expert is likely as x, drawn from a density x^-skew in a range.

    An expert gets its share of the pairs, rounded; none gets more rows than there are tokens. Arguments as of ``even``:

    skew  exponent, above 0 and not 1 [-]
    """
    local, wanted = experts / ranks, m * chosen
    s = 1.0 - skew
    spread = maximum(TOKENS_RANGE * m, SAMPLED_RANGE)
    p = power(spread, s)
    grow = p - 1.0
    mean = s / (1.0 + s) * (spread * p - 1.0) / grow
    square = s / (2.0 + s) * (spread * spread * p - 1.0) / grow
    variation = maximum(square / (mean * mean) - 1.0, 0.0)
    fullest = 1.0 + FULLEST * np.sqrt(variation / local) * log2(ranks)
    pairs = maximum(minimum(wanted / ranks * fullest, m * minimum(chosen, local)), 1.0)
    typical = experts / (experts + 1.0)  # of the largest of so many uniform numbers
    top = power(1.0 + grow * typical, 1.0 / s)
    rest = (mean - (1.0 - typical) * (top + spread) / 2.0) / typical
    heaviest = minimum(minimum(m, pairs), maximum(1.0, wanted * top / (top + (experts - 1.0) * rest)))
    least = wanted / experts / mean
    lowest = power(least, s)
    above = (power(0.5, s) - lowest * p) / (lowest - lowest * p)  # share of experts whose rows do not round to none
    share = where(np.asarray(least) > 0.5, 1.0, minimum(maximum(above, 0.0), 1.0))
    hit = maximum(minimum(local * share, pairs), 1.0)
    return Load(pairs, hit, heaviest, maximum(np.log(minimum(spread, 2.0 * least * spread)), 0.5))


def routed(m: Num, experts: Num, chosen: Num, ranks: Num, skew: Num) -> Load:
    """``even`` where skew is 0, else ``skewed``."""
    flat = even(m, experts, chosen, ranks)
    uneven = np.asarray(skew) > 0.0
    other = skewed(m, experts, chosen, ranks, where(uneven, skew, 1.2))
    return Load(*(where(uneven, getattr(other, f.name), getattr(flat, f.name)) for f in fields(Load)))


def tiles_of(load: Load, rows: float) -> Num:
    """Tiles of so many rows that a load fills, the last of each expert in part: exactly where rows are spread evenly,
    else for rows spread evenly over their logarithm (sum over i of the experts with more than i tiles, by Stirling)."""
    flat = load.hit * ceil(load.pairs / load.hit / rows)
    saved = 0.5 * load.hit * log1p(2.0 * np.pi * load.heaviest / rows) / maximum(load.span, 0.5)
    return where(np.asarray(load.span) > 0.0, load.hit + maximum(0.0, load.pairs / rows - saved), flat)


def reading_time(p: Grouped, device: Device, load: Load, matrix: Num) -> Num:
    """Reading the weights that are hit, of so many bytes an expert, once and again for more rows where they do not fit [s]."""
    size = matrix / maximum(device.cache, 1.0)
    fourth = size * size * size * size
    again = fourth / (1.0 + fourth) * load.pairs / p.reread
    return (load.hit + again) * matrix / (device.bandwidth * p.bandwidth)


def tile_counts(load: Load, other: Num) -> dict[int, Num]:
    """Tiles by their rows; ``other`` rows beside the load's hit no further expert."""
    return {rows: tiles_of(load, rows) + other / rows for rows in sorted({rows for rows, _ in TILES})}


def grouped_time(
    p: Grouped, device: Device, counts: dict[int, Num], each: Num, reading: Num, width: Num, depth: Num, slower: Num
) -> Num:
    """One grouped matmul without its launch [s]: the fastest tile, its waves against the reading of weights.

    counts   of ``tile_counts``
    each     rows of an expert that is hit [-]
    reading  of the weights that are hit [s]
    width    columns of an expert's result [-]
    depth    length of the sums [-]
    slower   factor on the time of tiles [-]
    """
    best: Num = np.inf
    for rows, columns in TILES:
        reuse = rows * columns / (rows + columns)
        rate = device.peak / device.multiprocessors * p.efficiency * reuse / (reuse + p.half_tile)
        step = maximum(2.0 * rows * columns / rate, p.k_step / STEP) * slower
        waves = counts[rows] * ceil(width / columns) / device.multiprocessors
        run = ceil(waves) * (1.0 - p.tail) + p.tail * maximum(waves, 1.0)
        busy = run * (depth * step + p.fill)
        whole = maximum(busy, reading) + p.leak * minimum(busy, reading)
        best = minimum(best, where(np.asarray(each) > p.large_from, 1e9, whole) if rows <= SMALL_ROWS else whole)
    return best


def sagged(p: Grouped, time: Num) -> Num:
    """A kernel's time with the clock's loss over it [s]."""
    return time * (1.0 + p.sag * time / (time + SAG_TIME))


def experts_time(
    p: Experts, device: Device, weight: Num, load: Load, m: Num, n: Num, k: Num, experts: Num, chosen: Num, ranks: Num
) -> Num:
    """The time of a layer of gated experts on one rank, without messages [s].

    p        fitted parameters
    device   the accelerator's figures
    weight   bytes of a weight with its share of scales [B]
    load     what the rank gets: ``even``, ``at_random``, ``skewed``, or the caller's own
    m        tokens that enter, whether they choose the rank's experts or not [-]
    n        inner width of an expert on this rank, after its tensor split [-]
    k        width of the model [-]
    experts  of all ranks [-]
    chosen   by each token [-]
    ranks    that share the experts [-]
    """
    entering = maximum(minimum(m, load.pairs), 1.0)
    other = p.remote * maximum(entering * chosen - load.pairs, 0.0)
    slower = 1.0 + p.untuned * (1.0 - 1.0 / ranks)
    one = n * k * weight
    first, second = reading_time(p, device, load, 2.0 * one), reading_time(p, device, load, one)
    counts, each = tile_counts(load, other), (load.pairs + other) / load.hit
    up = grouped_time(p, device, counts, each, first, 2.0 * n, k, slower)
    down = grouped_time(p, device, counts, each, second, k, n, slower)
    moved = (load.pairs + other) * p.around * (k + n) + p.combine * m * chosen * k
    fixed = p.launch + p.several * (1.0 - 1.0 / entering) + p.per_expert * experts / ranks
    return fixed + sagged(p, up + down) + 2.0 * moved / device.bandwidth


def grouped_matmul_time(p: Grouped, device: Device, weight: Num, load: Load, n: Num, k: Num) -> Num:
    """The time of one grouped matmul, C[rows, n] = A[rows, k]·B[group, k, n] [s]; arguments as of ``experts_time``."""
    reading = reading_time(p, device, load, n * k * weight)
    return p.launch + sagged(
        p, grouped_time(p, device, tile_counts(load, 0.0), load.pairs / load.hit, reading, n, k, 1.0)
    )
