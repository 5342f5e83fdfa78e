"""What a device sends to its host, and gets from it."""

from __future__ import annotations

from floorline.num import Num
from floorline.specs.accelerator import Accelerator

HOST_SHARE = 0.85
"""Share of the host link's bandwidth that copies of large pinned buffers reach: PCIe gen 4 x16 gives 26 to 27 of 31.5 GB/s
(NVIDIA, cuda-samples, bandwidthTest on A100)."""

HOST_LINK = 25e9
"""Of a device of which no host link is known [B/s]: PCIe gen 4 x16 as measured."""


def host_rate(device: Accelerator) -> Num:
    """What a device sends to its host, one direction [B/s]."""
    return host_link(device) * HOST_SHARE


def host_link(device: Accelerator) -> Num:
    """The bandwidth of the link between a device and its host, as its data sheet has it [B/s]."""
    links = [link.bandwidth for link in device.links if link.host]
    return links[0] if links else HOST_LINK / HOST_SHARE
