"""Command-line flags from the metadata of the specs' fields: names, help and ranges are written once, there."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any

from cyclopts import Parameter

from floorline.errors import BadInput, Infeasible
from floorline.num import Num
from floorline.specs.accelerator import Accelerator, Cluster, Link
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import FORMATS, Precision
from floorline.sweep import scalar, values
from floorline.transformer import Transformer
from floorline.units import parse

Given = Mapping[str, Any]


@dataclass(frozen=True)
class Flag:
    """One option of a command.

    name     key under which its text arrives
    flags    what people type
    doc      help
    default  shown in the help
    switch   whether it takes no value
    """

    name: str
    flags: tuple[str, ...]
    doc: str
    default: str = ""
    switch: bool = False

    def parameter(self) -> inspect.Parameter:
        """As the command line's toolkit wants it."""
        text = self.doc + (f" [default: {self.default}]" if self.default else "")
        kind: Any = bool if self.switch else str | None
        note = Parameter(name=list(self.flags), help=text, negative=(), show_default=False)
        default: Any = False if self.switch else None
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, note]
        )


def of_spec(spec: type, *, skip: Iterable[str] = ()) -> tuple[Flag, ...]:
    """Flags of a spec's fields."""
    found = []
    for f in fields(spec):
        if f.name in skip or "doc" not in f.metadata:
            continue
        names = f.metadata["aliases"] or (f"--{f.name.replace('_', '-')}",)
        options = f.metadata.get("options")
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


JSON = Flag("json", ("--json",), "print JSON with a schema version instead of tables", switch=True)
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
)
FORMAT = (
    Flag("dtype", ("--dtype",), f"format of everything: {', '.join(FORMATS)}", "the model's own"),
    *(f for f in of_spec(Precision) if f.name != "gradients"),
)
PLAN = of_spec(Parallelism, skip=("zero_stage", "recompute"))
SET = Flag(
    "set",
    ("--set",),
    "other sizes of the model: KEY=VALUE[,KEY=VALUE] of its configuration, such as num_hidden_layers=4",
)


def signature(
    function: Callable[..., Any], flags: Iterable[Flag], *positional: inspect.Parameter
) -> Callable[..., Any]:
    """The function with a signature of positional arguments and flags; it is called with the texts of the flags."""

    unique = {f.name: f for f in flags}
    empty = {f.name: False if f.switch else None for f in unique.values()}

    absent = [p for p in positional if p.default is None]

    def command(*args: Any, **given: Any) -> Any:
        return function(*args, *(p.default for p in absent[len(args) :]), {**empty, **given})

    command.__doc__ = function.__doc__
    command.__name__ = function.__name__
    parameters = [*positional, *(f.parameter() for f in unique.values())]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def argument(name: str, doc: str, *, many: bool = False, optional: bool = False) -> inspect.Parameter:
    """A positional argument."""
    note = Parameter(help=doc, allow_leading_hyphen=False)
    if many:
        return inspect.Parameter(name, inspect.Parameter.VAR_POSITIONAL, annotation=Annotated[str, note])
    kind = inspect.Parameter.POSITIONAL_ONLY
    if optional:
        return inspect.Parameter(name, kind, default=None, annotation=Annotated[str | None, note])
    return inspect.Parameter(name, kind, annotation=Annotated[str, note])


MODEL = argument("model", "a catalogue name, a hub id, a config.json, or a folder that holds one")


def build(spec: type, given: Given) -> Any:
    """A spec from the texts of its flags."""
    found: dict[str, Any] = {}
    for f in fields(spec):
        text = given.get(f.name)
        if text is not None:
            found[f.name] = text if "options" in f.metadata else one(f.name, text, f.metadata)
    missing = [f for f in fields(spec) if f.default is MISSING and f.name not in found]
    if missing:
        flag = (missing[0].metadata["aliases"] or (f"--{missing[0].name}",))[0]
        raise BadInput(f"{flag} is missing; expected {missing[0].metadata['doc']}, such as {flag} 1024")
    return spec(**found)


def one(name: str, text: str, meta: Mapping[str, Any]) -> float:
    """A number from a flag's text; times may carry a unit."""
    if meta.get("unit") == "s" and not text.replace(".", "").replace("e-", "").isdigit():
        return parse(text, "s", flag_name(name))
    try:
        return scalar(text)
    except BadInput:
        whole = "a whole number" if meta.get("whole") else "a number"
        raise BadInput(
            f"{flag_name(name)} is {text[:40]!r}; expected {whole} from {meta['least']:g} to {meta['most']:g}"
        ) from None


def flag_name(name: str) -> str:
    """A field as people type it."""
    return f"--{name.replace('_', '-')}"


def whole(given: Given, name: str, default: float | None = None) -> float | None:
    """A positive number from a flag that belongs to no spec."""
    text = given.get(name)
    if text is None:
        return default
    result = scalar(text)
    if result < 1 or result != int(result):
        raise BadInput(f"{flag_name(name)} is {text[:40]!r}; expected a whole number of at least 1")
    return result


def share(given: Given, name: str, default: float) -> float:
    """A share above 0 and up to 1 from a flag."""
    text = given.get(name)
    result = default if text is None else scalar(text)
    if not 0.0 < result <= 1.0:
        raise BadInput(f"{flag_name(name)} is {str(text)[:40]!r}; expected a share above 0 and up to 1, such as 0.9")
    return result


def precision(given: Given, model: Transformer) -> Precision:
    """Formats: ``--dtype`` for all, each role's own flag above it."""
    name = given.get("dtype") or model.format
    name = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "auto": model.format}.get(
        name, name
    )
    if name not in FORMATS:
        raise BadInput(f"--dtype is {name[:40]!r}; expected one of {', '.join(FORMATS)}")
    base = Precision.of(name)
    own = {f.name: given[f.name] for f in fields(Precision) if given.get(f.name)}
    return Precision(**{**{f.name: getattr(base, f.name) for f in fields(Precision)}, **own})


def cluster(given: Given, plan: Parallelism, form: str) -> Cluster:
    """The hardware, with figures given by hand in place of the catalogue's."""
    from floorline.catalogue.accelerators import load_accelerator

    device = load_accelerator(given.get("hardware") or "h100-sxm")
    device = by_hand(device, given, form)
    devices = whole(given, "devices")
    return Cluster(device, plan.devices if devices is None else devices)


def by_hand(device: Accelerator, given: Given, form: str) -> Accelerator:
    """A device with other figures."""
    dimensions = {"peak": "FLOP/s", "memory_bandwidth": "B/s", "memory": "B", "link_bandwidth": "B/s"}
    new = {k: positive(k, parse(given[k], d, flag_name(k))) for k, d in dimensions.items() if given.get(k) is not None}
    if not new:
        return device
    return Accelerator(
        name=f"{device.name}*",
        title=f"{device.title}, with figures given by hand",
        peaks={**device.peaks, **({form: new["peak"]} if "peak" in new else {})},
        memory=new.get("memory", device.memory),
        usable_memory=new.get("memory", device.usable_memory),
        memory_bandwidth=new.get("memory_bandwidth", device.memory_bandwidth),
        last_level_cache=device.last_level_cache,
        links=(Link("link", new["link_bandwidth"]),) if "link_bandwidth" in new else device.links,
    )


def positive(name: str, value: float) -> float:
    """A figure above zero."""
    if value <= 0.0:
        raise BadInput(f"{flag_name(name)} is {value:g}; expected more than zero")
    return value


def parallelism(given: Given) -> Parallelism:
    """The plan; devices beyond its product become data parallel.

    raises Infeasible where the degrees and ``--devices`` contradict each other
    """
    plan: Parallelism = build(Parallelism, given)
    devices = whole(given, "devices")
    if devices is None:
        return plan
    inner: Num = plan.tp * plan.cp
    if given.get("dp") is not None:
        if plan.devices != devices:
            raise Infeasible(
                f"tp·dp·cp is {plan.devices:g} and --devices is {devices:g}; expected the same: leave one of them out"
            )
        return plan
    if devices % float(inner):
        raise Infeasible(
            f"--devices {devices:g} is no multiple of tp·cp = {inner:g}; expected {inner:g} times a whole number"
        )
    return build(Parallelism, {**given, "dp": repr(devices / float(inner))})  # type: ignore[no-any-return]


def load(name: str, given: Given) -> Transformer:
    """The model, with other sizes where ``--set`` gives some."""
    from floorline.catalogue.load import load_model
    from floorline.huggingface.read import read

    model = load_model(name)
    new = assignments(given.get("set") or "")
    return read({**model.config, **{k: typed(v) for k, v in new.items()}}, model.name, model.source) if new else model


def typed(text: str) -> object:
    """A configuration value: true, false, null, a number or a word."""
    if text in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[text]
    try:
        number = scalar(text)
    except BadInput:
        return text
    return int(number) if number == int(number) else number


def assignments(text: str) -> dict[str, str]:
    """KEY=VALUE pairs between commas.

    >>> assignments("n_layer=4,bias=false")
    {'n_layer': '4', 'bias': 'false'}
    """
    found = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key or not value:
            raise BadInput(f"{part[:40]!r} is no KEY=VALUE; expected such as num_hidden_layers=4")
        found[key.strip()] = value.strip()
    return found


def ranges(given: Given, names: Iterable[str]) -> dict[str, list[float]]:
    """Flags that hold a list or a range."""
    found = {}
    for name in names:
        text = given.get(name)
        if isinstance(text, str) and any(mark in text for mark in (",", ":", "..")):
            try:
                found[name] = values(text)
            except BadInput as error:
                raise BadInput(f"{flag_name(name)}: {error}") from None
    return found
