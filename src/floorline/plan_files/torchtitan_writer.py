"""A plan as torchtitan's TOML."""

from __future__ import annotations

from floorline.plan_files.plan_file import Texts, Written, as_flag
from floorline.plan_files.torchtitan import PER_OP

Lines = dict[str, dict[str, str]]
SINGLE = {("1f1b", False): "1F1B", ("gpipe", False): "GPipe", ("dualpipe", False): "DualPipeV"}
LOOPED = {("1f1b", True): "Interleaved1F1B", ("zero-bubble-1p", True): "InterleavedZeroBubble"}
SCHEDULES = SINGLE | LOOPED
"""A schedule, and whether there are several chunks on each stage → torchtitan's name."""


class Writing:
    """The sections as they grow, and the fields that are said."""

    def __init__(self, flags: Texts, layers: float | None) -> None:
        self.flags, self.layers = flags, layers
        self.lines: Lines = {
            name: {} for name in ("model", "optimizer", "training", "parallelism", "activation_checkpoint", "compile")
        }
        self.said: set[str] = set()

    def get(self, name: str, default: str = "1") -> str:
        """A field's text."""
        return self.flags.get(name, default)

    def number(self, name: str, default: int = 1) -> int:
        """A field that is a whole number."""
        return int(self.flags.get(name, str(default)))


def write(flags: Texts, layers: float | None) -> Written:
    """A plan as torchtitan's TOML; what it cannot say stands in comments.

    >>> print(write({"tp": "8", "dp": "4", "zero_stage": "3", "lora_rank": "8"}, None).text.splitlines()[0])
    # not said: --lora-rank 8
    """
    w = Writing(flags, layers)
    for part in (splits, sharding, pipeline, batches, recomputation, formats, updating):
        part(w)
    unsaid = {name: value for name, value in flags.items() if name not in w.said}
    comments = [f"# not said: {as_flag(name, value)}" for name, value in unsaid.items()]
    body = [
        "\n".join([f"[{section}]", *(f"{key} = {value}" for key, value in keys.items())])
        for section, keys in w.lines.items()
        if keys
    ]
    return Written(
        form="torchtitan", text="\n\n".join(["\n".join(comments), *body] if comments else body), unsaid=unsaid
    )


def splits(w: Writing) -> None:
    """Degrees; norms are split by tokens wherever there is tensor parallelism."""
    p = w.lines["parallelism"]
    for name, key in (("tp", "tensor"), ("pp", "pipeline"), ("cp", "context")):
        p[f"{key}_parallel_degree"] = w.get(name)
    if w.number("ep") > 1:
        p["expert_parallel_degree"] = w.get("ep")
        p["expert_tensor_parallel_degree"] = str(max(w.number("tp") // w.number("ep"), 1))
    w.said |= {"tp", "pp", "cp", "ep"}
    if w.get("sequence_parallel", "no") == ("yes" if w.number("tp") > 1 else "no"):
        w.said.add("sequence_parallel")


def sharding(w: Writing) -> None:
    """Sharing of weights over some data-parallel ranks, copies over the others; ZeRO 1 is not there."""
    stage, dp = w.get("zero_stage", "0"), w.number("dp")
    shared = stage in ("2", "3") and dp > 1
    ranks = w.number("shard_ranks", dp) if shared else 1
    ranks = ranks if dp % ranks == 0 else dp
    p = w.lines["parallelism"]
    p["data_parallel_shard_degree"], p["data_parallel_replicate_degree"] = str(ranks), str(dp // ranks)
    w.said.add("dp")
    if shared:
        p["fsdp_reshard_after_forward"] = '"always"' if stage == "3" else '"never"'
        w.said |= {"zero_stage"} if ranks > 1 else set()
        w.said |= {"shard_ranks"} if 1 < ranks < dp and str(ranks) == w.get("shard_ranks", "") else set()
    if stage == "0":
        w.said.add("zero_stage")


def pipeline(w: Writing) -> None:
    """The schedule, and chunks of layers by how many layers each has."""
    p, pp, chunks = w.lines["parallelism"], w.number("pp"), w.number("virtual_stages")
    if pp == 1:
        return
    name = SCHEDULES.get((w.get("schedule", "1f1b"), chunks > 1))
    p["pipeline_parallel_schedule"] = f'"{name or "1F1B"}"'
    ends = 1 if w.get("ends_as_layers", "no") == "yes" else 0
    p["pipeline_parallel_first_stage_less_layers"] = p["pipeline_parallel_last_stage_less_layers"] = str(ends)
    w.said |= {"ends_as_layers"} | ({"schedule"} if name else set())
    if name is not None and (chunks == 1 or chunks == 2):
        w.said.add("virtual_stages")
    elif name is not None and w.layers is not None:
        whole = w.layers + 2 * ends
        each = int(-(-whole // (pp * chunks)))
        if int(-(-whole // each)) == pp * chunks:
            p["pipeline_parallel_layers_per_stage"] = str(each)
            w.said.add("virtual_stages")


def batches(w: Writing) -> None:
    """Sequences: a local batch of micro-batches through a pipeline, of one where there is none."""
    t, micro, batch = w.lines["training"], w.number("micro_batch"), w.number("global_batch")
    rounds = max(batch // (micro * w.number("dp")), 1)
    t["local_batch_size"] = str(micro * rounds if w.number("pp") > 1 else micro)
    t["global_batch_size"] = str(batch)
    if w.number("pp") > 1:
        w.lines["parallelism"]["pipeline_parallel_microbatch_size"] = str(micro)
    w.said |= {"micro_batch", "global_batch"}
    if "seq_len" in w.flags:
        t["seq_len"] = w.get("seq_len")
        w.said.add("seq_len")


def recomputation(w: Writing) -> None:
    """Whole layers, every n-th of them, or what its choice by operators comes nearest to."""
    a, kind, layers = w.lines["activation_checkpoint"], w.get("recompute", "none"), w.flags.get("recompute_layers")
    if kind == "selective" and w.get("recompute_modules", "") == PER_OP:
        a |= {"mode": '"selective"', "selective_ac_option": '"op"'}
        w.said |= {"recompute", "recompute_modules"}
        return
    a["mode"] = '"full"' if kind == "full" else '"none"'
    if kind != "selective":
        w.said.add("recompute")
    if kind != "full" or layers is None or w.layers is None:
        return
    every = int(w.layers // float(layers)) if float(layers) > 0.0 else 0
    if every > 1 and w.layers // every == float(layers):
        a |= {"mode": '"selective"', "selective_ac_option": f'"{every}"'}
        w.said.add("recompute_layers")


def formats(w: Writing) -> None:
    """Formats: weights of fp32 are computed with in 16 bits, gradients summed in fp32."""
    t, dtype = w.lines["training"], w.get("dtype", "bf16")
    pure = w.get("master_weights", "yes") == "no" and dtype == "bf16" and w.get("gradients", "") == "bf16"
    if pure:
        t["dtype"] = '"bfloat16"'
        w.said |= {"dtype", "master_weights", "gradients"}
    elif dtype in ("bf16", "fp32"):
        t["mixed_precision_param"] = '"bfloat16"' if dtype == "bf16" else '"float32"'
        w.said.add("dtype")
    if not pure and w.get("gradients", "fp32") == "fp32":
        w.said.add("gradients")
    if w.flags.get("matmuls") == "fp8":
        w.lines["model"]["converters"] = '["quantize.linear.float8"]'
        w.said.add("matmuls")


def updating(w: Writing) -> None:
    """The optimizer, and what lives in the host's memory."""
    if w.get("optimizer", "adamw") == "adamw":
        w.lines["optimizer"]["name"] = '"AdamW"'
        w.said.add("optimizer")
    moved = {name for name in ("offload_optimizer", "offload_parameters") if w.get(name, "no") == "yes"}
    if len(moved) == 2:
        w.lines["training"]["enable_cpu_offload"] = "true"
        w.said |= moved
    w.lines["compile"]["enable"] = "true"
