"""Megatron's arguments as a plan, and a plan as Megatron's arguments.

Source: NVIDIA/Megatron-LM, megatron/training/arguments.py (names, what follows from what), megatron/training/config/*.py,
megatron/core/transformer/transformer_config.py, megatron/core/model_parallel_config.py (arguments that are made from their fields);
arguments of Megatron-DeepSpeed from bigscience-workshop/bigscience, train/*/*.slurm; older ones from Megatron-LM's
examples/academic_paper_scripts/sc21.
"""

from __future__ import annotations

from collections.abc import Callable

from floorline.errors import BadInput
from floorline.plan_files.arguments import Arguments, arguments
from floorline.plan_files.megatron_model import MODEL_ARGUMENTS, model_of
from floorline.plan_files.plan_file import PlanFile, Texts, data_parallel, degree, expert_ranks, plain, whole, word
from floorline.specs.recipe import MODULES

NUMBERS = {
    "tensor-model-parallel-size": "tp",
    "pipeline-model-parallel-size": "pp",
    "context-parallel-size": "cp",
    "num-virtual-stages-per-pipeline-rank": "virtual_stages",
    "virtual-pipeline-model-parallel-size": "virtual_stages",
    "micro-batch-size": "micro_batch",
    "global-batch-size": "global_batch",
    "seq-length": "seq_len",
}
SWITCHES = {
    "sequence-parallel": ("sequence_parallel", "yes"),
    "bf16": ("dtype", "bf16"),
    "fp16": ("dtype", "fp16"),
    "grad-reduce-in-bf16": ("gradients", "bf16"),
    "accumulate-allreduce-grads-in-fp32": ("gradients", "fp32"),
    "optimizer-cpu-offload": ("offload_optimizer", "yes"),
}
ENGINES = (("deepspeed", "megatron-deepspeed"), ("activations-checkpoint-method", "megatron-lm-2021"))
"""Arguments that only one kind of Megatron has, and which that is."""
FULL = ("checkpoint-activations", "activations-checkpoint-method")
OPTIMIZERS = {
    "adam": "adamw",
    "sgd": "sgd-momentum",
    "muon": "muon",
    "dist_muon": "muon",
    "lion": "lion",
    "soap": "soap",
}
STRATEGIES = {"no_shard": "0", "optim": "1", "optim_grads": "2", "optim_grads_params": "3"}
BLOCKS = ("account-for-embedding-in-pipeline-split", "account-for-loss-in-pipeline-split")
REMARKS = {
    "decoder-first-pipeline-num-layers": "layers are dealt out evenly here",
    "decoder-last-pipeline-num-layers": "layers are dealt out evenly here",
    "pipeline-model-parallel-layout": "layers are dealt out evenly here",
    "rampup-batch-size": "the full batch is priced",
    "step-batch-size-schedule": "the full batch is priced",
    "distribute-saved-activations": "saved activations are priced on every tensor-parallel rank",
    "use-precision-aware-optimizer": "moments and master weights are priced in fp32",
    "fp8-param-gather": "weights are priced in 16 bits",
    "fp4-param-gather": "weights are priced in 16 bits",
    "overlap-moe-expert-parallel-comm": "messages of experts are priced as --engine has them",
    "outer-dp-sharding-strategy": "the outer data-parallel ranks repeat everything here",
    "mtp-num-layers": "heads that guess further tokens come with --mtp, where the model's configuration has them",
    "checkpoint-activations": "of an older Megatron, read as --recompute-granularity full",
    "activations-checkpoint-method": "of an older Megatron, read as --recompute-granularity full",
    "decrease-batch-size-if-needed": "the batch is priced as it is given",
    "fine-grained-activation-offloading": "say --offload-activations with a share",
}
"""Arguments that change time or memory and that a plan here has no word for."""
TAKEN = {
    *NUMBERS,
    *SWITCHES,
    *BLOCKS,
    *REMARKS,
    *MODEL_ARGUMENTS,
    *(
        "num-layers-per-virtual-pipeline-stage",
        "expert-model-parallel-size",
        "expert-tensor-parallel-size",
        "cp-comm-type",
    ),
    *("use-distributed-optimizer", "use-torch-fsdp2", "use-megatron-fsdp", "data-parallel-sharding-strategy"),
    *("torch-fsdp2-no-reshard-after-forward", "num-distributed-optimizer-instances"),
    *(
        "recompute-activations",
        "recompute-granularity",
        "recompute-method",
        "recompute-num-layers",
        "recompute-modules",
    ),
    *(
        "moe-layer-recompute",
        "fp8-format",
        "fp8-recipe",
        "fp4-format",
        "optimizer",
        "sgd-momentum",
        "optimizer-offload-fraction",
    ),
    *(
        "cpu-offloading-num-layers",
        "num-moe-experts",
        "zero-stage",
        "deepspeed",
        "world-size",
        "nproc-per-node",
        "nnodes",
    ),
    "zero-stage",
    "deepspeed",
    "pp-partition-method",
}


class Reading:
    """What is found on the way: texts of flags, and what could not be said."""

    def __init__(self, args: Arguments, given: Texts, layers: float | None) -> None:
        self.args, self.given, self.layers = args, given, layers
        self.flags: dict[str, str] = {}
        self.unmapped: list[str] = []

    def number(self, name: str, default: int, least: int = 1) -> int:
        """The whole number of an argument."""
        text = self.args.text(name)
        return default if text is None else whole(text, f"--{name}", least)

    def degree(self, name: str) -> int:
        """A degree of the plan, the command line's first."""
        return degree(self.given, self.flags, name)


def read(text: str, given: Texts, layers: float | None) -> PlanFile:
    """A plan from Megatron's arguments.

    >>> read("--tensor-model-parallel-size: 8\\n--use-distributed-optimizer: true\\n--bf16: true", {}, None).flags
    {'engine': 'megatron-core', 'dtype': 'bf16', 'tp': '8', 'zero_stage': '1', 'global_batch': '1'}
    """
    args = arguments(text)
    if not set(args.words) & TAKEN:
        shown = ", ".join(f"--{n}" for n in list(args.words)[:3]) or "no argument"
        raise BadInput(f"the text has {shown}, nothing of a plan; expected such as --tensor-model-parallel-size 8")
    model, assumed = model_of(args)
    if layers is None and args.has("num-layers"):
        layers = float(whole(args.text("num-layers"), "--num-layers"))
    reading = Reading(args, given, layers)
    reading.flags["engine"] = next((engine for name, engine in ENGINES if args.has(name)), "megatron-core")
    for part in PARTS:
        part(reading)
    reading.unmapped += [f"--{name}: {why}" for name, why in REMARKS.items() if args.has(name)]
    reading.unmapped += [
        f"--{name} is there with several values: the last counts" for name in args.twice if name in TAKEN
    ]
    ignored = tuple(f"--{name}" for name in args.words if name not in TAKEN)
    return PlanFile(
        form="megatron",
        flags=reading.flags,
        model=model,
        ignored=ignored,
        unmapped=tuple(reading.unmapped),
        assumed=assumed,
    )


def plain_ones(r: Reading) -> None:
    """Arguments that are one flag each."""
    for name, switch in SWITCHES.items():
        if r.args.has(name):
            r.flags[switch[0]] = switch[1]
    for name, field in NUMBERS.items():
        if r.args.has(name) and not r.given.get(field):
            r.flags[field] = str(r.number(name, 1))
    if all(r.args.has(name) for name in BLOCKS):
        r.flags["ends_as_layers"] = "yes"
    elif any(r.args.has(name) for name in BLOCKS):
        r.unmapped.append("embedding and loss count as a layer each, or neither does: one alone is left out")
    if "dtype" not in r.flags:
        r.unmapped.append(
            "neither --bf16 nor --fp16 is there: the model's own format is taken; Megatron computes in fp32"
        )
    if "embedding" in " ".join(r.args.words.get("pp-partition-method", ())):
        r.flags["ends_as_layers"] = "yes"
    if "a2a" in r.args.listed("cp-comm-type"):
        r.flags["context"] = "all-to-all"


def devices(r: Reading) -> None:
    """How many devices there are, where arguments or variables say it."""
    args = r.args
    per_node = args.words.get("nproc-per-node") or (args.variable("GPUS_PER_NODE", "NPROC_PER_NODE"),)
    nodes = args.words.get("nnodes") or (args.variable("NNODES", "NUM_NODES", "SLURM_NNODES"),)
    world = args.words.get("world-size") or (args.variable("WORLD_SIZE"),)
    found = number_or_none(world[0])
    if found is None:
        each, count = number_or_none(per_node[0]), number_or_none(nodes[0])
        found = each * count if each and count else None
    inner = r.degree("tp") * r.degree("cp") * r.degree("pp")
    if found is None or found % inner == 0:
        r.flags |= {} if found is None else {"devices": str(found)}
    elif not r.given.get("devices") and not r.given.get("dp"):
        r.unmapped.append(
            f"the text's {found} devices are no multiple of tp·cp·pp = {inner}: left out, so say --devices"
        )
        return
    if found is None and not r.given.get("devices") and not r.given.get("dp"):
        r.unmapped.append(
            "how many devices there are is not in the text: without --devices there is one data-parallel rank"
        )


def number_or_none(text: str | None) -> int | None:
    """A whole number above zero, where a text is one."""
    digits = (text or "").strip()
    return int(digits) if digits.isdecimal() and 0 < len(digits) < 10 and int(digits) else None


def stages(r: Reading) -> None:
    """Chunks of layers on each pipeline stage, from the layers of each."""
    each = r.number("num-layers-per-virtual-pipeline-stage", 0)
    if not each:
        return
    if r.layers is None:
        r.unmapped.append(
            "--num-layers-per-virtual-pipeline-stage: the model's layers are not known; say --virtual-stages"
        )
        return
    ends = sum(r.args.has(name) for name in BLOCKS)
    chunks, rest = divmod(int(r.layers) + ends, r.degree("pp") * each)
    if rest or not chunks:
        raise BadInput(
            f"--num-layers-per-virtual-pipeline-stage {each} on {r.degree('pp')} stages does not divide {int(r.layers) + ends}; "
            "expected a whole number of chunks on each stage"
        )
    r.flags["virtual_stages"] = str(chunks)


def experts(r: Reading) -> None:
    """Ranks that share the experts: Megatron's are data-parallel ones, each a group that cuts an expert by width."""
    if r.given.get("ep"):
        return
    ep, tp = r.number("expert-model-parallel-size", 1), r.degree("tp")
    cut = r.number("expert-tensor-parallel-size", tp)
    ranks, remark = expert_ranks(ep, cut, tp, r.number("num-experts", r.number("num-moe-experts", 0)) or None)
    if ep > 1:
        r.flags["ep"] = str(ranks)
        r.unmapped += [remark] if remark else []


def sharding(r: Reading) -> None:
    """What data-parallel ranks share out."""
    stage = "1" if r.args.has("use-distributed-optimizer") else "0"
    if r.args.has("zero-stage"):
        stage = word(r.args.text("zero-stage"), "--zero-stage", ("0", "1", "2", "3"))
    if r.args.has("use-torch-fsdp2"):
        stage = "2" if r.args.has("torch-fsdp2-no-reshard-after-forward") else "3"
    if r.args.has("use-megatron-fsdp"):
        name = "data-parallel-sharding-strategy"
        stage = STRATEGIES[word(r.args.text(name) or "optim_grads_params", f"--{name}", STRATEGIES)]
    if stage != "0":
        r.flags["zero_stage"] = stage
    copies, ranks = r.number("num-distributed-optimizer-instances", 1), data_parallel(r.given, r.flags)
    if copies > 1 and ranks and ranks % copies == 0:
        r.flags["shard_ranks"] = str(ranks // copies)
    elif copies > 1:
        r.unmapped.append(
            f"--num-distributed-optimizer-instances {copies}: say --shard-ranks, the data-parallel ranks of each"
        )


def recomputation(r: Reading) -> None:
    """What the backward pass computes again."""
    args, name = r.args, "recompute-granularity"
    if r.given.get("recompute"):
        return
    granularity = args.text(name) or ("selective" if args.has("recompute-activations") else None)
    if args.has("moe-layer-recompute") and granularity != "full":
        granularity = "selective"
    if granularity is None and any(args.has(n) for n in FULL):
        r.flags["recompute"] = "full"
    if granularity is None:
        return
    r.flags["recompute"] = word(granularity, f"--{name}", ("full", "selective"))
    if granularity == "selective":
        named = (*args.listed("recompute-modules"), *(("moe",) if args.has("moe-layer-recompute") else ()))
        known = tuple(dict.fromkeys(m for m in named if m in MODULES))
        r.unmapped += [f"--recompute-modules {m[:40]}: no such part is known here" for m in named if m not in MODULES]
        if known:
            r.flags["recompute_modules"] = "+".join(known)
        return
    count, method = r.number("recompute-num-layers", 1, 0), args.text("recompute-method")
    if method is not None and word(method, "--recompute-method", ("uniform", "block")) == "block":
        r.flags["recompute_layers"] = str(count * r.degree("pp") * r.degree("virtual_stages"))
    elif count > 1:
        r.unmapped.append(
            f"--recompute-num-layers {count}: the input of every layer is kept here, not of every {count}th"
        )


def formats(r: Reading) -> None:
    """What linear layers multiply."""
    if r.args.has("fp8-format"):
        r.flags["matmuls"] = "fp8-block128" if r.args.text("fp8-recipe") == "blockwise" else "fp8"
    if r.args.has("fp4-format"):
        r.flags["matmuls"] = "fp4"


def updating(r: Reading) -> None:
    """The optimizer, and what lives in the host's memory."""
    name = None if r.given.get("optimizer") else r.args.text("optimizer")
    momentum = r.args.text("sgd-momentum")
    if name is not None and name not in OPTIMIZERS:
        r.unmapped.append(f"--optimizer {name[:40]}: priced as adamw; known are {', '.join(OPTIMIZERS)}")
    elif name is not None:
        still = name == "sgd" and momentum is not None and momentum.strip("0.") == ""
        r.flags["optimizer"] = "sgd" if still else OPTIMIZERS[name]
    share = r.args.text("optimizer-offload-fraction")
    if share is not None and share.rstrip("0").rstrip(".") != "1":
        r.unmapped.append(
            f"--optimizer-offload-fraction {share[:20]}: all of the optimizer's state goes to the host here"
        )
    moved = r.number("cpu-offloading-num-layers", 0, 0)
    if moved and r.layers:
        r.flags["offload_activations"] = plain(min(moved / r.layers, 1.0))
    elif moved:
        r.unmapped.append(
            "--cpu-offloading-num-layers: the model's layers are not known; say --offload-activations with a share"
        )


def batches(r: Reading) -> None:
    """Megatron's own batch where none is given: a micro-batch on each data-parallel rank."""
    if "global_batch" not in r.flags:
        ranks = data_parallel(r.given, r.flags) or 1
        micro = whole(r.given.get("micro_batch") or r.flags.get("micro_batch") or 1, "--micro-batch-size")
        r.flags["global_batch"] = str(ranks * micro)


PARTS: tuple[Callable[[Reading], None], ...] = (
    plain_ones,
    stages,
    devices,
    experts,
    sharding,
    recomputation,
    formats,
    updating,
    batches,
)
