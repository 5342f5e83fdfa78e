"""What a device and a group of devices can do: peaks, memory, links. Frozen, SI units, no formulas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from floorline.errors import BadInput
from floorline.num import Num, all_true, number
from floorline.result import Result


@dataclass(frozen=True)
class Link:
    """A way out of a device.

    name       "nvlink", "pcie"
    bandwidth  of all lanes together, one direction [B/s]
    latency    of one message [s]
    """

    name: str
    bandwidth: Num
    latency: Num = 0.0


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """One device. Peaks are dense.

    name              the catalogue's key
    peaks             format → arithmetic rate [FLOP/s]
    memory            as the data sheet says [B]
    usable_memory     what the driver reports, where that is known [B]
    memory_bandwidth  [B/s]
    last_level_cache  [B], 0 where not known
    links             fastest first
    title             for people
    figures           every figure as the file has it, with its sources
    """

    name: str
    peaks: Mapping[str, Num]
    memory: Num
    memory_bandwidth: Num
    usable_memory: Num | None = None
    last_level_cache: Num = 0.0
    links: tuple[Link, ...] = ()
    title: str = ""
    figures: Mapping[str, Mapping[str, object]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        figures = {"memory": self.memory, "memory_bandwidth": self.memory_bandwidth, **self.peaks}
        for name, value in {**figures, **{f"link {x.name}": x.bandwidth for x in self.links}}.items():
            if not all_true(np.asarray(number(value)) > 0.0):
                worst = float(np.min(np.asarray(number(value))))
                raise BadInput(f"{self.name}: {name} is {worst:g}; expected more than zero, in SI units")
        object.__setattr__(self, "peaks", MappingProxyType(dict(self.peaks)))

    def with_figures(self, form: str, new: Mapping[str, Num]) -> Accelerator:
        """The same device with other figures: memory, memory_bandwidth, last_level_cache, link_bandwidth, and the peak of a
        format. The fastest link takes the new bandwidth.

        >>> slow = Accelerator(name="a", peaks={"bf16": 1e12}, memory=1e9, memory_bandwidth=1e9)
        >>> slow.with_figures("bf16", {"peak": 2e12}).peak("bf16")
        2000000000000.0
        """
        found: dict[str, Any] = {
            k: v for k, v in new.items() if k in ("memory", "memory_bandwidth", "last_level_cache")
        }
        if "memory" in new:
            found["usable_memory"] = new["memory"]
        if "peak" in new:
            rest = {k: v for k, v in self.peaks.items() if k != f"{form}_tensor"}
            found["peaks"] = {**rest, form: new["peak"]}
        if "link_bandwidth" in new:
            first = self.links[0] if self.links else Link("link", 0.0)
            found["links"] = (replace(first, bandwidth=new["link_bandwidth"]), *self.links[1:])
        return replace(self, **found)

    @property
    def usable(self) -> Num:
        """Memory that a program finds: what the driver reports where the catalogue knows it, else the data sheet's [B]."""
        return self.memory if self.usable_memory is None else self.usable_memory

    def peak(self, form: str) -> Num:
        """Arithmetic rate of matmuls in a format [FLOP/s]; a format without units of its own runs in the next wider one.

        raises BadInput where the device has none
        """
        for name in (f"{form}_tensor", form, *FALLBACK.get(form, ())):
            if name in self.peaks:
                return self.peaks[name]
        raise BadInput(f"{self.name} has no arithmetic in {form}; its peaks are: {', '.join(self.peaks)}")


FALLBACK = {
    "fp8": ("bf16", "fp16"),
    "int8": ("fp16", "bf16"),
    "int4": ("int8", "fp16", "bf16"),
    "fp4": ("fp8", "bf16", "fp16"),
    "tf32": ("fp32",),
    "bf16": ("fp16",),
    "fp16": ("bf16",),
}
"""Formats to compute in where a device has no arithmetic of the asked one."""


@dataclass(frozen=True, repr=False)
class Cluster(Result):
    """Equal devices joined by links.

    accelerator  the device
    devices      how many [-]
    """

    accelerator: Accelerator
    devices: Num = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.devices, (str, bool)):
            raise BadInput(f"devices is {str(self.devices)[:40]!r}; expected a whole number from 1 to 1e+07")
        count = number(self.devices)
        if not all_true((count >= 1) & (count <= 1e7) & (count == np.floor(count))):
            worst = float(np.min(np.asarray(count)))
            raise BadInput(f"devices is {worst:g}; expected a whole number from 1 to 1e+07")
        object.__setattr__(self, "devices", count)

    def __repr__(self) -> str:
        return (
            f"{self.devices} × {self.accelerator.name}"
            if np.ndim(self.devices)
            else f"{float(self.devices):g} × {self.accelerator.name}"
        )

    def answer(self) -> Mapping[str, Any]:
        """The devices in short, SI units."""
        device = self.accelerator
        return {
            "name": device.name,
            "title": device.title,
            "devices": self.devices,
            "memory": device.memory,
            "usable_memory": device.usable,
            "memory_bandwidth": device.memory_bandwidth,
            "last_level_cache": device.last_level_cache,
            "peaks": dict(device.peaks),
            "links": [{"name": x.name, "bandwidth": x.bandwidth, "latency": x.latency} for x in device.links],
        }

    @property
    def link(self) -> Link:
        """The fastest way from one device to the next; where the catalogue has none, as fast as memory (a floor)."""
        links = self.accelerator.links
        return links[0] if links else Link("memory", self.accelerator.memory_bandwidth)
