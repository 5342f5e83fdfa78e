"""Tables of ``floorline denoise``: times, where a step goes, memory, launches, money."""

from __future__ import annotations

from dataclasses import replace

from floorline.cli.cost import dollars, kind, usual
from floorline.cli.denoise_advice import known_to_fit, mended
from floorline.cli.output import bold, scalar, table
from floorline.denoising.estimate import DenoiseEstimate, estimate_denoising
from floorline.launches import Launch
from floorline.phases import Time
from floorline.picture_costs import PictureCost
from floorline.specs.denoise_plan import DEGREES, DenoisePlan
from floorline.units import gib, integer, seconds


def speed_up(e: DenoiseEstimate) -> float | None:
    """How much sooner it is done than on one device; None where it is one."""
    devices = scalar(e.plan.devices)
    if devices == 1.0:
        return None
    alone = estimate_denoising(
        e.pipeline,
        e.workload,
        replace(e.cluster, devices=1.0),
        precision=e.precision,
        assumptions=e.assumptions,
        engine=e.engine,
    )
    return scalar(alone.latency.usual) / scalar(e.latency.usual)


def line(name: str, t: Time) -> tuple[str, ...]:
    """A row of the table of times."""
    expected = "–" if t.expected is None else seconds(scalar(t.expected))
    span = "–" if t.low is None or t.high is None else f"{seconds(scalar(t.low))} to {seconds(scalar(t.high))}"
    return name, seconds(scalar(t.floor)), expected, span, seconds(scalar(t.serial))


def show(e: DenoiseEstimate) -> None:
    """Times as a table."""
    w, device, found = e.workload, e.cluster.accelerator, e.grid
    assert w.height is not None
    assert w.width is not None
    assert w.frames is not None
    assert w.steps is not None
    assert w.passes is not None
    print(bold(f"{e.pipeline.name} on {scalar(e.plan.devices):.0f} × {device.title}, {e.engine.title}, {formats(e)}"))
    length = "" if scalar(w.frames) == 1.0 else f"{integer(scalar(w.frames))} frames of "
    passes = "one pass" if scalar(w.passes) == 1.0 else f"{integer(scalar(w.passes))} guidance passes"
    reused = "" if scalar(w.reused) == 0.0 else f", {scalar(w.reused):.0%} of them reused"
    print(
        f"{length}{integer(scalar(w.height))} × {integer(scalar(w.width))} pixels: {integer(scalar(found.tokens))} tokens and "
        f"{integer(scalar(found.text))} of text; {integer(scalar(w.steps))} steps{reused}, {passes} each; batch "
        f"{integer(scalar(w.batch))}\n"
    )
    rows = [line("step", e.step_time)]
    rows += [line("text", e.encoding)] if e.encoding else []
    rows.append(line("all steps", e.denoising))
    rows += [line("pixels", e.decoding)] if e.decoding else []
    rows.append(line("whole", e.latency))
    print(table(["", "floor", "expected", "90 % interval", "serial"], rows))
    whole_time = scalar(e.latency.usual)
    parts = [f"{name} {scalar(part) / whole_time:.1%}" for name, part in e.breakdown.items() if scalar(part) > 0.0]
    print(f"of the whole: {', '.join(parts)}")
    made = 3600.0 * scalar(w.batch) / whole_time
    print(f"in an hour: {integer(made) if made >= 1000.0 else f'{made:.3g}'} {pictures(e)[1]}")
    faster = speed_up(e)
    if faster is not None:
        devices = scalar(e.plan.devices)
        print(f"{split(e.plan)}: {faster:.2f} times as fast as one device, efficiency {faster / devices:.0%}")


def pictures(e: DenoiseEstimate) -> tuple[str, str]:
    """What is made, one of it and several."""
    assert e.workload.frames is not None
    return ("picture", "pictures") if scalar(e.workload.frames) == 1.0 else ("video", "videos")


def formats(e: DenoiseEstimate) -> str:
    """The formats in words."""
    p, stored = e.precision, e.pipeline.denoiser.quantization
    if stored is not None:
        return f"{p.activations}, weights as {stored.label}"
    return p.activations if p.weights == p.activations else f"{p.activations}, weights in {p.weights}"


def show_cost(e: DenoiseEstimate, found: PictureCost) -> None:
    """A line of money and one of energy, as far as they are known."""
    rates, one = found.rates, pictures(e)[0]
    if rates.price is not None and found.usd is not None:
        given = f"{scalar(rates.price):g} USD/h a device ({found.price_source}), used {scalar(rates.utilisation):.0%}"
        print(f"a {one}: {dollars(found.usd)}, by the {kind(found.usd)} time; {given}")
    if rates.power is not None and found.joules is not None:
        most = "at most " if found.power_source == "power limit" else ""
        given = f"{scalar(rates.power):g} W a device ({found.power_source}), hosts not counted"
        print(f"energy of a {one}: {most}{usual(found.joules) / 3600.0:.3g} Wh; {given}")


def split(plan: DenoisePlan) -> str:
    """The degrees of a plan in words."""
    found = [
        f"{word} {scalar(getattr(plan, name)):.0f}"
        for name, word in DEGREES.items()
        if scalar(getattr(plan, name)) > 1.0
    ]
    return " × ".join(found) or "one device"


def show_step(e: DenoiseEstimate) -> None:
    """What a step's time is spent on."""
    kinds = {name: scalar(value) for name, value in e.kinds.items()}
    whole_step = sum(kinds.values())
    spent = sorted(((each, name) for name, each in kinds.items() if each > 0.0), reverse=True)
    if spent:
        rows = [(name, seconds(each), f"{each / whole_step:.1%}") for each, name in spent]
        print("\n" + table(["a step is spent on", "", ""], rows))
    used = "" if e.mfu is None else f"; model FLOP utilisation {scalar(e.mfu):.1%}"
    print(f"bound of its floor: {e.bound}{used}")


def show_memory(e: DenoiseEstimate) -> None:
    """Memory of each part, and whether it fits."""
    m = e.memory
    rows = [(p.name, gib(scalar(p.weights)), gib(scalar(p.activations))) for p in m.parts]
    around = (("framework, messages", m.framework + m.workspace), ("keys and values of the step before", m.stale))
    rows += [(name, gib(scalar(each)), "") for name, each in around if scalar(each) > 0.0]
    print("\n" + table(["memory of a device", "weights", "activations at most"], rows))
    held = {"none": "all models stay", "model": "one model at a time", "layers": "one layer at a time"}[m.offload]
    least = "at least " if e.pipeline.uncounted else ""
    print(f"at its fullest {least}{gib(scalar(m.total))} of {gib(scalar(e.cluster.accelerator.usable))}: {held}")
    if not bool(e.fits()):
        print(f"does not fit; {mended(e)}")
    elif not known_to_fit(e):
        print("whether it fits is not known: nothing is known of its decoder")


def show_operators(e: DenoiseEstimate) -> None:
    """The launches of a step that take longest, all runs of each."""
    found = sorted(e.launches(), key=lambda one: -run_time(one) * scalar(one.repeat))
    rows = [
        (
            one.name,
            integer(scalar(one.repeat)),
            "–" if one.expected is None else seconds(scalar(one.expected) * scalar(one.repeat)),
            seconds(scalar(one.serial) * scalar(one.repeat)),
            str(one.bound),
            one.formula,
        )
        for one in found[:MOST]
    ]
    print("\n" + table(["launch", "runs", "expected", "serial", "bound", "FLOP of one"], rows))


def run_time(one: Launch) -> float:
    """The time of one run, expected where that is known [s]."""
    return scalar(one.serial if one.expected is None else one.expected)


MOST = 25
"""Launches that are printed."""
