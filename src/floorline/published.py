"""Every published formula by name, read from its own docstring: the contract of ``formulas/``.

first line, then the formula between $$, then a line for each argument and for what it returns
(name, letter, description, [unit]), then ``Source:`` and an example
"""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from floorline import formulas

LINE = re.compile(r"^ {0,4}(?P<name>\w+)\s+(?P<letter>\S+)\s+(?P<doc>\S.*?)\s+\[(?P<unit>[^\]]+)\]$")


@dataclass(frozen=True)
class Quantity:
    """An argument, or what a formula returns."""

    name: str
    letter: str
    doc: str
    unit: str


@dataclass(frozen=True)
class Formula:
    """A published formula.

    name       of the function
    title      its first line
    latex      between the dollar signs
    arguments  in order
    result     what it returns
    source     where it is from
    function   to compute it
    """

    name: str
    title: str
    latex: str
    arguments: tuple[Quantity, ...]
    result: Quantity
    source: str
    function: Callable[..., object]


@cache
def formula_names() -> dict[str, str]:
    """Name → module of every formula."""
    found = {}
    for module in pkgutil.iter_modules(formulas.__path__):
        loaded = import_module(f"floorline.formulas.{module.name}")
        own = [name for name, f in inspect.getmembers(loaded, inspect.isfunction) if f.__module__ == loaded.__name__]
        found.update(dict.fromkeys(own, module.name))
    return found


@cache
def formula(name: str) -> Formula:
    """A formula by name.

    raises KeyError where there is none

    >>> formula("machine_balance").result.unit
    'FLOP/B'
    """
    module = formula_names()[name]
    return parse(getattr(import_module(f"floorline.formulas.{module}"), name))


def parse(function: Callable[..., object]) -> Formula:
    """A function's docstring as data."""
    text = inspect.getdoc(function) or ""
    quantities = [Quantity(**m.groupdict()) for m in map(LINE.match, text.splitlines()) if m]
    latex = re.search(r"\$\$(.*?)\$\$", text, re.S)
    source = re.search(r"Source:\s*(.*?)(?:\n\s*\n|$)", text, re.S)
    return Formula(
        name=function.__name__,
        title=" ".join(text.split("\n\n")[0].split()),
        latex=latex.group(1).strip() if latex else "",
        arguments=tuple(q for q in quantities if q.name != "returns"),
        result=next(q for q in quantities if q.name == "returns"),
        source=" ".join(source.group(1).split()) if source else "",
        function=function,
    )
