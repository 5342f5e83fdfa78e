"""torchtitan's TOML as a plan, and a plan as torchtitan's TOML.

Source: pytorch/torchtitan up to February 2026, when its configurations became Python: torchtitan/config/job_config.py (keys and
what each is by default), train_configs/*.toml; older places of the same keys from the files of 2025. What follows from the keys:
torchtitan/distributed/pipeline_parallel.py (virtual stages), activation_checkpoint.py, parallel_dims.py,
models/llama3/infra/parallelize.py (resharding), components/optimizer.py.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from floorline.errors import BadInput
from floorline.plan_files.plan_file import PlanFile, Texts, data_parallel, degree, expert_ranks, whole, word

Keys = tuple[str, ...]
TP: Keys = ("parallelism.tensor_parallel_degree", "training.tensor_parallel_degree")
PP: Keys = ("parallelism.pipeline_parallel_degree", "experimental.pipeline_parallel_degree")
CP: Keys = ("parallelism.context_parallel_degree", "experimental.context_parallel_degree")
EP: Keys = ("parallelism.expert_parallel_degree",)
ETP: Keys = ("parallelism.expert_tensor_parallel_degree",)
SHARD: Keys = ("parallelism.data_parallel_shard_degree", "training.data_parallel_shard_degree")
REPLICATE: Keys = ("parallelism.data_parallel_replicate_degree", "training.data_parallel_replicate_degree")
SCHEDULE: Keys = ("parallelism.pipeline_parallel_schedule", "experimental.pipeline_parallel_schedule")
LAYERS: Keys = ("parallelism.pipeline_parallel_layers_per_stage",)
PARTS: Keys = ("parallelism.module_fqns_per_model_part",)
ENDS: tuple[Keys, Keys] = (
    ("parallelism.pipeline_parallel_first_stage_less_layers",),
    ("parallelism.pipeline_parallel_last_stage_less_layers",),
)
MICRO: Keys = ("parallelism.pipeline_parallel_microbatch_size",)
RESHARD: Keys = ("parallelism.fsdp_reshard_after_forward",)
ROTATE: Keys = ("parallelism.context_parallel_rotate_method",)
LOCAL: Keys = ("training.local_batch_size", "training.batch_size")
GLOBAL: Keys = ("training.global_batch_size",)
SEQ: Keys = ("training.seq_len",)
OFFLOAD: Keys = ("training.enable_cpu_offload",)
DTYPE: Keys = ("training.dtype",)
PARAM: Keys = ("training.mixed_precision_param",)
REDUCE: Keys = ("training.mixed_precision_reduce",)
MODE: Keys = ("activation_checkpoint.mode",)
OPTION: Keys = ("activation_checkpoint.selective_ac_option",)
CONVERTERS: Keys = ("model.converters",)
ASSETS: Keys = ("model.hf_assets_path",)
OPTIMIZER: Keys = ("optimizer.name",)
COMPILE: Keys = ("compile.enable", "training.compile")
SCHEDULES = {
    "1F1B": ("1f1b", 1, ""),
    "GPipe": ("gpipe", 1, ""),
    "Interleaved1F1B": ("1f1b", 2, ""),
    "InterleavedZeroBubble": ("zero-bubble-1p", 2, ""),
    "ZBVZeroBubble": ("zero-bubble-1p", 2, "priced as zero-bubble-1p with two chunks, which waits a little more"),
    "DualPipeV": ("dualpipe", 1, "priced as dualpipe, which holds the weights twice"),
}
"""A schedule → ours, chunks of each stage where nothing says how many, and what differs."""
PER_OP = "every-2nd-matmul"
"""What selective recomputation by operators computes again: every second matmul, norms and activations."""
SECTIONS = ("training", "parallelism", "activation_checkpoint", "experimental", "optimizer", "model")


class Document:
    """The keys of a file: which were read, which are left."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self.values = dict(flat(tables))
        self.seen: set[str] = set()

    def get(self, keys: Keys) -> object:
        """The value under the first of several places that has one."""
        self.seen |= set(keys)
        return next((self.values[k] for k in keys if k in self.values), None)

    def name(self, keys: Keys) -> str:
        """What an error calls it: where the file has it."""
        return next((k for k in keys if k in self.values), keys[0])

    def number(self, keys: Keys, default: int, least: int = 1) -> int:
        """A whole number."""
        value = self.get(keys)
        return default if value is None else whole(value, self.name(keys), least)

    def text(self, keys: Keys, default: str, options: Mapping[str, object] | tuple[str, ...]) -> str:
        """One of a few words."""
        value = self.get(keys)
        return default if value is None else word(value, self.name(keys), options)

    def flag(self, keys: Keys) -> bool:
        """Yes or no."""
        value = self.get(keys)
        if value not in (None, True, False):
            raise BadInput(f"{self.name(keys)} is {str(value)[:40]!r}; expected true or false")
        return bool(value)


def flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    """Keys with dots."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


class Reading:
    """What is found on the way."""

    def __init__(self, doc: Document, given: Texts, layers: float | None) -> None:
        self.doc, self.given, self.layers = doc, given, layers
        self.flags: dict[str, str] = {"engine": "torchtitan"}
        self.unmapped: list[str] = []

    def degree(self, name: str) -> int:
        """A degree of the plan, the command line's first."""
        return degree(self.given, self.flags, name)


def read(text: str, given: Texts, layers: float | None) -> PlanFile:
    """A plan from torchtitan's TOML.

    raises BadInput for what is no TOML, has none of torchtitan's sections, or a value that makes no sense

    >>> found = read('[training]\\nseq_len = 8192\\n[parallelism]\\ntensor_parallel_degree = 8', {"devices": "64"}, None)
    >>> found.flags["tp"], found.flags["zero_stage"], found.flags["global_batch"]
    ('8', '3', '64')
    """
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the text is no TOML: {str(error)[:80]}; expected a torchtitan configuration") from None
    if not any(isinstance(tables.get(section), dict) for section in SECTIONS):
        raise BadInput(f"the TOML has none of torchtitan's sections; expected such as [{'], ['.join(SECTIONS[:3])}]")
    doc = Document(tables)
    reading = Reading(doc, given, layers)
    for step in STEPS:
        step(reading)
    assets = doc.get(ASSETS)
    model = str(assets).rstrip("/").rpartition("/")[2] if isinstance(assets, str) else None
    return PlanFile(
        form="torchtitan",
        flags=reading.flags,
        model=model or None,
        ignored=tuple(key for key in doc.values if key not in doc.seen),
        unmapped=tuple(reading.unmapped),
    )


def degrees(r: Reading) -> None:
    """How the work is split; norms and residuals are split by tokens wherever there is tensor parallelism."""
    for field, keys in (("tp", TP), ("pp", PP), ("cp", CP), ("ep", EP)):
        if r.doc.get(keys) is not None:
            r.flags[field] = str(r.doc.number(keys, 1))
    if r.degree("tp") > 1:
        r.flags["sequence_parallel"] = "yes"
    cut, tp, ep = r.doc.number(ETP, 1), r.degree("tp"), r.degree("ep")
    _, remark = expert_ranks(ep, cut, tp, None)
    r.unmapped += [remark] if remark else []
    if r.doc.text(ROTATE, "allgather", ("allgather", "alltoall")) == "alltoall":
        r.unmapped.append(f"{ROTATE[0]} alltoall: keys and values are priced as gathered")


def sharding(r: Reading) -> None:
    """Fully sharded data parallelism over some ranks, repeated on the others."""
    shard, copies = r.doc.number(SHARD, -1, -1), r.doc.number(REPLICATE, 1)
    kept = {"always": "3", "never": "2", "default": "3" if r.degree("pp") == 1 else "2"}
    stage = kept[r.doc.text(RESHARD, "default", kept)]
    if shard > 0:
        r.flags["dp"] = str(shard * copies)
    ranks = data_parallel(r.given, r.flags)
    if ranks is None:
        r.unmapped.append(
            "how many devices there are is not in the file: without --devices there is one data-parallel rank"
        )
    if shard in (0, 1):
        return
    r.flags["zero_stage"] = stage
    if copies > 1 and ranks and ranks % copies == 0 and ranks > copies:
        r.flags["shard_ranks"] = str(ranks // copies)
    elif copies > 1:
        r.unmapped.append(
            f"{REPLICATE[0]} {copies}: weights are shared over all data-parallel ranks; say --shard-ranks"
        )


def pipeline(r: Reading) -> None:
    """The schedule, and chunks of layers on each stage."""
    name = r.doc.get(SCHEDULE)
    pp = r.degree("pp")
    ends = sum(r.doc.number(keys, 1, 0) for keys in ENDS)
    each, parts = r.doc.number(LAYERS, 0), r.doc.get(PARTS)
    if pp == 1:
        return
    schedule, chunks, remark = SCHEDULES[word(name or "1F1B", r.doc.name(SCHEDULE), SCHEDULES)]
    if isinstance(parts, list) and parts:
        chunks = max(len(parts) // pp, 1)
    elif each and r.layers is None:
        r.unmapped.append(f"{LAYERS[0]}: the model's layers are not known; say --virtual-stages")
    elif each and r.layers is not None:
        chunks = max(int(-(-(r.layers + ends) // each)) // pp, 1)
    if remark:
        r.unmapped.append(f"{r.doc.name(SCHEDULE)} {name}: {remark}")
    if ends == 2:
        r.flags["ends_as_layers"] = "yes"
    elif ends:
        r.unmapped.append(f"{ENDS[0][0]} and last_stage: the ends count as a layer each here, or not at all")
    r.flags |= {"schedule": schedule, "virtual_stages": str(chunks)}


def batches(r: Reading) -> None:
    """Sequences: the local batch goes through a pipeline in micro-batches, and at once where there is none."""
    local = r.doc.number(LOCAL, 8)
    micro = r.doc.number(MICRO, 1) if r.degree("pp") > 1 else local
    ranks = data_parallel(r.given, r.flags) or 1
    asked = r.doc.number(GLOBAL, -1, -1)
    batch = asked if asked > 0 else local * ranks
    r.flags |= {"micro_batch": str(micro), "global_batch": str(batch), "seq_len": str(r.doc.number(SEQ, 2048))}


def recomputation(r: Reading) -> None:
    """What the backward pass computes again: whole layers, every n-th of them, or by operators."""
    mode = r.doc.text(MODE, "selective", ("selective", "full", "memory_budget", "none"))
    option = str(r.doc.get(OPTION) if r.doc.get(OPTION) is not None else "2")
    if mode == "memory_budget":
        r.unmapped.append(
            f"{MODE[0]} memory_budget: what a compiler chooses is not known; nothing is computed again here"
        )
    if mode == "full":
        r.flags["recompute"] = "full"
    if mode != "selective":
        return
    if option == "op":
        r.flags |= {"recompute": "selective", "recompute_modules": PER_OP}
        return
    every = whole(option, OPTION[0], 0)
    if every > 1 and r.layers is None:
        r.unmapped.append(
            f"{OPTION[0]} {every}: the model's layers are not known; say --recompute full --recompute-layers"
        )
        return
    r.flags["recompute"] = "full"
    if every > 1 and r.layers is not None:
        r.flags["recompute_layers"] = str(int(r.layers // every))


def formats(r: Reading) -> None:
    """Formats, and linear layers in 8 bits where a converter swaps them."""
    wide = {"bfloat16": "bf16", "float32": "fp32"}
    stored = wide[r.doc.text(DTYPE, "float32", wide)]
    r.flags["dtype"] = "bf16" if stored == "bf16" else wide[r.doc.text(PARAM, "bfloat16", wide)]
    r.flags["gradients"] = wide[r.doc.text(REDUCE, "float32", ("float32",))]
    if stored == "bf16":
        r.flags |= {"master_weights": "no", "gradients": "bf16"}
        r.unmapped.append(f"{DTYPE[0]} bfloat16: moments are priced in fp32")
    found = r.doc.get(CONVERTERS) or ()
    named = found.split(",") if isinstance(found, str) else found
    narrow = (
        [str(c) for c in named if "linear" in str(c) or str(c) in ("float8", "mx")]
        if isinstance(named, (list, tuple))
        else []
    )
    if narrow:
        r.flags["matmuls"] = "fp8"
    r.doc.seen |= {key for key in r.doc.values if narrow and key.startswith(("quantize.", "float8.", "mx."))}


def updating(r: Reading) -> None:
    """The optimizer, what lives in the host's memory, and whether a compiler fuses what the engine is priced with."""
    name = r.doc.get(OPTIMIZER)
    if name is not None and name not in ("Adam", "AdamW"):
        r.unmapped.append(f"{OPTIMIZER[0]} {str(name)[:40]}: priced as adamw; torchtitan has Adam and AdamW")
    elif name is not None:
        r.flags["optimizer"] = "adamw"
    if r.doc.flag(OFFLOAD):
        r.flags |= {"offload_optimizer": "yes", "offload_parameters": "yes"}
    if not r.doc.flag(COMPILE):
        r.unmapped.append(f"{COMPILE[0]} is not true: --engine torchtitan is priced compiled all the same")


STEPS: tuple[Callable[[Reading], None], ...] = (degrees, sharding, pipeline, batches, recomputation, formats, updating)
