"""Number formats: bytes an element, and which role has which format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from floorline.specs.fields import check, choice

BYTES = {
    "fp64": 8.0,
    "fp32": 4.0,
    "tf32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "int4": 0.5,
    "fp4": 0.5,
    "nf4": 0.5,
    "int64": 8.0,
    "mask": 1.0,
    "rng_state": 24.0,
}
"""Bytes an element. "mask" is a stored boolean, "rng_state" the three 8-byte words that flash attention keeps."""

FORMATS = ("bf16", "fp16", "fp32", "tf32", "fp64", "fp8", "int8", "int4", "fp4")


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Formats by role. Matmuls run at the peak of the activations' format.

    >>> Precision.of("fp16").bytes("weights")
    2.0
    """

    weights: str = choice("format of the weights", FORMATS, "bf16", aliases=("--weight-dtype",))
    activations: str = choice("format of activations and arithmetic", FORMATS, "bf16", aliases=("--activation-dtype",))
    kv_cache: str = choice("format of the key/value cache", FORMATS, "bf16", aliases=("--kv-cache-dtype",))
    gradients: str = choice("format of the gradients", FORMATS, "bf16", aliases=("--gradient-dtype",))
    matmuls: str = choice(
        "format to which training brings what its linear layers multiply; left out: that of the activations",
        ("", "fp8", "fp8-block128", "fp4"),
        "",
        aliases=("--matmul-dtype",),
    )

    def __post_init__(self) -> None:
        check(self)

    @staticmethod
    def of(name: str) -> Precision:
        """One format for everything; fp8 and narrower keep 16-bit gradients."""
        wide = name if BYTES.get(name, 0.0) >= 2.0 else "bf16"
        return Precision(weights=name, activations=name, kv_cache=name, gradients=wide)

    def with_cache(self, name: str) -> Precision:
        """The same with another format of the key/value cache."""
        return replace(self, kv_cache=name)

    def in_training(self) -> Precision:
        """The same where keys and values are activations like others."""
        return replace(self, kv_cache=self.activations)

    @cached_property
    def by_role(self) -> dict[str, float]:
        """Bytes an element of each role."""
        roles = {
            "weights": self.weights,
            "activations": self.activations,
            "kv_cache": self.kv_cache,
            "gradients": self.gradients,
        }
        return {"tokens": BYTES["int64"], **{role: BYTES[name] for role, name in roles.items()}}

    def bytes(self, role: str, own: str = "") -> float:
        """Bytes an element of a role, or of a tensor's own format."""
        return BYTES[own] if own else self.by_role[role]
