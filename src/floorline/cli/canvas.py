"""A small log–log plot of characters, for terminals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from floorline.units import DECIMAL, scaled

WIDTH, HEIGHT = 72, 18


def loglog(
    curve: Sequence[tuple[float, float]],
    marks: Sequence[tuple[float, float, str]],
    x_unit: str,
    y_unit: str,
) -> str:
    """A curve of straight lines between corners, and letters at points.

    curve  (x, y) of its corners, from left to right
    marks  (x, y, letter) of the points

    >>> print(loglog([(1.0, 1.0), (100.0, 100.0)], [(10.0, 10.0, "A")], "x", "y").splitlines()[0])
        100 y ┤                                                                     ···
    """
    return curves([("·", curve)], marks, x_unit, y_unit)


def curves(
    drawn: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    marks: Sequence[tuple[float, float, str]],
    x_unit: str,
    y_unit: str,
) -> str:
    """Several curves, each with its character; where they meet the later one is seen, and marks above all.

    >>> two = [("a", [(1.0, 1.0), (100.0, 100.0)]), ("b", [(1.0, 10.0), (100.0, 10.0)])]
    >>> [line.strip()[-1] for line in curves(two, [], "x", "y").splitlines()[:1]]
    ['a']
    """
    corners = [corner for _, curve in drawn for corner in curve]
    xs = np.log10([x for x, *_ in corners] + [x for x, *_ in marks])
    ys = np.log10([y for _, y in corners] + [y for _, y, _ in marks])
    left, right, low, high = xs.min(), xs.max(), ys.min(), ys.max()
    grid = [[" "] * WIDTH for _ in range(HEIGHT)]

    def put(x: float, y: float, character: str) -> None:
        column = round((x - left) / (right - left or 1.0) * (WIDTH - 1))
        row = round((high - y) / (high - low or 1.0) * (HEIGHT - 1))
        grid[row][column] = character

    for character, curve in drawn:
        points = np.log10(np.asarray(curve))
        for x in np.linspace(left, right, WIDTH):
            put(x, float(np.interp(x, points[:, 0], points[:, 1])), character)
    for x, y, letter in marks:
        put(np.log10(x), np.log10(y), letter)
    lines = []
    for row, cells in enumerate(grid):
        named = row in (0, HEIGHT - 1)
        value = 10 ** (high if row == 0 else low)
        head = scaled(value, DECIMAL, y_unit, 3) if named else ""
        lines.append(f"{head:>9} {'┤' if named else '│'}" + "".join(cells).rstrip())
    first, last = (scaled(10**x, DECIMAL, x_unit, 3) for x in (left, right))
    lines.append(" " * 10 + "└" + "─" * WIDTH)
    lines.append(" " * 11 + first + last.rjust(WIDTH - len(first)))
    return "\n".join(lines)
