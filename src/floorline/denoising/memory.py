"""Memory of one device that makes pictures: weights of all models or of those at work, and the largest set of tensors alive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from floorline.footprints import framework_bytes
from floorline.memory import Memory, activation_bytes, weight_bytes
from floorline.num import Num, largest, number, total
from floorline.result import Result
from floorline.specs.footprint import Footprint
from floorline.step import Step


@dataclass(frozen=True)
class Part(Result):
    """One model of a pipeline on a device.

    name         "denoiser", "t5-v1.1-xxl", "decoder"
    weights      on one rank [B]
    activations  the largest set of tensors alive at once [B]
    layer        weights of its largest layer, which is all that layer-by-layer offload keeps [B]
    """

    name: str
    weights: Num
    activations: Num
    layer: Num


@dataclass(frozen=True)
class DenoiseMemory(Result):
    """Bytes on one device.

    parts      of the pipeline
    stale      keys and values that a patch pipeline keeps from the step before [B]
    offload    what waits on the host: "none", "model", "layers"
    framework  the driver's context and message buffers [B]
    workspace  of the matmul library [B]
    """

    parts: tuple[Part, ...]
    stale: Num
    offload: str
    framework: Num
    workspace: Num = 0.0

    @property
    def peak(self) -> Memory:
        """Weights and activations at the fullest moment."""
        activations = largest(part.activations for part in self.parts)
        if self.offload == "none":
            weights = total(part.weights for part in self.parts)
            return self.filled(weights, activations)
        held = {"model": "weights", "layers": "layer"}[self.offload]
        both = largest(getattr(part, held) + part.activations for part in self.parts)
        return self.filled(number(both - activations), activations)

    def filled(self, weights: Num, activations: Num) -> Memory:
        """Memory by kind, with what the software takes."""
        return Memory(
            weights=weights,
            kv_cache=self.stale,
            activations=activations,
            workspace=self.workspace,
            framework=self.framework,
        )

    @property
    def total(self) -> Num:
        """All of it at the fullest moment [B]."""
        return self.peak.total

    def answer(self) -> Mapping[str, Any]:
        """By kind, and by part of the pipeline."""
        return {**self.peak.answer(), "parts": self.parts}


def part(name: str, step: Step, fusion: str) -> Part:
    """A model of a pipeline."""
    return Part(name, weight_bytes(step), activation_bytes(step, fusion), layer_bytes(step))


def layer_bytes(step: Step) -> Num:
    """Weights of the largest block, on one rank."""
    alone = replace(step, parallelism=replace(step.parallelism, pp=1.0))
    stacks = step.model.stacks
    one = (replace(step.model, stacks=(replace(stack, repeat=1.0, copies=1.0),)) for stack in stacks)
    return largest(weight_bytes(replace(alone, model=model)) for model in one)


def framework(step: Step, footprint: Footprint) -> Num:
    """What the driver and the framework take beside [B]."""
    return number(framework_bytes(step, footprint))
