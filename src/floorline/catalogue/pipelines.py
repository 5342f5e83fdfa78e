"""Reading diffusion pipelines: by name, from a folder that diffusers wrote, or a denoiser by itself; and autoencoders by name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from floorline.autoencoder import Autoencoder
from floorline.catalogue.load import from_catalogue, from_path, hub_config, load_model, model_entry, place, read_json
from floorline.catalogue.spelling import find, names
from floorline.errors import BadInput, NotFound, near
from floorline.huggingface.autoencoders import CLASSES
from floorline.huggingface.autoencoders.read import read
from floorline.num import Num
from floorline.pipeline import Pipeline, TextEncoder
from floorline.transformer import Transformer

AUTOENCODERS = Path(__file__).parent / "autoencoders"
INDEX = "model_index.json"
STEPS, PASSES = 50.0, 1.0
"""Where no pipeline of the catalogue has that class."""


def load_pipeline(what: object) -> Pipeline:
    """A diffusion pipeline by catalogue name, folder that diffusers wrote (a hub id in the local cache too), or a denoiser in any
    form that load_model takes.

    A denoiser by itself, a Transformer or a ``config.json``, has neither encoders of the text nor an autoencoder.

    raises NotFound (status 3) for a name that nobody knows, BadInput (status 2) for what is no diffusion model

    >>> flux = load_pipeline("flux.1-dev")
    >>> [text.model.name for text in flux.texts], flux.steps, flux.passes
    (['clip-vit-large-patch14-text-unprojected', 't5-v1.1-xxl-encoder'], 50.0, 1.0)
    """
    if isinstance(what, Pipeline):
        return what
    if isinstance(what, Transformer):
        return by_itself(what)
    text = os.fspath(what) if isinstance(what, (str, os.PathLike)) else ""
    folder = place_of(text)
    if folder is not None:
        return from_folder(folder, text if folder != place(text) else "")
    model = load_model(what)
    return pipeline(model.name) if of_catalogue(model) else by_itself(model)


def place_of(text: str) -> Path | None:
    """The folder of a pipeline that a text means: a path, or a hub id in the local cache that the catalogue has not.

    >>> place_of("flux.1-dev") is place_of("") is None
    True
    """
    if not text or text.lower() in names():
        return None
    path = place(text)
    if path is None and find(text) is None and text.count("/") == 1:
        config = hub_config(text)
        path = None if config is None else config.parent.parent
    return path if path is not None and (path / INDEX).is_file() else None


def of_catalogue(model: Transformer) -> bool:
    """Whether a model is the denoiser of a pipeline of the catalogue."""
    if model.name not in pipelines():
        return False
    entry = model_entry(model.name)
    return bool(model.source == entry["source"] and model.config == entry["config"])


@lru_cache(maxsize=128)
def pipeline(name: str) -> Pipeline:
    """A pipeline of the catalogue by its name."""
    entry = model_entry(name)["pipeline"]
    texts = (TextEncoder(from_catalogue(each["model"]), tokens(each)) for each in entry["text_encoders"])
    return Pipeline(
        name,
        diffusion(from_catalogue(name)),
        tuple(texts),
        known_autoencoder(entry["autoencoder"]),
        float(entry["steps"]),
        float(entry["passes"]),
        entry["format"],
        entry["source"],
    )


def tokens(text: Mapping[str, Any]) -> Num | None:
    """Tokens that an encoder of an entry reads; None where they are the denoiser's.

    >>> tokens({"model": "clip", "tokens": 77}), tokens({"model": "t5"})
    (77.0, None)
    """
    return float(text["tokens"]) if "tokens" in text else None


def by_itself(model: Transformer) -> Pipeline:
    """A denoiser without what is around it, in as many steps as pipelines of its class take.

    raises BadInput for what is no diffusion model
    """
    like = akin(diffusion(model).config)
    steps, passes = (like["steps"], like["passes"]) if like else (STEPS, PASSES)
    return Pipeline(
        model.name, model, steps=float(steps), passes=float(passes), format=model.format, source=model.source
    )


def diffusion(model: Transformer) -> Transformer:
    """The same model.

    raises BadInput where it denoises nothing
    """
    if model.latent is None:
        raise BadInput(f"{model.name} is no diffusion model; expected one such as flux.1-dev")
    return model


def akin(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The catalogue's pipeline whose denoiser has the class of a configuration and most of its values; None without any."""
    found = denoisers().get(kind(config), ())
    best = max(found, key=lambda name: shared(model_entry(name)["config"], config), default=None)
    return None if best is None else model_entry(best)["pipeline"]


def kind(config: Mapping[str, Any]) -> str:
    """What a configuration is one of: a class of diffusers, or a type of its own.

    >>> kind({"_class_name": "FluxTransformer2DModel"}), kind({"model_type": "STDiT3"})
    ('FluxTransformer2DModel', 'STDiT3')
    """
    return str(config.get("_class_name") or config.get("model_type"))


def shared(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """How many values two configurations share.

    >>> shared({"num_layers": 19, "patch_size": 1}, {"num_layers": 19, "patch_size": 2})
    1
    """
    return sum(key in other and value == other[key] for key, value in one.items())


@cache
def denoisers() -> Mapping[str, tuple[str, ...]]:
    """Classes of denoisers → names of the catalogue's pipelines that have one."""
    found: dict[str, tuple[str, ...]] = {}
    for name in pipelines():
        key = kind(model_entry(name)["config"])
        found[key] = (*found.get(key, ()), name)
    return found


@cache
def pipelines() -> tuple[str, ...]:
    """Names of the catalogue's pipelines: of all models that come with one."""
    return tuple(name for name in names() if "pipeline" in model_entry(name))


def from_folder(folder: Path, name: str = "") -> Pipeline:
    """A pipeline from a folder as diffusers lays it out; its scheduler is not read.

    name  what to call it; left out, as the folder

    raises BadInput where a part that the index names has no configuration
    """
    index, name = read_json(folder / INDEX), name or folder.resolve().name
    if not isinstance(index, Mapping) or "transformer" not in index:
        raise BadInput(f"{folder / INDEX}: names no transformer; expected the pipeline of a diffusion transformer")
    denoiser = diffusion(from_path(part(folder, "transformer"), name))
    like = akin(denoiser.config) or {"text_encoders": (), "steps": STEPS, "passes": PASSES, "format": denoiser.format}
    return Pipeline(
        name,
        denoiser,
        encoders(folder, index, like["text_encoders"]),
        own_autoencoder(folder, name) if used(index, "vae") else None,
        float(like["steps"]),
        float(like["passes"]),
        like["format"],
        str(folder),
    )


def used(index: Mapping[str, Any], key: str) -> bool:
    """Whether a pipeline has a part; one that it may have and does not is two nulls.

    >>> used({"vae": ["diffusers", "AutoencoderKL"]}, "vae"), used({"text_encoder_3": [None, None]}, "text_encoder_3")
    (True, False)
    """
    value = index.get(key)
    return isinstance(value, (list, tuple)) and any(value)


def part(folder: Path, key: str) -> Path:
    """The configuration of a part.

    raises BadInput where there is none
    """
    path = folder / key / "config.json"
    if not path.is_file():
        raise BadInput(f"{folder}: holds no {key}/config.json; expected one, since {INDEX} names the part {key}")
    return path


def encoders(folder: Path, index: Mapping[str, Any], like: tuple[Mapping[str, Any], ...]) -> tuple[TextEncoder, ...]:
    """The encoders of the text, in the order of their names.

    like  those of the catalogue's pipeline of that class; as many as here read as many tokens as here
    """
    keys = sorted(key for key in index if key.startswith("text_encoder") and used(index, key))
    models = [from_path(part(folder, key), key) for key in keys]
    if len(models) == len(like):
        return tuple(TextEncoder(model, tokens(each)) for model, each in zip(models, like, strict=True))
    return tuple(TextEncoder(m, m.max_positions if m.learned_positions else None) for m in models)


def own_autoencoder(folder: Path, name: str) -> Autoencoder | None:
    """The autoencoder of a folder; None where its class is not known."""
    path = part(folder, "vae")
    values = read_json(path)
    known = not isinstance(values, Mapping) or values.get("_class_name") in CLASSES
    return read(values, f"{name}'s vae", str(path)) if known else None


def known_autoencoder(name: str | None) -> Autoencoder | None:
    """An autoencoder of the catalogue; None where its class has no reader."""
    if name is None or autoencoder_entry(name)["config"]["_class_name"] not in CLASSES:
        return None
    return load_autoencoder(name)


@lru_cache(maxsize=128)
def load_autoencoder(name: str) -> Autoencoder:
    """An autoencoder of the catalogue by its name.

    raises NotFound for a name that is not there

    >>> load_autoencoder("flux-vae").parameters
    83819683.0
    """
    entry = autoencoder_entry(name)
    return read(entry["config"], entry["name"], entry["source"])


@cache
def autoencoder_entry(name: str) -> Mapping[str, Any]:
    """The catalogue's file of an autoencoder: its name, where its configuration was read, and that.

    raises NotFound for a name that is not there
    """
    if name not in autoencoders():
        raise NotFound(f"autoencoder {name[:80]!r} is not in the catalogue; {near(name, autoencoders())}")
    entry: dict[str, Any] = json.loads((AUTOENCODERS / f"{name}.json").read_text())
    return entry


@cache
def autoencoders() -> tuple[str, ...]:
    """Names of the catalogue's autoencoders."""
    return tuple(sorted(path.stem for path in AUTOENCODERS.glob("*.json")))
