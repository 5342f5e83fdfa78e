"""What one device can do: peaks, memory, links. Frozen, SI units, no formulas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from floorline.errors import BadInput
from floorline.num import Num, all_true, largest, number

UNLIMITED = float("inf")
TOPOLOGIES = ("switch", "mesh", "cube-mesh", "pair", "torus-2d", "torus-3d")


@dataclass(frozen=True)
class Link:
    """A way out of a device.

    name       "nvlink", "pcie"
    bandwidth  of all lanes together, one direction [B/s]
    latency    of one message [s]
    domain     devices that it joins [-]
    topology   how: "switch" any to any at the full rate, "mesh" a lane to each other device, "cube-mesh", "pair", "torus-2d",
               "torus-3d"
    host       whether it leads to the host, and by way of it to the network
    """

    name: str
    bandwidth: Num
    latency: Num = 0.0
    domain: Num = UNLIMITED
    topology: str = "switch"
    host: bool = False

    def __post_init__(self) -> None:
        if self.topology not in TOPOLOGIES:
            raise BadInput(f"topology is {str(self.topology)[:40]!r}; expected one of {', '.join(TOPOLOGIES)}")
        for key, least in (("bandwidth", 0.0), ("latency", -1.0), ("domain", 0.0)):
            given = getattr(self, key)
            if isinstance(given, (str, bool)):
                raise BadInput(f"link {self.name}: {key} is {str(given)[:40]!r}; expected a number, in SI units")
            value = number(given)
            if not all_true(np.asarray(value) > least) or (key == "latency" and not all_true(np.asarray(value) >= 0.0)):
                worst = float(np.min(np.asarray(value)))
                raise BadInput(f"link {self.name}: {key} is {worst:g}; expected more than zero, in SI units")
            object.__setattr__(self, key, value)


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """One device. Peaks are dense, matrix units where there are any, accumulated in fp32 unless the key says otherwise.

    name              the catalogue's key
    peaks             format → arithmetic rate [FLOP/s]; "fp32_tensor": of matrix units where vector units have their own,
                      "fp16_accumulate_fp16": where accumulating in fp16 is faster
    memory            as the data sheet says [B]
    usable_memory     what the driver reports, where that is known [B]
    memory_bandwidth  [B/s]
    last_level_cache  [B], 0 where not known
    cache_bandwidth   of reads from it, where known [B/s]
    sm_count          multiprocessors, compute units or cores, where known [-]
    boost_clock       of the peaks, where known [Hz]
    tdp               power limit, where known [W]
    price             of an hour, indicative, where known [USD/h]
    links             fastest first, the host's last
    title             for people
    vendor            "nvidia", "amd", …
    architecture      "hopper", …: what multiprocessors hold (see ``catalogue/architectures.toml``)
    figures           every figure as the file has it, with its sources
    """

    name: str
    peaks: Mapping[str, Num]
    memory: Num
    memory_bandwidth: Num
    usable_memory: Num | None = None
    last_level_cache: Num = 0.0
    cache_bandwidth: Num | None = None
    sm_count: Num | None = None
    boost_clock: Num | None = None
    tdp: Num | None = None
    price: Num | None = None
    links: tuple[Link, ...] = ()
    title: str = ""
    vendor: str = ""
    architecture: str = ""
    figures: Mapping[str, Mapping[str, object]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        figures = {"memory": self.memory, "memory_bandwidth": self.memory_bandwidth, **self.peaks}
        for name, value in figures.items():
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
            rest = {k: v for k, v in self.peaks.items() if k not in (f"{form}_tensor", f"{form}_accumulate_fp16")}
            found["peaks"] = {**rest, form: new["peak"]}
        if "link_bandwidth" in new:
            first = self.links[0] if self.links else Link("link", 1.0)
            found["links"] = (replace(first, bandwidth=new["link_bandwidth"]), *self.links[1:])
        return replace(self, **found)

    @property
    def usable(self) -> Num:
        """Memory that a program finds: what the driver reports where the catalogue knows it, else the data sheet's [B]."""
        return self.memory if self.usable_memory is None else self.usable_memory

    def computed_in(self, form: str) -> str:
        """The format in which matmuls of a format run: its own, or the next wider one that the device has.

        raises BadInput where the device has none
        """
        for name in (form, *FALLBACK.get(form, ())):
            if f"{name}_tensor" in self.peaks or name in self.peaks:
                return name
        raise BadInput(f"{self.name} has no arithmetic in {form}; its peaks are: {', '.join(self.peaks)}")

    def peak(self, form: str) -> Num:
        """Arithmetic rate of matmuls in a format, accumulated in fp32 [FLOP/s].

        raises BadInput where the device has none
        """
        name = self.computed_in(form)
        return self.peaks[f"{name}_tensor"] if f"{name}_tensor" in self.peaks else self.peaks[name]

    def fastest(self, form: str) -> Num:
        """The rate that no matmul in a format exceeds, whatever it accumulates in [FLOP/s].

        >>> card = Accelerator(name="a", peaks={"fp16": 1.0, "fp16_accumulate_fp16": 2.0}, memory=1.0, memory_bandwidth=1.0)
        >>> card.peak("fp16"), card.fastest("fp16")
        (1.0, 2.0)
        """
        name = self.computed_in(form)
        return largest(
            self.peaks[key] for key in (f"{name}_tensor", name, f"{name}_accumulate_fp16") if key in self.peaks
        )


FALLBACK = {
    "fp8": ("bf16", "fp16", "fp32"),
    "int8": ("fp16", "bf16", "fp32"),
    "int4": ("int8", "fp16", "bf16", "fp32"),
    "fp4": ("fp8", "bf16", "fp16", "fp32"),
    "tf32": ("fp32",),
    "bf16": ("fp16", "fp32"),
    "fp16": ("bf16", "fp32"),
}
"""Formats to compute in where a device has no arithmetic of the asked one."""
