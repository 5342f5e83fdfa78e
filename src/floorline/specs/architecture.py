"""What one multiprocessor of a family of devices holds. Frozen, no formulas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from floorline.num import Num


@dataclass(frozen=True)
class Multiprocessor:
    """What a multiprocessor shares out among blocks of threads.

    warp              threads of a warp [-]
    warps, blocks     most on a multiprocessor at once [-]
    block_threads     most threads of a block [-]
    registers         of 32 bits [-]
    registers_unit    a warp's registers are rounded up to this [-]
    thread_registers  most of one thread [-]
    warps_unit        warps whose registers are given together [-]
    shared_memory     [B]
    shared_unit       a block's shared memory is rounded up to this [B]
    shared_reserved   what the system keeps of each block's [B]
    """

    warp: Num
    warps: Num
    blocks: Num
    block_threads: Num
    registers: Num
    registers_unit: Num
    thread_registers: Num
    warps_unit: Num
    shared_memory: Num
    shared_unit: Num
    shared_reserved: Num


@dataclass(frozen=True)
class Architecture:
    """A family of devices.

    name       "hopper"
    title      for people
    occupancy  what a multiprocessor holds, where known
    per_clock  format → the most operations that a multiprocessor does in a clock, dense [FLOP]
    sources    references
    """

    name: str
    title: str
    occupancy: Multiprocessor | None = None
    per_clock: Mapping[str, Num] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
