"""Command-line flags from the metadata of the specs' fields: names, help and ranges are written once, there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, Field, fields, replace
from typing import Any

from floorline.cli.command import Flag, Given
from floorline.cli.output import note
from floorline.errors import BadInput, Infeasible
from floorline.implementations import FUSIONS
from floorline.num import Num
from floorline.ranges import scalar, values
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.denoise_plan import DenoisePlan
from floorline.specs.fields import check_choice, checked
from floorline.specs.parallelism import DEVICES, Parallelism
from floorline.specs.precision import FORMATS, Precision
from floorline.specs.recipe import Recipe
from floorline.specs.workload import Decode, Denoise, Generate, Serve, Train
from floorline.transformer import Transformer
from floorline.units import parse

ENGINE = Flag(
    "engine",
    ("--engine",),
    "whose kernels and memory, and what it adds: vllm, sglang, trtllm, lmdeploy, llama.cpp, gpt-fast, transformers, eager …",
    "any: the median",
)
UTILISATION = Flag(
    "gpu_memory_utilization",
    ("--gpu-memory-utilization",),
    "share of the memory that may be used",
    "the engine's, most often 0.9",
)
WITH_UNIT = ("s", "W", "USD/h")
"""Units that a flag's text may carry; without one it is a plain number of them."""
SWITCH = ("no", "yes")
"""Options of a field that is a switch on the command line."""


def of_spec(spec: type, *, skip: Iterable[str] = ()) -> tuple[Flag, ...]:
    """Flags of a spec's fields."""
    found = []
    for f in fields(spec):
        if f.name in skip or "doc" not in f.metadata:
            continue
        names = f.metadata["aliases"] or (f"--{f.name.replace('_', '-')}",)
        options = f.metadata.get("options")
        if options == SWITCH:
            found.append(Flag(f.name, tuple(names), f.metadata["doc"], switch=True))
            continue
        doc = f.metadata["doc"] + (f": {', '.join(options)}" if options else "")
        default = (
            ""
            if f.default in (MISSING, None)
            else f"{f.default:g}"
            if isinstance(f.default, (int, float))
            else str(f.default)
        )
        found.append(Flag(f.name, tuple(names), doc, default))
    return tuple(found)


HARDWARE = (
    Flag("hardware", ("--hardware", "--gpu"), "accelerator: a catalogue name, or a TOML file", "h100-sxm"),
    Flag(
        "devices",
        ("--devices",),
        "how many; beyond the plan's product the rest becomes data parallel",
        "the product of the degrees",
    ),
    Flag("peak", ("--peak",), "another arithmetic rate, such as '312 TFLOP/s'"),
    Flag("memory_bandwidth", ("--memory-bandwidth",), "another memory bandwidth, such as '1935 GB/s'"),
    Flag("memory", ("--memory",), "another memory size, such as '80 GB'"),
    Flag("link_bandwidth", ("--link-bandwidth",), "another link, one direction, such as '450 GB/s'"),
    Flag("last_level_cache", ("--last-level-cache",), "another last-level cache, such as '50 MiB'"),
    Flag("node_size", ("--node-size",), "devices that the fast link joins", "as the hardware has it"),
    Flag(
        "network",
        ("--network",),
        "between nodes: of each device, such as '400 Gb/s', or of each node, such as '8x400 Gb/s'",
        "the host link's rate, or the machine's own",
    ),
)
FORMAT = (
    Flag(
        "dtype",
        ("--dtype",),
        f"format of everything, arithmetic and cache too: {', '.join(FORMATS)}; of weights alone as checkpoints have them: "
        "--quantization",
        "the model's own",
    ),
    *(replace(f, default="that of --dtype") for f in of_spec(Precision) if f.name not in ("gradients", "matmuls")),
)
TRAINING_ONLY = ("zero_stage", "virtual_stages", "schedule", "ends_as_layers", "shard_ranks")
"""Parts of a plan that only training has."""
PLAN = of_spec(Parallelism, skip=(*TRAINING_ONLY, "extra"))


def build(spec: type, given: Given) -> Any:
    """A spec from the texts of its flags."""
    found: dict[str, Any] = {}
    for f in fields(spec):
        text = given.get(f.name)
        if isinstance(text, bool):
            text = SWITCH[text]
        if text is not None:
            found[f.name] = one(f, text)
    missing = [f for f in fields(spec) if f.default is MISSING and f.name not in found]
    if missing:
        flag = (missing[0].metadata["aliases"] or (f"--{missing[0].name}",))[0]
        raise BadInput(f"{flag} is missing; expected {missing[0].metadata['doc']}, such as {flag} 1024")
    return spec(**found)


def one(item: Field[Any], text: str) -> Any:
    """A word or a number from a flag's text, held to the field's options or range; times may carry a unit."""
    flag = flag_name(item.name)
    if "options" in item.metadata:
        check_choice(item, text, flag)
        return text
    if "text" in item.metadata:
        return text
    if item.metadata["unit"] in WITH_UNIT and text.strip()[-1:].isalpha():
        return checked(item, parse(text, item.metadata["unit"], flag), flag)
    found = plain_number(text)
    return checked(item, text if found is None else found, flag)


def plain_number(text: str) -> float | None:
    """A number, or None where the text is none."""
    try:
        return scalar(text)
    except (BadInput, ArithmeticError):
        return None


FLAG_NAMES: dict[str, str] = {
    f.name: f.metadata["aliases"][0]
    for spec in (Train, Recipe, Generate, Decode, Serve, Denoise, DenoisePlan, Parallelism, Precision)
    for f in fields(spec)
    if f.metadata.get("aliases")
}


def flag_name(name: str) -> str:
    """A field as people type it.

    >>> flag_name("batch")
    '--batch-size'
    """
    return FLAG_NAMES.get(name, f"--{name.replace('_', '-')}")


def whole(
    given: Given, name: str, default: float | None = None, *, least: float = 1.0, most: float = 1e9
) -> float | None:
    """A whole number from a flag that belongs to no spec."""
    text = given.get(name)
    if text is None:
        return default
    result = plain_number(text)
    if result is None or not least <= result <= most or result != int(result):
        raise BadInput(f"{flag_name(name)} is {text[:40]!r}; expected a whole number from {least:g} to {most:g}")
    return result


def share(given: Given, name: str, default: float) -> float:
    """A share above 0 and up to 1 from a flag."""
    text = given.get(name)
    result = default if text is None else plain_number(text)
    if result is None or not 0.0 < result <= 1.0:
        raise BadInput(f"{flag_name(name)} is {str(text)[:40]!r}; expected a share above 0 and up to 1, such as 0.9")
    return result


def own_share(given: Given, name: str) -> float | None:
    """The same, None where nothing is said."""
    return None if given.get(name) is None else share(given, name, 1.0)


SYNONYMS = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32"}
"""Other names of formats."""


def precision(given: Given, model: Transformer) -> Precision:
    """Formats: ``--dtype`` for all, each role's own flag above it."""
    name = given.get("dtype") or model.format
    name = {**SYNONYMS, "auto": model.format}.get(name, name)
    if name not in FORMATS:
        raise BadInput(f"--dtype is {name[:40]!r}; expected one of {', '.join(FORMATS)}")
    base = Precision.of(name)
    own = {f.name: one(f, given[f.name]) for f in fields(Precision) if given.get(f.name) is not None}
    return Precision(**{**{f.name: getattr(base, f.name) for f in fields(Precision)}, **own})


def cluster(given: Given, plan: Parallelism, form: str) -> Cluster:
    """The hardware, with figures given by hand in place of the catalogue's."""
    from floorline.catalogue.clusters import load_cluster

    name = given.get("hardware")
    devices = whole(given, "devices", most=DEVICES)
    machine = load_cluster("h100-sxm" if name is None else name, plan.devices if devices is None else devices)
    if name is not None and name.endswith(".toml"):
        doubts(machine)
    return by_hand(networked(machine, given), given, form)


def doubts(machine: Cluster) -> None:
    """Say what no machine can be, of one that a user's own file describes."""
    from floorline.catalogue.hardware_audit import machine as impossible

    for figure, reason in impossible(machine.accelerator):
        note(f"{machine.accelerator.name}: {figure}: {reason}")


def networked(machine: Cluster, given: Given) -> Cluster:
    """A machine with nodes and a network given by hand.

    raises BadInput for a rate that is none, or of nodes of which the size is not known
    """
    size = whole(given, "node_size", most=DEVICES)
    text = given.get("network")
    if text is None:
        return machine if size is None else machine.with_network(size, None)
    ports, times, rate = text.rpartition("x")
    bandwidth = parse(rate if times else text, "B/s", "--network")
    if times:
        node = machine.inside[-1].domain if size is None else size
        if not ports.strip().isdecimal():
            raise BadInput(f"--network is {text[:40]!r}; expected such as '400 Gb/s' or '8x400 Gb/s'")
        bandwidth = bandwidth * float(ports) / float(node)
    if not 0.0 < bandwidth < float("inf"):
        raise BadInput(f"--network is {text[:40]!r}; expected more than zero, and --node-size where it is not known")
    return machine.with_network(size, bandwidth)


def by_hand(machine: Cluster, given: Given, form: str) -> Cluster:
    """A machine whose devices have other figures."""
    new = {k: quantity(k, given[k]) for k in DIMENSIONS if given.get(k) is not None}
    if not new:
        return machine
    other = machine.with_figures(form, new)
    device = other.accelerator
    told = replace(device, name=f"{device.name}*", title=f"{device.title}, with figures given by hand")
    return replace(other, accelerator=told)


DIMENSIONS = {
    "peak": "FLOP/s",
    "memory_bandwidth": "B/s",
    "memory": "B",
    "link_bandwidth": "B/s",
    "last_level_cache": "B",
}


def quantity(name: str, text: str) -> float:
    """A figure of the hardware with its unit, above zero."""
    value = parse(text, DIMENSIONS[name], flag_name(name))
    if not 0.0 < value < float("inf"):
        raise BadInput(f"{flag_name(name)} is {text[:40]!r}; expected more than zero and less than infinity")
    return value


def parallelism(given: Given) -> Parallelism:
    """The plan; devices beyond its product become data parallel.

    raises Infeasible where the degrees and ``--devices`` contradict each other
    """
    plan: Parallelism = build(Parallelism, given)
    devices = whole(given, "devices", most=DEVICES)
    if devices is None:
        return plan
    inner: Num = plan.tp * plan.cp * plan.pp
    if given.get("dp") is not None:
        if plan.devices != devices:
            raise Infeasible(
                f"tp·dp·cp·pp is {plan.devices:g} and --devices is {devices:g}; expected the same: leave one of them out"
            )
        return plan
    if devices % float(inner):
        raise Infeasible(
            f"--devices {devices:g} is no multiple of tp·cp·pp = {inner:g}; expected {inner:g} times a whole number"
        )
    return build(Parallelism, {**given, "dp": repr(devices / float(inner))})  # type: ignore[no-any-return]


def fusion(given: Given, default: str = "flash") -> str:
    """One of the words of ``--fusion``."""
    name = given.get("fusion") or default
    if name not in FUSIONS:
        raise BadInput(f"--fusion is {str(name)[:40]!r}; expected one of {', '.join(FUSIONS)}")
    return str(name)


NUMERIC: dict[str, Field[Any] | None] = {
    "devices": None,
    **dict.fromkeys(DIMENSIONS),
    **{
        f.name: f
        for spec in (Generate, Decode, Serve, Parallelism, Assumptions)
        for f in fields(spec)
        if "unit" in f.metadata
    },
}
"""Flags that may hold a list or a range, with their fields where a spec has them."""


def ranges(given: Given) -> dict[str, list[float]]:
    """Flags that hold a list or a range; those with a unit, a list."""
    found = {}
    for name, item in NUMERIC.items():
        text = given.get(name)
        if not isinstance(text, str) or not any(mark in text for mark in (",", ":", "..")):
            continue
        if name in DIMENSIONS:
            found[name] = [quantity(name, part) for part in text.split(",")]
        elif item is not None and item.metadata["unit"] == "s" and text.strip()[-1:].isalpha():
            found[name] = [one(item, part) for part in text.split(",")]
        else:
            found[name] = numbers(flag_name(name), text)
    return found


def numbers(name: str, text: str) -> list[float]:
    """Numbers of a list or a range, for the flag or input of this name."""
    try:
        return values(text)
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from None
    except ArithmeticError:
        raise BadInput(f"{name}: {text[:60]!r} is no number that can be computed with") from None
