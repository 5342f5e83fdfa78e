"""Which parts of a layer the backward pass computes again, by the names that training frameworks give them.

A part that is recomputed keeps its inputs; some discard their outputs too, since what comes after keeps these anyway and can have
them made again ("output-discarding" checkpoints).
Source: Megatron-LM, megatron/training/arguments.py and megatron/core/transformer/transformer_config.py, --recompute-modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from floorline.block import Block
from floorline.errors import BadInput, near
from floorline.implementations.implementation import Implementation
from floorline.op import Contraction, Elementwise, Op
from floorline.tensor import Tensor

NORMS = ("layer_norm", "rms_norm")
ACTIVATIONS = ("act", "expert_act", "shared_act")


def norms(op: Op) -> bool:
    """Norms of the residual stream."""
    return isinstance(op, Elementwise) and op.function in NORMS and "D" in op.reduces


def of_experts(op: Op) -> bool:
    """The expert layer, its router and shared experts."""
    return "E" in op.letters or op.name.startswith("shared_")


PARTS: dict[str, Callable[[Op], bool]] = {
    "core_attn": lambda op: op.kernel == "attention",
    "mlp": lambda op: op.name in ("gate", "up", "act", "down"),
    "mlp_act": lambda op: op.name == "act",
    "layernorm": norms,
    "mla_up_proj": lambda op: op.kernel in ("q_up", "kv_up", "rope"),
    "moe": of_experts,
    "moe_act": lambda op: op.name == "expert_act",
    "shared_experts": lambda op: op.name.startswith("shared_"),
    "non-matmul": lambda op: norms(op) or op.name in ACTIVATIONS,
    "all-but-qkv": lambda op: op.kernel not in ("qkv", "rope"),
}
"""Name → the operators of the part. "non-matmul" leaves sums of the residual stream, which stand for results of matmuls."""


def second_matmuls(block: Block) -> list[Op]:
    """Every second matmul with a weight, what follows from it up to the next matmul, norms and activations.

    Source: torchtitan, models/llama3/infra/parallelize.py, selective recomputation by operators: results of matmuls with an odd
    count are saved.
    """
    matmuls = [op for op in block.ops if isinstance(op, Contraction) and op.weights]
    again = matmuls[1::2]
    lost: set[str] = set()
    found: list[Op] = []
    for op in block.ops:
        light = op not in matmuls and op.kernel != "attention"
        follows = op in again or (light and not norms(op) and any(t.name in lost for t in op.inputs))
        if follows:
            lost |= {t.name for t in op.outputs}
        if follows or (light and PARTS["non-matmul"](op)):
            found.append(op)
    return found


BY_BLOCK: dict[str, Callable[[Block], list[Op]]] = {"every-2nd-matmul": second_matmuls}
"""Parts that are told by the order of a block's operators."""

DISCARDING = ("mlp_act", "layernorm", "mla_up_proj", "moe_act", "non-matmul", "all-but-qkv", "every-2nd-matmul")
"""Those whose outputs are made again as well."""


NAMES = (*PARTS, *BY_BLOCK)
"""All parts."""


def members(name: str, block: Block) -> list[Op]:
    """The operators of a part of a block."""
    return BY_BLOCK[name](block) if name in BY_BLOCK else [op for op in block.ops if PARTS[name](op)]


def parts(policy: str) -> tuple[str, ...]:
    """The parts that a policy names: "selective" is the attention core, others join names by +.

    raises BadInput for a name that nothing has

    >>> parts("selective"), parts("mlp_act+layernorm")
    (('core_attn',), ('mlp_act', 'layernorm'))
    """
    named = ("core_attn",) if policy == "selective" else tuple(policy.split("+"))
    for name in named:
        if name not in NAMES:
            raise BadInput(f"recompute module {name[:40]!r}: {near(name, NAMES)}; there are: {', '.join(NAMES)}")
    return named


def discarded(
    block: Block, implementation: Implementation, policy: str, kept: Iterable[Tensor], maker: dict[str, Op]
) -> frozenset[str]:
    """Names of kept tensors that a policy gives up, beside "none" and "full"."""
    found: set[str] = set()
    for name in parts(policy):
        inside = members(name, block)
        made = {t.name for op in inside for t in op.outputs}
        used = {t.name for op in block.ops if op not in inside for t in op.inputs} | set(block.outputs)
        stays = set() if name in DISCARDING else made & used
        if name == "core_attn":  # a kernel that computes its inside again keeps little besides its inputs
            stays |= {
                t.name for k in implementation.kernels.get("attention", ()) for op in inside for t in k.tensors(op)
            }
        found |= {t.name for t in kept if maker.get(t.name) in inside and t.name not in stays}
    return frozenset(found)
