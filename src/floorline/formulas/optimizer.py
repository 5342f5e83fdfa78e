"""What an optimizer keeps of each parameter and moves in a step, and what of it ZeRO shares out."""

from __future__ import annotations

from floorline.num import Num


def state_bytes(weight: Num, gradient: Num, master: Num, moments: Num, ranks: Num) -> Num:
    r"""Bytes of a parameter on each rank under ZeRO stage 1, which shares out the optimizer's state.

    $$b = w + g + \frac{c + s}{d}$$

    weight    w  of the weight itself               [B]
    gradient  g  of its gradient                    [B]
    master    c  of a wide copy of it               [B]
    moments   s  of the optimizer's moments         [B]
    ranks     d  that share                         [-]
    returns   b  on each rank                       [B]

    Source: Rajbhandari et al. 2019 (ZeRO), arXiv:1910.02054, section 3.1 and figure 1: 2 + 2 + 12/64 bytes for mixed-precision
    Adam on 64
    ranks: 31.4 GB of a 7.5B model.

    >>> round(7.5 * state_bytes(2.0, 2.0, 4.0, 8.0, 64.0), 1)
    31.4
    """
    return weight + gradient + (master + moments) / ranks


def update_bytes(weight: Num, gradient: Num, master: Num, moments: Num) -> Num:
    r"""Bytes that an update of one parameter moves: its gradient is read, its wide copy and moments are read and written, and the
    weight is written (read too, where it has no wide copy: then c is the weight's own size and w is 0).

    $$u = g + 2 (c + s) + w$$

    weight    w  of the weight                      [B]
    gradient  g  of its gradient                    [B]
    master    c  of a wide copy of it               [B]
    moments   s  of the optimizer's moments         [B]
    returns   u  moved                              [B]

    Source: Kingma and Ba 2014 (Adam), arXiv:1412.6980, algorithm 1; NVIDIA apex, csrc/multi_tensor_adam.cu, which reads g, p, m
    and v and writes p, m and v. Example: fp32 throughout, 28 bytes.

    >>> update_bytes(0.0, 4.0, 4.0, 8.0)
    28.0
    """
    return gradient + 2.0 * (master + moments) + weight


def newton_schulz_flops(rows: Num, columns: Num, iterations: Num) -> Num:
    r"""Arithmetic of Muon's orthogonalisation of one matrix: in each iteration X·Xᵀ, its square, and a product with X.

    $$C = 2 i (2 a^2 b + a^3)$$

    rows        a  the smaller side   [-]
    columns     b  the larger side    [-]
    iterations  i  usually five       [-]
    returns     C  operations         [FLOP]

    Source: Jordan et al. 2024, Muon (kellerjordan.github.io/posts/muon): at most 6·n·m² FLOP an iteration. Example: a square
    matrix of 1024, one iteration: 6·1024³.

    >>> newton_schulz_flops(1024.0, 1024.0, 1.0) == 6 * 1024**3
    True
    """
    return 2.0 * iterations * (2.0 * rows * rows * columns + rows * rows * rows)
