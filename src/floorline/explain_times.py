"""A time opened: its floor into arithmetic, traffic and messages, its serial sum into launches, its expectation into kernels."""

from __future__ import annotations

import numpy as np

from floorline.calibrate.fit import as_dict
from floorline.calibrate.kinds import KINDS
from floorline.errors import BadInput
from floorline.estimates import Estimate
from floorline.expected import Expectation
from floorline.explain import Explanation, plain
from floorline.kernel_time import KernelTime
from floorline.kernel_times import KernelTimes
from floorline.letters import MEANING
from floorline.network import levels
from floorline.num import where
from floorline.phases import Phase
from floorline.published import formula
from floorline.step import Step


def explain_time(e: Estimate, which: str) -> Explanation:
    """A time: its floor opened into arithmetic, traffic and messages, its serial sum into launches."""
    if which == "latency":
        phases = tuple(explain_phase(e, p) for p in e.phases)
        return Explanation(
            "latency floor",
            "TTFT + (output − 1) · TPOT" if len(phases) > 1 else "one phase",
            " + ".join((f"{plain(p.count)} · " if p.count is not None else "") + plain(p.floor_s) for p in e.phases),
            e.latency.floor,
            "s",
            parts=phases,
        )
    name = {"ttft": "prefill", "tpot": "decode"}[which]
    phase = next((p for p in e.phases if p.name == name), None)
    if phase is None:
        raise BadInput(
            f"this workload has no {name}; {which} needs --output-len above 1" if which == "tpot" else f"no {name} here"
        )
    return explain_phase(e, phase)


def explain_phase(e: Estimate, phase: Phase) -> Explanation:
    """The floor of a phase and the launches of its serial sum."""
    device, f = e.cluster.accelerator, phase.floor
    rate = where(f.link > 0.0, f.message / where(f.link > 0.0, f.link, 1.0), e.cluster.link.bandwidth)
    cache, slow = plain(device.last_level_cache), levels(e.cluster)[round(float(np.asarray(f.level).flat[0]))]
    parts = (
        Explanation(
            "arithmetic",
            "Σ FLOP / peak, causal",
            f"{plain(f.flops)} FLOP / {plain(phase.step.fastest(e.cluster))} FLOP/s",
            f.compute,
            "s",
        ),
        Explanation(
            "compulsory traffic",
            "(weights once + cache once − what the last-level cache holds) / bandwidth",
            f"({plain(f.weights)} + {plain(f.cached)} − {cache}) B / {plain(device.memory_bandwidth)} B/s",
            f.memory,
            "s",
        ),
        Explanation(
            "messages",
            "Σ least bytes of a rank / link, on the level that takes longest",
            f"{plain(f.message)} B / {plain(rate)} B/s ({slow.link.name})",
            f.link,
            "s",
        ),
        Explanation(
            "serial sum, for comparison",
            "Σ over launches of repeat · max(FLOP/peak, bytes/bandwidth, launch)",
            f"fusion {e.assumptions.fusion}; below, all runs of each launch"
            + (" in the first step" if phase.count is not None else ""),
            phase.serial_s,
            "s",
            formula("kernel_time").source,
            formula("kernel_time").latex,
            parts=opened(e, phase),
        ),
    )
    what = "prefill" if phase.name == "prefill" else "mean decode step" if phase.count is not None else "decode step"
    return Explanation(
        f"floor of the {what}",
        "max(arithmetic, traffic, messages)",
        ", ".join(plain(x) for x in (f.compute, f.memory, f.link)),
        phase.floor_s,
        "s",
        "Williams et al. 2009, CACM 52(4)",
        legend=letters(phase.step),
        parts=(*parts, *((expectation(e, phase, phase.expectation),) if phase.expectation is not None else ())),
    )


def expectation(e: Estimate, phase: Phase, found: Expectation) -> Explanation:
    """What a phase is expected to take: kinds of kernels, each into its launches with the models that price them."""
    time = phase.time
    launched = launches_by_kind(phase)
    parts = [
        Explanation(
            f"{kind} × {plain(share.launches)}",
            "Σ over launches of repeat · model; half widths of one kind add up",
            f"90 %: − {plain(share.below)} s, + {plain(share.above)} s; fitted to {'; '.join(share.sources)}",
            share.seconds,
            "s",
            parts=tuple(launched.get(kind, ())),
        )
        for kind, share in found.kinds.items()
    ]
    engine = phase.engine
    own = f"{engine.launch}: {plain(engine.launch_time)} s a launch, {plain(engine.step_time)} s a step"
    parts.append(Explanation("host and engine", "max(launches · start − kernels, 0) + own time", own, found.host, "s"))
    assert time.low is not None
    assert time.high is not None
    return Explanation(
        f"expected, {engine.title}",
        "Σ kernels + host; 90 %: √(Σ over kinds of half widths² + ((e^±w − 1) · whole)²)",
        f"{plain(time.low)} to {plain(time.high)} s; {found.asked}: w = {found.form:g}",
        found.seconds,
        "s",
        "fitted to measured kernels: docs/accuracy.md",
        parts=tuple(parts),
    )


def launches_by_kind(phase: Phase) -> dict[str, list[Explanation]]:
    """Every launch of the first step with its model, sizes and parameters."""
    times = KernelTimes(phase.step, phase.cluster, phase.engine)
    found: dict[str, list[Explanation]] = {}
    for stack, numbers in phase.step.numbers("causal"):
        for row in phase.step.program(stack, phase.assumptions.fusion):
            for time in times.launch(row, numbers):
                name = f"{stack.block.name}.{row.name} × {plain(stack.repeat)}"
                found.setdefault(time.kind, []).append(one_launch(name, time))
    return found


def one_launch(name: str, time: KernelTime) -> Explanation:
    """One launch: the model's sizes and parameters."""
    fitted = time.model.fitted
    sizes = ", ".join(f"{key} = {plain(value)}" for key, value in time.sizes.items())
    numbers = ", ".join(
        f"{key} = {plain(x) if not isinstance(x, str) else x}" for key, x in as_dict(fitted.model).items()
    )
    module = KINDS[fitted.kind].model.__module__.rpartition(".")[2]
    told = f"{time.model.told}: median error {fitted.missed[0]:.1%}; {numbers}"
    return Explanation(name, f"efficiency/{module}.py of {sizes or 'its bytes'}", told, time.seconds, "s")


def letters(step: Step) -> str:
    """What each letter stands for, with its number."""
    values = step.stacks[-1][1].values if len(step.stacks) == 1 else step.stacks[1][1].values
    return ", ".join(f"{x} {MEANING[x]} {plain(v)}" for x, v in values.items() if x in MEANING)


def opened(e: Estimate, phase: Phase) -> tuple[Explanation, ...]:
    """The operator table as explanations."""
    return tuple(
        Explanation(
            f"{x.name} × {plain(x.repeat)} ({x.bound})",
            f"{x.formula or 'no FLOP'}; {plain(x.bytes)} B moved"
            + (f", {plain(x.sent)} B sent" if plain(x.sent) != "0" else ""),
            x.filled or "traffic alone",
            x.serial * x.repeat,
            "s",
        )
        for x in e.launches(phase)
    )
