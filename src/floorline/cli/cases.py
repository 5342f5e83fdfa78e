"""The columns of a comparison: every model with every value of the flags that hold a list, every plan and every variant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

from floorline.cli.command import Flag, Given
from floorline.errors import BadInput

VARIANTS = Flag(
    "variants",
    ("--variants",),
    "kinds of the model to compare: KEY=VALUE,VALUE of its configuration, such as num_key_value_heads=16,1, or "
    "attention=mha,gqa8,mqa,mla",
)
PLANS = Flag("plans", ("--plans",), "plans to compare, such as tp4,tp2pp2 (tp, pp, dp, cp, ep and how many)")
MOST = 8
WHOLE = ("set", "variants", "plans", "waterfall", "by", "output")
"""Flags that are not lists of values, whatever commas they hold."""
PART = re.compile(r"(tp|pp|dp|cp|ep)=?(\d+)[x×,]?")


def cases(models: list[str], given: Given) -> list[tuple[str, str, Given]]:
    """Every column: its name, which says what differs, its model, and the texts of its flags.

    raises BadInput for too many, or a list that cannot be read
    """
    axes = [("", models), *lists(given)]
    count = 1
    for _, values in axes:
        count *= len(values)
    if count > MOST:
        raise BadInput(f"{count} columns are too many to read; expected at most {MOST}: use sweep for more")
    found: list[tuple[str, str, Given]] = []
    for chosen in product(*(values for _, values in axes)):
        own, names = dict(given), []
        for (key, values), value in zip(axes, chosen, strict=True):
            own |= changed(own, key, value)
            if len(values) > 1:
                names.append(named(key, value))
        found.append((" ".join(names) or chosen[0], chosen[0], own))
    return found


def lists(given: Given) -> Iterator[tuple[str, list[str]]]:
    """Flags that hold several values, with these."""
    for key, text in given.items():
        if isinstance(text, str) and key not in WHOLE and "," in text:
            yield key, text.split(",")
    if given.get("plans"):
        yield "plans", given["plans"].split(",")
    if given.get("variants"):
        key, equals, values = given["variants"].partition("=")
        if not equals or not key or not values:
            raise BadInput(
                f"--variants is {given['variants'][:40]!r}; expected KEY=VALUE,VALUE such as num_key_value_heads=16,1"
            )
        yield f"{key}=", values.split(",")


def changed(given: Given, key: str, value: str) -> dict[str, str | None]:
    """The flags that a value sets."""
    if not key:
        return {}
    if key == "plans":
        return degrees(value, given)
    if key.endswith("="):
        return {"set": ",".join(filter(None, (given.get("set"), f"{key}{value}")))}
    return {key: value}


def named(key: str, value: str) -> str:
    """What a column is called for a value: bare where it speaks for itself."""
    if key in ("", "hardware", "plans", "engine", "dtype", "quantization"):
        return value
    return f"{key}{value}" if key.endswith("=") else f"{key}={value}"


def degrees(text: str, given: Given) -> dict[str, str | None]:
    """A plan in short, tp2pp2, as the flags of its degrees.

    raises BadInput for anything else, or a degree that a flag gives too

    >>> degrees("tp2pp2", {})
    {'tp': '2', 'pp': '2'}
    """
    found = dict(PART.findall(text.lower()))
    if not found or PART.sub("", text.lower()):
        raise BadInput(f"--plans has {text[:40]!r}; expected such as tp4 or tp2pp2: tp, pp, dp, cp or ep and how many")
    for key in found:
        if given.get(key) is not None and given.get("plans"):
            raise BadInput(f"--plans has {key}, which a flag of its own gives too; leave out one of the two")
    return {**found}
