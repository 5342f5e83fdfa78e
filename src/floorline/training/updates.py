"""What an optimizer keeps of each weight, and what its update takes."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.specs.precision import BYTES, Precision
from floorline.specs.recipe import Recipe
from floorline.specs.trainer import Trainer

MOMENTS = {
    "adamw": 8.0,
    "adamw-8bit": 2.0,
    "adafactor": 0.01,
    "sgd": 0.0,
    "sgd-momentum": 4.0,
    "lion": 4.0,
    "muon": 4.0,
    "soap": 24.0,
}
"""Bytes of moments of each parameter, in fp32 but for 8 bits: two (AdamW), in one byte each with a scale for 256 or 2048
(Dettmers et al.
2021, arXiv:2110.02861), rows and columns alone (Adafactor: Shazeer and Stern 2018, arXiv:1804.04235), one (Lion, Muon, SGD with
momentum), two and two pairs of factors of preconditioners (SOAP: Vyas et al. 2024, arXiv:2409.11321, square matrices)."""


@dataclass(frozen=True)
class State:
    """Bytes of one trained parameter.

    weight    as the model reads it
    gradient  as it is summed
    master    a wide copy of the weight
    moments   of the optimizer
    copied    a wide copy of the gradient, while the update runs
    passing   what an update by several kernels hands from one to the next: the root of the second moments
    """

    weight: float
    gradient: float
    master: float
    moments: float
    copied: float
    passing: float = 0.0


def state(recipe: Recipe, precision: Precision, trainer: Trainer) -> State:
    """Bytes of a parameter by kind.

    >>> state(Recipe(), Precision(gradients="fp32"), Trainer())  # Megatron-Core's 18 bytes with bf16 weights
    State(weight=2.0, gradient=4.0, master=4.0, moments=8.0, copied=0.0, passing=0.0)
    """
    weight, gradient = BYTES[precision.weights], BYTES[precision.gradients]
    narrow = weight < 4.0 and recipe.master_weights == "yes"
    scale = 1.0 if narrow or weight >= 4.0 else weight / 4.0  # without a wide copy moments have the weights' format
    moments = MOMENTS[recipe.optimizer] * (scale if recipe.optimizer != "adamw-8bit" else 1.0)
    moments = moments / 2.0 if trainer.moments == "bf16" else moments
    gradient = gradient + (weight if trainer.narrow_gradients == "yes" and gradient > weight else 0.0)
    copied = 4.0 if trainer.wide_copy == "yes" and gradient < 4.0 else 0.0
    passing = moments / 2.0 if trainer.optimizer == "apart" and recipe.optimizer == "adamw" else 0.0
    return State(weight, gradient, 4.0 if narrow else 0.0, moments, copied, passing)
