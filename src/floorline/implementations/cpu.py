"""PyTorch on a CPU: layer norm keeps its statistics in the activations' format, dropout masks too; flash attention has no
random-number state; with dropout, scaled-dot-product attention is composed of fp32 operations."""

from __future__ import annotations

from floorline.implementations.eager import MERGED, saves
from floorline.implementations.flash import FUSED, KEPT
from floorline.implementations.implementation import Implementation

EAGER_CPU = Implementation("unfused-cpu", "transformers eager on a CPU", MERGED, saves("", ""), expands="G")
FLASH_CPU = Implementation("flash-cpu", "the CPU's flash attention", FUSED, saves("", ""), {"attention": KEPT})
MATH_CPU = Implementation(
    "math-cpu",
    "scaled-dot-product attention with dropout on a CPU: composed, in fp32",
    MERGED,
    saves("", ""),
    expands="G",
    attention_format="fp32",
)
