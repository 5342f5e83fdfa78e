"""Number formats of measured kernels: what they hold and what they compute in."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.errors import BadInput, near


@dataclass(frozen=True)
class Format:
    """A format of a kernel.

    weights      bytes of a weight, scales left out (a floor) [B]
    activations  bytes of an input [B]
    result       bytes of an output [B]
    arithmetic   formats of the matrix units that it may use
    """

    weights: float
    activations: float
    result: float
    arithmetic: tuple[str, ...]


FORMATS = {
    "fp32": Format(4.0, 4.0, 4.0, ("fp32",)),
    "tf32": Format(4.0, 4.0, 4.0, ("tf32",)),
    "bf16": Format(2.0, 2.0, 2.0, ("bf16",)),
    "fp16": Format(2.0, 2.0, 2.0, ("fp16",)),
    "fp8": Format(1.0, 1.0, 1.0, ("fp8",)),
    "fp8-block128": Format(1.0, 1.0, 1.0, ("fp8",)),
    "int8": Format(1.0, 1.0, 1.0, ("int8",)),
    "int8-smoothquant": Format(1.0, 1.0, 1.0, ("int8",)),
    "nvfp4": Format(0.5, 0.5, 0.5, ("fp4",)),
    "mxfp4": Format(0.5, 0.5, 0.5, ("fp4",)),
    "int8-weight-only": Format(1.0, 2.0, 2.0, ("bf16", "fp16")),
    "int4-weight-only": Format(0.5, 2.0, 2.0, ("bf16", "fp16")),
    "grouped-weight-only": Format(0.5, 2.0, 2.0, ("bf16", "fp16")),
}
"""Outputs count in the narrowest format that a kernel might write; a floor may be low by that."""


SIXTEEN = Format(2.0, 2.0, 2.0, ("bf16", "fp16"))
"""Where no format is stated."""


def kernel_format(name: str) -> Format:
    """A format by its name; one that is not stated counts as 16 bits.

    raises BadInput for a name that nobody knows
    """
    if not name:
        return SIXTEEN
    if name not in FORMATS:
        raise BadInput(f"dtype is {name[:40]!r}; {near(name, FORMATS)}")
    return FORMATS[name]
