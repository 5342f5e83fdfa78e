"""Numbers: a float64 or a NumPy array of them, and the few operations that formulas need.

The first law of the project: every formula obeys ``f(array)[i] == f(scalar_i)``, bit for bit. Python's ``**`` and
``math.log`` differ from NumPy's in the last bit, so powers, logarithms and exponentials go through NumPy's ufuncs for
scalars too, and sums run in a static order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]
else:  # numpy.typing takes a tenth of NumPy's own import time, and nothing at run time needs it
    Array = np.ndarray

Num: TypeAlias = float | Array

ceil = np.ceil
floor = np.floor
expm1 = np.expm1
log1p = np.log1p
log2 = np.log2
power = np.power


def number(value: object) -> Num:
    """A float for a scalar, a float64 array for anything with an axis.

    >>> number(3), number([1, 2]).dtype.name
    (3.0, 'float64')
    """
    if isinstance(value, (int, float)):
        return float(value)
    array = np.array(value, dtype=np.float64)
    array.setflags(write=False)  # an answer that is computed later belongs to the numbers that were asked about
    return array if array.ndim else float(array)


def maximum(a: Num, b: Num) -> Num:
    """The larger of two numbers, elementwise; nan where either is. Two floats do not take NumPy's long way round.

    >>> maximum(1.0, 2.0)
    2.0
    """
    if isinstance(a, float) and isinstance(b, float):
        return a if a >= b or a != a else b
    return np.maximum(a, b)


def minimum(a: Num, b: Num) -> Num:
    """The smaller of two numbers, elementwise; nan where either is.

    >>> minimum(1.0, 2.0)
    1.0
    """
    if isinstance(a, float) and isinstance(b, float):
        return a if a <= b or a != a else b
    return np.minimum(a, b)


def where(condition: object, yes: Num, no: Num) -> Num:
    """``yes`` where the condition holds, else ``no``; a scalar stays a scalar.

    >>> float(where(2.0 > 1.0, 5.0, 0.0))
    5.0
    """
    if isinstance(condition, (bool, np.bool_)) and isinstance(yes, float) and isinstance(no, float):
        return yes if condition else no
    result: Num = np.where(np.asarray(condition), yes, no)[()]
    return result


def total(values: Iterable[Num]) -> Num:
    """The sum in the order given, so that arrays and scalars round alike (``np.sum`` adds pairwise).

    >>> total([1.0, 2.0, 3.0])
    6.0
    """
    result: Num = 0.0
    for value in values:
        result = result + value
    return result


def largest(values: Iterable[Num]) -> Num:
    """The largest of several numbers, elementwise; 0 for none.

    >>> float(largest([1.0, 5.0, 3.0]))
    5.0
    """
    result: Num = 0.0
    for value in values:
        result = maximum(result, value)
    return result


def all_true(condition: object) -> bool:
    """Whether a comparison of numbers holds everywhere: for checks at the edges, never inside a formula.

    >>> all_true(number([1, 2]) > 0)
    True
    """
    return bool(condition) if isinstance(condition, (bool, np.bool_)) else bool(np.all(np.asarray(condition)))
