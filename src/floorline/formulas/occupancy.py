"""Occupancy: warps that a multiprocessor holds at once, of the most that it can."""

from __future__ import annotations

from floorline.num import Num, ceil, floor, minimum, where


def rounded_up(value: Num, unit: Num) -> Num:
    r"""The next multiple of a unit.

    $$y = u \left\lceil \frac{x}{u} \right\rceil$$

    value    x  an amount                [-]
    unit     u  what it is handed out in [-]
    returns  y  the amount handed out    [-]

    Source: definition. Example: 1000 in units of 256.

    >>> float(rounded_up(1000.0, 256.0))
    1024.0
    """
    return ceil(value / unit) * unit


def block_warps(threads: Num, warp: Num) -> Num:
    r"""Warps of a block.

    $$w = \left\lceil \frac{t}{l} \right\rceil$$

    threads  t  threads of a block  [-]
    warp     l  threads of a warp   [-]
    returns  w  warps of a block    [-]

    Source: NVIDIA, "CUDA C++ programming guide", section hardware multithreading. Example: 100 threads take four.

    >>> float(block_warps(100.0, 32.0))
    4.0
    """
    return ceil(threads / warp)


def blocks_by_warps(block: Num, warps: Num, blocks: Num) -> Num:
    r"""Blocks that a multiprocessor has room for by its warps and by its block slots.

    $$n = \min\left(N, \left\lfloor \frac{W}{w} \right\rfloor\right)$$

    block    w      warps of a block                 [-]
    warps    W      most warps of a multiprocessor   [-]
    blocks   N      most blocks of a multiprocessor  [-]
    returns  n      blocks                           [-]

    Source: NVIDIA, "CUDA C++ programming guide", section hardware multithreading. Example: 64 warps hold eight blocks of eight.

    >>> float(blocks_by_warps(8.0, 64.0, 32.0))
    8.0
    """
    return minimum(blocks, floor(warps / block))


def blocks_by_registers(block: Num, registers: Num, warp: Num, file: Num, unit: Num, warps_unit: Num) -> Num:
    r"""Blocks that a multiprocessor has registers for: each warp's are rounded up, and warps get theirs some at a time.

    $$n = \left\lfloor \frac{1}{w} \left\lfloor \frac{R}{\lceil l r \rceil_u} \right\rfloor_a \right\rfloor$$

    block       w  warps of a block                            [-]
    registers   r  registers of a thread                       [-]
    warp        l  threads of a warp                           [-]
    file        R  registers of a multiprocessor               [-]
    unit        u  a warp's registers are rounded up to this   [-]
    warps_unit  a  warps whose registers are given together    [-]
    returns     n  blocks                                      [-]

    Source: NVIDIA, "CUDA C++ programming guide", section hardware multithreading, and the occupancy calculator of Nsight Compute.
    Example: 65536 registers hold 32 warps of 64 registers a thread, four blocks of eight.

    >>> float(blocks_by_registers(8.0, 64.0, 32.0, 65536.0, 256.0, 4.0))
    4.0
    """
    warps = floor(floor(file / rounded_up(registers * warp, unit)) / warps_unit) * warps_unit
    return floor(warps / block)


def blocks_by_shared_memory(shared: Num, reserved: Num, memory: Num, unit: Num, blocks: Num) -> Num:
    r"""Blocks that a multiprocessor has shared memory for.

    $$n = \min\left(N, \left\lfloor \frac{M}{\lceil s + z \rceil_u} \right\rfloor\right)$$

    shared    s      shared memory of a block                   [B]
    reserved  z      what the system keeps of each block's      [B]
    memory    M      of a multiprocessor                        [B]
    unit      u      a block's is rounded up to this            [B]
    blocks    N      most blocks: the answer where none is used [-]
    returns   n      blocks                                     [-]

    Source: NVIDIA, "Ampere tuning guide", section shared memory: of 164 KB one block can have 163, as 1 KB is reserved. Example:
    so one block of 163 KB fits and two of 82 KB do not.

    >>> [float(blocks_by_shared_memory(s * 1024.0, 1024.0, 164.0 * 1024.0, 128.0, 32.0)) for s in (163.0, 82.0, 81.0)]
    [1.0, 1.0, 2.0]
    """
    taken = rounded_up(shared + reserved, unit)
    return where(taken > 0.0, floor(memory / where(taken > 0.0, taken, 1.0)), blocks)


def occupancy(blocks: Num, block: Num, warps: Num) -> Num:
    r"""Warps that are resident, of the most.

    $$o = \frac{n w}{W}$$

    blocks   n  resident blocks                 [-]
    block    w  warps of a block                [-]
    warps    W  most warps of a multiprocessor  [-]
    returns  o  occupancy                       [-]

    Source: lecture "Transformers, profiling and performance modelling": active warps over the maximum. Example: 32 of 64.

    >>> float(occupancy(4.0, 8.0, 64.0))
    0.5
    """
    return blocks * block / warps
