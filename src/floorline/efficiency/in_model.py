"""How kernels inside a model differ from the same that were measured alone, by architecture: matmuls, and attention by the
generation of its kernels."""

from __future__ import annotations

MATMUL = {"ampere": 1.10, "hopper": 1.09}
"""Time of large matmuls inside a model over that of the same alone, by architecture: the medians of 297 of A100 and 181 of H100 SXM
that Vidur's profiler took from models as they ran, in fp16 (vidur_gemm.csv.xz), against the models that were fitted to replayed
graphs of one matmul. Colder caches and lower clocks do not ask for the format."""

MATMUL_WIDE = {"blackwell": 1.38}
"""The same of 514 that Transformer Engine took on B200 in bf16 (gemm_train.csv.xz); narrower formats were not measured, and those
of 16 bits say nothing of them, since replayed ones count the making of narrow inputs."""

ATTENTION = {
    ("flash-1", "ampere"): (1.81, 2.75),
    ("triton", "ampere"): (1.44, 2.75),
    ("flash-2", "ampere"): (0.80, 2.75),
    ("flash-2", "hopper"): (1.40, 2.95),
    ("flash-2", "blackwell"): (2.50, 2.60),
    ("newest", "ampere"): (0.80, 2.75),
    ("newest", "hopper"): (0.95, 2.65),
    ("newest", "blackwell"): (0.95, 2.60),
}
"""Generation of kernels and architecture → time of attention of whole sequences over that of an inference engine's prefill
kernels, and of its backward pass over the forward one. Measured (validation/kernels/attention_train.csv.xz): FlashAttention-2 on
A100, H100 and H800, Transformer Engine on A100 and B200. The first generation takes 1.7 to 3.0 times as long as the second,
kernels in Triton 1.3 to 2.5 times (Dao 2023, arXiv:2307.08691, section 4): geometric means. On Hopper the newest is
FlashAttention-3: Shah et al. 2024, arXiv:2407.08608, figures 5 and 6, in heads of 128 and 16 000 tokens 616 TFLOP/s forward where
attention is causal, 648 forward and 561 back where it is not; cuDNN's is as fast (631 and 632 TFLOP/s over 4 608 tokens:
pytorch/pytorch, 142132). On B200 the second generation, which knows nothing of its matrix units, reaches 331 to 362 TFLOP/s over
4 096 to 16 384 tokens in heads of 128 (meta-pytorch/tritonbench, 171) and 307 to 379 in heads of 64 (Dao-AILab/flash-attention,
1589): the geometric mean of six."""

SUSTAINED = {("flash-2", "ampere"): 0.84}
"""The same of the forward pass, where attention is not causal and runs for seconds: an A100, whose clock sinks from 1410 to 1200
MHz, reaches 178 to 187 TFLOP/s in heads of 128; the median of six shapes (liangan1/GPU_travel, performance/flash-attn)."""

OTHER = (1.0, 2.75)
"""The same for devices of other architectures."""


def matmul_inside(architecture: str, form: str) -> float:
    """How much longer a matmul takes inside a model than alone.

    >>> matmul_inside("ampere", "bf16"), matmul_inside("blackwell", "fp8")
    (1.1, 1.0)
    """
    wide = MATMUL_WIDE.get(architecture, 1.0) if form in ("bf16", "fp16") else 1.0
    return MATMUL.get(architecture, wide)


def attention_of(generation: str, architecture: str) -> tuple[float, float]:
    """Time of attention by kernels of a generation over that of the measured prefill kernels, and of its backward pass over that.

    >>> attention_of("flash-2", "hopper")
    (1.4, 2.95)
    """
    return ATTENTION.get((generation, architecture), OTHER)


def attention_sustained(generation: str, architecture: str) -> float:
    """Time of attention that runs for seconds over that of the measured prefill kernels.

    >>> attention_sustained("flash-2", "ampere"), attention_sustained("flash-2", "hopper")
    (0.84, 1.4)
    """
    return SUSTAINED.get((generation, architecture), attention_of(generation, architecture)[0])
