"""``floorline occupancy``: how many blocks and warps of a kernel a multiprocessor holds."""

from __future__ import annotations

from floorline.cli.command import Command, Flag, Given
from floorline.cli.model import JSON
from floorline.cli.output import bold, print_json, scalar, table
from floorline.errors import BadInput
from floorline.report import envelope
from floorline.units import parse

FLAGS = (
    JSON,
    Flag("hardware", ("--hardware", "--gpu"), "accelerator", "h100-sxm"),
    Flag("threads", ("--threads",), "threads of a block", "256"),
    Flag("registers", ("--registers",), "registers of a thread", "32"),
    Flag("shared_memory", ("--shared-memory",), "shared memory of a block, such as '48 KiB'", "0"),
    Flag("blocks", ("--blocks",), "blocks of the grid, for the number of waves"),
)
LARGEST = 1e12


def occupancy(given: Given) -> None:
    """Occupancy of a kernel from its block size, registers and shared memory: active warps over the most that a multiprocessor
    holds, and what limits it."""
    from floorline.catalogue.clusters import load_cluster
    from floorline.occupancy import occupancy as computed

    device = load_cluster(given["hardware"] or "h100-sxm").accelerator
    found = computed(
        device,
        count(given, "threads", 256.0),
        count(given, "registers", 32.0),
        memory(given["shared_memory"]),
        count(given, "blocks", float("nan")),
    )
    if scalar(found.blocks) == 0.0:
        raise BadInput(
            f"such a block does not fit on a multiprocessor: too much of its {found.limit}; expected less of it"
        )
    if given["json"]:
        print_json(envelope("occupancy", given, found.to_dict()))
        return
    print(bold(f"occupancy {scalar(found.occupancy):.1%} on {device.title}"))
    print(
        f"{scalar(found.blocks):g} blocks of {scalar(found.warps):g} warps on a multiprocessor, limited by {found.limit}"
    )
    print(table(["blocks by", ""], [(name, f"{scalar(n):g}") for name, n in found.by.items()]))
    waves = scalar(found.waves)
    if waves == waves:
        print(f"{waves:.4g} waves over {scalar(device.sm_count or float('nan')):g} multiprocessors")


def count(given: Given, name: str, default: float) -> float:
    """A whole number of a flag."""
    text = given[name]
    if text is None:
        return default
    value = parse(text, "", f"--{name}")
    if value != int(value) or not 0.0 < value <= LARGEST:
        raise BadInput(f"--{name} is {text[:40]!r}; expected a whole number above zero")
    return value


def memory(text: str | None) -> float:
    """Shared memory with its unit, or in bytes."""
    if text is None:
        return 0.0
    value = parse(text, "B" if text.strip()[-1:].isalpha() else "", "--shared-memory")
    if not 0.0 <= value <= LARGEST:
        raise BadInput(f"--shared-memory is {text[:40]!r}; expected such as '48 KiB'")
    return value


command = Command(occupancy, FLAGS)
