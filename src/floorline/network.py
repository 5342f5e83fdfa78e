"""What a message takes on each level of a cluster: the bytes that any algorithm must move there, and those of a hierarchical one.

Ranks are placed as plans name their axes, innermost first: tensor, context, data. A group's ranks that sit in one domain of a
level talk there, and share the way out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from floorline.formulas.collectives import (
    least_exchange_bytes,
    least_own_bytes,
    least_share_bytes,
    least_whole_bytes,
    ring_all_reduce_bytes,
    ring_gather_bytes,
)
from floorline.formulas.topology import mesh_share, neighbour_share, torus_2d_distance, torus_3d_distance
from floorline.letters import Numbers
from floorline.num import Num, ceil, maximum, minimum, where
from floorline.specs.accelerator import UNLIMITED, Link
from floorline.specs.cluster import Cluster

Bytes = Callable[[Num, Num, Num], Num]

LEAST: dict[str, tuple[Bytes, Bytes]] = {
    "all_reduce": (least_whole_bytes, least_whole_bytes),
    "reduce_scatter": (least_share_bytes, least_own_bytes),
    "all_gather": (least_own_bytes, least_share_bytes),
    "all_to_all": (least_exchange_bytes, least_exchange_bytes),
    "send_recv": (least_whole_bytes, least_whole_bytes),
}
"""What any algorithm must send out of a domain, and what must reach it, the network's own adding and copying included."""

STAGE_SEND = "stage_send"
"""The kind of a message from one pipeline stage to the next: of all that there are some cross a level and the others do not."""

SHARE: dict[str, Callable[[Num, Num], Num]] = {
    "switch": lambda present, places: 1.0,
    "pair": lambda present, places: 1.0,
    "mesh": mesh_share,
    "cube-mesh": lambda present, places: neighbour_share(present, 3.0),
    "torus-2d": lambda present, places: neighbour_share(present, 2.0),
    "torus-3d": lambda present, places: neighbour_share(present, 3.0),
}
"""Share of its links that a device can use, by topology, of the devices present and the places that there are."""

TORUS: dict[str, Callable[[Num], Num]] = {"torus-2d": torus_2d_distance, "torus-3d": torus_3d_distance}
"""Mean hops of topologies in which what is for others passes a device's links."""

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
    outer  devices of its own domain [-]
    places  domains of the level inside it that it joins [-]
    rate   what a device can send on it, and receive, by all links to devices that take part [B/s]
    past   the same of all levels outside it together [B/s]
    """

    link: Link
    inner: Num
    outer: Num
    places: Num
    rate: Num
    past: Num = 0.0


def reached(links: tuple[Link, ...], devices: Num) -> tuple[Link, ...]:
    """The levels that some devices reach. Those beyond carry nothing, so leaving them out changes no number; it saves their
    arithmetic where the number of devices is one for all points."""
    if not isinstance(devices, float):
        return links
    inside = [isinstance(link.domain, float) and link.domain < devices for link in links]
    return links[: inside.index(False) + 1] if False in inside else links


def levels(cluster: Cluster, devices: Num | None = None) -> tuple[Level, ...]:
    """The levels of a cluster, innermost first.

    devices  that take part; None: all of the cluster's [-]

    >>> from floorline.catalogue.clusters import load_cluster
    >>> [(x.link.name, float(x.inner)) for x in levels(load_cluster("h100-sxm", devices=16))]
    [('nvlink', 1.0), ('pcie', 8.0)]
    """
    taking_part = cluster.devices if devices is None else devices
    found: list[Level] = []
    inner: Num = 1.0
    for i, link in enumerate(reached(cluster.levels, taking_part)):
        places = link.domain / inner
        present = minimum(places, maximum(taking_part / inner, 1.0))
        last = i == len(cluster.levels) - 1  # it joins all that there are
        found.append(
            Level(
                link,
                inner,
                UNLIMITED if last else link.domain,
                places,
                link.bandwidth * SHARE[link.topology](present, places),
            )
        )
        inner = link.domain
    past: Num = 0.0
    for i in reversed(range(len(found))):
        found[i] = replace(found[i], past=past)
        past = past + found[i].rate
    return tuple(found)


def least_bytes(kind: str, buffer: Num, axes: tuple[str, ...], numbers: Numbers, level: Level) -> tuple[Num, Num]:
    """Bytes that a device must send out of the domain inside a level for a message, and receive, whatever the algorithm; none
    where no other domain of the level has a rank of the group."""
    ranks = numbers.ranks(axes)
    here, beyond = numbers.members(axes, level.inner), numbers.members(axes, level.outer)
    if kind == STAGE_SEND:
        return (handed_on(buffer, ranks, here, beyond),) * 2
    out, back = (where(beyond > here, least(buffer, ranks, here), 0.0) for least in LEAST[kind])
    if kind != "all_to_all" or level.link.topology not in TORUS:
        return out, back
    passing = passed(buffer, ranks, beyond, level.link, level.rate)
    return maximum(out, passing), maximum(back, passing)


def handed_on(buffer: Num, ranks: Num, here: Num, beyond: Num) -> Num:
    """Bytes on a level of one of the messages along a chain of ranks, on average: those that cross it of all that there are."""
    return buffer * (ranks / here - ranks / beyond) / maximum(ranks - 1.0, 1.0)


def least_rate(axes: tuple[str, ...], numbers: Numbers, level: Level) -> Num:
    """What such bytes can leave a device by: the level's own links, and those of the levels outside it where the group has ranks
    there [B/s]."""
    return level.rate + where(numbers.ranks(axes) > numbers.members(axes, level.outer), level.past, 0.0)


def staged_bytes(kind: str, buffer: Num, axes: tuple[str, ...], numbers: Numbers, level: Level) -> Num:
    """Bytes that a device sends on a level where a message goes level by level: a ring among the domains, of what the members
    of each share; an all-to-all straight to where it goes, hop by hop in a torus."""
    ranks = numbers.ranks(axes)
    here, beyond = numbers.members(axes, level.inner), numbers.members(axes, level.outer)
    if kind == STAGE_SEND:
        return handed_on(buffer, ranks, here, beyond)
    if kind != "all_to_all":
        return RING[kind](buffer / here, ceil(beyond / here))
    direct = (beyond - here) / ranks * buffer
    if level.link.topology not in TORUS:
        return direct
    return maximum(direct, passed(buffer, ranks, beyond, level.link, staged_rate(axes, numbers, level)))


def passed(buffer: Num, ranks: Num, beyond: Num, link: Link, rate: Num) -> Num:
    """What an all-to-all takes of a device's links in a torus, in bytes at a rate: each share on every hop of its way, over all
    links of all devices."""
    return TORUS[link.topology](beyond) * beyond / ranks * buffer * (rate / link.bandwidth)


def staged(kind: str, buffer: Num, axes: tuple[str, ...], numbers: Numbers, ways: tuple[Level, ...]) -> tuple[Num, ...]:
    """Bytes that a device sends on each level."""
    return tuple(staged_bytes(kind, buffer, axes, numbers, level) for level in ways)


def sending(
    kind: str, buffer: Num, axes: tuple[str, ...], numbers: Numbers, ways: tuple[Level, ...]
) -> Iterator[tuple[Link, Num, Num]]:
    """A message level by level: the link, bytes that a device sends on it [B], and at what rate [B/s]."""
    for sent, way in zip(staged(kind, buffer, axes, numbers, ways), ways, strict=True):
        yield way.link, sent, staged_rate(axes, numbers, way)


def staged_rate(axes: tuple[str, ...], numbers: Numbers, level: Level) -> Num:
    """What a device sends them by: its links to the other ranks of the group on that level [B/s]."""
    here, beyond = numbers.members(axes, level.inner), numbers.members(axes, level.outer)
    return level.link.bandwidth * SHARE[level.link.topology](ceil(beyond / here), level.places)


class Talk:
    """Messages of a step, added up: on each level what must be sent and received, and how long that takes at least.

    sent, received              bytes of a device on each level [B]
    sending_time, receiving_time  at what they can leave and arrive by [s]
    """

    def __init__(self, count: int) -> None:
        self.sent: list[Num] = [0.0] * count
        self.received: list[Num] = [0.0] * count
        self.sending_time: list[Num] = [0.0] * count
        self.receiving_time: list[Num] = [0.0] * count

    def add(
        self,
        kind: str,
        axes: tuple[str, ...],
        buffer: Num,
        numbers: Numbers,
        ways: tuple[Level, ...],
        repeat: Num = 1.0,
    ) -> None:
        """Count a message, so many times."""
        for i, way in enumerate(ways):
            out, back = least_bytes(kind, buffer, axes, numbers, way)
            rate = least_rate(axes, numbers, way)
            self.sent[i] = self.sent[i] + out * repeat
            self.received[i] = self.received[i] + back * repeat
            self.sending_time[i] = self.sending_time[i] + out * repeat / rate
            self.receiving_time[i] = self.receiving_time[i] + back * repeat / rate

    def slowest(self) -> tuple[Num, Num, Num]:
        """Of the levels, which work at once, the one that takes longest: its time [s], which it is, and the larger of its two
        amounts [B]."""
        times = [maximum(a, b) for a, b in zip(self.sending_time, self.receiving_time, strict=True)]
        amounts = [maximum(a, b) for a, b in zip(self.sent, self.received, strict=True)]
        longest, level, amount = times[0], 0.0 * times[0], amounts[0]
        for i in range(1, len(times)):
            longer = times[i] > longest
            level = where(longer, float(i) + 0.0 * times[i], level)
            amount = where(longer, amounts[i], amount)
            longest = maximum(longest, times[i])
        return longest, level, amount
