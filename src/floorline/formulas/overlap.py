"""Messages that go on while other work does: what is left to wait for, and what sharing the device costs."""

from __future__ import annotations

from floorline.num import Num, maximum, minimum


def exposed_time(messages: Num, work: Num, pieces: Num) -> Num:
    r"""What is left of messages that start piece by piece as the work that makes them proceeds.

    $$x = \max\left(M - W\,\frac{n - 1}{n}, \frac{M}{n}\right)$$

    messages  M  all messages, one after the other   [s]
    work      W  that they overlap with              [s]
    pieces    n  equal ones: layers, buckets         [-]
    returns   x  after the work's end                [s]

    Source: Li et al. 2020 (PyTorch Distributed), arXiv:2006.15704, section 3.2.3: a bucket is reduced once its gradients are
    there, the last of them after the backward pass. Example: two buckets of 3 s each, work of 4 s: one is hidden but for 2 s, the
    other not at all.

    >>> exposed_time(6.0, 4.0, 2.0)
    4.0
    """
    return maximum(messages - work * (pieces - 1.0) / pieces, messages / pieces)


def sharing_time(messages: Num, work: Num, share: Num) -> Num:
    r"""What work takes longer while messages use a share of the multiprocessors.

    $$y = \min(M, W)\,\frac{s}{1 - s}$$

    messages  M  that go on meanwhile                          [s]
    work      W  alone                                         [s]
    share     s  of the multiprocessors that messages use      [-]
    returns   y  longer                                        [s]

    Source: DeepSeek-V3 technical report 2024, arXiv:2412.19437, section 3.2.2: 20 of 132 multiprocessors send and receive.
    Example: a
    second of both, 20 of 132.

    >>> round(sharing_time(1.0, 1.0, 20.0 / 132.0), 4)
    0.1786
    """
    return minimum(messages, work) * share / (1.0 - share)
