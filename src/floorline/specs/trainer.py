"""The software that trains a model: its kernels, what it keeps, what it overlaps, what it adds. No formulas."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.num import Num
from floorline.specs.engine import LAUNCHES
from floorline.specs.fields import check, choice, spec


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """What the expected time and the memory of training assume of the software, each a documented assumption with a source.

    name     of the catalogue, or one's own
    title    for people
    note     what is assumed, in words
    sources  references

    >>> Trainer().launch
    'eager'
    """

    name: str = "any"
    title: str = "fused kernels, flash attention, messages overlapped"
    note: str = ""
    launch: str = choice("how the host starts kernels: in a captured graph, compiled, or one by one", LAUNCHES, "eager")
    launch_time: Num = spec(
        "what the host takes to start an operator, where it starts each",
        unit="s",
        default=18e-6,
        least=0.0,
        most=1.0,
        whole=False,
    )
    blocks: str = choice(
        "whether the host waits for each kernel before it starts the next (CUDA_LAUNCH_BLOCKING)", ("no", "yes"), "no"
    )
    operators: Num = spec(
        "operators that the host starts for each kernel: views, allocations and checks among them",
        default=4.6,
        most=100,
        whole=False,
    )
    fuses: str = choice(
        "element-wise work that is one launch: that of fused kernels, norms alone, that of a compiler, or none",
        ("kernels", "norms", "compiler", "nothing"),
        "kernels",
    )
    recomputes: str = choice(
        "full recomputation: a whole layer again, or as far as is needed (PyTorch's checkpoints without reentry)",
        ("whole", "as needed"),
        "whole",
    )
    attention: str = choice(
        "flash attention's kernels: the first generation, those in Triton, FlashAttention-2, the newest for the device, "
        "or none: scores "
        "are stored",
        ("flash-1", "triton", "flash-2", "newest", "apart"),
        "newest",
    )
    additions: str = choice(
        "whether residuals are added by kernels of their own, or by the norm after them", ("apart", "joined"), "apart"
    )
    bias_gradients: str = choice(
        "whether biases' gradients are summed by kernels of their own, or by the matmuls beside them",
        ("apart", "fused"),
        "fused",
    )
    loss_passes: Num = spec(
        "passes over the logits in fp32 that the loss takes, there and back, beside reading and writing them once",
        default=4,
        least=0,
        most=100,
    )
    gradients: str = choice(
        "format in which gradients are summed over micro-batches and ranks: fp32, the weights', fp32 where these are bf16, "
        "or that of what is updated, the wide copy or the weights",
        ("fp32", "weights", "fp32 for bf16", "as updated"),
        "fp32",
    )
    accumulates: str = choice(
        "how gradients of micro-batches are added up: by the matmuls that make them, by kernels of their own, or as shares",
        ("fused", "apart", "shares"),
        "apart",
    )
    between_steps: str = choice(
        "gradients from one step to the next: kept in buffers, or freed, so that the backward pass makes them anew",
        ("kept", "freed"),
        "kept",
    )
    narrow_gradients: str = choice("whether gradients in 16 bits stay beside the sums in fp32", ("no", "yes"), "no")
    moments: str = choice("format of the optimizer's moments", ("fp32", "bf16"), "fp32")
    narrow_copy: str = choice(
        "whether weights stay in 16 bits beside the wide copy, or are made of it as they are read", ("yes", "no"), "yes"
    )
    wide_copy: str = choice("whether narrow gradients are copied to fp32 for the optimizer", ("no", "yes"), "no")
    reduces: str = choice(
        "gradients over data-parallel ranks: while the last micro-batch goes back, or after it",
        ("overlapped", "after"),
        "overlapped",
    )
    gathers: str = choice(
        "weights that were updated in shares: while the next step's first micro-batch goes forward, or before it",
        ("overlapped", "before"),
        "overlapped",
    )
    tensor_messages: str = choice(
        "messages of tensor parallelism: while matmuls run, or between them", ("overlapped", "between"), "between"
    )
    expert_messages: str = choice(
        "messages of expert parallelism: while other work runs, or between it", ("overlapped", "between"), "between"
    )
    stage_messages: str = choice(
        "messages between pipeline stages: while others run, or between them", ("overlapped", "between"), "between"
    )
    sends: Num = spec(
        "messages between stages that a micro-batch waits for: two, where what comes and what goes are sent at once, or four",
        default=2,
        most=4,
    )
    optimizer: str = choice(
        "whether one kernel updates many weights, or several small ones each", ("fused", "apart"), "fused"
    )
    clips: str = choice("whether the norm of all gradients is computed before the update", ("yes", "no"), "yes")
    pads_vocabulary: Num = spec("multiple to which the vocabulary is padded on each rank", default=128, most=1e6)
    logit_copies: Num = spec(
        "copies of the logits in fp32 that are there at once beside those in 16 bits and what the loss keeps",
        default=0.0,
        least=0.0,
        most=10.0,
        whole=False,
    )
    adapts: str = choice(
        "which linear layers of a layer have adapters: all, or all but attention's output", ("all", "inputs"), "all"
    )
    adapter_dropout: str = choice("whether adapters see their input through dropout", ("no", "yes"), "no")
    ends: str = choice(
        "embedding and head, where weights are at home in shares: gathered while they are used, or for the whole of both passes",
        ("used", "whole"),
        "used",
    )
    workspace: Num = spec("of matmul libraries", unit="B", default=72e6, least=0.0, most=1e12, whole=False)
    framework: Num = spec(
        "the driver's context and buffers for messages", unit="B", default=1.5e9, least=0.0, most=1e12, whole=False
    )
    fragmentation: Num = spec(
        "share of what is allocated that the allocator holds besides", default=0.1, least=0.0, most=1.0, whole=False
    )
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self)
