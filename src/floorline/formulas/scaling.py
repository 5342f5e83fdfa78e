"""Metrics of runs and of scaling: speed-up, efficiency, throughput, utilisation.

The examples' numbers are those of a run on one device that takes 100 s, and on eight 16 s.
"""

from __future__ import annotations

from floorline.num import Num


def speed_up(alone: Num, together: Num) -> Num:
    r"""How many times faster a fixed problem runs on n devices (strong scaling).

    $$S = \frac{t_1}{t_n}$$

    alone     t_1  time on one device   [s]
    together  t_n  time on n devices    [s]
    returns   S    speed-up             [-]

    Source: lecture "Transformers, profiling and performance modelling": S = t₁/tₙ. Example: 100 s become 16.

    >>> speed_up(100.0, 16.0)
    6.25
    """
    return alone / together


def parallel_efficiency(alone: Num, together: Num, devices: Num) -> Num:
    r"""Speed-up for each device (strong scaling).

    $$E = \frac{t_1}{n\,t_n}$$

    alone     t_1  time on one device   [s]
    together  t_n  time on n devices    [s]
    devices   n    devices              [-]
    returns   E    efficiency           [-]

    Source: lecture "Transformers, profiling and performance modelling": E = S/n. Example: 6.25 of 8.

    >>> parallel_efficiency(100.0, 16.0, 8.0)
    0.78125
    """
    return alone / (devices * together)


def weak_efficiency(alone: Num, together: Num) -> Num:
    r"""Efficiency where each device keeps its own problem size (weak scaling): more work in the same time, at best.

    $$E = \frac{t_1}{t_n}$$

    alone     t_1  time of one device's problem on one        [s]
    together  t_n  time of n times the problem on n devices   [s]
    returns   E    efficiency                                 [-]

    Source: lecture "Transformers, profiling and performance modelling"; Gustafson 1988, CACM 31(5). Example: 100 s become 125.

    >>> weak_efficiency(100.0, 125.0)
    0.8
    """
    return alone / together


def throughput(amount: Num, seconds: Num) -> Num:
    r"""Samples, tokens or operations for each second.

    $$R = \frac{N}{t}$$

    amount   N  samples, tokens or operations  [-]
    seconds  t  time                           [s]
    returns  R  a second                       [1/s]

    Source: lecture "Transformers, profiling and performance modelling". Example: R5's 100 sequences in 0.755 s.

    >>> round(throughput(100.0, 0.755), 1)
    132.5
    """
    return amount / seconds


def time_to_solution(batches: Num, seconds: Num) -> Num:
    r"""Time of a whole run from the time of a batch.

    $$t = N\,t_b$$

    batches  N    batches of the run   [-]
    seconds  t_b  time of a batch      [s]
    returns  t    time to solution     [s]

    Source: lecture "Transformers, profiling and performance modelling". Example: a thousand batches of half a second.

    >>> time_to_solution(1000.0, 0.5)
    500.0
    """
    return batches * seconds


def utilisation(achieved: Num, peak: Num) -> Num:
    r"""Achieved rate against the peak.

    $$U = \frac{P}{\pi}$$

    achieved  P  rate reached      [FLOP/s]
    peak      π  arithmetic rate   [FLOP/s]
    returns   U  utilisation       [-]

    Source: lecture "Transformers, profiling and performance modelling". Example: 156 of 312 TFLOP/s.

    >>> utilisation(156e12, 312e12)
    0.5
    """
    return achieved / peak
