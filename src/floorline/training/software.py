"""A training framework as the models of kernels see it: which operators it fuses, how much its attention takes, what its host
starts."""

from __future__ import annotations

from dataclasses import replace

from floorline.adapters import Kind, adapted
from floorline.efficiency.in_model import attention_of
from floorline.specs.accelerator import Accelerator
from floorline.specs.engine import Engine
from floorline.specs.recipe import Recipe
from floorline.specs.trainer import Trainer
from floorline.transformer import Transformer

FUSIONS = {
    ("nothing", False): "flash",
    ("nothing", True): "unfused",
    ("norms", False): "fused-norms",
    ("norms", True): "fused-apart",
    ("kernels", False): "fused",
    ("kernels", True): "fused-apart",
    ("compiler", False): "fused",
    ("compiler", True): "fused-apart",
}
"""What is fused, and whether scores are stored → the implementation."""


AS_NEEDED = {"fused": "fused-as-needed"}
"""Implementations that run a whole layer again → the same that stop as soon as they may."""


def fusion(trainer: Trainer) -> str:
    """The implementation of a framework.

    >>> fusion(Trainer(fuses="kernels", attention="apart"))
    'fused-apart'
    """
    found = FUSIONS[trainer.fuses, trainer.attention == "apart"]
    return AS_NEEDED.get(found, found) if trainer.recomputes == "as needed" else found


def engine(trainer: Trainer, device: Accelerator) -> Engine:
    """A framework on a device.

    >>> from floorline.catalogue.accelerators import load_accelerator
    >>> engine(Trainer(attention="flash-2"), load_accelerator("h100-sxm")).attention_backward
    2.95
    """
    forward, backward = attention_of(trainer.attention, device.architecture)
    return Engine(
        name=trainer.name,
        title=trainer.title,
        launch=trainer.launch,
        launch_time=trainer.launch_time,
        all_reduce="library",
        element_wise="generated",
        attention_forward=forward,
        attention_backward=backward,
        sources=trainer.sources,
    )


def with_adapters(model: Transformer, recipe: Recipe, trainer: Trainer) -> Transformer:
    """A model as it is trained: its weights not as a published checkpoint stores them but in the run's formats, with adapters
    beside frozen ones where a recipe has them."""
    plain = model if model.quantization is None else replace(model, quantization=None)
    kind = Kind(trainer.adapts == "all", trainer.adapter_dropout == "yes", recipe.frozen_weights == "nf4")
    return adapted(plain, recipe.lora_rank, kind)
