"""What kernel models need to know of a device and of number formats."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.num import Num, maximum, power, where

USUAL_CACHE = 2.66
"""Bandwidth of the last-level cache over that of memory: 5420 GB/s measured on an A100 of 2039 GB/s."""


@dataclass(frozen=True)
class Device:
    """What the models need of a device.

    multiprocessors  [-]
    peak             in the format [FLOP/s]
    bandwidth        of memory [B/s]
    cache            last-level [B]
    link             to other devices of a node, one direction [B/s]
    adds             whether the link's switch can add
    clock            [Hz]
    threads          that a multiprocessor holds [-]
    cache_bandwidth  of reads from the last-level cache [B/s]; 0 where not known
    """

    multiprocessors: Num
    peak: Num
    bandwidth: Num
    cache: Num
    link: Num = 1.0
    adds: bool = False
    clock: Num = 1.5e9
    threads: Num = 2048.0
    cache_bandwidth: Num = 0.0

    @property
    def cache_rate(self) -> Num:
        """Reads from the last-level cache, as known or as an A100's over its memory's [B/s]."""
        return where(self.cache_bandwidth > 0.0, self.cache_bandwidth, self.bandwidth * USUAL_CACHE)

    def shared_link(self, ranks: Num, crowding: Num) -> Num:
        """The link's bandwidth as so many ranks find it [B/s]; crowding is the exponent by which more than two share the way."""
        return self.link / power(maximum(ranks / 2.0, 1.0), crowding)


@dataclass(frozen=True)
class Width:
    """Bytes of an element.

    weights, activations, result, cache  [B]
    ready  whether narrow inputs come so from the kernel before
    """

    weights: Num = 2.0
    activations: Num = 2.0
    result: Num = 2.0
    cache: Num = 2.0
    ready: bool = False

    @property
    def narrow(self) -> bool:
        """Whether inputs are made narrow first."""
        return not self.ready and isinstance(self.activations, float) and self.activations < 2.0


def fits(size: Num, cache: Num) -> Num:
    """How far something stays in a cache: nearly whole below its size, hardly at all above.

    >>> round(fits(10e6, 50e6), 3), round(fits(100e6, 50e6), 3)
    (1.0, 0.004)
    """
    twice = (size / maximum(cache, 1.0)) * (size / maximum(cache, 1.0))
    fourth = twice * twice
    return 1.0 / (1.0 + fourth * fourth)
