"""Operators that PyTorch starts one by one for an operator of a block, as Hugging Face transformers writes it.

Counted by running transformers 4.38 to 4.51 under a dispatch mode: 42 operators a layer of Qwen2 (seven linear, twice eight of a
root-mean-square norm, ten of rotary positions, two that append to the cache, two that repeat heads, the activation and its product,
two sums, attention), and ten for each expert, since the loop goes over all of them. Views start nothing.
Source: modeling_qwen2.py, modeling_qwen2_moe.py, cache_utils.py of those versions.
"""

from __future__ import annotations

from collections.abc import Iterable

from floorline.letters import Product
from floorline.op import Contraction, Elementwise, Op, View
from floorline.route import Route

NORM, GATED, ROPE, GELU, EXPERT = 8.0, 2.0, 5.0, 8.0, 10.0
FUNCTIONS = {
    "rms_norm": NORM,
    "rope": ROPE,
    "gelu_new": GELU,
    "pass": 0.0,
    "weigh": 0.0,
    "modulated_layer_norm": 4.0,
    "modulated_rms_norm": NORM + 3.0,
    "gated_add": 2.0,
}
"""Function of an element-wise operator → operators; a gated one is its activation and a product, others are one. A modulated norm
is a norm, a sum of one and the scale, a product and a sum; a gated sum is a product and a sum (diffusers 0.42, normalization.py,
AdaLayerNormZero; transformer_flux.py, FluxTransformerBlock.forward)."""

BROADCAST = 0.55
"""Bandwidth that an operator reaches whose operand is spread over rows or columns, or is strided, over that of one whose operands
have the same shape: PyTorch's bias-add 0.62 of 1.39 TB/s on an H200 (tile-ai/TileOPs, pull request 537), its comparisons 545 of 795
GB/s (pytorch/pytorch, pull request 69010): the geometric mean."""

PASSES = {
    "rms_norm": (6.0 + 8.0 + 4.0 + 6.0 / BROADCAST + 6.0 + 4.0 / BROADCAST) / 4.0,
    "rope": ((2.0 + 4.0) / BROADCAST + 6.0 + 8.0 / BROADCAST + 6.0 + 8.0 / BROADCAST + 12.0 + 6.0) / 4.0,
    "modulated_layer_norm": (4.0 + 8.0 / BROADCAST) / 4.0,
    "modulated_rms_norm": (6.0 + 8.0 + 4.0 + 6.0 / BROADCAST + 6.0 + 4.0 / BROADCAST + 8.0 / BROADCAST) / 4.0,
    "gated_add": (4.0 / BROADCAST + 6.0) / 6.0,
    "gated_silu": 10.0 / 6.0,
    "gated_gelu": 10.0 / 6.0,
    "gated_gelu_pytorch_tanh": 10.0 / 6.0,
}
"""Function of an element-wise operator → bytes of an element of 16 bits that its operators read and write one after another, over
those of one launch, those of a slower operator counted as more. Root mean square: to 32 bits (6), squared (8), averaged (4), scaled
row by row (6), narrowed (6), weighted (4). Rotary positions: half of it negated (2), stacked (4), both made wide (6, 6) and
multiplied by tables that heads share (8, 8), added (12), narrowed (6). Modulated: a norm (4), a product and a sum with what rows
share (4, 4). Source: diffusers 0.31, models/normalization.py, RMSNorm.forward and AdaLayerNormZero.forward; models/embeddings.py,
apply_rotary_emb; as many bytes but for what is slower as a dispatch mode counts over its blocks: FLUX.1's single one moves 3271 MB
for 4608 tokens in 48 operators."""


def started(ops: Iterable[Op], fused: bool) -> tuple[Product, ...]:
    """Operators of a launch that is fused, or of each of its parts: projections that read the same input are stored apart, as in
    modeling_llama.py, so that each is one, whatever engines make of them.

    >>> from floorline.op import elementwise
    >>> started([elementwise("norm", "x[BTD] -> h[BTD]", "rms_norm", reduces="D")], fused=False)[0].coefficient
    8.0
    """
    whole = [op for op in ops if not isinstance(op, View)]
    products = [op for op in whole if isinstance(op, Contraction)]
    if fused and len(products) > 1 and not any(op.weights for op in products):
        return (Product(1.0, ""),)  # attention
    return tuple(one(op) for op in whole)


def passed(ops: Iterable[Op]) -> float:
    """Bytes that the operators of an element-wise launch move one by one, over those of the launch: of several, the mean.

    >>> from floorline.op import elementwise
    >>> round(passed([elementwise("add", "x[BTD] attn[BTD] mod[BnD] -> y[BTD]", "gated_add")]), 2)  # a product and a sum
    2.21
    """
    found = [PASSES.get(op.function, 1.0) for op in ops if isinstance(op, Elementwise)]
    return sum(found) / len(found) if found else 1.0


def one(op: Op) -> Product:
    """Operators of one operator."""
    if isinstance(op, Route):
        return Product(EXPERT, "E") if op.name == "dispatch" else Product(0.0, "")
    if not isinstance(op, Elementwise):
        return Product(1.0, "")
    return Product(GATED if op.function.startswith("gated_") else FUNCTIONS.get(op.function, 1.0), "")
