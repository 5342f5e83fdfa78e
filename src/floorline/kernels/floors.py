"""The floor under a measured kernel's time: the largest of its arithmetic, its traffic and its message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from floorline.errors import BadInput
from floorline.kernels.columns import with_names
from floorline.kernels.formats import kernel_format
from floorline.kernels.table import Kernels
from floorline.kernels.work import WORK, Work, stated
from floorline.letters import Numbers
from floorline.network import Talk, levels
from floorline.num import Array, Num, largest, maximum, minimum
from floorline.specs.accelerator import Accelerator, Link
from floorline.specs.cluster import Cluster

BOX = 16.0
"""Devices beyond which a link joins boxes (a rack of 72), so that a node's size says nothing of it."""


@dataclass(frozen=True, eq=False)
class KernelFloor:
    """The floor of some rows.

    compute, memory, link  the three times [s]
    work                   what they come from
    """

    compute: Array
    memory: Array
    link: Array
    work: Work

    @property
    def seconds(self) -> Array:
        """The floor."""
        return np.maximum(np.maximum(self.compute, self.memory), self.link)


def floor(kernels: Kernels, device: Accelerator) -> KernelFloor:
    """The floor of rows of one operator, one format and one cache format, on a device.

    raises BadInput for an operator or a format that nobody knows, or a format that the device cannot compute in
    """
    op, dtype, kv = (str(kernels.words[name][0]) for name in ("op", "dtype", "kv_dtype"))
    if op not in WORK:
        raise BadInput(f"op is {op[:40]!r}; expected one of {', '.join(WORK)}")
    form, cache = kernel_format(dtype), kernel_format(kv or dtype)
    columns = with_names(kernels)
    work = WORK[op](columns, form, cache)
    forms = (*form.arithmetic, *(cache.arithmetic if "attention" in op or "mla" in op else ()))
    rate = largest(device.fastest(name) for name in forms)
    zero = np.zeros(len(kernels))
    moved = maximum(work.bytes - device.last_level_cache, 0.0)
    link = link_time(work, columns, device) if work.kind else zero
    return KernelFloor(zero + work.flops / rate, zero + moved / device.memory_bandwidth, zero + link, work)


def link_time(work: Work, columns: Mapping[str, Array], device: Accelerator) -> Num:
    """The least time of a message among ``gpus`` ranks, in nodes of ``node_size`` where that is stated."""
    ranks, node = columns["gpus"], stated(columns["node_size"], np.inf)
    bare = Cluster(device)
    network = tuple(replace(link, domain=boxed(link, node)) for link in bare.levels)
    ways = levels(replace(bare, network=(*network[:-1], bare.levels[-1])), ranks)
    talk = Talk(len(ways))
    talk.add(work.kind, ("ranks",), work.message, Numbers({}, {"ranks": ranks}), ways)
    return talk.slowest()[0]


def boxed(link: Link, node: Num) -> Num:
    """Devices that a link joins where a node has so many of them."""
    return np.where(np.asarray(link.domain) > BOX, link.domain, minimum(link.domain, node))
