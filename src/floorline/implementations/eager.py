"""Hugging Face transformers, eager: every operator its own launch, but a stored-together projection is one matmul.

What is kept was read off what autograd saves (``validation/oracle/activations.csv``): layer norm its input and two fp32
statistics; RMS norm an fp32 copy of its input, an fp32 statistic and the normalised rows; GELU in its tanh form composed
of single operations three intermediates and its input; a gate the activated gate besides both inputs.
"""

from __future__ import annotations

from collections.abc import Mapping

from floorline.implementations.implementation import Implementation, Keep

MERGED = frozenset({"qkv", "gate_up", "rope", "in_proj", "x_proj", "conv"})


def saves(statistics: str, mask: str) -> Mapping[str, tuple[Keep, ...]]:
    """The table, given the format of layer norm's statistics and that of dropout masks ("" for the activations')."""
    return {
        "layer_norm": (Keep("input"), Keep("mean", "row", statistics), Keep("rstd", "row", statistics)),
        "rms_norm": (Keep("input", format="fp32"), Keep("rstd", "row", "fp32"), Keep("normalised", scale=True)),
        "softmax": (Keep("output"),),
        "softmax_fp32": (Keep("output", format="fp32"),),
        "dropout": (Keep("mask", format=mask),),
        "gelu_new": (Keep("input"), Keep("half"), Keep("tanh"), Keep("one_plus_tanh")),
        "gelu_pytorch_tanh": (Keep("input"),),
        "gelu": (Keep("input"),),
        "relu": (Keep("output"),),
        "silu": (Keep("input"),),
        **{
            f"gated_{name}": (Keep("inputs"), Keep("activated"))
            for name in (
                "silu",
                "gelu",
                "gelu_new",
                "gelu_pytorch_tanh",
                "quick_gelu",
                "relu",
                "relu2",
                "sigmoid",
                "swiglu",
            )
        },
        "rope": (),
        "weigh": (Keep("inputs"),),
        "pass": (),
        "cross_entropy": (Keep("log_probabilities", "input", "fp32"),),
    }


EAGER = Implementation(
    "unfused",
    "transformers with eager attention on CUDA: dropout masks are one byte",
    MERGED,
    saves("fp32", "mask"),
    expands="G",
)
EAGER_META = Implementation(
    "unfused-meta",
    "transformers eager on PyTorch's meta device: dropout masks have the activations' format",
    MERGED,
    saves("fp32", ""),
    expands="G",
)
