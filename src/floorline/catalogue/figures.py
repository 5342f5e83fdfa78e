"""A figure of the catalogue: a value with its unit, and what each of its sources prints.

A custom file may give plain text, ``memory = "80 GB"``; the catalogue's own files give a table::

    bf16 = { value = "989.4 TFLOP/s", sources = { vendor = "1979 TFLOP/s sparse", somebody = "989 TFLOP/s" }, note = "…" }
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from floorline.errors import BadInput, near
from floorline.units import example, parse

QUALIFIERS = {" sparse": 2.0, " both directions": 2.0}
"""What data sheets print besides the dense, one-way figure, and by how much it is larger."""

PCIE = {"1.0": 4e9, "2.0": 8e9, "3.0": 16e9, "4.0": 32e9, "5.0": 64e9, "6.0": 128e9}
"""Nominal rate of sixteen lanes in one direction, by generation [B/s]."""

KEYS = ("value", "sources", "note", "date", "derived")


@dataclass(frozen=True)
class Figure:
    """A figure as a file has it.

    value    SI [its unit]
    text     as written, with its unit
    sources  reference → the figure as that source prints it
    note     what to know of it, such as why two sources differ
    date     year and month of a price
    derived  whether no source prints it and it follows from what they print, as the note says
    """

    value: float
    text: str
    sources: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    date: str = ""
    derived: bool = False

    @staticmethod
    def read(where: str, given: object, dimension: str) -> Figure:
        """A figure from a file.

        where      the file and the key, for errors
        dimension  what its unit must measure (see ``units.parse``)
        raises     BadInput for unknown keys, a wrong unit, nothing above zero
        """
        table = given if isinstance(given, Mapping) else {"value": given}
        for key in table:
            if key not in KEYS:
                raise BadInput(f"{where}: unknown key {key!r}; {near(str(key), KEYS)}")
        text = table.get("value")
        if not isinstance(text, str):
            raise BadInput(f"{where} is {str(text)[:40]!r}; expected text, such as {example(dimension)!r}")
        value = parse(text, dimension, where)
        if not 0.0 < value < float("inf"):
            raise BadInput(f"{where} is {text[:40]!r}; expected more than zero and less than infinity")
        sources = table.get("sources", {})
        if not isinstance(sources, Mapping) or not all(isinstance(x, str) for x in sources.values()):
            raise BadInput(f"{where}: its sources are no table of text; expected sources = {{ reference = {text!r} }}")
        note, date = (str(table.get(key, "")) for key in ("note", "date"))
        return Figure(value, text, sources, note, date, table.get("derived", False) is True)

    def to_dict(self) -> dict[str, object]:
        """The figure as the file has it, and its SI value."""
        more: dict[str, object] = {"date": self.date} if self.date else {}
        more |= {"derived": True} if self.derived else {}
        return {"value": self.text, "si": self.value, "sources": dict(self.sources), "note": self.note, **more}


def cited(figure: Mapping[str, object]) -> Mapping[str, str]:
    """Of a figure as ``Figure.to_dict`` has it, what each source prints."""
    sources = figure["sources"]
    assert isinstance(sources, Mapping)
    return sources


def printed(text: str, dimension: str, where: str = "figure") -> float:
    """What a source prints, made dense and one way [SI].

    >>> printed("1979 TFLOP/s sparse", "FLOP/s"), printed("900 GB/s both directions", "B/s"), printed("PCIe 5.0 x16", "B/s")
    (989500000000000.0, 450000000000.0, 64000000000.0)
    """
    factor = 1.0
    for suffix, times in QUALIFIERS.items():
        if text.endswith(suffix):
            text, factor = text.removesuffix(suffix), times
    if text.startswith("PCIe ") and dimension == "B/s":
        return pcie(text, where) / factor
    return parse(text, dimension, where) / factor


def pcie(text: str, where: str) -> float:
    """Nominal rate of "PCIe 4.0 x16", one direction [B/s].

    Source: PCI-SIG, "PCI Express Base Specification": 8, 16, 32 GT/s a lane from 3.0 to 5.0. Example: a quarter of sixteen lanes.

    >>> pcie("PCIe 4.0 x4", "link")
    8000000000.0
    """
    words = text.split()
    lanes = words[2].removeprefix("x") if len(words) == 3 else ""
    if len(words) != 3 or words[1] not in PCIE or not lanes.isdigit():
        raise BadInput(f"{where}: {text[:40]!r} is no PCIe link; expected for example 'PCIe 5.0 x16'")
    return PCIE[words[1]] * float(lanes) / 16.0
