"""A pipeline of patches: each stage has some of the layers and works on a part of the picture, with keys and values of the rest as
they were in the step before.

A device's work in a step is that of all layers over one patch; a first few steps run whole pictures through the stages.
Source: Fang et al. 2024 (PipeFusion), arXiv:2405.14430; xDiT, docs/methods/pipefusion.md.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from floorline.host_link import host_rate
from floorline.message_times import ARRIVAL
from floorline.num import Num, largest, maximum, where
from floorline.specs.cluster import Cluster
from floorline.specs.denoise_plan import DenoisePlan
from floorline.step import Step


def patch_step(whole: Step, plan: DenoisePlan) -> Step:
    """All layers over one patch, whose queries see the keys of the whole picture.

    >>> from floorline.catalogue.load import load_model
    >>> from floorline.denoise_step import denoising
    >>> from floorline.specs.parallelism import Parallelism
    >>> from floorline.specs.precision import Precision
    >>> from floorline.specs.workload import Denoise
    >>> made = denoising(load_model("pixart-alpha-xl-2-1024"), Denoise(height=1024, width=1024), Parallelism(), Precision())
    >>> patch = patch_step(made, DenoisePlan(patches=4))
    >>> float(patch.tokens), float(patch.tokens + patch.earlier)
    (1024.0, 4096.0)
    """
    part = whole.tokens / plan.patches
    return replace(whole, tokens=part, earlier=whole.tokens - part, logits=part)


def sending_time(patch: Step, cluster: Cluster, plan: DenoisePlan) -> Num:
    """What a stage hands on in a step, every patch's states, over the slowest link between neighbours [s]; nothing without a patch
    pipeline."""
    sizes = patch.model.sizes
    tokens = (patch.tokens + patch.earlier) / (plan.ulysses * plan.ring)
    moved = pictures(patch, plan) * tokens * sizes["D"] * patch.precision.bytes("activations")
    inside: Num = 1.0
    hops: list[Num] = []
    for link in cluster.levels:
        crossed = np.asarray(plan.devices) > inside
        hops.append(where(crossed, moved / link.bandwidth, 0.0))
        inside = link.domain
    return (largest(hops) if hops else moved / host_rate(cluster.accelerator)) * piped(plan)


def waiting_time(plan: DenoisePlan) -> Num:
    """What the host takes to hand on the patches of a step [s]."""
    return plan.patches * ARRIVAL * piped(plan)


def piped(plan: DenoisePlan) -> Num:
    """1 where patches go through a pipeline, else 0."""
    more = maximum(plan.patches - 1.0, 0.0)
    return more / maximum(more, 1.0)


def pictures(step: Step, plan: DenoisePlan) -> Num:
    """Pictures of a step, each of its guidance passes one, that a rank works on."""
    return step.batch / (plan.guidance * plan.dp)


def stale_bytes(step: Step, plan: DenoisePlan) -> Num:
    """Keys and values that a stage keeps of the step before, of its own layers and its share of the heads and tokens [B]; nothing
    without a patch pipeline."""
    kept: Num = 0.0
    tokens = step.tokens + step.earlier
    for stack, numbers in step.numbers():
        if stack.is_layer and "K" in stack.block.letters:
            heads = numbers.letter("K") * numbers.letter("H")
            kept = kept + 2.0 * pictures(step, plan) * tokens * heads * stack.repeat
    ranks = plan.patches * plan.tp * plan.ulysses * plan.ring
    return kept * step.precision.bytes("activations") / ranks * piped(plan)
