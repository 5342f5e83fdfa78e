"""Machines of the catalogue: equal accelerators in boxes, joined level by level; and custom ones from TOML files.

A file names its accelerator and gives the levels of its network, innermost first::

    name = "NVIDIA DGX H100"
    accelerator = "h100-sxm"
    [levels.nvlink]
    bandwidth = "450 GB/s"     # of one device, one direction
    domain = "8"               # devices that this level joins; the last level joins as many as there are
    [levels.infiniband]
    bandwidth = "400 Gb/s"
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from floorline.catalogue.accelerators import aliases as accelerator_aliases
from floorline.catalogue.accelerators import (
    expect,
    file,
    load_accelerator,
    named,
    owner,
    plain,
    read_aliases,
    read_link,
    read_toml,
    table,
)
from floorline.catalogue.accelerators import names as accelerator_names
from floorline.catalogue.figures import Figure
from floorline.errors import BadInput, NotFound, near
from floorline.num import Num
from floorline.specs.accelerator import Accelerator, Link
from floorline.specs.cluster import Cluster

HERE = Path(__file__).parent / "clusters"
KEYS = ("name", "vendor", "aliases", "accelerator", "levels", "note", "references")


def load_cluster(what: str | os.PathLike[str] | Accelerator | Cluster, devices: Num = 1.0) -> Cluster:
    """Equal devices by the name of a machine or of an accelerator, by the path of a TOML file, or of an Accelerator; a Cluster
    stays what it is.

    raises NotFound for a name that nobody knows, BadInput for a broken file or a senseless count

    >>> float(load_cluster("H100 SXM", devices=8).accelerator.memory_bandwidth)
    3350000000000.0
    >>> [level.name for level in load_cluster("DGX H100", devices=16).levels]
    ['nvlink', 'infiniband']
    """
    if isinstance(what, Cluster):
        return what
    if isinstance(what, Accelerator):
        return Cluster(what, devices)
    text = os.fspath(what)
    if text in accelerator_names():  # the usual case reads no other file
        return Cluster(load_accelerator(text), devices)
    key = find(text)
    if key:
        return from_toml(HERE / f"{key}.toml", devices)
    path = file(text) if text.endswith(".toml") else None
    if path is not None and "accelerator" in read_toml(path):
        return from_toml(path, devices)
    if not text.endswith(".toml") and not named(text):
        known = [*accelerator_names(), *accelerator_aliases(), *names(), *aliases()]
        raise NotFound(
            f"hardware {text[:80]!r} is not in the catalogue; {near(plain(text), known)} ('floorline hardware' lists all)"
        )
    return Cluster(load_accelerator(what), devices)


@cache
def names() -> tuple[str, ...]:
    """Keys of all machines."""
    return tuple(sorted(p.stem for p in HERE.glob("*.toml")))


@cache
def aliases() -> dict[str, str]:
    """Other names → keys."""
    return read_aliases(HERE)


def find(text: str) -> str:
    """The key of a machine, however it is spelt, or ""."""
    return owner(text, names(), aliases)


def from_toml(path: Path, devices: Num = 1.0) -> Cluster:
    """A cluster from a file.

    raises BadInput for unknown keys, missing levels, wrong units
    """
    data = read_toml(path)
    expect(path, data, KEYS)
    if not isinstance(data.get("accelerator"), str):
        raise BadInput(
            f"{path.name}: 'accelerator' is missing; expected a catalogue name or a TOML file, such as 'h100-sxm'"
        )
    own = data["accelerator"]
    beside = path.parent / own
    device = load_accelerator(beside if own.endswith(".toml") and beside.is_file() else own)
    ways = tuple(link for link, _ in read_levels(path, data))
    if not ways:
        raise BadInput(
            f"{path.name}: [levels] is empty; expected at least one, such as [levels.nvlink] bandwidth = '450 GB/s'"
        )
    return Cluster(device, devices, ways, name=path.stem, title=str(data.get("name", path.stem)))


def read_levels(path: Path, data: Mapping[str, Any]) -> tuple[tuple[Link, dict[str, Figure]], ...]:
    """The levels of a file, innermost first, with their figures.

    raises BadInput where one joins no more devices than the one inside it
    """
    found = tuple(read_link(path, name, given) for name, given in table(data, "levels", path).items())
    reach = [float(link.domain) for link, _ in found]
    for inner, outer, (link, _) in zip(reach, reach[1:], found[1:], strict=False):
        if not outer > inner:
            raise BadInput(
                f"{path.name}: level {link.name!r} joins {outer:g} devices, the one inside it {inner:g}; "
                "expected more, innermost first"
            )
    return found
