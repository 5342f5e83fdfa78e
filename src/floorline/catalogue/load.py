"""Reading the catalogue and people's own files: models by name, path, folder, hub id or dict; clusters by name."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from floorline.catalogue.spelling import MODELS, find, hints, names
from floorline.errors import BadInput, NotFound, near
from floorline.huggingface.read import read
from floorline.transformer import Transformer

LARGEST_FILE = 2_000_000
CONVENTIONS = ("arithmetic", "transformers")


def load_model(what: object, convention: str = "arithmetic") -> Transformer:
    """A model by catalogue name, hub id, path of a ``config.json``, folder that holds one, or dict.

    A name of the catalogue comes first, however it is written; then a path; then hub ids and other spellings.

    convention  "arithmetic" counts what the model needs; "transformers" what that library's classes do instead, such as
                running every expert on every token (docs/conventions.md lists them)

    raises NotFound (status 3) for a name that nobody knows, with near ones; BadInput (status 2) for a broken file

    >>> load_model("openai-community/gpt2").name, load_model("Llama 3.1 8B").name
    ('gpt2', 'llama-3.1-8b')
    """
    if convention not in CONVENTIONS:
        raise BadInput(f"convention is {str(convention)[:40]!r}; expected one of {', '.join(CONVENTIONS)}")
    library = convention == "transformers"
    if isinstance(what, Transformer):
        return read(what.config, what.name, what.source, library=True) if library and what.config else what
    if isinstance(what, Mapping):
        return read(what, str(what.get("name", "model")), "given as a dict", library=library)
    if not isinstance(what, (str, os.PathLike)):
        raise BadInput(f"a model is a name, a path, a dict or a Transformer, not a {type(what).__name__}")
    text = os.fspath(what)
    if text.lower() in names():
        return from_catalogue(text.lower(), library)
    path, known = place(text), find(text)
    if path is not None and (known is None or not path.is_dir() or inside(path) is not None):
        return from_path(path, library=library)
    if known is not None:
        return from_catalogue(known, library)
    if text.endswith(".json") or text.startswith((".", "~", "/")):
        raise NotFound(
            f"{text[:200]}: there is no such file or folder; expected a config.json or a folder that holds one"
        )
    cached = hub_config(text) if text.count("/") == 1 else None
    if cached is not None:
        return from_path(cached, text, library)
    raise NotFound(f"model {text[:80]!r} is not in the catalogue; {near(text, hints())} ('floorline models' lists all)")


def place(text: str) -> Path | None:
    """The file or folder that a text names, or None where there is none."""
    try:
        path = Path(text).expanduser()
        return path if text and path.exists() else None
    except (OSError, RuntimeError, ValueError):  # no such user, a name too long, a character that no path has
        return None


@lru_cache(maxsize=512)
def from_catalogue(name: str, library: bool = False) -> Transformer:
    """A model of the catalogue by its name."""
    entry = model_entry(name)
    made = read(entry["config"], entry["name"], entry["source"], library=library)
    own = entry.get("pipeline", {}).get("latent")
    return replace(made, latent=replace(made.latent, **own)) if own and made.latent else made


@cache
def model_entry(name: str) -> dict[str, Any]:
    """The catalogue's file of a model.

    name, aliases         its own name and others: hub ids, common spellings
    published_parameters  what its publisher counts, or null
    published_difference  where our convention counts otherwise: by how many ``parameters``, and the ``reason``
    source, note, config  where the configuration was read, what to know of it, its Hugging Face fields
    pipeline              of a diffusion model, what is around it:
        text_encoders     in the order of diffusers' parts: ``model``, a name of the catalogue, and the ``tokens`` that it
                          reads where they are not those that the denoiser is given
        autoencoder       a name of ``autoencoders/``, or null
        steps, passes     denoising steps, and forward passes of each: 2 with classifier-free guidance
        format, source    what it runs in, and where all this was read
        note, latent      where needed: what to know of it; defaults of ``Latent`` that its configuration does not tell
    """
    entry: dict[str, Any] = json.loads((MODELS / f"{name}.json").read_text())
    return entry


def from_path(path: Path, name: str = "", library: bool = False) -> Transformer:
    """A model from a ``config.json``, or from a folder that holds one.

    raises BadInput where it holds none, is too large, or is no JSON
    """
    if path.is_dir():
        found = inside(path)
        if found is None:
            raise BadInput(
                f"{path}: the folder holds no config.json; expected a model folder as Hugging Face lays it out"
            )
        path, name = found, name or path.resolve().name
    elif not name:
        name = path.resolve().parent.name if path.name == "config.json" else path.stem
    return read(read_json(path), name, str(path), library=library)


def inside(folder: Path) -> Path | None:
    """The ``config.json`` of a folder: its own, or that of the denoiser in a pipeline's; None where there is neither."""
    found = (folder / "config.json", folder / "transformer" / "config.json")
    return next((path for path in found if path.is_file()), None)


def read_json(path: Path) -> Any:
    """The content of a JSON file of at most two megabytes. Infinity, which no JSON has and published configurations use for
    limits that do not bind, is read; no size takes it."""
    if not path.is_file():
        raise BadInput(f"{path}: not a file that can be read; expected a config.json")
    if path.stat().st_size > LARGEST_FILE:
        raise BadInput(f"{path}: {path.stat().st_size:,} bytes is no config.json; expected at most {LARGEST_FILE:,}")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        where = (
            f"line {error.lineno}, column {error.colno}: {error.msg}"
            if isinstance(error, json.JSONDecodeError)
            else str(error)
        )
        raise BadInput(f"{path}: not valid JSON ({where[:100]}); is the file cut off?") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def hub_config(name: str) -> Path | None:
    """The ``config.json`` of a hub id in the local Hugging Face cache, the newest snapshot, or None."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    snapshots = (cache / f"models--{name.replace('/', '--')}").glob("snapshots/*")
    found = sorted(filter(None, map(inside, snapshots)), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def models() -> Iterator[dict[str, Any]]:
    """Every entry of the catalogue, by name."""
    for name in names():
        yield model_entry(name)
