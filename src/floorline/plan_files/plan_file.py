"""What a training framework's file says of a plan, in the texts of this library's own flags, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

from floorline.errors import BadInput
from floorline.num import Num
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.recipe import Recipe
from floorline.specs.workload import Train

Texts = Mapping[str, str]
"""Fields of a plan as people type them: {"tp": "8", "sequence_parallel": "yes"}."""
LARGEST = 10**9
"""The most that a whole number of a file may be."""


@dataclass(frozen=True, kw_only=True)
class PlanFile:
    """A plan that was read from a framework's own file.

    form      megatron, torchtitan or deepspeed
    flags     texts by field, as ``floorline train`` takes them
    model     a configuration in Hugging Face's fields or a name, where the file says what is trained
    ignored   names that say nothing of time and memory here: learning rates, paths, logging
    unmapped  what matters and could not be said, each a sentence
    assumed   what was assumed for the model, each a sentence

    >>> PlanFile(form="megatron", flags={"tp": "8"}).flags["tp"]
    '8'
    """

    form: str
    flags: Texts
    model: Mapping[str, object] | str | None = None
    ignored: tuple[str, ...] = ()
    unmapped: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Written:
    """A plan as a framework's own file.

    form    megatron, torchtitan or deepspeed
    text    the file
    unsaid  flags that the format has no word for, with their values

    >>> Written(form="deepspeed", text="{}", unsaid={"pp": "4"}).remarks
    ('--pipeline-parallel-size 4',)
    """

    form: str
    text: str
    unsaid: Texts = field(default_factory=dict)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is left to say, as flags."""
        return tuple(as_flag(name, value) for name, value in self.unsaid.items())


SPECS = (Parallelism, Train, Recipe)
FIELDS = {f.name: f for spec in SPECS for f in fields(spec) if "doc" in f.metadata and f.name != "extra"}
SAYS_DEFAULT = {name: str(f.default) for name, f in FIELDS.items()}


def as_flag(name: str, value: str) -> str:
    """A flag as people type it.

    >>> as_flag("tp", "8"), as_flag("sequence_parallel", "yes")
    ('--tensor-parallel-size 8', '--sequence-parallel')
    """
    item = FIELDS.get(name)
    flag = (item.metadata["aliases"] if item and item.metadata["aliases"] else (f"--{name.replace('_', '-')}",))[0]
    return flag if item and item.metadata.get("options") == ("no", "yes") else f"{flag} {value}"


def plain(value: float) -> str:
    """A number without a needless fraction.

    >>> plain(1536.0), plain(0.25)
    ('1536', '0.25')
    """
    return str(int(value)) if value == int(value) else repr(float(value))


def texts(plan: Parallelism, workload: Train, recipe: Recipe, precision: Precision) -> dict[str, str]:
    """The texts of all that is not as it is by default; the format of the arithmetic and of the matmuls always.

    >>> texts(Parallelism(tp=8), Train(seq_len=2048), Recipe(), Precision())
    {'tp': '8', 'micro_batch': '1', 'global_batch': '1', 'seq_len': '2048', 'dtype': 'bf16', 'gradients': 'bf16'}
    """
    found: dict[str, str] = {}
    for spec in (plan, workload, recipe):
        for f in fields(spec):
            value = getattr(spec, f.name)
            if f.name in ("extra", "decoder_len") or value is None or value == "":
                continue
            if spec is workload or value != f.default:
                found[f.name] = value if isinstance(value, str) else plain(single(f.name, value))
    found["dtype"] = precision.activations
    if precision.matmuls:
        found["matmuls"] = precision.matmuls
    return {**found, "gradients": precision.gradients}


def single(name: str, value: Num) -> float:
    """One number.

    raises BadInput for an array: a file holds one plan
    """
    if not isinstance(value, (int, float)):
        raise BadInput(f"{name} is an array; a file holds one plan, so give one number")
    return float(value)


def whole(value: object, name: str, least: int = 1) -> int:
    """A whole number of a file.

    raises BadInput with the file's own name of it

    >>> whole("8", "--tensor-model-parallel-size"), whole(2048.0, "training.seq_len")
    (8, 2048)
    """
    number = value
    if isinstance(value, str):
        digits = value.strip().replace("_", "")
        number = int(digits) if digits.removeprefix("-").isdecimal() and len(digits) < 19 else None
    inside = isinstance(number, (int, float)) and not isinstance(number, bool) and least <= number <= LARGEST
    if not inside or not isinstance(number, (int, float)) or number != int(number):
        raise BadInput(f"{name} is {str(value)[:40]!r}; expected a whole number from {least} to {LARGEST:,}")
    return int(number)


def word(value: object, name: str, options: Iterable[str]) -> str:
    """One of a few words of a file.

    raises BadInput with the file's own name of it

    >>> word("full", "--recompute-granularity", ("full", "selective"))
    'full'
    """
    known = list(options)
    if not isinstance(value, str) or value not in known:
        raise BadInput(f"{name} is {str(value)[:40]!r}; expected one of {', '.join(known)}")
    return value


def degree(given: Texts, own: Texts, name: str) -> int:
    """A degree of the plan: the command line's where it has one, else the file's, else 1."""
    return whole(given.get(name) or own.get(name) or 1, as_flag(name, "").strip())


def expert_ranks(ep: int, cut: int, tp: int, experts: int | None) -> tuple[int, str]:
    """Ranks that share the experts as a plan here counts them, and what differs.

    ep       groups of ranks with different experts
    cut      ranks of a group, over which each expert is cut by width
    experts  of a layer, where that is known

    >>> expert_ranks(2, 4, 8, None), expert_ranks(8, 2, 2, 64)[0]
    ((2, ''), 16)
    """
    if ep == 1 or cut == 1 or ep * cut == tp:
        return ep, ""
    if experts and experts % (ep * cut) == 0:
        return (
            ep * cut,
            f"experts on {ep} groups that cut each by width over {cut} ranks are priced as whole ones on {ep * cut} ranks",
        )
    more = f"a rank is priced with more of the experts' weights than it has; --ep {ep * cut} where that divides the experts"
    return ep, f"experts are cut by width over {cut} ranks beside being dealt out to {ep}: {more}"


def data_parallel(given: Texts, own: Texts) -> int | None:
    """Data-parallel ranks, where they are given or the number of devices is.

    >>> data_parallel({"devices": "64"}, {"tp": "8"})
    8
    """
    if given.get("dp"):
        return degree(given, own, "dp")
    devices = given.get("devices") or (None if own.get("dp") else own.get("devices"))
    if devices is None:
        return degree(given, own, "dp") if own.get("dp") else None
    inner = degree(given, own, "tp") * degree(given, own, "cp") * degree(given, own, "pp")
    return max(whole(devices, "--devices") // inner, 1)
