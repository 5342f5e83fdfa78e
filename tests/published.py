"""Every published formula: the public functions of floorline.formulas, and what their docstrings declare."""

import inspect
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import floorline.formulas

FOLDER = Path(floorline.formulas.__path__[0])
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
QUANTITY = re.compile(r"^(\w+) +(\S+) +(\S.*?) +\[(\S+)\]$", re.MULTILINE)


class Quantity(NamedTuple):
    """A line of a docstring: name, letter, description, unit."""

    name: str
    letter: str
    description: str
    unit: str


class Formula(NamedTuple):
    """A function with the units of its arguments and of its result."""

    name: str
    function: Callable[..., Any]

    @property
    def docstring(self) -> str:
        return inspect.getdoc(self.function) or ""

    @property
    def parameters(self) -> list[str]:
        return list(inspect.signature(self.function).parameters)

    @property
    def quantities(self) -> list[Quantity]:
        return [Quantity(*match) for match in QUANTITY.findall(self.docstring)]

    @property
    def units(self) -> dict[str, str]:
        """Unit by argument; the result is ``returns``."""
        return {q.name: q.unit for q in self.quantities}


def found() -> list[Formula]:
    """All of them, by module."""
    result = []
    for module in MODULES:
        loaded = import_module(f"floorline.formulas.{module}")
        for name, value in vars(loaded).items():
            if inspect.isfunction(value) and value.__module__ == loaded.__name__ and not name.startswith("_"):
                result.append(Formula(f"{module}.{name}", value))
    return result


FORMULAS = found()
