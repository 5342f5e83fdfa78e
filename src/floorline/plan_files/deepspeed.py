"""DeepSpeed's JSON as a plan, and a plan as DeepSpeed's JSON.

Source: deepspeedai/DeepSpeed, deepspeed/runtime/config.py (batches, optimizers, sequence_parallel_size), runtime/constants.py,
runtime/zero/config.py, runtime/zero/offload_config.py, runtime/precision_config.py, runtime/tensor_parallel/config.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from floorline.errors import BadInput
from floorline.plan_files.plan_file import PlanFile, Texts, Written, data_parallel, degree, whole, word

BATCHES = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
ZERO = "zero_optimization"
KNOWN = (
    *BATCHES,
    ZERO,
    "bf16",
    "bfloat16",
    "fp16",
    "optimizer",
    "tensor_parallel",
    "sequence_parallel_size",
    "activation_checkpointing",
)
OPTIMIZERS = {"adam": "adamw", "adamw": "adamw", "lion": "lion", "muon": "muon", "sgd": "sgd"}
SUMS = ("fp32", "fp16", "bf16")
NAMES = {"adamw": "AdamW", "lion": "Lion", "muon": "Muon", "sgd": "SGD", "sgd-momentum": "SGD"}
REMARKS = {
    f"{ZERO}.zero_quantized_weights": "weights are gathered in 16 bits here",
    f"{ZERO}.zero_quantized_gradients": "gradients are sent as they are summed here",
    f"{ZERO}.zero_quantized_nontrainable_weights": "frozen weights are priced in 16 bits",
    f"{ZERO}.offload_optimizer.super_offload": "priced as any other optimizer in the host's memory",
    "bf16.bf16_optimizer_states": "moments are priced in fp32",
    "sparse_attention": "attention is priced in full",
    "compression_training": "not priced",
    "progressive_layer_drop": "every layer is priced",
}
"""Keys that change time or memory and that a plan here has no word for."""


class Document:
    """The keys of a file with dots: which were read, which are left; "auto" is a value that another program fills in."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.values = {key: value for key, value in flat(table) if value is not None}
        self.seen: set[str] = set()

    def get(self, key: str) -> object:
        """The value of a key, None where it is not there or "auto"."""
        self.seen.add(key)
        found = self.values.get(key)
        return None if found == "auto" else found

    def number(self, key: str, least: int = 1) -> int | None:
        """A whole number, where there is one."""
        value = self.get(key)
        return None if value is None else whole(value, key, least)

    def flag(self, key: str) -> bool:
        """Yes or no."""
        value = self.get(key)
        if value not in (None, True, False):
            raise BadInput(f"{key} is {str(value)[:40]!r}; expected true or false")
        return bool(value)


class Reading:
    """What is found on the way."""

    def __init__(self, doc: Document, given: Texts) -> None:
        self.doc, self.given = doc, given
        self.flags: dict[str, str] = {}
        self.unmapped: list[str] = []


def flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    """Keys with dots."""
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def read(text: str, given: Texts, layers: float | None) -> PlanFile:
    """A plan from DeepSpeed's JSON.

    raises BadInput for what is no JSON, has none of DeepSpeed's keys, or a value that makes no sense

    >>> read('{"train_micro_batch_size_per_gpu": 2, "zero_optimization": {"stage": 3}}', {"devices": "8"}, None).flags
    {'zero_stage': '3', 'dtype': 'fp32', 'micro_batch': '2', 'global_batch': '16'}
    """
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the text is no JSON: {str(error)[:80]}; expected a DeepSpeed configuration") from None
    if not isinstance(table, dict) or not set(table) & set(KNOWN):
        shown = ", ".join(map(str, list(table)[:3])) if isinstance(table, dict) else ""
        raise BadInput(
            f"the JSON has {shown[:60] or 'no keys'}, none of DeepSpeed's; expected such as {', '.join(KNOWN[:4])}"
        )
    try:
        reading = Reading(Document(table), given)
    except RecursionError:
        raise BadInput("the JSON is nested too deeply; expected a DeepSpeed configuration") from None
    for step in STEPS:
        step(reading)
    doc, filled = reading.doc, [key for key, value in reading.doc.values.items() if value == "auto"]
    remarks = [f"{key}: {why}" for key, why in REMARKS.items() if doc.values.get(key)]
    auto = [f'{key} is "auto": what another program puts there is not known' for key in filled if key in doc.seen]
    unused = (key for key in doc.values if key not in doc.seen and key not in REMARKS)
    return PlanFile(
        form="deepspeed", flags=reading.flags, ignored=tuple(unused), unmapped=(*reading.unmapped, *remarks, *auto)
    )


def splits(r: Reading) -> None:
    """Tensor parallelism, and sequences over ranks that exchange heads."""
    size = r.doc.number("tensor_parallel.autotp_size", 0) or r.doc.number("tensor_parallel.tp_size", 0)
    if size and size > 1:
        r.flags["tp"] = str(size)
    length = r.doc.number("sequence_parallel_size") or 1
    if length > 1:
        r.flags |= {"cp": str(length), "context": "all-to-all"}


def sharding(r: Reading) -> None:
    """What data-parallel ranks share out, and over how many of them."""
    stage = r.doc.number(f"{ZERO}.stage", 0)
    if stage is not None:
        r.flags["zero_stage"] = word(str(stage), f"{ZERO}.stage", ("0", "1", "2", "3"))
    ranks = r.doc.number(f"{ZERO}.mics_shard_size", -1)
    if ranks and ranks > 0:
        r.flags["shard_ranks"] = str(ranks)
    hpz = r.doc.number(f"{ZERO}.zero_hpz_partition_size", 0)
    if hpz and hpz > 1:
        r.unmapped.append(
            f"{ZERO}.zero_hpz_partition_size {hpz}: a second copy of the weights on {hpz} ranks is not priced"
        )


def offloading(r: Reading) -> None:
    """What lives in the host's memory."""
    for field, key, old in (
        ("offload_optimizer", f"{ZERO}.offload_optimizer", f"{ZERO}.cpu_offload"),
        ("offload_parameters", f"{ZERO}.offload_param", f"{ZERO}.cpu_offload_param"),
    ):
        device = r.doc.get(f"{key}.device")
        device = word(device, f"{key}.device", ("none", "cpu", "nvme")) if device is not None else "none"
        if device == "nvme":
            r.unmapped.append(f"{key}.device nvme: priced as the host's memory")
        if device != "none" or r.doc.flag(old):
            r.flags[field] = "yes"
    share = r.doc.get(f"{ZERO}.offload_optimizer.ratio")
    if share is not None and share != 1:
        r.unmapped.append(
            f"{ZERO}.offload_optimizer.ratio {str(share)[:20]}: all of the optimizer's state goes to the host here"
        )


def formats(r: Reading) -> None:
    """Formats of weights and activations, and whether fp32 weights are kept."""
    unknown = False  # "auto"
    for name, key in (("bf16", "bf16"), ("bf16", "bfloat16"), ("fp16", "fp16")):
        unknown = unknown or (r.doc.get(f"{key}.enabled") is None and f"{key}.enabled" in r.doc.values)
        if r.doc.flag(f"{key}.enabled"):
            r.flags["dtype"] = name
        if r.doc.flag(f"{key}.{name}_master_weights_and_grads"):
            r.flags["master_weights"] = "no"
    if not unknown:
        r.flags.setdefault("dtype", "fp32")
    summed = r.doc.get("data_types.grad_accum_dtype")
    if summed is not None:
        r.flags["gradients"] = word(summed, "data_types.grad_accum_dtype", SUMS)


def updating(r: Reading) -> None:
    """The optimizer."""
    name = r.doc.get("optimizer.type")
    if name is None:
        return
    known = OPTIMIZERS.get(str(name).lower())
    if known is None:
        r.unmapped.append(f"optimizer.type {str(name)[:40]}: priced as adamw; known are {', '.join(OPTIMIZERS)}")
        return
    r.flags["optimizer"] = "sgd-momentum" if known == "sgd" and r.doc.get("optimizer.params.momentum") else known


def checkpointing(r: Reading) -> None:
    """How activations are checkpointed is in the file; whether they are is in the model's code."""
    if any(key.startswith("activation_checkpointing") for key in r.doc.values):
        r.unmapped.append(
            "activation_checkpointing says how, not whether: say --recompute full where the model's code does it"
        )
        r.doc.seen |= {key for key in r.doc.values if key.startswith("activation_checkpointing")}


def batches(r: Reading) -> None:
    """Sequences of a step and of a micro-batch: each follows from the others and from the data-parallel ranks.

    raises BadInput where all are there and do not agree
    """
    batch, micro, rounds = (r.doc.number(key) for key in BATCHES)
    if r.given.get("global_batch") or r.given.get("micro_batch"):  # of the command line: how many rounds follows
        batch = whole(r.given["global_batch"], "--global-batch-size") if r.given.get("global_batch") else batch
        micro = whole(r.given["micro_batch"], "--micro-batch-size") if r.given.get("micro_batch") else micro
        rounds = None
    ranks = data_parallel(r.given, r.flags)
    if batch and micro and rounds:
        if batch % (micro * rounds):
            raise BadInput(
                f"train_batch_size {batch} is no multiple of train_micro_batch_size_per_gpu {micro} times "
                f"gradient_accumulation_steps {rounds}; expected a whole number of data-parallel ranks"
            )
        if ranks is None:
            ranks = batch // (micro * rounds)
            r.flags["dp"] = str(ranks)
        elif ranks * micro * rounds != batch:
            raise BadInput(
                f"train_batch_size {batch} is for {batch // (micro * rounds)} data-parallel ranks, and the plan has {ranks}; "
                "leave out --devices and --data-parallel-size, or one of the three sizes of the file"
            )
    elif ranks is None:
        r.unmapped.append(
            "how many devices there are is not in the file: without --devices there is one data-parallel rank"
        )
    ranks = ranks or degree(r.given, r.flags, "dp")
    if batch and not micro:
        micro = max(batch // ranks // (rounds or 1), 1)
    if micro:
        r.flags |= {"micro_batch": str(micro), "global_batch": str(batch or micro * (rounds or 1) * ranks)}


STEPS: tuple[Callable[[Reading], None], ...] = (splits, sharding, offloading, formats, updating, checkpointing, batches)


def write(flags: Texts, layers: float | None) -> Written:
    """A plan as DeepSpeed's JSON; what it cannot say is listed beside it, since JSON has no comments.

    >>> write({"tp": "2", "pp": "4", "zero_stage": "1"}, None).remarks
    ('--pipeline-parallel-size 4',)
    """
    said: set[str] = {"dp", "tp"}
    found: dict[str, Any] = {}
    batch, micro, ranks = (int(flags.get(name, "1")) for name in ("global_batch", "micro_batch", "dp"))
    found |= {BATCHES[0]: batch, BATCHES[1]: micro}
    said |= {"global_batch", "micro_batch"}
    if batch % (micro * ranks) == 0:
        found[BATCHES[2]] = batch // (micro * ranks)
    found[ZERO] = zero(flags, said)
    dtype = flags.get("dtype", "bf16")
    found |= {name: {"enabled": True} for name in ("bf16", "fp16") if name == dtype}
    said |= {"dtype"} if dtype in ("bf16", "fp16", "fp32") else set()
    if flags.get("gradients") in SUMS:
        found["data_types"] = {"grad_accum_dtype": flags["gradients"]}
        said.add("gradients")
    if flags.get("optimizer", "adamw") in NAMES:
        name = flags.get("optimizer", "adamw")
        found["optimizer"] = {"type": NAMES[name], **({"params": {"momentum": 0.9}} if name == "sgd-momentum" else {})}
        said.add("optimizer")
    if int(flags.get("tp", "1")) > 1:
        found["tensor_parallel"] = {"autotp_size": int(flags["tp"])}
    if flags.get("context") == "all-to-all" and flags.get("cp", "1") != "1":
        found["sequence_parallel_size"] = int(flags.get("cp", "1"))
        said |= {"cp", "context"}
    unsaid = {name: value for name, value in flags.items() if name not in said}
    return Written(form="deepspeed", text=json.dumps(found, indent=2), unsaid=unsaid)


def zero(flags: Texts, said: set[str]) -> dict[str, Any]:
    """The part about what data-parallel ranks share out and what the host holds."""
    found: dict[str, Any] = {"stage": int(flags.get("zero_stage", "0"))}
    said.add("zero_stage")
    if found["stage"] == 3 and "shard_ranks" in flags:
        found["mics_shard_size"] = int(flags["shard_ranks"])
        said.add("shard_ranks")
    for name, key in (("offload_optimizer", "offload_optimizer"), ("offload_parameters", "offload_param")):
        if flags.get(name) == "yes":
            found[key] = {"device": "cpu"}
            said.add(name)
    return found
