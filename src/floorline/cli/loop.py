"""A closed loop on the command line: so many requests in flight, each followed by the next."""

from __future__ import annotations

from dataclasses import replace

from floorline.catalogue.engines import load_engine
from floorline.cli.command import Flag, Given
from floorline.cli.flags import UTILISATION, build, own_share, whole
from floorline.cli.output import scalar
from floorline.errors import BadInput
from floorline.specs.engine import Engine
from floorline.specs.workload import Generate, Serve
from floorline.transformer import Transformer
from floorline.units import integer

MOST = "max"
LOOP = (
    Flag(
        "concurrency",
        ("--max-concurrency",),
        f"instead of one static batch: requests always in flight, each followed by the next, over all replicas; '{MOST}': as "
        "many as fit and the engine takes",
    ),
    Flag("max_num_seqs", ("--max-num-seqs",), "requests that run at once, at most, on each replica", "the engine's"),
    UTILISATION,
    Flag(
        "max_num_batched_tokens",
        ("--max-num-batched-tokens",),
        "tokens of the largest step, on each replica",
        "the engine's",
    ),
)
SHARED = ("prompt_len", "output_len", "cached_len")


def closed_loop(model: Transformer, given: Given) -> Serve:
    """The workload that the flags ask for.

    raises BadInput for a static batch at the same time, or a model that has an encoder
    """
    if given.get("batch") is not None:
        raise BadInput("--max-concurrency and --batch-size are two questions; leave out one of the two")
    if model.has_encoder:
        raise BadInput(
            f"{model.name} has an encoder; a closed loop is priced for decoders alone, so leave out --max-concurrency"
        )
    count = given["concurrency"]
    found = {name: given.get(name) for name in SHARED}
    made: Serve = build(Serve, found if count == MOST else {**found, "concurrency": count})
    return made


def running(workload: Generate | Serve) -> str:
    """How many sequences there are."""
    if isinstance(workload, Generate):
        return integer(scalar(workload.batch))
    assert workload.concurrency is not None
    return f"{integer(scalar(workload.concurrency))} always in flight"


def software(given: Given) -> Engine:
    """The engine, with the most requests and the share of memory that are asked for."""
    found = load_engine(given.get("engine"))
    most, share = whole(given, "max_num_seqs"), own_share(given, "gpu_memory_utilization")
    found = found if most is None else replace(found, max_num_seqs=most)
    return found if share is None else replace(found, memory_share=share)
