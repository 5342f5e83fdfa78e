"""Choosing the next token."""

from __future__ import annotations

from floorline.num import Num, ceil


def radix_sort_time(items: Num, key_bits: Num, digit_bits: Num, clocks: Num, clock: Num) -> Num:
    r"""Time in which one thread block sorts the probabilities of a vocabulary, digit by digit; other multiprocessors sort those of
    other sequences meanwhile.

    $$t = \left\lceil \frac{w}{d} \right\rceil \frac{n\,c}{f}$$

    items       n  of one sequence, the vocabulary            [-]
    key_bits    w  bits of a key                              [-]
    digit_bits  d  bits that are sorted by in one pass        [-]
    clocks      c  cycles that one item takes in one pass     [-]
    clock       f  of the multiprocessor                      [1/s]
    returns     t  of all passes                              [s]

    Source: CUB, ``dispatch_radix_sort.cuh`` (a segment is one block's, 6 bits a pass on sm80); llama.cpp, commit d74eb61aa7: 359 us
    for rows of 65 000 fp32 keys on an RTX PRO 6000. Example: at 2.4 GHz these are 6 passes of 2.2 cycles an item.

    >>> print(round(1e6 * radix_sort_time(65e3, 32.0, 6.0, 2.2, 2.4e9)))
    358
    """
    return ceil(key_bits / digit_bits) * items * clocks / clock
