"""A plan as Megatron's arguments: lines of a shell script, as the examples in its repository have them."""

from __future__ import annotations

from collections.abc import Mapping

from floorline.plan_files.plan_file import Texts, Written, as_flag

NAMES = {
    "tp": "tensor-model-parallel-size",
    "pp": "pipeline-model-parallel-size",
    "cp": "context-parallel-size",
    "virtual_stages": "num-virtual-stages-per-pipeline-rank",
    "micro_batch": "micro-batch-size",
    "global_batch": "global-batch-size",
    "seq_len": "seq-length",
}
"""Fields that are one argument with the same number."""
ZERO = {
    "1": ("--use-distributed-optimizer",),
    "2": ("--use-megatron-fsdp", "--data-parallel-sharding-strategy optim_grads"),
    "3": ("--use-megatron-fsdp", "--data-parallel-sharding-strategy optim_grads_params"),
}
UNKNOWN = ("mlp_act", "non-matmul", "all-but-qkv", "every-2nd-matmul")
"""Parts of a layer that Megatron cannot compute again on their own."""
WORDS: Mapping[tuple[str, str], tuple[str, ...]] = {
    **{("zero_stage", stage): lines for stage, lines in ZERO.items()},
    ("sequence_parallel", "yes"): ("--sequence-parallel",),
    ("context", "all-to-all"): ("--cp-comm-type a2a",),
    ("ends_as_layers", "yes"): ("--account-for-embedding-in-pipeline-split", "--account-for-loss-in-pipeline-split"),
    ("offload_optimizer", "yes"): ("--optimizer-cpu-offload",),
    ("dtype", "bf16"): ("--bf16",),
    ("dtype", "fp16"): ("--fp16",),
    ("gradients", "bf16"): ("--grad-reduce-in-bf16",),
    ("gradients", "fp32"): ("--accumulate-allreduce-grads-in-fp32",),
    ("matmuls", "fp8"): ("--fp8-format hybrid",),
    ("matmuls", "fp8-block128"): ("--fp8-format hybrid", "--fp8-recipe blockwise"),
    ("matmuls", "fp4"): ("--fp4-format e2m1",),
    ("optimizer", "sgd"): ("--optimizer sgd", "--sgd-momentum 0.0"),
    ("optimizer", "sgd-momentum"): ("--optimizer sgd",),
    **{("optimizer", name): (f"--optimizer {name}",) for name in ("muon", "lion", "soap")},
}
"""A field with a value → its arguments."""


def write(flags: Texts, layers: float | None) -> Written:
    """A plan as Megatron's arguments; what they cannot say stands in comments.

    >>> print(write({"tp": "8", "pp": "2", "dtype": "bf16", "schedule": "gpipe"}, None).text)
    WORLD_SIZE=16
    # not said: --pipeline-schedule gpipe
    MEGATRON_ARGS=(
        --tensor-model-parallel-size 8
        --pipeline-model-parallel-size 2
        --bf16
    )
    """
    lines: list[str] = []
    unsaid: dict[str, str] = {}
    for name, value in flags.items():
        found = said(name, value, flags, layers)
        if found is None:
            unsaid[name] = value
        else:
            lines += found
    world = 1
    for name in ("tp", "cp", "pp", "dp"):
        world *= int(flags.get(name, "1"))
    comments = [f"# not said: {as_flag(name, value)}" for name, value in unsaid.items()]
    body = ["MEGATRON_ARGS=(", *(f"    {line}" for line in lines), ")"]
    return Written(form="megatron", text="\n".join([f"WORLD_SIZE={world}", *comments, *body]), unsaid=unsaid)


def said(name: str, value: str, flags: Texts, layers: float | None) -> list[str] | None:
    """The arguments that say a field, None where there are none; those that another field says are no line of their own."""
    if name in NAMES:
        return [f"--{NAMES[name]} {value}"]
    if (name, value) in WORDS:
        return list(WORDS[name, value])
    maker = MAKERS.get(name)
    return maker(value, flags, layers) if maker else None


def experts(value: str, flags: Texts, layers: float | None) -> list[str]:
    """Experts on tensor-parallel ranks first: what is left of them cuts each by width."""
    ep, tp = int(value), int(flags.get("tp", "1"))
    return [f"--expert-model-parallel-size {ep}", f"--expert-tensor-parallel-size {max(tp // ep, 1)}"]


def sharing(value: str, flags: Texts, layers: float | None) -> list[str] | None:
    """Groups of data-parallel ranks that share, by how many groups there are."""
    dp, ranks = int(flags.get("dp", "1")), int(value)
    even = dp % ranks == 0 and dp > ranks and flags.get("zero_stage", "0") != "0"
    return [f"--num-distributed-optimizer-instances {dp // ranks}"] if even else None


def recomputed(value: str, flags: Texts, layers: float | None) -> list[str] | None:
    """What is computed again; how many layers is said with it."""
    if value != "full":
        named = [m for m in flags.get("recompute_modules", "core_attn").split("+") if m not in UNKNOWN]
        words = [f"--recompute-modules {' '.join(named)}"] if "recompute_modules" in flags else []
        return ["--recompute-granularity selective", *words] if named else None
    each = block(flags)
    if each is None:
        return ["--recompute-granularity full", "--recompute-method uniform", "--recompute-num-layers 1"]
    return ["--recompute-granularity full", "--recompute-method block", f"--recompute-num-layers {each}"]


def block(flags: Texts) -> int | None:
    """Recomputed layers of each chunk of layers, where the plan's number of them comes out even."""
    total = flags.get("recompute_layers", "")
    chunks = int(flags.get("pp", "1")) * int(flags.get("virtual_stages", "1"))
    return int(total) // chunks if total.isdecimal() and int(total) % chunks == 0 else None


def recomputed_layers(value: str, flags: Texts, layers: float | None) -> list[str] | None:
    """Said by ``recomputed`` where it can be."""
    return [] if flags.get("recompute") == "full" and block(flags) is not None else None


def modules(value: str, flags: Texts, layers: float | None) -> list[str] | None:
    """Said by ``recomputed``, all but the parts that Megatron lacks."""
    return [] if flags.get("recompute") == "selective" and not set(value.split("+")) & set(UNKNOWN) else None


def moved(value: str, flags: Texts, layers: float | None) -> list[str] | None:
    """The share of activations in the host's memory as a number of layers."""
    count = float(value) * layers if layers else 0.5
    return [f"--cpu-offloading-num-layers {round(count)}"] if abs(count - round(count)) < 1e-9 and layers else None


MAKERS = {
    "ep": experts,
    "dp": lambda value, flags, layers: [],
    "shard_ranks": sharing,
    "recompute": recomputed,
    "recompute_layers": recomputed_layers,
    "recompute_modules": modules,
    "offload_activations": moved,
}
