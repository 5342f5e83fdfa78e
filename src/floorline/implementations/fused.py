"""Training frameworks with fused kernels: a norm, an activation with its bias, a masked softmax, and a dropout with the addition
after it are one launch each, and keep what Korthikanti et al. count: norms their input and statistics, activations their input.

Source: Korthikanti et al. 2022, arXiv:2205.05198, section 4.1 (bytes of each operator); Megatron-LM, megatron/core/fusions
(fused_bias_gelu.py, fused_bias_swiglu.py, fused_bias_dropout.py, fused_softmax.py), whose backward passes take the input again.
"""

from __future__ import annotations

from dataclasses import replace

from floorline.implementations.eager import MERGED, saves
from floorline.implementations.flash import CUDA_KEPT, FUSED
from floorline.implementations.implementation import Implementation, Keep

KEPT = {
    **{
        name: (Keep("inputs"),) if name.startswith("gated_") else (Keep("input"),)
        for name in saves("fp32", "mask")
        if "gelu" in name or name.startswith("gated_")
    },
    "rms_norm": (Keep("input"), Keep("rstd", "row", "fp32")),
    "softmax_fp32": (Keep("output"),),
    "relu": (Keep("input"),),
}

FUSED_KERNELS = Implementation(
    "fused",
    "fused element-wise kernels and flash attention, as training frameworks have them",
    FUSED | {"drop_add"},
    {**saves("fp32", "mask"), **KEPT},
    {"attention": CUDA_KEPT},
    reruns=True,
)
FUSED_AS_NEEDED = replace(FUSED_KERNELS, name="fused-as-needed", reruns=False)
FUSED_APART = Implementation(
    "fused-apart",
    "fused element-wise kernels, attention's scores stored",
    MERGED | {"drop_add"},
    {**saves("fp32", "mask"), **KEPT},
    reruns=True,
)
FUSED_NORMS = Implementation(
    "fused-norms",
    "flash attention and fused norms; activations and their products one by one",
    FUSED,
    {**saves("fp32", "mask"), **{name: kept for name, kept in KEPT.items() if not name.startswith("gated_")}},
    {"attention": CUDA_KEPT},
    reruns=True,
)
