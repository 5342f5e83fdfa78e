"""What all answers can do: turn into dicts, JSON and DataFrames, and render in a notebook."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from floorline.errors import BadInput


def exact(value: Any) -> Any:
    """Plain JSON values: whole numbers as integers, nan and infinities as null, arrays as lists, answers as dicts.

    >>> exact({"a": 3.0, "b": float("nan")})
    {'a': 3, 'b': None}
    """
    if isinstance(value, Mapping):
        return {str(k): exact(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [exact(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return exact(value.tolist())
    if isinstance(value, float):
        if not np.isfinite(value):
            return None
        return int(value) if value == int(value) and abs(value) < 2.0**63 else value
    if isinstance(value, Result):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return exact({f.name: getattr(value, f.name) for f in fields(value)})
    return value


class Result:
    """An answer. Subclasses are frozen dataclasses and say in ``answer`` what belongs into their dict."""

    def answer(self) -> Mapping[str, Any]:
        """The answer's own keys; the fields, where nothing else is said."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {k: exact(v) for k, v in self.answer().items()}

    def to_json(self) -> str:
        """One JSON document."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    def to_pandas(self) -> Any:
        """A pandas DataFrame of one row, nested keys joined by dots.

        raises BadInput where pandas is not installed
        """
        try:
            import pandas
        except ImportError:
            raise BadInput(
                "to_pandas needs pandas: pip install 'floorline[pandas]', or use to_dict() or to_json()"
            ) from None
        return pandas.json_normalize([self.to_dict()])

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        from html import escape  # only a notebook needs it

        rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in flat(self.to_dict()))
        return f"<table>{rows}</table>"


def flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Nested keys joined by dots, with their values as text; lists only by their length."""
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            found += flat(value, f"{name}.")
        else:
            found.append((name, f"{len(value)} entries" if isinstance(value, list) else str(value)))
    return found
