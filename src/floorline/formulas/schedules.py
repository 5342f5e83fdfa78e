"""Pipeline schedules of training: the time that stages wait for each other, and the micro-batches that they hold.

Stages need not be equal: each formula takes sums over the stages other than the slowest, of forward time f, of the backward time of
activations d and of that of weights w. With p equal stages these sums are (p − 1)·f and so on, and the formulas are the published
ones. The step of a pipeline is m·t + bubble, where t = f + d + w of the slowest stage and m the number of micro-batches.
"""

from __future__ import annotations

from floorline.num import Num, maximum, minimum


def one_forward_one_backward_bubble(forward: Num, dgrad: Num, wgrad: Num, chunks: Num) -> Num:
    r"""Waiting in one forward, one backward (1F1B), interleaved over chunks of layers where there are several a stage.

    $$\beta = \frac{f + d + w}{v}$$

    forward  f  of the other stages, a micro-batch           [s]
    dgrad    d  backward of activations, of the other stages [s]
    wgrad    w  backward of weights, of the other stages     [s]
    chunks   v  virtual stages on each                       [-]
    returns  β  waiting                                      [s]

    Source: Narayanan et al. 2021, arXiv:2104.04473, sections 2.2.1 and 2.2.2: bubble over ideal time (p − 1)/(v·m). Example: 4
    stages, 8 micro-batches of 3 s each, 2 chunks: a share of 3/16 of the ideal 24 s.

    >>> one_forward_one_backward_bubble(3.0, 3.0, 3.0, 2.0)
    4.5
    """
    return (forward + dgrad + wgrad) / chunks


def gpipe_bubble(forward: Num, dgrad: Num, wgrad: Num, chunks: Num) -> Num:
    r"""Waiting where all micro-batches go forward before the first comes back.

    $$\beta = f + d + w + 0 \cdot v$$

    forward  f  of the other stages, a micro-batch           [s]
    dgrad    d  backward of activations, of the other stages [s]
    wgrad    w  backward of weights, of the other stages     [s]
    chunks   v  virtual stages on each: it has none          [-]
    returns  β  waiting                                      [s]

    Source: Huang et al. 2018 (GPipe), arXiv:1811.06965, section 2.3: (p − 1)/(m + p − 1) of the step. Example: 4 stages, 4
    micro-batches of 3 s: 9 s of 21 s.

    >>> gpipe_bubble(3.0, 3.0, 3.0, 1.0)
    9.0
    """
    return forward + dgrad + wgrad + 0.0 * chunks


def zero_bubble_one_bubble(forward: Num, dgrad: Num, wgrad: Num, chunks: Num) -> Num:
    r"""Waiting in the zero-bubble schedule that holds as much as 1F1B (ZB-H1): weights' gradients fill a part of it.

    $$\beta = \max(f + d - w, 0) + 0 \cdot v$$

    forward  f  of the other stages, a micro-batch           [s]
    dgrad    d  backward of activations, of the other stages [s]
    wgrad    w  backward of weights, of the other stages     [s]
    chunks   v  virtual stages on each: it has none          [-]
    returns  β  waiting                                      [s]

    Source: Qi et al. 2023, arXiv:2401.10241, table 1: (p − 1)(T_F + T_B − T_W). Example: all three equal, a third of 1F1B's.

    >>> zero_bubble_one_bubble(3.0, 3.0, 3.0, 1.0)
    3.0
    """
    return maximum(forward + dgrad - wgrad, 0.0) + 0.0 * chunks


def zero_bubble_two_bubble(forward: Num, dgrad: Num, wgrad: Num, chunks: Num) -> Num:
    r"""Waiting in the zero-bubble schedule that holds twice as much as 1F1B (ZB-H2).

    $$\beta = \max(f + d - 2 w, 0) + 0 \cdot v$$

    forward  f  of the other stages, a micro-batch           [s]
    dgrad    d  backward of activations, of the other stages [s]
    wgrad    w  backward of weights, of the other stages     [s]
    chunks   v  virtual stages on each: it has none          [-]
    returns  β  waiting                                      [s]

    Source: Qi et al. 2023, arXiv:2401.10241, table 1: (p − 1)(T_F + T_B − 2·T_W). Example: all three equal, nothing.

    >>> zero_bubble_two_bubble(3.0, 3.0, 3.0, 1.0)
    0.0
    """
    return maximum(forward + dgrad - 2.0 * wgrad, 0.0) + 0.0 * chunks


def half_memory_bubble(forward: Num, dgrad: Num, wgrad: Num, chunks: Num) -> Num:
    r"""Waiting in V-Half, which holds about half as much as 1F1B: two chunks a stage in the shape of a V, weights' gradients apart.

    $$\beta = \max\left(\frac{f + d + w}{2}, 0\right) + 0 \cdot v$$

    forward  f  of the other stages, a micro-batch           [s]
    dgrad    d  backward of activations, of the other stages [s]
    wgrad    w  backward of weights, of the other stages     [s]
    chunks   v  virtual stages on each: always two           [-]
    returns  β  waiting                                      [s]

    Source: Qi et al. 2024, arXiv:2405.15362, section 3 and table 1: half the bubble of 1F1B at half its memory. Example: all equal.

    >>> half_memory_bubble(3.0, 3.0, 3.0, 2.0)
    4.5
    """
    return maximum((forward + dgrad + wgrad) / 2.0, 0.0) + 0.0 * chunks


def dualpipe_bubble(forward: Num, dgrad: Num, wgrad: Num, chunks: Num) -> Num:
    r"""Waiting in DualPipe, which feeds micro-batches from both ends; p is counted in the sums.

    $$\beta = \max\left(\frac{(f + d + w) + (d + w) - 3 w}{2}, 0\right) + 0 \cdot v$$

    forward  f  of the other stages, a micro-batch           [s]
    dgrad    d  backward of activations, of the other stages [s]
    wgrad    w  backward of weights, of the other stages     [s]
    chunks   v  virtual stages on each: always two           [-]
    returns  β  waiting                                      [s]

    Source: DeepSeek-V3 technical report 2024, arXiv:2412.19437, table 2: (p/2 − 1)(F&B + B − 3W), F&B a forward and a backward that
    overlap, here their sum, B the whole backward. Example: p = 8, all times 1: (4 − 1)·(3 + 2 − 3) = 6; seven others give 7.

    >>> dualpipe_bubble(7.0, 7.0, 7.0, 2.0)
    7.0
    """
    return maximum(((forward + dgrad + wgrad) + (dgrad + wgrad) - 3.0 * wgrad) / 2.0, 0.0) + 0.0 * chunks


def one_forward_one_backward_held(micro_batches: Num, stages: Num, stage: Num, chunks: Num) -> Num:
    r"""Micro-batches, in whole stages' worth of activations, that a stage holds at the most in (interleaved) 1F1B.

    $$h = \frac{\min(2(p - s - 1) [v > 1] + (p - s - 1) [v = 1] + (v - 1) p + 1, m v)}{v}$$

    micro_batches  m  of a step on each rank       [-]
    stages         p  of the pipeline              [-]
    stage          s  from 0                       [-]
    chunks         v  virtual stages on each       [-]
    returns        h  micro-batches held           [-]

    Source: Narayanan et al. 2021, arXiv:2104.04473, section 2.2; Korthikanti et al. 2022, arXiv:2205.05198, section 4.2.3: the
    first stage holds those of L·(1 + (p − 1)/(p·v)) layers. Example: 8 stages of 3 chunks, 8·(1 + 7/24).

    >>> round(float(one_forward_one_backward_held(64.0, 8.0, 0.0, 3.0)), 4)
    10.3333
    """
    later = (stages - stage - 1.0) * (1.0 + minimum(chunks - 1.0, 1.0))
    return minimum(later + (chunks - 1.0) * stages + 1.0, micro_batches * chunks) / chunks


def gpipe_held(micro_batches: Num, stages: Num, stage: Num, chunks: Num) -> Num:
    r"""Micro-batches that a stage holds where all go forward first: every one.

    $$h = m + 0 \cdot (p + s + v)$$

    micro_batches  m  of a step on each rank       [-]
    stages         p  of the pipeline              [-]
    stage          s  from 0                       [-]
    chunks         v  virtual stages on each       [-]
    returns        h  micro-batches held           [-]

    Source: Huang et al. 2018 (GPipe), arXiv:1811.06965, section 2.3. Example: 8 micro-batches.

    >>> gpipe_held(8.0, 4.0, 0.0, 1.0)
    8.0
    """
    return micro_batches + 0.0 * (stages + stage + chunks)


def zero_bubble_two_held(micro_batches: Num, stages: Num, stage: Num, chunks: Num) -> Num:
    r"""Micro-batches that a stage of ZB-H2 holds: twice those of 1F1B, less one.

    $$h = \min(2 (p - s) - 1, m) + 0 \cdot v$$

    micro_batches  m  of a step on each rank       [-]
    stages         p  of the pipeline              [-]
    stage          s  from 0                       [-]
    chunks         v  virtual stages on each       [-]
    returns        h  micro-batches held           [-]

    Source: Qi et al. 2023, arXiv:2401.10241, table 1: (2p − 1)·M_B on the first stage. Example: four stages.

    >>> zero_bubble_two_held(8.0, 4.0, 0.0, 1.0)
    7.0
    """
    return minimum(2.0 * (stages - stage) - 1.0, micro_batches) + 0.0 * chunks


def half_memory_held(micro_batches: Num, stages: Num, stage: Num, chunks: Num) -> Num:
    r"""Micro-batches that a stage of V-Half holds: the same on all, about half of what 1F1B's first has.

    $$h = \min\left(\frac{p}{2} + 1, m\right) + 0 \cdot (s + v)$$

    micro_batches  m  of a step on each rank       [-]
    stages         p  of the pipeline              [-]
    stage          s  from 0                       [-]
    chunks         v  virtual stages on each       [-]
    returns        h  micro-batches held           [-]

    Source: Qi et al. 2024, arXiv:2405.15362, table 1: ⌈(p + 2)/2⌉. Example: eight stages.

    >>> half_memory_held(64.0, 8.0, 0.0, 2.0)
    5.0
    """
    return minimum(stages / 2.0 + 1.0, micro_batches) + 0.0 * (stage + chunks)


def dualpipe_held(micro_batches: Num, stages: Num, stage: Num, chunks: Num) -> Num:
    r"""Micro-batches that a stage of DualPipe holds, on every stage.

    $$h = \min(p + 1, m) + 0 \cdot (s + v)$$

    micro_batches  m  of a step on each rank       [-]
    stages         p  of the pipeline              [-]
    stage          s  from 0                       [-]
    chunks         v  virtual stages on each       [-]
    returns        h  micro-batches held           [-]

    Source: DeepSeek-V3 technical report 2024, arXiv:2412.19437, table 2: activations PP + 1. Example: eight stages.

    >>> dualpipe_held(64.0, 8.0, 0.0, 2.0)
    9.0
    """
    return minimum(stages + 1.0, micro_batches) + 0.0 * (stage + chunks)
