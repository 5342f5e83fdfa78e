"""Reading diffusion pipelines: by name, from a folder that diffusers wrote, or a denoiser by itself; and autoencoders by name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from floorline.autoencoder import Autoencoder
from floorline.catalogue.load import from_catalogue, hub_config, load_model, model_entry, place
from floorline.catalogue.pipeline_folders import DENOISER, is_pipeline, read_folder, tokens
from floorline.catalogue.spelling import find, names
from floorline.catalogue.u_nets import refuse
from floorline.catalogue.untold import FIRST_IMAGE, IMAGE_ENCODER, lacking, said
from floorline.errors import NotFound, near
from floorline.huggingface.autoencoders import CLASSES
from floorline.huggingface.autoencoders.read import read
from floorline.pipeline import Pipeline, TextEncoder, diffusion
from floorline.transformer import Transformer

AUTOENCODERS = Path(__file__).parent / "autoencoders"
USUAL: Mapping[str, Any] = {"steps": 50.0, "passes": 1.0, "format": None, "text_encoders": ()}
"""Where no pipeline of the catalogue has that class."""
OTHERS = {"wan2.2-t2v-a14b": ("transformer_2",), "wan2.2-i2v-a14b": ("transformer_2",)}
"""Denoisers of the catalogue's pipelines beside the first, of the same configuration: one for much noise, one for little
(Wan-Video/Wan2.2, wan/configs/wan_t2v_A14B.py, ``high_noise_checkpoint`` and ``low_noise_checkpoint``)."""
UNCOUNTED = {"wan2.1-i2v-14b": (IMAGE_ENCODER, FIRST_IMAGE), "wan2.2-i2v-a14b": (FIRST_IMAGE,)}
"""What they do besides, in words (diffusers 0.42, pipelines/wan/pipeline_wan_i2v.py, ``encode_image`` and ``prepare_latents``)."""


def load_pipeline(what: object) -> Pipeline:
    """A diffusion pipeline by catalogue name, folder that diffusers wrote (a hub id in the local cache too), or a denoiser in any
    form that load_model takes.

    A denoiser by itself, a Transformer or a ``config.json``, has neither encoders of the text nor an autoencoder.

    What a folder needs: ``transformer/config.json``, and nothing else. From ``model_index.json`` come the parts that there are;
    without it they are those that lie there. Of each part its ``config.json`` is read: ``transformer_2`` and further ones, which
    share the steps and must have the same sizes; every ``text_encoder``; ``vae``, which says how many pixels and frames a latent
    has, and whose channels must be the denoiser's. A part that is named and not there, or that nothing reads, is in
    ``uncounted``. Weights are not needed, and no folder tells steps and guidance: those of the nearest pipeline in the catalogue
    are taken, or 50 steps of one pass, and are in ``assumed``.

    raises NotFound (status 3) for a name that nobody knows, BadInput (status 2) for what is no diffusion transformer, such as a
    U-Net, or for a folder whose parts do not belong together

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
        return read_folder(folder, folder.resolve().name if folder == place(text) else text, akin)
    try:
        model = load_model(what)
    except NotFound:
        refuse(text)
        raise
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
        path = None if config is None else config.parent.parent if config.parent.name == DENOISER else config.parent
    return path if path is not None and is_pipeline(path) else None


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
    denoiser, autoencoder = from_catalogue(name), known_autoencoder(entry["autoencoder"])
    texts = tuple(TextEncoder(from_catalogue(each["model"]), tokens(each)) for each in entry["text_encoders"])
    return Pipeline(
        name,
        denoiser,
        texts,
        autoencoder,
        float(entry["steps"]),
        float(entry["passes"]),
        entry["format"],
        entry["source"],
        tuple(replace(denoiser, name=f"{name} {other}") for other in OTHERS.get(name, ())),
        (*lacking(denoiser, texts, autoencoder), *UNCOUNTED.get(name, ())),
    )


def by_itself(model: Transformer) -> Pipeline:
    """A denoiser without what is around it, in as many steps as pipelines of its class take.

    raises BadInput for what is no diffusion model
    """
    best, like = akin(diffusion(model).config)
    return Pipeline(
        model.name,
        model,
        steps=float(like["steps"]),
        passes=float(like["passes"]),
        format=model.format,
        source=model.source,
        uncounted=tuple(lacking(model, (), None)),
        assumed=said(like["steps"], like["passes"], best),
    )


def akin(config: Mapping[str, Any], others: int = 0) -> tuple[str, Mapping[str, Any]]:
    """The catalogue's pipeline whose denoiser has the class of a configuration and most of its values, its name first; "" and what
    is usual without any.

    others  denoisers beside that one; of equals the pipeline with as many counts
    """
    found = denoisers().get(kind(config), ())

    def nearness(name: str) -> tuple[int, bool]:
        return shared(model_entry(name)["config"], config), len(OTHERS.get(name, ())) == others

    best = max(found, key=nearness, default="")
    return best, model_entry(best)["pipeline"] if best else USUAL


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
