"""Equal devices and what joins them, level by level. Frozen, SI units, no formulas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from floorline.errors import BadInput
from floorline.num import Num, all_true, number
from floorline.result import Result
from floorline.specs.accelerator import Accelerator, Link


@dataclass(frozen=True, repr=False)
class Cluster(Result):
    """Equal devices joined by links.

    accelerator  the device
    devices      how many [-]
    network      ways from device to device, innermost first: each joins ``domain`` devices, the last as many as there are;
                 left out, they follow from the device's own links
    name         of the machine, where it is one of the catalogue's
    title        for people
    """

    accelerator: Accelerator
    devices: Num = 1.0
    network: tuple[Link, ...] = ()
    name: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.devices, (str, bool)):
            raise BadInput(f"devices is {str(self.devices)[:40]!r}; expected a whole number from 1 to 1e+07")
        count = number(self.devices)
        if not all_true((count >= 1) & (count <= 1e7) & (count == np.floor(count))):
            worst = float(np.min(np.asarray(count)))
            raise BadInput(f"devices is {worst:g}; expected a whole number from 1 to 1e+07")
        object.__setattr__(self, "devices", count)
        if self.network and not all_true(count <= number(self.network[-1].domain)):
            last = self.network[-1]
            raise BadInput(
                f"{self.name or self.accelerator.name}: {last.name!r} joins {float(np.max(np.asarray(last.domain))):g} devices, of "
                f"{float(np.max(np.asarray(count))):g} that are asked; expected fewer, or a network (--network '400 Gb/s')"
            )

    def __repr__(self) -> str:
        what = self.name or self.accelerator.name
        return f"{self.devices} × {what}" if np.ndim(self.devices) else f"{float(self.devices):g} × {what}"

    def answer(self) -> Mapping[str, Any]:
        """The devices in short, SI units."""
        device = self.accelerator
        return {
            "name": self.name or device.name,
            "title": self.title or device.title,
            "accelerator": device.name,
            "devices": self.devices,
            "memory": device.memory,
            "usable_memory": device.usable,
            "memory_bandwidth": device.memory_bandwidth,
            "last_level_cache": device.last_level_cache,
            "peaks": dict(device.peaks),
            "links": [
                {
                    "name": x.name,
                    "bandwidth": x.bandwidth,
                    "latency": x.latency,
                    "domain": x.domain if np.all(np.isfinite(x.domain)) else None,
                    "topology": x.topology,
                }
                for x in self.levels
            ],
        }

    @cached_property
    def levels(self) -> tuple[Link, ...]:
        """Ways from device to device, innermost first. Of devices of which nothing else is known their own links, each as far as
        it reaches, and beyond these the host link, which every message to the network passes; where the catalogue has no link,
        as fast as memory (a floor)."""
        if self.network:
            return self.network
        own = [x for x in self.accelerator.links if not x.host]
        host = [] if any(np.all(np.isinf(x.domain)) for x in own) else [x for x in self.accelerator.links if x.host]
        return (*own, *host) or (Link("memory", self.accelerator.memory_bandwidth),)

    @property
    def inside(self) -> tuple[Link, ...]:
        """The levels of a node, innermost first: all that end; of a machine of which none does the first."""
        return tuple(x for x in self.levels if not np.any(np.isinf(x.domain))) or self.levels[:1]

    def with_figures(self, form: str, new: Mapping[str, Num]) -> Cluster:
        """The same devices with other figures (see ``Accelerator.with_figures``); link_bandwidth is the innermost level's."""
        first = [replace(x, bandwidth=new["link_bandwidth"]) for x in self.network[:1] if "link_bandwidth" in new]
        network = (*first, *self.network[len(first) :])
        return replace(self, accelerator=self.accelerator.with_figures(form, new), network=network)

    def with_network(self, node_size: float | None, bandwidth: float | None) -> Cluster:
        """The same devices in nodes of another size, or with another network between nodes.

        node_size  devices of a node, which its outermost own level joins; None: as many as now [-]
        bandwidth  of the network, of each device, one direction [B/s]; None: what is between nodes now
        raises     BadInput for a network between nodes of which the size is not known

        >>> from floorline.specs.accelerator import Accelerator
        >>> card = Accelerator(name="a", peaks={"bf16": 1e12}, memory=1e9, memory_bandwidth=1e9, links=(Link("pcie", 32e9),))
        >>> [x.name for x in Cluster(card, 16).with_network(8, 50e9).levels]
        ['pcie', 'network']
        """
        if not (self.network or self.accelerator.links):  # nothing joins them
            return self if bandwidth is None else replace(self, network=(Link("network", bandwidth),))
        inside = list(self.inside)
        between = self.levels[len(inside) :]
        if node_size is not None:
            box = replace(inside[-1], domain=float(node_size))
            inside = [*(x for x in inside[:-1] if not np.any(np.asarray(x.domain) >= node_size)), box]
        if bandwidth is not None and np.any(np.isinf(inside[-1].domain)):
            raise BadInput(
                f"{self.name or self.accelerator.name}: a network needs to know its nodes; add --node-size 8"
            )
        between = between if bandwidth is None else (Link("network", bandwidth),)
        return replace(self, network=(*inside, *between))

    @property
    def link(self) -> Link:
        """The innermost way from one device to the next."""
        return self.levels[0]
