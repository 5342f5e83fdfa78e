"""Accelerators of the catalogue, and custom ones: by name, TOML file, or figures given by hand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from floorline.errors import BadInput, NotFound, near
from floorline.num import Num
from floorline.specs.accelerator import Accelerator, Cluster, Link
from floorline.units import parse

HERE = Path(__file__).parent / "accelerators"
DIMENSIONS = {
    "memory": "B",
    "usable_memory": "B",
    "memory_bandwidth": "B/s",
    "last_level_cache": "B",
    "sm_count": "",
    "boost_clock": "Hz",
    "tdp": "W",
}
FORMATS = ("fp64", "fp64_tensor", "fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp4", "int4")
LARGEST_FILE = 1_000_000


def load_cluster(what: str | os.PathLike[str] | Accelerator | Cluster, devices: Num = 1.0) -> Cluster:
    """Equal devices by catalogue name, by the path of a TOML file, or of an Accelerator; a Cluster stays what it is.

    raises NotFound for a name that nobody knows, BadInput for a broken file or a senseless count

    >>> float(load_cluster("H100 SXM", devices=8).accelerator.memory_bandwidth)
    3350000000000.0
    """
    if isinstance(what, Cluster):
        return what
    return Cluster(what if isinstance(what, Accelerator) else load_accelerator(what), devices)


def load_accelerator(what: str | os.PathLike[str]) -> Accelerator:
    """An accelerator by name (case, spaces and a vendor's prefix are forgiven) or by the path of a TOML file."""
    text = os.fspath(what)
    key = plain(text)
    key = key if key in names() else aliases().get(key, key)
    if key in names():
        return shipped(key)
    if text.endswith(".toml"):
        path = file(text)
        if path is None:
            raise NotFound(f"{text[:200]}: there is no such file; expected a TOML file that describes an accelerator")
        return from_toml(path)
    raise NotFound(
        f"hardware {text[:80]!r} is not in the catalogue; {near(key, [*names(), *aliases()])} ('floorline hardware' lists all)"
    )


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
    key = "-".join(text.lower().replace("_", " ").replace("-", " ").split())
    for vendor in ("nvidia", "amd", "intel", "google", "aws", "apple", "tesla"):
        key = key.removeprefix(f"{vendor}-")
    return key


@cache
def names() -> tuple[str, ...]:
    """Keys of all accelerators."""
    return tuple(sorted(p.stem for p in HERE.glob("*.toml")))


@cache
def aliases() -> dict[str, str]:
    """Other names → keys."""
    return {plain(alias): name for name in names() for alias in read_toml(HERE / f"{name}.toml").get("aliases", ())}


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
    known = {"name", "vendor", "aliases", "figures", "peaks", "links"}
    for key in data:
        if key not in known:
            raise BadInput(f"{path.name}: unknown key {key!r}; {near(key, known)}")
    figures, peaks = table(data, "figures", path), table(data, "peaks", path)
    values = {key: figure(path, key, value, DIMENSIONS) for key, value in figures.items()}
    for key in ("memory", "memory_bandwidth"):
        if key not in values:
            raise BadInput(
                f"{path.name}: the figure {key!r} is missing under [figures]; expected text such as {key} = '80 GB'"
            )
    rates = {key: figure(path, key, value, dict.fromkeys(FORMATS, "FLOP/s")) for key, value in peaks.items()}
    if not rates:
        raise BadInput(f"{path.name}: [peaks] is empty; expected at least one, such as bf16 = '989.4 TFLOP/s'")
    links = []
    for name, link in table(data, "links", path).items():
        if not isinstance(link, Mapping) or "bandwidth" not in link:
            raise BadInput(
                f"{path.name}: link {name!r} has no bandwidth; expected [links.{name}] with bandwidth = '450 GB/s'"
            )
        rate = figure(path, "bandwidth", link["bandwidth"], {"bandwidth": "B/s"})
        latency = figure(path, "latency", link["latency"], {"latency": "s"}) if "latency" in link else 0.0
        links.append(Link(name, rate, latency))
    return Accelerator(
        name=path.stem,
        title=str(data.get("name", path.stem)),
        peaks=rates,
        memory=values["memory"],
        memory_bandwidth=values["memory_bandwidth"],
        usable_memory=values.get("usable_memory"),
        last_level_cache=values.get("last_level_cache", 0.0),
        links=tuple(sorted(links, key=lambda link: -float(link.bandwidth))),
        figures={**figures, **peaks, **{f"{k}.bandwidth": v["bandwidth"] for k, v in data.get("links", {}).items()}},
    )


def table(data: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    """A table of the file, empty where it is left out."""
    found = data.get(key, {})
    if not isinstance(found, Mapping):
        raise BadInput(f"{path.name}: {key!r} is {type(found).__name__}; expected a table [{key}]")
    return found


def figure(path: Path, key: str, value: object, dimensions: Mapping[str, str]) -> float:
    """A figure with its unit, positive."""
    if key not in dimensions:
        raise BadInput(f"{path.name}: unknown figure {key!r}; {near(key, dimensions)}")
    text = value.get("value") if isinstance(value, Mapping) else value
    if not isinstance(text, str):
        raise BadInput(f"{path.name}: {key} is {str(text)[:40]!r}; expected text with a unit, such as '80 GB'")
    result = parse(text, dimensions[key], f"{path.name}: {key}")
    if not 0.0 < result < float("inf"):
        raise BadInput(f"{path.name}: {key} is {text[:40]!r}; expected more than zero and less than infinity")
    return result
