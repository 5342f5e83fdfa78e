"""How many blocks of a kernel a multiprocessor holds, what limits them, and the occupancy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from floorline.catalogue.architectures import architectures
from floorline.errors import BadInput
from floorline.formulas import occupancy as formulas
from floorline.num import Num, all_true, minimum, number, where
from floorline.result import Result
from floorline.specs.accelerator import Accelerator
from floorline.specs.architecture import Multiprocessor


@dataclass(frozen=True)
class Occupancy(Result):
    """What a multiprocessor holds of a kernel.

    architecture  of the device
    warps         of a block [-]
    by            blocks that each resource has room for: "warps" (and block slots), "registers", "shared memory" [-]
    blocks        resident ones: the least of these [-]
    occupancy     resident warps of the most [-]
    waves         of a grid over all multiprocessors, nan without a grid or their number [-]
    """

    architecture: str
    warps: Num
    by: Mapping[str, Num]
    blocks: Num
    occupancy: Num
    waves: Num

    @property
    def limit(self) -> object:
        """What the blocks are limited by: a word, or an array of words."""
        names, rows = list(self.by), np.stack(np.broadcast_arrays(*self.by.values()))
        return np.take(np.asarray(names), np.argmin(rows, axis=0))

    def answer(self) -> Mapping[str, Any]:
        """All of it."""
        return {
            "architecture": self.architecture,
            "occupancy": self.occupancy,
            "blocks": self.blocks,
            "warps_per_block": self.warps,
            "limit": self.limit,
            "blocks_by": dict(self.by),
            "waves": self.waves,
        }


def multiprocessor(device: Accelerator) -> Multiprocessor:
    """What a multiprocessor of a device holds.

    raises BadInput for a device whose multiprocessors the catalogue does not know
    """
    known = {name for name, a in architectures().items() if a.occupancy}
    if device.architecture not in known:
        raise BadInput(
            f"{device.name}: what a multiprocessor of {device.architecture or 'this device'!r} holds is not known; "
            f"expected one of {', '.join(sorted(known))}"
        )
    held = architectures()[device.architecture].occupancy
    assert held is not None
    return held


def occupancy(
    device: Accelerator, threads: Num, registers: Num = 32.0, shared_memory: Num = 0.0, blocks: Num = np.nan
) -> Occupancy:
    """Occupancy of a kernel.

    threads        of a block [-]
    registers      of a thread [-]
    shared_memory  of a block, static and dynamic [B]
    blocks         of the grid, for the number of waves [-]
    raises         BadInput for a block or a thread that is larger than the device allows

    >>> from floorline.catalogue.accelerators import load_accelerator
    >>> float(occupancy(load_accelerator("a100-sxm-80gb"), threads=256, registers=64).occupancy)  # 65536 / (64·32) warps of 64
    0.5
    """
    held = multiprocessor(device)
    most = {
        "threads": (threads, 1.0, held.block_threads),
        "registers": (registers, 1.0, held.thread_registers),
        "shared_memory": (shared_memory, 0.0, held.shared_memory - held.shared_reserved),
    }
    for name, (value, low, high) in most.items():
        if not all_true((number(value) >= low) & (number(value) <= high)):
            shown = f"{float(np.max(np.asarray(value))):.10g}"
            raise BadInput(f"{name} is {shown}; expected from {low:g} to {high:.10g} on {device.architecture}")
    warps = formulas.block_warps(number(threads), held.warp)
    by = {
        "warps": formulas.blocks_by_warps(warps, held.warps, held.blocks),
        "registers": formulas.blocks_by_registers(
            warps, number(registers), held.warp, held.registers, held.registers_unit, held.warps_unit
        ),
        "shared memory": formulas.blocks_by_shared_memory(
            number(shared_memory), held.shared_reserved, held.shared_memory, held.shared_unit, held.blocks
        ),
    }
    resident = minimum(minimum(by["warps"], by["registers"]), by["shared memory"])
    every = resident * (np.nan if device.sm_count is None else device.sm_count)
    waves = number(blocks) / where(every > 0.0, every, np.nan)
    return Occupancy(device.architecture, warps, by, resident, formulas.occupancy(resident, warps, held.warps), waves)
