"""A pipeline of patches: each stage has some of the layers and works on a part of the picture, with keys and values of the rest as
they were in the step before.

A device's work in a step is that of all layers over one patch; a first few steps run whole pictures through the stages.
Source: Fang et al. 2024 (PipeFusion), arXiv:2405.14430; xDiT, docs/methods/pipefusion.md.
"""

from __future__ import annotations

from dataclasses import replace

from floorline.host_link import host_rate
from floorline.message_times import ARRIVAL
from floorline.num import Num, maximum
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
    """What a stage hands on in a step: every patch's states, and a start for each [s]."""
    sizes = patch.model.sizes
    moved = patch.batch * (patch.tokens + patch.earlier) * sizes["D"] * patch.precision.bytes("activations")
    links = [link.bandwidth for link in cluster.levels] or [host_rate(cluster.accelerator)]
    return plan.patches * ARRIVAL + moved / links[0]


def stale_bytes(step: Step, plan: DenoisePlan) -> Num:
    """Keys and values that a stage keeps of the step before, of its own layers [B]; nothing without a patch pipeline."""
    kept: Num = 0.0
    tokens = step.tokens + step.earlier
    for stack, numbers in step.numbers():
        if stack.is_layer and "K" in stack.block.letters:
            heads = numbers.letter("K") * numbers.letter("H")
            kept = kept + 2.0 * step.batch * tokens * heads * stack.repeat
    present = maximum(plan.patches - 1.0, 0.0) / maximum(plan.patches - 1.0, 1.0)
    return kept * step.precision.bytes("activations") / plan.patches * present
