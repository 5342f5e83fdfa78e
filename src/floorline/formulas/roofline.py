"""The roofline: a kernel is bound by arithmetic or by memory traffic, whichever takes longer.

Source: Williams, Waterman and Patterson 2009, "Roofline: an insightful visual performance model", CACM 52(4).
"""

from __future__ import annotations

from floorline.num import Num, maximum, minimum


def arithmetic_intensity(flops: Num, bytes: Num) -> Num:
    r"""Arithmetic for each byte moved.

    $$I = \frac{C}{V}$$

    flops    C  floating-point operations  [FLOP]
    bytes    V  bytes moved                [B]
    returns  I  arithmetic intensity       [FLOP/B]

    Source: Williams et al. 2009, CACM 52(4), section 3. Example: z = a·x + y in double precision, 2n over 24n.

    >>> round(arithmetic_intensity(2.0, 24.0), 4) == round(1 / 12, 4)
    True
    """
    return flops / bytes


def machine_balance(peak: Num, bandwidth: Num) -> Num:
    r"""The arithmetic intensity from which a kernel is bound by arithmetic; also the batch at which reading weights and
    using them take equally long in half precision (2 FLOP for 2 bytes).

    $$I^* = \frac{\pi}{\beta}$$

    peak       π   arithmetic rate          [FLOP/s]
    bandwidth  β   memory bandwidth         [B/s]
    returns    I*  machine balance          [FLOP/B]

    Source: Chen 2022, "Transformer inference arithmetic", section KV cache: A100, 312 TFLOP/s over 1.5 TB/s, 208.

    >>> machine_balance(312e12, 1.5e12)
    208.0
    """
    return peak / bandwidth


def attainable(intensity: Num, peak: Num, bandwidth: Num) -> Num:
    r"""The highest rate that a kernel of this intensity can reach.

    $$P = \min(\pi, \beta I)$$

    intensity  I  arithmetic intensity  [FLOP/B]
    peak       π  arithmetic rate       [FLOP/s]
    bandwidth  β  memory bandwidth      [B/s]
    returns    P  attainable rate       [FLOP/s]

    Source: Williams et al. 2009, CACM 52(4), equation 1. Example: intensity 1 on 1.5 TB/s.

    >>> float(attainable(1.0, 312e12, 1.5e12))
    1500000000000.0
    """
    return minimum(peak, bandwidth * intensity)


def kernel_time(flops: Num, bytes: Num, peak: Num, bandwidth: Num, launch: Num) -> Num:
    r"""The least time of one kernel: arithmetic and traffic overlap, and a launch takes a while whatever it does.

    $$T = \max\left(\frac{C}{\pi}, \frac{V}{\beta}, \lambda\right)$$

    flops      C  floating-point operations  [FLOP]
    bytes      V  bytes moved                [B]
    peak       π  arithmetic rate            [FLOP/s]
    bandwidth  β  memory bandwidth           [B/s]
    launch     λ  least time of a launch     [s]
    returns    T  time                       [s]

    Source: Williams et al. 2009, CACM 52(4); the launch floor as in a public multi-query attention
    calculator (a Hugging Face Space).
    Example: 104 GB of weights read at 1.5 TB/s.

    >>> round(float(kernel_time(0.0, 103.1e9, 312e12, 1.5e12, 0.0)) * 1e3, 1)
    68.7
    """
    return maximum(maximum(flops / peak, bytes / bandwidth), launch)


def crossover_size(peak: Num, bandwidth: Num, bytes_per_element: Num, matrices: Num) -> Num:
    r"""The width from which a square matmul is bound by arithmetic, if each of its matrices moves once.

    $$n^* = \frac{\pi}{\beta} \cdot \frac{b\,m}{2}$$

    peak               π   arithmetic rate                                       [FLOP/s]
    bandwidth          β   memory bandwidth                                      [B/s]
    bytes_per_element  b   bytes of an element                                   [B]
    matrices           m   matrices moved: 3, or 4 where the result is read too  [-]
    returns            n*  width                                                 [-]

    Source: lecture "Transformers, profiling and performance modelling": 208·16 = 3328 with double-precision
    bytes (8 B, four matrices) against the half-precision peak; 832 with half-precision bytes (n/4).

    >>> crossover_size(312e12, 1.5e12, 8.0, 4.0), crossover_size(312e12, 1.5e12, 2.0, 4.0)
    (3328.0, 832.0)
    """
    return peak / bandwidth * bytes_per_element * matrices / 2.0
