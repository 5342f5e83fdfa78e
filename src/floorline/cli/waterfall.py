"""A waterfall on the command line: a table with bars, or a chart in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from floorline import charts
from floorline.cli.output import bold, note, table
from floorline.units import seconds
from floorline.waterfalls import Waterfall

WIDTH = 40


def show_waterfall(fall: Waterfall) -> None:
    """Each step with what it takes before and after, by how much that is longer, and where it stands."""
    factor = fall.end / fall.start
    print(bold(f"\n{fall.by} {fall.what}, from {fall.first} to {fall.second}: {factor:.2f} times as long"))
    most = max(fall.start, fall.end, *(max(x.begins, x.ends) for x in fall.changes))
    rows = [(fall.first, "", seconds(fall.start), "", bar(0.0, fall.start, most))]
    rows += [
        (x.kind, seconds(x.before), seconds(x.after), signed(x.change), bar(x.begins, x.ends, most))
        for x in fall.changes
    ]
    rows.append((fall.second, "", seconds(fall.end), signed(fall.end - fall.start), bar(0.0, fall.end, most)))
    widest = max(len(row[4]) for row in rows)
    print(table(["", "before", "after", "change", ""], [(*row[:4], row[4].ljust(widest)) for row in rows]))


def signed(value: float) -> str:
    """A change for people.

    >>> signed(-0.0121)
    '− 12.1 ms'
    """
    return f"{'+' if value >= 0.0 else '−'} {seconds(abs(value))}"


def bar(begins: float, ends: float, most: float) -> str:
    """A bar between two times; one that shortens is drawn lighter.

    >>> bar(0.0, 0.5, 1.0).count("█")
    20
    """
    low, high = (round(x / most * WIDTH) for x in sorted((begins, ends)))
    return " " * low + ("█" if ends >= begins else "░") * max(high - low, 1 if ends != begins else 0)


def draw(falls: Sequence[Waterfall], path: str) -> None:
    """The chart of one, to a file; of several a file each, numbered."""
    for i, fall in enumerate(falls):
        own = path if len(falls) == 1 else str(Path(path).with_stem(f"{Path(path).stem}-{i + 1}"))
        charts.save(charts.waterfall(fall), own)
        note(f"wrote {own}")
