"""``floorline flops``: exact FLOP, by operator."""

from __future__ import annotations

from floorline.cli.command import Command, Flag, Given
from floorline.cli.flags import build, fusion, of_spec, whole
from floorline.cli.model import CONVENTION, JSON, MODEL, SET, load
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.counts import Count, count
from floorline.errors import BadInput
from floorline.implementations import FUSIONS
from floorline.report import envelope
from floorline.specs.parallelism import Parallelism
from floorline.specs.workload import Prefill, Train
from floorline.transformer import Transformer
from floorline.units import data, integer

FLAGS = (
    JSON,
    SET,
    CONVENTION,
    *of_spec(Parallelism, skip=("extra",)),
    Flag("batch", ("--batch-size",), "sequences", "1"),
    Flag("seq_len", ("--seq-len", "--seq-length", "--input-len", "--isl"), "new tokens of each sequence", "1024"),
    Flag("cached_len", ("--cached-len",), "tokens in the cache before them", "0"),
    Flag("attention", ("--attention",), "query-key pairs that count: full or causal", "full"),
    Flag("logits", ("--logits",), "positions whose logits are computed: all or last", "all"),
    Flag("backward", ("--backward",), "count the backward pass too", switch=True),
    Flag(
        "recompute",
        ("--recompute", "--recompute-granularity"),
        "what the backward pass computes again: none, selective, full",
        "none",
    ),
    Flag(
        "fusion",
        ("--fusion",),
        f"operators that are one launch: {', '.join(FUSIONS)}; flash computes scores again backward",
        "unfused",
    ),
)


def flops(model: str, given: Given) -> None:
    """Exact FLOP of one pass over some tokens: a multiply-add is two; norms, softmax and activations count none."""
    made = load(model, given)
    batch, tokens = whole(given, "batch", 1.0), whole(given, "seq_len", 1024.0)
    cached = whole(given, "cached_len", 0.0, least=0.0)
    if given["backward"] and cached:
        raise BadInput(
            "--cached-len goes with inference; a training step starts with an empty cache: leave out one of the two"
        )
    if given["recompute"] and not given["backward"]:
        raise BadInput("--recompute belongs to the backward pass; add --backward")
    if given["logits"] and given["backward"]:
        raise BadInput("--logits goes with inference; a training step computes all of them: leave out one of the two")
    assert batch is not None
    assert tokens is not None
    assert cached is not None
    shares = whole(given, "dp", 1.0) or 1.0
    work = (
        Train(micro_batch=max(batch / shares, 1.0), global_batch=batch, seq_len=tokens)
        if given["backward"]
        else Prefill(batch=batch, prompt_len=tokens, cached_len=cached, logits=given["logits"] or "all")
    )
    plan: Parallelism = build(Parallelism, given)
    c = count(
        made,
        work,
        given["attention"] or "full",
        fusion=fusion(given, "unfused"),
        recompute=given["recompute"] or "none",
        parallelism=plan,
    )
    if given["json"]:
        print_json(envelope("flops", {**given, "model": model}, c.to_dict(), model=made))
        return
    show(made, c)


def show(made: Transformer, c: Count) -> None:
    """The counts as tables."""
    print(bold(f"{made.name}: {integer(scalar(c.flops))} FLOP"))
    print(
        f"forward {integer(scalar(c.forward))}, backward {integer(scalar(c.backward))}; {data(scalar(c.bytes))} moved ({c.fusion})"
    )
    note(
        f"convention: attention counts the {c.attention} query × key square"
        + (", causal pairs only" if c.attention == "causal" else "")
    )
    total = scalar(c.flops)
    rows = [
        (
            o.name,
            o.formula,
            integer(scalar(o.repeat)),
            integer(scalar(o.flops)),
            f"{100 * scalar(o.flops) / total:.2f} %",
        )
        for o in c.operators
    ]
    print()
    print(table(["operator", "each", "runs", "FLOP", "share"], rows, left=2))

    if c.messages:
        print()
        lines = [
            (
                m.name,
                m.part,
                f"{scalar(m.ranks):g}",
                data(scalar(m.bytes)),
                data(scalar(m.sent)),
                integer(scalar(m.repeat)),
            )
            for m in c.messages
        ]
        print(table(["message", "pass", "ranks", "buffer", "sent by each", "times"], lines, left=2))


command = Command(flops, FLAGS, MODEL)
