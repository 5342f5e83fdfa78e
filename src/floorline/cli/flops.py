"""``floorline flops``: exact FLOP, by operator."""

from __future__ import annotations

from floorline.cli.command import Command, Flag, Given
from floorline.cli.flags import build, fusion, of_spec, whole
from floorline.cli.model import JSON, MODEL, READ, load
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.counts import Count, count
from floorline.denoise_step import suits
from floorline.errors import BadInput
from floorline.feasible import hold
from floorline.implementations import FUSIONS
from floorline.report import envelope
from floorline.specs.fields import TOKENS
from floorline.specs.parallelism import Parallelism
from floorline.specs.workload import Decode, Denoise, Encode, Prefill, Train
from floorline.train_step import resolved
from floorline.transformer import Transformer
from floorline.units import data, integer

PICTURE = ("height", "width", "frames", "passes", "text_tokens")
"""What is asked of a diffusion model instead of tokens."""
FLAGS = (
    JSON,
    *READ,
    *of_spec(Parallelism, skip=("extra",)),
    Flag("batch", ("--batch-size",), "sequences", "1"),
    Flag(
        "seq_len",
        ("--seq-len", "--seq-length", "--input-len", "--isl"),
        "new tokens of each sequence; of an encoder-decoder, those that the encoder reads",
        "1024, for an encoder no more than it takes",
    ),
    Flag("decoder_len", ("--decoder-len", "--decoder-seq-length"), "tokens of an encoder-decoder's other side", "128"),
    *(f for f in of_spec(Denoise) if f.name in PICTURE),
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
    check(made, given)
    plan: Parallelism = build(Parallelism, given)
    work = workload(made, given)
    if not isinstance(work, Denoise):
        hold(made, work, plan.devices, plan)
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


def check(made: Transformer, given: Given) -> None:
    """Flags that exclude each other, or that the model has no use for.

    raises BadInput for the first of them
    """
    alone = not made.generates
    if given["backward"] and whole(given, "cached_len", 0.0, least=0.0):
        raise BadInput(
            "--cached-len goes with inference; a training step starts with an empty cache: leave out one of the two"
        )
    if given["recompute"] and not given["backward"]:
        raise BadInput("--recompute belongs to the backward pass; add --backward")
    if given["logits"] and given["backward"]:
        raise BadInput("--logits goes with inference; a training step computes all of them: leave out one of the two")
    if given["decoder_len"] and not made.has_encoder:
        raise BadInput(
            f"--decoder-len goes with an encoder and a decoder; {made.name} is one of them alone: leave it out"
        )
    if made.latent is not None and given["seq_len"]:
        raise BadInput(
            f"{made.name} makes pictures: its tokens follow from --height, --width and --frames; leave out --seq-len"
        )
    for name in PICTURE:
        if given[name] and made.latent is None:
            raise BadInput(
                f"--{name.replace('_', '-')} goes with a diffusion model, and {made.name} is none: leave it out"
            )
    for flag, name in (("--cached-len", "cached_len"), ("--logits", "logits")):
        if given[name] and (alone or made.has_encoder):
            what = (
                "an encoder, which keeps no cache and computes all" if alone else "counted in one pass over both sides"
            )
            raise BadInput(f"{flag} goes with a decoder; {made.name} is {what}: leave it out")


def picture(made: Transformer, given: Given, batch: float) -> Denoise | Train:
    """A denoising step, or a training step over pictures.

    raises BadInput where guidance passes are asked of training
    """
    asked = {name: given[name] for name in PICTURE if given[name] is not None}
    if not given["backward"]:
        work: Denoise = build(Denoise, {**asked, "batch": repr(batch)})
        suits(made, work)
        return work
    if asked.pop("passes", None):
        raise BadInput("--guidance-passes goes with inference; a training step has one pass: leave it out")
    shares = whole(given, "dp", 1.0) or 1.0
    trained: Train = build(Train, {**asked, "micro_batch": repr(max(batch / shares, 1.0)), "global_batch": repr(batch)})
    suits(made, trained)
    return resolved(made, trained)


def workload(made: Transformer, given: Given) -> Prefill | Decode | Encode | Train | Denoise:
    """The pass that is counted: over a prompt, one token after a cache, both sides of an encoder–decoder, a denoising step, or with
    its backward pass."""
    batch = whole(given, "batch", 1.0) or 1.0
    if made.latent is not None:
        return picture(made, given, batch)
    most = TOKENS if made.max_positions is None else scalar(made.max_positions)
    one_pass = made.has_encoder or not made.generates
    fits = min(1024.0, most) if one_pass and made.learned_positions else 1024.0
    tokens = whole(given, "seq_len", fits) or fits
    other = whole(given, "decoder_len", min(128.0, most)) or 128.0
    if given["backward"]:
        shares = whole(given, "dp", 1.0) or 1.0
        return Train(micro_batch=max(batch / shares, 1.0), global_batch=batch, seq_len=tokens, decoder_len=other)
    if one_pass:
        return Encode(batch=batch, seq_len=tokens, decoder_len=other)
    cached = whole(given, "cached_len", 0.0, least=0.0) or 0.0
    if tokens == 1.0 and cached:
        return Decode(batch=batch, context_len=cached)
    return Prefill(batch=batch, prompt_len=tokens, cached_len=cached, logits=given["logits"] or "all")


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
