"""What ``floorline denoise`` says beside its numbers: what they leave out, what would fit, what would be faster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from floorline.catalogue.engines import engines
from floorline.cli.infer import network, unknown_network
from floorline.cli.output import scalar
from floorline.denoise_step import made_frames
from floorline.denoising.estimate import DenoiseEstimate, estimate_denoising
from floorline.specs.denoise_plan import DenoisePlan
from floorline.specs.workload import Denoise
from floorline.units import gib, integer, seconds

FASTER = 0.9
"""Advice is given where it takes less than this share of the time."""


def again(
    e: DenoiseEstimate, *, workload: Denoise | None = None, plan: DenoisePlan | None = None, engine: str | None = None
) -> DenoiseEstimate:
    """The same question with something else."""
    return estimate_denoising(
        e.pipeline,
        workload or e.workload,
        e.cluster,
        plan=plan or e.plan,
        precision=e.precision,
        assumptions=e.assumptions,
        engine=engine or e.engine,
    )


def known_to_fit(e: DenoiseEstimate) -> bool:
    """Whether it fits as far as all parts are known; the decoder, which often needs most, must be."""
    return bool(e.fits()) and e.pipeline.autoencoder is not None


def mended(e: DenoiseEstimate) -> str:
    """The fastest change that makes it fit: tiles, models or layers that wait on the host, weights shared out."""
    devices = scalar(e.plan.devices)
    shared = [e.plan, DenoisePlan(tp=devices), DenoisePlan(patches=devices)] if devices > 1.0 else [e.plan]
    found = []
    for plan in shared:
        for offload in ("none", "model", "layers"):
            for tiling in ("no", "yes"):
                other = again(e, workload=replace(e.workload, tiling=tiling, offload=offload), plan=plan)
                if bool(other.fits()):
                    found.append((scalar(other.latency.usual), named(plan, e.plan, offload, tiling), other))
    if not found:
        return "not with --offload layers --tiling either: fewer pixels or frames, or a larger device"
    fastest, flags, other = min(found, key=lambda one: (one[0], one[1]))
    return f"with {flags}: {gib(scalar(other.memory.total))}, {seconds(fastest)}"


def named(plan: DenoisePlan, before: DenoisePlan, offload: str, tiling: str) -> str:
    """A change as its flags."""
    found = (
        [] if plan == before else [f"--tp {scalar(plan.tp):.0f}" if plan.tp > 1.0 else f"--pipefusion {plan.patches:g}"]
    )
    found += [f"--offload {offload}"] * (offload != "none") + ["--tiling"] * (tiling == "yes")
    return " ".join(found)


def remarks(e: DenoiseEstimate) -> list[str]:
    """What a reader of the numbers should know."""
    found = [f"not in it: {' and '.join(e.pipeline.uncounted)}"] if e.pipeline.uncounted else []
    found += [f"assumed, since its files do not say: {', '.join(e.pipeline.assumed)}"] if e.pipeline.assumed else []
    found += list(rounded(e))
    computed = e.cluster.accelerator.computed_in(e.precision.activations)
    if computed != e.precision.activations:
        found.append(f"{e.cluster.accelerator.title} computes {e.precision.activations} in {computed}")
    found.append(
        "floor: no software takes less on the data sheet's figures; serial: each launch by the roofline, one after another"
    )
    if e.step.expectation is None:
        return [*found, f"expected times: no model of {e.cluster.accelerator.name}'s kernels is known"]
    width = float(np.exp(e.step.expectation.form))
    found.append(
        f"expected: {e.engine.title}; kernels of {', '.join(e.step.expectation.accelerators)}; the interval has 90 % of their "
        f"errors, and a factor of {width:.2f} either way for what kernels measured alone leave out; convolutions are assumed"
    )
    if e.workload.offload != "none":
        found.append(
            "copies from the host: not pinned and one after the other, as diffusers makes them; at best hidden"
        )
    if scalar(e.plan.devices) > 1.0:
        found += [f"messages: {network(e.cluster)}; of each device one way", *unknown_network(e.cluster)]
    return [*found, *faster(e)]


def rounded(e: DenoiseEstimate) -> Iterator[str]:
    """Sizes that are not made as they were asked for."""
    own, w = e.pipeline.denoiser.latent, e.workload
    assert own is not None
    assert w.frames is not None
    assert w.height is not None
    assert w.width is not None
    frames = scalar(made_frames(e.pipeline.denoiser, e.grid))
    if scalar(w.frames) != frames:
        yield f"the autoencoder makes {integer(frames)} frames, not {integer(scalar(w.frames))}"
    side = scalar(own.down * own.patch)
    if scalar(own.filled) == 0.0 and (scalar(w.height) % side or scalar(w.width) % side):
        yield f"a token is {side:g} × {side:g} pixels: what is left over at the edges is not made"


def faster(e: DenoiseEstimate) -> Iterator[str]:
    """Other software of the same name, and a patch pipeline, where they take clearly less."""
    now = scalar(e.latency.usual)
    family = e.engine.name.split("-")[0]
    others = [
        n for n, each in engines().items() if n.startswith(family) and each.makes == "pictures" and n != e.engine.name
    ]
    times = sorted((scalar(again(e, engine=name).latency.usual), name) for name in others)
    if times and times[0][0] < FASTER * now:
        name = times[0][1]
        yield f"faster: --engine {name} ({engines()[name].title}) {seconds(times[0][0])}"
    devices = scalar(e.plan.devices) / scalar(e.plan.guidance * e.plan.dp)
    if devices > 1.0 and scalar(e.plan.patches) == 1.0:
        piped = again(e, plan=DenoisePlan(patches=devices, guidance=e.plan.guidance, dp=e.plan.dp))
        if bool(piped.feasible) and scalar(piped.latency.usual) < FASTER * now:
            yield (
                f"faster: --pipefusion {devices:g}, whose keys and values are partly those of the step before: "
                f"{seconds(scalar(piped.latency.usual))}"
            )
