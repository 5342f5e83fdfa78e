"""What can be checked of the machines of the catalogue, checked."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from floorline.catalogue import accelerators
from floorline.catalogue.clusters import HERE, find, from_toml, read_levels
from floorline.catalogue.hardware_audit import Finding, figure_findings
from floorline.errors import FloorlineError


def audit(paths: Iterable[Path]) -> list[Finding]:
    """Every machine; what is wrong with each.

    >>> [f.reason for f in audit([HERE / "dgx-h100.toml"]) if f.wrong]
    []
    """
    return [finding for path in paths for finding in audit_file(path)]


def audit_file(path: Path) -> list[Finding]:
    """One file."""
    name = path.stem
    try:
        cluster = from_toml(path)
    except FloorlineError as error:
        return [Finding(name, "", str(error))]
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    found = [Finding(name, key, f"the key {key!r} is missing") for key in ("name", "vendor") if not data.get(key)]
    found += [Finding(name, "aliases", f"the alias {a} is of {o} too") for a, o in taken(name, data.get("aliases", ()))]
    for link, figures in read_levels(path, data):
        for key, figure in figures.items():
            found += figure_findings(name, f"{link.name}.{key}", figure.to_dict(), data.get("references", {}))
    own = [float(x.bandwidth) for x in cluster.accelerator.links]
    if own and float(cluster.levels[0].bandwidth) > 1.02 * max(own):
        found.append(Finding(name, cluster.levels[0].name, f"faster than any link of {cluster.accelerator.name}"))
    outer = [float(x.bandwidth) for x in cluster.levels]
    if outer != sorted(outer, reverse=True):
        found.append(Finding(name, "levels", "an outer level is faster than the one inside it"))
    if outer[0] > float(cluster.accelerator.memory_bandwidth):
        found.append(Finding(name, cluster.levels[0].name, "faster than the memory; both directions, or bits?"))
    return found


def taken(name: str, given: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Aliases that another machine or an accelerator has, and which."""
    for alias in given:
        owner = accelerators.named(alias) or find(alias)
        if owner not in ("", name):
            yield alias, owner


def references_used() -> set[str]:
    """References that the machines of the catalogue rest on."""
    return {
        source
        for path in HERE.glob("*.toml")
        for _, figures in read_levels(path, accelerators.read_toml(path))
        for figure in figures.values()
        for source in figure.sources
    }
