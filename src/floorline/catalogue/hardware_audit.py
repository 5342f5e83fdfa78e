"""What can be checked of the catalogue of accelerators, checked: units, sources, sparse peaks, impossible machines."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from floorline.catalogue.accelerators import DIMENSIONS, FORMATS, HERE, LINK, from_toml, named
from floorline.catalogue.architectures import architectures
from floorline.catalogue.figures import cited, printed
from floorline.catalogue.references import references
from floorline.errors import BadInput
from floorline.result import Result
from floorline.specs.accelerator import Accelerator

DIFFERENCE = 0.02
"""Share by which two sources may differ without a note that says why."""

BINARY = 0.05
"""The same of sizes, which people print as MB and mean 2²⁰ bytes."""

PCIE_LARGEST = 130e9
"""No PCIe link is faster in one direction: sixteen lanes of generation 6 [B/s]."""

ROUNDING = 0.03
"""Share by which a peak may exceed multiprocessors × clock × width: sheets round, and clocks are nominal."""

BALANCE = (2.0, 1200.0)
"""Half-precision peak over memory bandwidth of machines that exist [FLOP/B]: Apple's M1 has 38, a B200 281, an L40S 419."""

READING = (1e-3, 20.0)
"""Time to read all of the memory once, of machines that exist [s]."""

POWER = (5.0, 3000.0)
"""Power limits of devices that exist [W]."""

HALVED = ("tf32", "fp16", "bf16", "fp8")
"""Formats that GeForce cards accumulate in fp32 at half of their family's rate."""

MONTH = re.compile(r"20\d\d-(0[1-9]|1[0-2])(-[0-3]\d)?")
DIMENSION = {**DIMENSIONS, **dict.fromkeys(FORMATS, "FLOP/s"), **LINK}
TWO_SOURCES = ("memory_bandwidth", *FORMATS)


@dataclass(frozen=True)
class Finding(Result):
    """What an audit has to say of one accelerator.

    device  its key
    figure  which of its figures, "" for the whole
    reason  what is wrong, or worth knowing
    wrong   whether the audit refuses it
    """

    device: str
    figure: str
    reason: str
    wrong: bool = True


def audit(paths: Iterable[Path]) -> list[Finding]:
    """Every file; what is wrong with each, and remarks.

    >>> from floorline.catalogue.accelerators import HERE
    >>> [f.reason for f in audit([HERE / "h100-sxm.toml"]) if f.wrong]
    []
    """
    return [finding for path in paths for finding in audit_file(path)]


def audit_file(path: Path) -> list[Finding]:
    """One file: what its text says, and whether the machine that it describes can be."""
    name = path.stem
    try:
        device = from_toml(path)
    except BadInput as error:
        return [Finding(name, "", str(error))]
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    found = [*entry(name, data), *(names_taken(name, data) if path.parent == HERE else ())]
    for key, figure in device.figures.items():
        found += figure_findings(name, key, figure, data.get("references", {}))
    return [*found, *(Finding(name, key, reason) for key, reason in machine(device))]


def entry(name: str, data: Mapping[str, Any]) -> Iterator[Finding]:
    """What a file lacks beside figures."""
    for key in ("name", "vendor", "architecture"):
        if not data.get(key):
            yield Finding(name, key, f"the key {key!r} is missing")


def names_taken(name: str, data: Mapping[str, Any]) -> Iterator[Finding]:
    """Names of a file of the catalogue that another one has."""
    for alias in data.get("aliases", ()):
        if named(alias) not in ("", name):
            yield Finding(name, "aliases", f"the alias {alias} is of {named(alias)} too")


def figure_findings(name: str, key: str, figure: Mapping[str, object], own: Collection[str] = ()) -> Iterator[Finding]:
    """What is wrong with the sources of one figure; ``own`` are references of the file itself."""
    kind, sources, note = key.rpartition(".")[2], cited(figure), figure["note"]
    if not sources:
        yield Finding(name, key, "no source; expected sources = { reference = 'what it prints' }")
    if len(sources) == 1 and kind in TWO_SOURCES:
        yield Finding(name, key, "one source only", wrong=False)
    if kind == "price" and not MONTH.fullmatch(str(figure.get("date", ""))):
        yield Finding(name, key, f"the price's date is {figure.get('date')!r}; expected a month such as '2025-06'")
    values = []
    for reference, text in sources.items():
        if reference not in references() and reference not in own:
            hint = f"add a table [references.{reference}] with its title and address"
            yield Finding(name, key, f"the source {reference!r} is not among the references; {hint}")
        try:
            values.append(printed(text, DIMENSION[kind], f"source {reference}"))
        except BadInput as error:
            yield Finding(name, key, str(error))
    value = float(str(figure["si"]))
    nearest = min((abs(value / one - 1.0) for one in values), default=0.0)
    as_printed = BINARY if DIMENSION[kind] == "B" else DIFFERENCE
    if figure.get("derived") and not note:
        yield Finding(name, key, "derived, and no note says how")
    if nearest > as_printed and not figure.get("derived"):
        yield Finding(
            name,
            key,
            f"{figure['value']} is what no source prints; expected one of theirs, or derived = true and a note",
        )
    values.append(value)
    if max(values) > min(values) * (1.0 + DIFFERENCE) and not note:
        yield Finding(name, key, f"sources differ, {min(values):.5g} to {max(values):.5g}, and no note says why")
    if any(text.endswith(" sparse") and text.startswith(str(figure["value"])) for text in sources.values()):
        yield Finding(name, key, f"{figure['value']} is the sparse figure; expected half of it")


def machine(device: Accelerator) -> Iterator[tuple[str, str]]:
    """What no machine can be: the figure, and why not."""
    yield from peaks(device)
    half = [float(device.peaks[form]) for form in ("bf16", "fp16") if form in device.peaks] or [
        float(device.fastest("bf16"))
    ]
    bandwidth, memory = float(device.memory_bandwidth), float(device.memory)
    limits = {
        "machine balance": (max(half) / bandwidth, BALANCE, "FLOP/B", "memory_bandwidth"),
        "time to read all of the memory": (memory / bandwidth, READING, "s", "memory_bandwidth"),
    }
    if device.tdp is not None:
        limits["power limit"] = (float(device.tdp), POWER, "W", "tdp")
    for what, (value, (low, high), unit, key) in limits.items():
        if not low <= value <= high:
            yield key, f"the {what} is {value:.4g} {unit}; of machines that exist it is {low:g} to {high:g}"
    if not 0.5 * memory <= float(device.usable) <= memory * 2.0**30 / 1e9 * 1.001:
        yield "usable_memory", f"{float(device.usable):.5g} B of {memory:.5g} B; expected at most as many 2^30 as 10^9"
    if float(device.last_level_cache) > 0.1 * memory:
        yield "last_level_cache", "more than a tenth of the memory"
    if device.cache_bandwidth is not None and float(device.cache_bandwidth) < bandwidth:
        yield "cache_bandwidth", "slower than the memory behind it"
    for link in device.links:
        if link.name == "pcie" and float(link.bandwidth) > PCIE_LARGEST:
            yield (
                f"{link.name}.bandwidth",
                f"{float(link.bandwidth):.4g} B/s; expected at most {PCIE_LARGEST:g}, in one direction",
            )
        if not link.host and float(link.bandwidth) > bandwidth:
            yield f"{link.name}.bandwidth", "faster than the memory; both directions, or bits?"


def peaks(device: Accelerator) -> Iterator[tuple[str, str]]:
    """Peaks that the multiprocessors cannot reach at their clock, and narrower formats slower than wider ones."""
    family = architectures().get(device.architecture)
    if family is not None and device.sm_count is not None and device.boost_clock is not None:
        cycles = float(device.sm_count) * float(device.boost_clock)
        halved = HALVED if "GeForce" in device.title else ()
        for form, rate in device.peaks.items():
            most = cycles * float(family.per_clock.get(form, float("inf"))) * (0.5 if form in halved else 1.0)
            if float(rate) > (1.0 + ROUNDING) * most:
                times = float(rate) / most
                yield (
                    form,
                    (
                        f"{float(rate):.5g} FLOP/s is {times:.3g} times what {float(device.sm_count):g} multiprocessors do at "
                        f"{float(device.boost_clock) / 1e6:g} MHz ({most:.5g}); is it with sparsity?"
                    ),
                )
    for wide, narrow in (("fp32", "fp16"), ("tf32", "bf16"), ("tf32", "fp16"), ("bf16", "fp8"), ("fp8", "fp4")):
        if wide in device.peaks and narrow in device.peaks:
            ratio = float(device.peaks[narrow]) / float(device.peaks[wide])
            if not 0.99 <= ratio <= 512.0:
                yield narrow, f"{ratio:.3g} times the rate of {wide}"


def figures(path: Path) -> list[Mapping[str, object]]:
    """The figures of a file, none where it cannot be loaded."""
    try:
        return list(from_toml(path).figures.values())
    except BadInput:
        return []


def references_not_used() -> set[str]:
    """References that no figure of an accelerator and no architecture rests on."""
    used = {source for a in architectures().values() for source in a.sources}
    for path in HERE.glob("*.toml"):
        for figure in figures(path):
            used |= set(cited(figure))
    return set(references()) - used
