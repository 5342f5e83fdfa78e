"""Fitted numbers: what each means, where a fit starts, its range and its unit, beside its name."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def parameter(doc: str, start: float, low: float, high: float, unit: str = "-") -> Any:
    """A field of a kernel model's parameters.

    doc        what it means
    start      where a fit starts
    low, high  its range
    unit       "-" for a share or a ratio, else SI
    """
    return field(metadata={"doc": doc, "start": start, "low": low, "high": high, "unit": unit})
