"""What a message takes on each level of a cluster: the bytes that any algorithm must move there, and those of a hierarchical one.

Ranks are placed as plans name their axes, innermost first: tensor, context, data. A group's ranks that sit in one domain of a
level talk there, and share the way out of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from floorline.formulas.collectives import (
    least_exchange_bytes,
    least_own_bytes,
    least_share_bytes,
    least_whole_bytes,
    ring_all_reduce_bytes,
    ring_gather_bytes,
)
from floorline.formulas.topology import mesh_share, neighbour_share, torus_exchange_bytes
from floorline.letters import Numbers
from floorline.num import Num, maximum, minimum, where
from floorline.specs.accelerator import Link
from floorline.specs.cluster import Cluster

Bytes = Callable[[Num, Num, Num], Num]

LEAST: dict[str, tuple[Bytes, Bytes]] = {
    "all_reduce": (least_whole_bytes, least_whole_bytes),
    "reduce_scatter": (least_share_bytes, least_own_bytes),
    "all_gather": (least_own_bytes, least_share_bytes),
    "all_to_all": (least_exchange_bytes, least_exchange_bytes),
}
"""What any algorithm must send out of a domain, and what must reach it, the network's own adding and copying included."""

SHARE: dict[str, Callable[[Num, Num], Num]] = {
    "switch": lambda present, places: 1.0,
    "pair": lambda present, places: 1.0,
    "mesh": mesh_share,
    "cube-mesh": lambda present, places: neighbour_share(present, 3.0),
    "torus-2d": lambda present, places: neighbour_share(present, 2.0),
    "torus-3d": lambda present, places: neighbour_share(present, 3.0),
}
"""Share of its links that a device can use, by topology, of the devices present and the places that there are."""

TORUS = {"torus-2d": 2.0, "torus-3d": 3.0}
"""Dimensions of those topologies whose middle is narrow."""

RING: dict[str, Callable[[Num, Num], Num]] = {
    "all_reduce": ring_all_reduce_bytes,
    "all_gather": ring_gather_bytes,
    "reduce_scatter": ring_gather_bytes,
}
"""Bytes that a rank sends in a ring, of collectives that go level by level."""


@dataclass(frozen=True)
class Level:
    """One level of a cluster, as messages see it.

    link   its figures
    inner  devices of a domain of the level inside it, 1 for the first [-]
    rate   what a device can send on it, and receive [B/s]
    """

    link: Link
    inner: Num
    rate: Num


def levels(cluster: Cluster) -> tuple[Level, ...]:
    """The levels of a cluster, innermost first.

    >>> from floorline.catalogue.clusters import load_cluster
    >>> [(x.link.name, float(x.inner)) for x in levels(load_cluster("h100-sxm", devices=16))]
    [('nvlink', 1.0), ('pcie', 8.0)]
    """
    found, inner = [], 1.0
    for link in cluster.levels:
        places = link.domain / inner
        present = minimum(places, maximum(cluster.devices / inner, 1.0))
        found.append(Level(link, inner, link.bandwidth * SHARE[link.topology](present, places)))
        inner = link.domain  # type: ignore[assignment]
    return tuple(found)


def least_time_bytes(kind: str, buffer: Num, axes: tuple[str, ...], numbers: Numbers, level: Level) -> tuple[Num, Num]:
    """Bytes that a device must send on a level for a message, and receive, whatever the algorithm."""
    ranks, members = numbers.ranks(axes), numbers.members(axes, level.inner)
    out, back = (least(buffer, ranks, members) for least in LEAST[kind])
    if kind != "all_to_all" or level.link.topology not in TORUS:
        return out, back
    middle = torus_exchange_bytes(buffer, ranks, TORUS[level.link.topology])
    crossing = where(ranks > 1.0, middle, 0.0)
    return maximum(out, crossing), maximum(back, crossing)


def staged_bytes(kind: str, buffer: Num, axes: tuple[str, ...], numbers: Numbers, inside: Level, domain: Num) -> Num:
    """Bytes that a device sends on a level where a message goes level by level: a ring among the domains, of what the members
    of each share; an all-to-all straight to where it goes."""
    ranks = numbers.ranks(axes)
    here, beyond = numbers.members(axes, inside.inner), numbers.members(axes, domain)
    if kind == "all_to_all":
        return (beyond - here) / ranks * buffer
    return RING[kind](buffer / here, beyond / here)


def staged(kind: str, buffer: Num, axes: tuple[str, ...], numbers: Numbers, ways: tuple[Level, ...]) -> tuple[Num, ...]:
    """Bytes that a device sends on each level, the last of which joins all."""
    outer = [*(level.inner for level in ways[1:]), np.inf]
    return tuple(
        staged_bytes(kind, buffer, axes, numbers, level, domain) for level, domain in zip(ways, outer, strict=True)
    )
