"""``floorline balance``: where the bound of a decode step changes."""

from __future__ import annotations

from floorline.balances import Balance, balance
from floorline.cli.command import Command, Given
from floorline.cli.infer import BATCH, answer
from floorline.cli.model import MODEL
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.errors import BadInput
from floorline.estimates import Estimate
from floorline.report import envelope
from floorline.units import data, flops, integer, seconds


def balance_command(model: str, given: Given) -> None:
    """The batch from which a decode step is bound by arithmetic, and arithmetic against messages, stage by stage of a layer."""
    e = answer(model, given)
    if e.decode is None:
        raise BadInput("balance is of a decode step, and this workload has none; expected --output-len above 1")
    found = balance(e.decode)
    if given["json"]:
        print_json(envelope("balance", {**given, "model": model}, found.to_dict()))
        return
    show(e, found)
    note(
        "arithmetic at the peak, traffic at the memory's bandwidth, messages at the links' rate, one direction; no launch and no "
        "start; a stage sends what a ring does, half of an all-reduce at either side; tokens choose experts evenly"
    )


def show(e: Estimate, found: Balance) -> None:
    """The answer as tables."""
    device, step = e.cluster.accelerator, e.phases[-1].step
    batch = integer(scalar(step.batch))
    context = integer(scalar(found.context))
    print(bold(f"{e.model.name} on {scalar(e.parallelism.devices):.0f} × {device.title}, decoding"))
    own = e.model.quantization
    form = device.computed_in(own.arithmetic if own and own.arithmetic else step.precision.activations)
    each = " of each replica" if scalar(e.parallelism.dp) > 1.0 else ""
    print(f"machine balance {scalar(found.machine_balance):.4g} FLOP for each byte, in {form}")
    print(f"critical batch{each}, weights alone: {counted(found.critical_batch)}")
    print(f"critical batch{each}, with the cache of {context} tokens for each sequence: {counted(found.with_cache)}\n")
    rows = [("arithmetic", seconds(scalar(found.compute_s))), ("memory traffic", seconds(scalar(found.memory_s)))]
    if scalar(found.ring_s) > 0.0:
        rows += [
            ("messages, the least of any algorithm", seconds(scalar(found.link_s))),
            ("messages, in a ring", seconds(scalar(found.ring_s))),
            ("together, if all overlap", seconds(scalar(found.overlapping))),
            ("together, if messages wait", seconds(scalar(found.one_after_another))),
        ]
    print(table([f"one step, batch {batch}, context {context}", "time"], rows))
    if found.stages:
        print()
        head = ["stage of a layer", "FLOP", "sent", "FLOP/B", "link balance", "bound by"]
        print(
            table(
                head,
                [
                    (
                        s.name,
                        flops(scalar(s.flops)),
                        data(scalar(s.sent)),
                        f"{scalar(s.intensity):.4g}",
                        f"{scalar(s.link_balance):.4g}",
                        s.bound,
                    )
                    for s in found.stages
                ],
            )
        )


def counted(batch: float | None) -> str:
    """A batch, or that there is none."""
    return "none: each sequence brings more traffic than arithmetic" if batch is None else f"{integer(batch)} sequences"


command = Command(balance_command, BATCH, MODEL)
