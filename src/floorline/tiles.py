"""Tiles that overlap: how many there are along a side, and how long the last ones are."""

from __future__ import annotations

import numpy as np

from floorline.num import Num, ceil, floor, maximum, minimum, number, where


def tiles_along(length: Num, size: float, stride: float) -> tuple[tuple[Num, Num], ...]:
    """Extents of the tiles that start every ``stride`` along a side, each with how often it is there (0 where it is not).

    There are ⌈length/stride⌉ of them; the one that starts at i strides is as long as what is left from there, at most a whole tile.

    length  of the side [-]
    size    of a whole tile [-]
    stride  from one start to the next [-]

    Source: diffusers 0.42, models/autoencoders/autoencoder_kl.py, ``tiled_decode``: 128 latents in tiles of 64 that start every
    48 are two whole ones and one of 32.

    >>> [(extent, times) for extent, times in tiles_along(128.0, 64.0, 48.0) if times > 0.0]
    [(64.0, 2.0), (32.0, 1.0)]
    """
    count = number(ceil(length / stride))
    whole = minimum(number(maximum(number(floor((length - size) / stride)) + 1.0, 0.0)), count)
    found: list[tuple[Num, Num]] = [(size, whole)]
    for i in range(int(np.ceil(size / stride))):
        last = maximum(length - (whole + i) * stride, 1.0)
        found.append((number(last), number(where(number(whole + i) < count, 1.0, 0.0))))
    return tuple(found)


def whole_tiles(length: Num, size: float, stride: float) -> tuple[Num, Num]:
    """Extent of the tiles that start every ``stride`` along a side and end before it does, and how many there are.

    What is left over at the end is in none of them; a side shorter than a tile is one.

    length  of the side [-]
    size    of a whole tile [-]
    stride  from one start to the next [-]

    Source: diffusers 0.42, models/autoencoders/autoencoder_kl_allegro.py, ``tiled_encode``: 88 frames in windows of 24 that start
    every 16 are five.

    >>> whole_tiles(88.0, 24.0, 16.0)
    (24.0, 5.0)
    """
    count = maximum(number(floor((length - size) / stride)) + 1.0, 1.0)
    return number(minimum(length, size)), number(count)
