"""Reading folders of diffusion pipelines as diffusers lays them out: a folder for each part, and an index of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from floorline.autoencoder import Autoencoder
from floorline.catalogue.latents import beside
from floorline.catalogue.load import from_path, read_json
from floorline.catalogue.untold import FIRST_IMAGE, IMAGE_ENCODER, PIXELS, lacking, missing, said
from floorline.errors import BadInput
from floorline.huggingface.autoencoders import CLASSES
from floorline.huggingface.autoencoders.read import HARMLESS, read
from floorline.huggingface.config import LARGEST
from floorline.huggingface.diffusers.read import U_NETS
from floorline.num import Num
from floorline.pipeline import Pipeline, TextEncoder, diffusion
from floorline.transformer import Transformer

INDEX, CONFIG = "model_index.json", "config.json"
DENOISER, TEXT, AUTOENCODER, U_NET = "transformer", "text_encoder", "vae", "unet"
"""Names of parts; a further denoiser is ``transformer_2``, a further encoder ``text_encoder_2``."""
WEIGHTLESS = ("scheduler", "tokenizer", "feature_extractor", "image_processor", "video_processor", "processor")
"""How names of parts without weights begin."""
UNREAD = {"image_encoder": IMAGE_ENCODER}
"""Parts that nothing here reads, in words."""
FROM_IMAGE = "ImageToVideo"
"""In the class of a pipeline whose autoencoder also encodes (pipelines/wan/pipeline_wan_i2v.py, ``prepare_latents``)."""
LEVELS = 64
"""The longest list of an autoencoder's configuration: a level each."""
LARGEST_AUTOENCODER = 1e12
"""Parameters [-]; published ones have about 1e9."""

Akin = Callable[[Mapping[str, Any], int], tuple[str, Mapping[str, Any]]]
"""A denoiser's configuration and how many others share the steps → the nearest pipeline of the catalogue and its name, or "" and
what is usual."""


def is_pipeline(path: Path) -> bool:
    """Whether a folder is that of a pipeline: it has an index, or a denoiser's folder and no configuration of its own."""
    if (path / INDEX).is_file():
        return True
    return not (path / CONFIG).is_file() and any((path / key / CONFIG).is_file() for key in (DENOISER, U_NET))


def read_folder(folder: Path, name: str, akin: Akin) -> Pipeline:
    """A pipeline from a folder; its scheduler is not read.

    name  what to call it
    akin  finds the catalogue's pipeline whose steps, passes and tokens of the text are taken, for no folder tells them

    raises BadInput where the denoiser is not there or a U-Net, denoisers differ in size, or latents in channels
    """
    index = parts(folder)
    denoisers, unread = all_denoisers(folder, index, name)
    near, like = akin(denoisers[0].config, len(denoisers) - 1)
    texts, without = encoders(folder, index, like["text_encoders"])
    autoencoder, why = own_autoencoder(folder, index, name)
    if autoencoder is not None:
        denoisers = [beside(each, autoencoder) for each in denoisers]
    return Pipeline(
        name,
        denoisers[0],
        texts,
        autoencoder,
        float(like["steps"]),
        float(like["passes"]),
        like["format"] or denoisers[0].format,
        str(folder),
        tuple(denoisers[1:]),
        (*unread, *without, *lacking(denoisers[0], texts, autoencoder, without, why), *others(index)),
        said(like["steps"], like["passes"], near),
    )


def parts(folder: Path) -> Mapping[str, Any]:
    """The index of a folder; without one, the parts that lie there.

    raises BadInput where it names no transformer
    """
    path = folder / INDEX
    if path.is_file():
        index = read_json(path)
    else:
        found = sorted(each.parent.name for each in folder.glob(f"*/{CONFIG}"))
        index = {key: [CONFIG, key] for key in found if is_part(key)}
    if isinstance(index, Mapping) and used(index, DENOISER):
        return index
    if isinstance(index, Mapping) and used(index, U_NET):
        raise BadInput(f"{folder}: {U_NETS}")
    raise BadInput(f"{path}: names no transformer; expected the pipeline of a diffusion transformer")


def is_part(key: str) -> bool:
    """Whether a folder's name is that of a part with weights.

    >>> is_part("text_encoder_2"), is_part("vae"), is_part("onnx")
    (True, True, False)
    """
    return key.startswith((DENOISER, TEXT)) or key in (AUTOENCODER, U_NET, *UNREAD)


def used(index: Mapping[str, Any], key: str) -> bool:
    """Whether a pipeline has a part, which is then a library and a class; one that it may have and does not is two nulls.

    >>> used({"vae": ["diffusers", "AutoencoderKL"]}, "vae"), used({"text_encoder_3": [None, None]}, "text_encoder_3")
    (True, False)
    """
    value = index.get(key)
    return isinstance(value, list) and len(value) >= 2 and all(isinstance(word, str) and word for word in value[:2])


def keys(index: Mapping[str, Any], start: str) -> list[str]:
    """The parts whose name begins so, in the order of their names."""
    return sorted(key for key in index if key.startswith(start) and used(index, key))


def config_of(folder: Path, key: str) -> Path | None:
    """The configuration of a part, None where it is not there."""
    path = folder / key / CONFIG
    return path if path.is_file() else None


def all_denoisers(folder: Path, index: Mapping[str, Any], name: str) -> tuple[list[Transformer], list[str]]:
    """The denoiser, and those that share its steps; and what is not counted of them.

    raises BadInput where the first is not there, or is no denoiser
    """
    first = config_of(folder, DENOISER)
    if first is None:
        raise BadInput(f"{folder}: holds no {DENOISER}/{CONFIG}; expected one, since {INDEX} names the part {DENOISER}")
    found, unread = [diffusion(from_path(first, name))], []
    for key in keys(index, DENOISER):
        path = config_of(folder, key)
        if path is None:
            unread.append(missing(key))
        elif key != DENOISER:
            found.append(diffusion(from_path(path, f"{name} {key}")))
    return found, unread


def encoders(
    folder: Path, index: Mapping[str, Any], like: Iterable[Mapping[str, Any]]
) -> tuple[tuple[TextEncoder, ...], list[str]]:
    """The encoders of the text, in the order of their names; and those that are not there.

    like  those of the catalogue's pipeline of that class; as many as here read as many tokens as here
    """
    named, texts, without = keys(index, TEXT), list[TextEncoder](), list[str]()
    known = [tokens(each) for each in like]
    for place, key in enumerate(named):
        path = config_of(folder, key)
        if path is None:
            without.append(missing(key))
            continue
        model = from_path(path, key)
        usual = model.max_positions if model.learned_positions else None
        texts.append(TextEncoder(model, known[place] if len(known) == len(named) else usual))
    return tuple(texts), without


def tokens(text: Mapping[str, Any]) -> Num | None:
    """Tokens that an encoder of an entry reads; None where they are the denoiser's.

    >>> tokens({"model": "clip", "tokens": 77}), tokens({"model": "t5"})
    (77.0, None)
    """
    return float(text["tokens"]) if "tokens" in text else None


def own_autoencoder(folder: Path, index: Mapping[str, Any], name: str) -> tuple[Autoencoder | None, str]:
    """The autoencoder of a folder and ""; or None, and why: it is not there, or nothing reads its class.

    raises BadInput for a configuration that makes no sense
    """
    if not used(index, AUTOENCODER):
        return None, PIXELS
    path = config_of(folder, AUTOENCODER)
    if path is None:
        return None, missing(PIXELS)
    values = read_json(path)
    if not isinstance(values, Mapping):
        raise BadInput(f"{path}: not a JSON object; expected the configuration of an autoencoder")
    kind = values.get("_class_name")
    if isinstance(kind, str) and kind not in CLASSES:
        return None, f"{PIXELS} ({kind[:60]!r} is not read)"
    bounded(values, path)
    found = read(values, f"{name}'s vae", str(path))
    if not found.parameters <= LARGEST_AUTOENCODER:
        raise BadInput(
            f"{path}: {found.parameters:g} parameters are beyond the limit of {LARGEST_AUTOENCODER:g}; is a size a typing error?"
        )
    return found, ""


def bounded(values: Mapping[str, Any], path: Path) -> None:
    """Nothing, where no number of an autoencoder's configuration is absurdly large and no list absurdly long.

    raises BadInput where one is
    """
    for key in values.keys() - set(HARMLESS):
        value = values[key]
        several = value if isinstance(value, list) else [value]
        if len(several) > LEVELS:
            raise BadInput(
                f"{path}: {key[:40]} has {len(several)} values; expected at most {LEVELS}, one for each level"
            )
        most = LARGEST["layers" if "layers" in key else "size"]
        for each in several:
            if isinstance(each, (int, float)) and each > most:
                shown = f"{each:g}" if each < 1e300 else "above 1e300"
                raise BadInput(f"{path}: {key[:40]} is {shown}, beyond the limit of {most:g}; is it a typing error?")


def others(index: Mapping[str, Any]) -> list[str]:
    """What a pipeline has or does besides, in words: parts with weights that nothing reads, and images that become latents."""
    read_here = (DENOISER, TEXT, *WEIGHTLESS)
    unread = [key for key in sorted(index) if used(index, key) and key != AUTOENCODER and not key.startswith(read_here)]
    starts = FROM_IMAGE in str(index.get("_class_name"))
    return [*(UNREAD.get(key, f"the part {key[:40]}") for key in unread), *([FIRST_IMAGE] if starts else [])]
