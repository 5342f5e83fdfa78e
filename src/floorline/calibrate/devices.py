"""What kernel models need of an accelerator, and of the formats of a table of kernels."""

from __future__ import annotations

from floorline.catalogue.architectures import architectures
from floorline.efficiency.device import Device, Width
from floorline.errors import NoModel
from floorline.kernels.formats import kernel_format
from floorline.num import largest
from floorline.specs.accelerator import Accelerator

SCALES = {"fp8-block128": 4.0 / 128.0**2, "nvfp4": 1.0 / 16.0, "mxfp4": 1.0 / 32.0, "int4-weight-only": 2.0 / 128.0}
"""Bytes of scales for each weight: of blocks of 128 × 128, of 16, of 32, and of groups of 128."""

ADDING_SWITCH = {"hopper", "blackwell"}
"""Architectures whose NVLink switches add on the way (NVLink SHARP, from the third generation of the switch on)."""

USUAL_CLOCK = 1.7e9
"""Where the catalogue has none [Hz]."""


def device_of(accelerator: Accelerator, form: str) -> Device:
    """What the models need of an accelerator, for kernels of a format.

    raises NoModel where the catalogue does not know its multiprocessors
    """
    if accelerator.sm_count is None:
        raise NoModel(
            f"{accelerator.name}: its number of multiprocessors is not known, which kernel models need; "
            "write sm_count into its file for expected times"
        )
    peak = largest(accelerator.peak(name) for name in kernel_format(form).arithmetic)
    link = accelerator.links[0].bandwidth if accelerator.links else accelerator.memory_bandwidth
    held = architectures().get(accelerator.architecture)
    threads = 2048.0 if held is None or held.occupancy is None else held.occupancy.warps * held.occupancy.warp
    return Device(
        multiprocessors=accelerator.sm_count,
        peak=peak,
        bandwidth=accelerator.memory_bandwidth,
        cache=accelerator.last_level_cache,
        link=link,
        adds=accelerator.architecture in ADDING_SWITCH,
        clock=USUAL_CLOCK if accelerator.boost_clock is None else accelerator.boost_clock,
        threads=threads,
        cache_bandwidth=0.0 if accelerator.cache_bandwidth is None else accelerator.cache_bandwidth,
    )


def width_of(form: str, cache: str = "") -> Width:
    """Bytes of elements of a kernel's formats; results are 16 bits at least.

    form   of weights and inputs
    cache  of keys and values, where it is another
    """
    found = kernel_format(form)
    return Width(
        found.weights + SCALES.get(form, 0.0),
        found.activations,
        max(found.result, 2.0),
        kernel_format(cache or form).activations,
    )
