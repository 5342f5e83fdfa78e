"""Small kernels whose arithmetic and traffic everybody can count by hand."""

from __future__ import annotations

from floorline.num import Num, power


def axpy_flops(n: Num) -> Num:
    r"""Arithmetic of z = a·x + y on vectors of n: a multiplication and an addition each.

    $$C = 2n$$

    n        n  elements                   [-]
    returns  C  floating-point operations  [FLOP]

    Source: lecture "Transformers, profiling and performance modelling".

    >>> axpy_flops(1000.0)
    2000.0
    """
    return 2.0 * n


def axpy_bytes(n: Num, bytes_per_element: Num) -> Num:
    r"""Traffic of z = a·x + y: two vectors read, one written.

    $$V = 3bn$$

    n                  n  elements             [-]
    bytes_per_element  b  bytes of an element  [B]
    returns            V  bytes moved          [B]

    Source: lecture "Transformers, profiling and performance modelling": 24n in double precision.

    >>> axpy_bytes(1.0, 8.0)
    24.0
    """
    return 3.0 * bytes_per_element * n


def matmul_flops(m: Num, n: Num, k: Num) -> Num:
    r"""Arithmetic of a matmul, C[m,n] = A[m,k]·B[k,n].

    $$C = 2mnk$$

    m        m  rows of the result         [-]
    n        n  columns of the result      [-]
    k        k  summed width               [-]
    returns  C  floating-point operations  [FLOP]

    Source: lecture "Transformers, profiling and performance modelling": 2n³ for square matrices.

    >>> matmul_flops(10.0, 10.0, 10.0)
    2000.0
    """
    return 2.0 * m * n * k


def matmul_bytes(m: Num, n: Num, k: Num, bytes_per_element: Num, result_passes: Num) -> Num:
    r"""Least traffic of a matmul: both factors read once, the result written, or read and written.

    $$V = b(mk + kn + r\,mn)$$

    m                  m  rows of the result                       [-]
    n                  n  columns of the result                    [-]
    k                  k  summed width                             [-]
    bytes_per_element  b  bytes of an element                      [B]
    result_passes      r  1 writes the result, 2 reads it as well  [-]
    returns            V  bytes moved                              [B]

    Source: lecture "Transformers, profiling and performance modelling": 32n² in double precision
    with the result read, 24n² without.

    >>> matmul_bytes(1.0, 1.0, 1.0, 8.0, 2.0), matmul_bytes(1.0, 1.0, 1.0, 8.0, 1.0)
    (32.0, 24.0)
    """
    return bytes_per_element * (m * k + k * n + result_passes * m * n)


def square_matmul_intensity(n: Num, bytes_per_element: Num, matrices: Num) -> Num:
    r"""Arithmetic intensity of a square matmul.

    $$I = \frac{2n^3}{b\,m\,n^2}$$

    n                  n  width                                                 [-]
    bytes_per_element  b  bytes of an element                                   [B]
    matrices           m  matrices moved: 3, or 4 where the result is read too  [-]
    returns            I  arithmetic intensity                                  [FLOP/B]

    Source: lecture "Transformers, profiling and performance modelling": n/16 in double precision, n/12 without reading the result.

    >>> float(square_matmul_intensity(48.0, 8.0, 4.0)), float(square_matmul_intensity(48.0, 8.0, 3.0))
    (3.0, 4.0)
    """
    return 2.0 * power(n, 3.0) / (bytes_per_element * matrices * power(n, 2.0))
