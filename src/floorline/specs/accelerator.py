"""What a device and a group of devices can do: peaks, memory, links. Frozen, SI units, no formulas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from floorline.errors import BadInput
from floorline.num import Num, all_true, number


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
    title, sources    for people
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

    @property
    def usable(self) -> Num:
        """Memory that a program finds: what the driver reports where the catalogue knows it, else the data sheet's [B]."""
        return self.memory if self.usable_memory is None else self.usable_memory

    def peak(self, form: str) -> Num:
        """Arithmetic rate in a format [FLOP/s]; narrower formats without a unit of their own run as 16 bit.

        raises BadInput where the device has none
        """
        for name in (form, *FALLBACK.get(form, ())):
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
    "fp64": ("fp64_tensor",),
}
"""Formats to compute in where a device has no arithmetic of the asked one."""


@dataclass(frozen=True)
class Cluster:
    """Equal devices joined by links.

    accelerator  the device
    devices      how many [-]
    """

    accelerator: Accelerator
    devices: Num = 1.0

    def __post_init__(self) -> None:
        count = number(self.devices)
        if not all_true((count >= 1) & (count <= 1e7)):
            worst = float(np.min(np.asarray(count)))
            raise BadInput(f"devices is {worst:g}; expected a whole number from 1 to 1e+07")
        object.__setattr__(self, "devices", count)

    @property
    def link(self) -> Link:
        """The fastest way from one device to the next; where the catalogue has none, as fast as memory (a floor)."""
        links = self.accelerator.links
        return links[0] if links else Link("memory", self.accelerator.memory_bandwidth)
