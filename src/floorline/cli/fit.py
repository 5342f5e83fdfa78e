"""``floorline fit``: does it fit, and how much more would."""

from __future__ import annotations

from floorline.capacity import Fit, fit
from floorline.cli.command import Command, Flag, Given
from floorline.cli.flags import (
    ENGINE,
    FORMAT,
    HARDWARE,
    PLAN,
    UTILISATION,
    cluster,
    fusion,
    own_share,
    parallelism,
    precision,
    whole,
)
from floorline.cli.model import JSON, MODEL, READ, load
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.cli.train import FLAGS as TRAIN
from floorline.implementations import FUSIONS
from floorline.report import envelope
from floorline.units import gib, integer

FLAGS = (
    JSON,
    *READ,
    *HARDWARE,
    *PLAN,
    *FORMAT,
    Flag("batch", ("--batch-size", "--max-num-seqs"), "sequences in flight, over all replicas", "1"),
    Flag("input_len", ("--input-len", "--isl"), "tokens of the prompt"),
    Flag("output_len", ("--output-len", "--osl"), "tokens to generate"),
    Flag(
        "max_model_len",
        ("--max-model-len",),
        "tokens of a sequence at its end",
        "input + output, else the model's longest",
    ),
    Flag("source_len", ("--source-len",), "tokens that the encoder of an encoder-decoder reads", "512"),
    UTILISATION,
    Flag(
        "max_num_batched_tokens",
        ("--max-num-batched-tokens",),
        "tokens of the largest prefill step",
        "the engine's, most often 8192",
    ),
    Flag("fusion", ("--fusion",), f"operators that are one launch: {', '.join(FUSIONS)}", "flash"),
    ENGINE,
    Flag("check", ("--check",), "exit with 1 where it does not fit", switch=True),
    Flag(
        "train", ("--train",), "a training step, with the flags of 'floorline train', instead of serving", switch=True
    ),
)


def fit_command(model: str, given: Given) -> int:
    """Does a model fit: memory of one device by kind, the margin, and the largest batch, context and concurrency."""
    if given["train"]:
        from floorline.cli.fit_training import fit_training

        return fit_training(model, given)
    made = load(model, given)
    plan, formats = parallelism(given), precision(given, made)
    machine = cluster(given, plan, formats.activations)
    answer = fit(
        made,
        machine,
        batch=whole(given, "batch", 1.0) or 1.0,
        length=length(given),
        source_len=whole(given, "source_len"),
        parallelism=plan,
        precision=formats,
        fusion=fusion(given),
        gpu_memory_utilization=own_share(given, "gpu_memory_utilization"),
        max_num_batched_tokens=whole(given, "max_num_batched_tokens"),
        engine=given["engine"],
    )
    if given["json"]:
        head = {
            "model": made,
            "hardware": machine.to_dict(),
            "parallelism": plan,
            "precision": formats,
        }
        print_json(envelope("fit", {**given, "model": model}, answer.to_dict(), **head))
    else:
        show(answer)
    return 1 if given["check"] and not answer.fits else 0


def length(given: Given) -> float | None:
    """Tokens of a sequence at its end."""
    if given["max_model_len"] is not None:
        return whole(given, "max_model_len")
    if given["input_len"] is None and given["output_len"] is None:
        return None
    return (whole(given, "input_len") or 0.0) + (whole(given, "output_len") or 0.0)


def show(f: Fit) -> None:
    """The answer as tables."""
    device, m = f.cluster.accelerator, f.memory
    verdict = "fits" if f.fits else "does not fit"
    print(bold(f"{f.model.name} {verdict} on {scalar(f.cluster.devices):.0f} × {device.title}"))
    print(f"{integer(scalar(f.batch))} sequences of {integer(scalar(f.length))} tokens; of each device:\n")
    rows = [
        ("weights", gib(scalar(m.weights))),
        ("KV cache", gib(scalar(m.kv_cache))),
        ("activations", gib(scalar(m.activations))),
        ("workspace", gib(scalar(m.workspace))),
        ("graphs", gib(scalar(m.graphs))),
        ("framework", gib(scalar(m.framework))),
        ("total", gib(scalar(m.total))),
        ("may be used", gib(scalar(f.budget))),
        ("margin", gib(scalar(f.margin))),
    ]
    print(table(["memory", ""], rows))
    print(f"\nKV cache {integer(scalar(f.kv_per_token))} bytes a token, {gib(scalar(f.kv_bytes))} in all")
    print(f"largest batch at this length         {integer(scalar(f.max_batch))}")
    print(f"longest context at this batch        {integer(scalar(f.max_context))}")
    print(f"concurrency beside a full prefill    {integer(scalar(f.max_concurrency))}")
    print(f"tokens of cache                      {integer(scalar(f.cache_tokens))}")
    print(f"  beside the weights alone           {integer(scalar(f.cache_tokens_beside_weights))}")
    if f.beyond:
        note(f"{f.model.name} was made for {scalar(f.model.max_positions or 0.0):g} tokens; this is longer")
    if f.suggestions:
        print("would fit with: " + "  or  ".join(f.suggestions))


TRAINING = tuple(flag for flag in TRAIN if flag.name not in {f.name for f in FLAGS})
"""What a training step is asked with beside."""

command = Command(fit_command, (*FLAGS, *TRAINING), MODEL)
