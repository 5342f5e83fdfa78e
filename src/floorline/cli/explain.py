"""``floorline explain``: any figure, opened."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from floorline.capacity import fit
from floorline.cli.command import Argument, Command, Flag, Given
from floorline.cli.fit import FLAGS as FIT
from floorline.cli.fit import length
from floorline.cli.flags import cluster, fusion, own_share, parallelism, precision, whole
from floorline.cli.infer import BATCH, answer
from floorline.cli.loop import LOOP
from floorline.cli.model import load
from floorline.cli.output import bold, print_json, table
from floorline.counts import count
from floorline.errors import BadInput, near
from floorline.explain import (
    FIGURES,
    Explanation,
    explain_flops,
    explain_formula,
    explain_kv,
    explain_memory,
    explain_params,
    render,
)
from floorline.explain_times import explain_time
from floorline.published import formula, formula_names
from floorline.ranges import scalar
from floorline.report import envelope
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.workload import Encode, Prefill
from floorline.step import single
from floorline.transformer import Transformer
from floorline.units import parse

STYLE = Flag("format", ("--format",), "text, markdown or latex", "text")
FLAGS = (*BATCH, LOOP[0], *FIT, STYLE)
DIMENSION = {"B": "B", "B/s": "B/s", "FLOP/s": "FLOP/s", "FLOP": "FLOP", "s": "s", "USD/h": "USD/h", "J/s": "W"}
"""What a text with a unit must measure, by the unit of the argument."""


def explain(*arguments: object) -> None:
    """A published formula with numbers (explain NAME argument=value …), or a figure of a model (explain FIGURE MODEL).

    Figures: params, flops, kv, memory, ttft, tpot, latency. Without a name: all of them.
    """
    *words, flags = arguments
    given, texts = flags, [str(w) for w in words]
    assert isinstance(given, Mapping)
    if not texts:
        overview()
        return
    node = figure(texts, given) if texts[0] in FIGURES else by_formula(texts)
    if given["json"]:
        print_json(envelope("explain", {**given, "words": texts}, node.to_dict()))
    else:
        print(render(node, given["format"] or "text"))


def overview() -> None:
    """What can be explained."""
    print(bold("figures of a model") + f": {', '.join(FIGURES)}, such as: floorline explain tpot llama-3.1-8b")
    rows = [
        (name, ", ".join(q.name for q in formula(name).arguments), formula(name).title)
        for name in sorted(formula_names())
    ]
    print(table(["formula", "arguments", ""], rows, left=3))


def by_formula(texts: list[str]) -> Explanation:
    """A published formula with the arguments that follow its name."""
    name, *pairs = texts
    if name not in formula_names():
        known = [*FIGURES, *formula_names()]
        raise BadInput(
            f"{name[:60]!r} is neither a figure nor a formula; {near(name, known)} ('floorline explain' lists all)"
        )
    units = {q.name: q.unit for q in formula(name).arguments}
    values = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise BadInput(f"{pair[:40]!r} is no argument=value; expected such as {next(iter(units))}=1")
        key = key.replace("-", "_")
        if key in values:
            raise BadInput(f"{name} has {key!r} twice; leave out one of the two")
        values[key] = value(key, text, units.get(key, "-"))
    try:
        return explain_formula(name, values)
    except ArithmeticError:
        raise BadInput(
            f"{name} has no finite value with these numbers; is a divisor zero, or a number too large?"
        ) from None


def value(key: str, text: str, unit: str) -> float:
    """A number, with or without its unit."""
    if unit in DIMENSION and text.strip()[-1:].isalpha():
        result = parse(text, DIMENSION[unit], key)
    else:
        result = scalar(text, f"{key}={text}")
    if not 0.0 <= result < float("inf"):
        raise BadInput(f"{key} is {text[:40]!r}; expected zero or more, and less than infinity")
    return result


def one_pass(made: Transformer, given: Given) -> Prefill | Encode:
    """The pass whose FLOP are opened: over a prompt, or over what an encoder reads and its decoder answers."""
    batch = whole(given, "batch", 1.0) or 1.0
    if made.has_encoder or not made.generates:
        most = 512.0 if made.max_positions is None else float(np.max(np.asarray(made.max_positions)))
        tokens = whole(given, "prompt_len", min(512.0, most)) or 512.0
        return Encode(batch=batch, seq_len=tokens, decoder_len=min(128.0, most))
    tokens = whole(given, "prompt_len", 1024.0) or 1024.0
    return Prefill(batch=batch, prompt_len=tokens, cached_len=scalar(given["cached_len"] or "0"), logits="all")


def figure(texts: list[str], given: Given) -> Explanation:
    """A figure of a model."""
    name, *rest = texts
    if len(rest) != 1:
        raise BadInput(f"explain {name} needs one model; expected such as: floorline explain {name} llama-3.1-8b")
    made = load(rest[0], given)
    if name == "params":
        return explain_params(made)
    if name == "flops":
        work = one_pass(made, given)
        attention = given["attention"] or "full"
        step = single(made, work, Parallelism(), Precision.of(made.format), attention)
        return explain_flops(made, count(made, work, attention, fusion=given["fusion"] or "unfused"), step)
    if name in ("kv", "memory"):
        plan, formats = parallelism(given), precision(given, made)
        asked = length({**given, "input_len": given.get("prompt_len")})
        answer_fit = fit(
            made,
            cluster(given, plan, formats.activations),
            batch=whole(given, "batch", 1.0) or 1.0,
            length=asked,
            parallelism=plan,
            precision=formats,
            fusion=fusion(given),
            gpu_memory_utilization=own_share(given, "gpu_memory_utilization"),
            max_num_batched_tokens=whole(given, "max_num_batched_tokens"),
            source_len=whole(given, "source_len"),
            suggest=False,
        )
        return explain_kv(answer_fit) if name == "kv" else explain_memory(answer_fit)
    return explain_time(answer(rest[0], given), name)


command = Command(
    explain,
    [f for f in FLAGS if f.name != "input_len"],
    Argument("what", "a formula with its arguments, or a figure and a model", "*"),
)
