"""Flash attention: scores, softmax and values are one launch; the scores are computed again in the backward pass.

Kept are the kernel's inputs, its output, the logarithm of each row's sum in fp32, and 24 bytes of random-number state
(aten's ``_scaled_dot_product_flash_attention``). Source of the algorithm: Dao et al. 2022, arXiv:2205.14135, algorithm 4.
"""

from __future__ import annotations

from floorline.implementations.eager import MERGED, saves
from floorline.implementations.implementation import Implementation, Keep

FUSED = MERGED | {"attention", "scan"}
KEPT = (Keep("output"), Keep("logsumexp", "row", "fp32"))
CUDA_KEPT = (*KEPT, Keep("rng", "none", "rng_state"))

FLASH = Implementation(
    "flash",
    "flash attention, everything else as unfused",
    FUSED,
    saves("fp32", "mask"),
    {"attention": CUDA_KEPT},
)
COMPULSORY = Implementation(
    "compulsory",
    "one launch for everything: each weight and cached byte once, activations stay on chip; a lower bound",
    FUSED,
    saves("fp32", "mask"),
    {"attention": CUDA_KEPT},
    one_launch=True,
)
