"""Accelerators of the catalogue, and custom ones: by name, TOML file, or figures given by hand."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from floorline.catalogue.figures import Figure
from floorline.errors import BadInput, NotFound, near
from floorline.specs.accelerator import Accelerator, Link
from floorline.units import example

HERE = Path(__file__).parent / "accelerators"
DIMENSIONS = {
    "memory": "B",
    "usable_memory": "B",
    "memory_bandwidth": "B/s",
    "last_level_cache": "B",
    "cache_bandwidth": "B/s",
    "sm_count": "",
    "base_clock": "Hz",
    "boost_clock": "Hz",
    "tdp": "W",
    "price": "USD/h",
}
"""What the figures of a device measure."""

FORMATS: tuple[str, ...] = (
    "fp64",
    "fp64_tensor",
    "fp32",
    "fp32_tensor",
    "tf32",
    "fp16",
    "fp16_vector",
    "fp16_accumulate_fp16",
    "bf16",
    "fp8",
    "fp8_accumulate_fp16",
    "fp6",
    "fp4",
    "int8",
    "int4",
)
"""Formats that a peak may be of."""

LINK = {"bandwidth": "B/s", "latency": "s", "domain": ""}
"""What the figures of a link measure."""

ALIASES = re.compile(r"^aliases = (\[.*?\])", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r'"([^"]*)"')
PREFIXES = ("nvidia", "amd", "intel", "google", "aws", "apple", "tesla", "geforce", "instinct", "radeon")
LARGEST_FILE = 1_000_000


def load_accelerator(what: str | os.PathLike[str]) -> Accelerator:
    """An accelerator by name (case, spaces and a vendor's prefix are forgiven) or by the path of a TOML file."""
    text = os.fspath(what)
    key = named(text)
    if key:
        return shipped(key)
    if text.endswith(".toml"):
        path = file(text)
        if path is None:
            raise NotFound(f"{text[:200]}: there is no such file; expected a TOML file that describes an accelerator")
        return from_toml(path)
    raise NotFound(
        f"hardware {text[:80]!r} is not in the catalogue; {near(plain(text), [*names(), *aliases()])} "
        "('floorline hardware' lists all)"
    )


def named(text: str) -> str:
    """The key of an accelerator, however it is spelt, or ""."""
    return owner(text, names(), aliases)


def owner(text: str, keys: Collection[str], others: Callable[[], Mapping[str, str]]) -> str:
    """The key that a text spells, or "": one of some keys, or one of which it is another name. Those are read only where no key
    fits."""
    spelt = list(spellings(text))
    return next((s for s in spelt if s in keys), "") or next((others()[s] for s in spelt if s in others()), "")


def spellings(text: str) -> Iterator[str]:
    """A name in lower case with hyphens, then without its vendor's or its family's name before it.

    >>> list(spellings("NVIDIA GeForce RTX_4090"))
    ['nvidia-geforce-rtx-4090', 'geforce-rtx-4090', 'rtx-4090']
    """
    key = "-".join(text.lower().replace("_", " ").replace("-", " ").split())
    yield key
    while key.partition("-")[0] in PREFIXES and "-" in key:
        key = key.partition("-")[2]
        yield key


def file(text: str) -> Path | None:
    """The file that a text names, or None where there is none."""
    try:
        path = Path(text).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # no such user, a name too long, a character that no path has
        return None


def plain(text: str) -> str:
    """A name as the catalogue writes it.

    >>> plain("NVIDIA H100_SXM")
    'h100-sxm'
    """
    return list(spellings(text))[-1]


@cache
def names() -> tuple[str, ...]:
    """Keys of all accelerators."""
    return tuple(sorted(p.stem for p in HERE.glob("*.toml")))


@cache
def aliases() -> dict[str, str]:
    """Other names → keys."""
    return read_aliases(HERE)


def read_aliases(folder: Path) -> dict[str, str]:
    """Other names → keys of a folder's files. Only the lines that hold them are read: parsing a hundred files takes a tenth of a
    second."""
    lines = {path.stem: ALIASES.search(path.read_text(encoding="utf-8")) for path in folder.glob("*.toml")}
    return {next(spellings(alias)): name for name, line in lines.items() if line for alias in QUOTED.findall(line[1])}


@cache
def shipped(name: str) -> Accelerator:
    """An accelerator of the catalogue."""
    return from_toml(HERE / f"{name}.toml")


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file of at most a megabyte."""
    import tomllib

    if path.stat().st_size > LARGEST_FILE:
        raise BadInput(
            f"{path}: {path.stat().st_size:,} bytes is no accelerator file; expected at most {LARGEST_FILE:,}"
        )
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{path}: not valid TOML ({str(error)[:100]}); is the file cut off?") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def from_toml(path: Path) -> Accelerator:
    """An accelerator from a file of the catalogue's form; in a custom file a figure may be plain text ("80 GB").

    raises BadInput for unknown keys, missing figures, wrong units
    """
    data = read_toml(path)
    expect(path, data, ("name", "vendor", "architecture", "aliases", "figures", "peaks", "links", "references"))
    figures = read_figures(path, table(data, "figures", path), DIMENSIONS)
    peaks = read_figures(path, table(data, "peaks", path), dict.fromkeys(FORMATS, "FLOP/s"))
    for key in ("memory", "memory_bandwidth"):
        if key not in figures:
            raise BadInput(
                f"{path.name}: the figure {key!r} is missing under [figures]; expected text such as "
                f"{key} = '{example(DIMENSIONS[key])}'"
            )
    if not peaks:
        raise BadInput(f"{path.name}: [peaks] is empty; expected at least one, such as bf16 = '989.4 TFLOP/s'")
    ways = {name: read_link(path, name, given) for name, given in table(data, "links", path).items()}
    shown = {**figures, **peaks, **{f"{k}.{x}": f for k, (_, found) in ways.items() for x, f in found.items()}}
    return Accelerator(
        name=path.stem,
        title=str(data.get("name", path.stem)),
        vendor=str(data.get("vendor", "")),
        architecture=str(data.get("architecture", "")),
        peaks={key: f.value for key, f in peaks.items()},
        links=tuple(sorted((link for link, _ in ways.values()), key=lambda x: (x.host, -float(x.bandwidth)))),
        figures={key: f.to_dict() for key, f in shown.items()},
        **{key: f.value for key, f in figures.items() if key != "base_clock"},
    )


def expect(path: Path, data: Mapping[str, Any], known: Iterable[str]) -> None:
    """Hold a table to the keys that are read.

    raises BadInput for the first other
    """
    others = data.get("aliases", [])
    if not (isinstance(others, list) and all(isinstance(x, str) for x in others)):
        raise BadInput(f"{path.name}: aliases is {str(others)[:40]!r}; expected a list of names, such as ['my-card']")
    for key in data:
        if key not in tuple(known):
            raise BadInput(f"{path.name}: unknown key {key!r}; {near(key, known)}")


def read_figures(path: Path, given: Mapping[str, Any], dimensions: Mapping[str, str]) -> dict[str, Figure]:
    """The figures of a table by key."""
    found = {}
    for key, value in given.items():
        if key not in dimensions:
            raise BadInput(f"{path.name}: unknown figure {key!r}; {near(key, dimensions)}")
        found[key] = Figure.read(f"{path.name}: {key}", value, dimensions[key])
    return found


def read_link(path: Path, name: str, given: object) -> tuple[Link, dict[str, Figure]]:
    """A link and its figures."""
    if not isinstance(given, Mapping) or "bandwidth" not in given:
        raise BadInput(f"{path.name}: {name!r} has no bandwidth; expected bandwidth = '450 GB/s' in its table")
    words = {key: given[key] for key in ("topology", "host") if key in given}
    figures = read_figures(path, {k: v for k, v in given.items() if k not in words}, LINK)
    if not isinstance(words.get("host", False), bool):
        raise BadInput(f"{path.name}: link {name!r}: host is {str(words['host'])[:40]!r}; expected true or false")
    numbers: dict[str, Any] = {key: f.value for key, f in figures.items()}
    if numbers.get("domain", 1.0) != int(numbers.get("domain", 1.0)):
        raise BadInput(
            f"{path.name}: {name}.domain is {numbers['domain']:g}; expected a whole number of devices, such as '8'"
        )
    return Link(name, **numbers, **words), figures


def table(data: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    """A table of the file, empty where it is left out."""
    found = data.get(key, {})
    if not isinstance(found, Mapping):
        raise BadInput(f"{path.name}: {key!r} is {type(found).__name__}; expected a table [{key}]")
    return found
