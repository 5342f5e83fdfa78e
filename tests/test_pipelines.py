"""Diffusion pipelines of the catalogue and of folders: denoiser, encoders of the text, autoencoder, steps and guidance."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from floorline import load_model
from floorline.catalogue.audit import around, audit
from floorline.catalogue.load import model_entry
from floorline.catalogue.pipelines import (
    autoencoder_entry,
    autoencoders,
    load_autoencoder,
    load_pipeline,
    pipelines,
)
from floorline.errors import BadInput, NotFound
from floorline.huggingface.autoencoders import CLASSES
from floorline.pipeline import Pipeline
from oracle import table

DIFFUSERS = {row["name"]: row for row in table("params.csv") if row["library"] == "diffusers"}
FLUX = model_entry("flux.1-dev")

SD3_MEDIUM = {
    "clip-vit-large-patch14-text": 123650304,
    "clip-vit-bigg-14-text": 694659840,
    "t5-v1.1-xxl-encoder": 4762310656,
}
"""ai-dynamo/aitune, docs/guides/aot_inspect.md@4fff562a1765: stable-diffusion-3-medium-diffusers by module."""

TEXT_ENCODERS = {
    "byt5-small-glyph-encoder": 219314944,
    "clip-vit-bigg-14-text": 694659840,
    "clip-vit-large-patch14-text": 123650304,
    "clip-vit-large-patch14-text-unprojected": 123060480,
    "gemma-2-2b-text-encoder": 2614341888,
    "glm-4-9b-text-encoder": 8779194368,
    "hunyuan-dit-bert": 352035840,
    "llama-3.1-8b-text-encoder": 7504924672,
    "llava-llama-3-8b-text-encoder": 7505186816,
    "mistral-small-24b-text-encoder": 22901314560,
    "mt5-xl-encoder": 1669958656,
    "pile-t5-xl-encoder": 1223550976,
    "qwen2.5-vl-7b-text-encoder": 7070619136,
    "qwen3-4b-text-encoder": 4022468096,
    "t5-v1.1-xxl-encoder": 4762310656,
    "t5-xxl-encoder": 4864791552,
    "umt5-xxl-encoder": 5680910336,
}
"""Parameters of transformers 5.23's own classes, built of these configurations on PyTorch's meta device."""

AUTOENCODERS = {
    "allegro-vae": 174955751,
    "cogvideox-vae": 215583907,
    "cogview4-vae": 406100643,
    "cosmos-1.0-vae": 105653696,
    "dc-ae-f32c32-sana": 312250275,
    "flux-vae": 83819683,
    "flux.2-vae": 84046115,
    "hunyuanvideo-1.5-vae": 1260634115,
    "hunyuanvideo-vae": 246478803,
    "ltx-video-0.9-vae": 419193649,
    "ltx-video-0.9.7-vae": 1246913522,
    "mochi-vae": 459748611,
    "qwen-image-vae": 126892531,
    "sd-vae": 83653863,
    "sd3-vae": 83819683,
    "sdxl-vae": 83653863,
    "wan2.1-vae": 126892531,
    "wan2.2-vae": 704688668,
}
"""Parameters of diffusers 0.42's own classes, built the same way."""


def folder(root: Path, parts: Mapping[str, object], **changes: object) -> Path:
    """A folder as diffusers lays it out: the configurations of parts, and an index of them."""
    for name, config in parts.items():
        (root / name).mkdir(parents=True)
        (root / name / "config.json").write_text(json.dumps(config))
    index = {"_class_name": "FluxPipeline", "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]}
    (root / "model_index.json").write_text(
        json.dumps({**index, **{key: ["library", "Class"] for key in parts}, **changes})
    )
    return root


def flux_parts() -> dict[str, Any]:
    """The parts of FLUX.1 [dev]."""
    names = {
        "text_encoder": "clip-vit-large-patch14-text-unprojected",
        "text_encoder_2": "t5-v1.1-xxl-encoder",
        "transformer": "flux.1-dev",
    }
    vae = autoencoder_entry("flux-vae")["config"]
    return {"vae": vae, **{part: model_entry(name)["config"] for part, name in names.items()}}


# The catalogue


def test_every_model_of_diffusers_is_a_pipeline() -> None:
    """None of the oracle's is left out, and each denoiser counts as diffusers' class does."""
    assert set(DIFFUSERS) <= set(pipelines())
    counted = {name: load_pipeline(name).parameters["denoiser"] for name in DIFFUSERS}
    assert counted == {name: int(row["unique_params"]) for name, row in DIFFUSERS.items()}


@pytest.mark.parametrize("name", pipelines())
def test_every_pipeline_loads(name: str) -> None:
    """With all parts that its entry names, and what the audit asks of it."""
    entry, made = model_entry(name), load_pipeline(name)
    own = entry["pipeline"]
    assert made is load_pipeline(name.upper())
    assert [text.model.name for text in made.texts] == [each["model"] for each in own["text_encoders"]]
    assert (made.steps, made.passes, made.format) == (own["steps"], own["passes"], own["format"])
    assert made.denoiser.latent is not None
    assert around(entry) == []
    vae = own["autoencoder"]
    assert vae is None or (made.autoencoder is None) == (autoencoder_entry(vae)["config"]["_class_name"] not in CLASSES)
    assert all(load_pipeline(alias) is made for alias in entry["aliases"])


@pytest.mark.parametrize("name", pipelines())
def test_autoencoder_fits_its_denoiser(name: str) -> None:
    """Latents of the one are latents of the other: as many pixels each, and frames where there is more than one."""
    made = load_pipeline(name)
    if made.autoencoder is not None:
        assert made.denoiser.latent is not None
        latent = made.denoiser.latent
        assert latent.down == made.autoencoder.down
        assert latent.length == 1.0 or (latent.frames, latent.first) == (
            made.autoencoder.frames,
            made.autoencoder.first,
        )


def test_every_part_is_used() -> None:
    """A pipeline names its autoencoder, or says of which class, without a reader, it is."""
    used = {model_entry(name)["pipeline"]["autoencoder"] for name in pipelines()} - {None}
    notes = " ".join(model_entry(name)["pipeline"].get("note", "") for name in pipelines())
    assert used <= set(autoencoders())
    for name in set(autoencoders()) - used:
        assert name in notes
        assert autoencoder_entry(name)["config"]["_class_name"] in notes


def test_text_encoders() -> None:
    """All that pipelines name count as transformers' classes do, without a head."""
    used = {text["model"] for name in pipelines() for text in model_entry(name)["pipeline"]["text_encoders"]}
    assert used == set(TEXT_ENCODERS)
    assert {name: load_model(name).parameter_count().total for name in used} == TEXT_ENCODERS


@pytest.mark.parametrize("name", autoencoders())
def test_autoencoders(name: str) -> None:
    """Those whose class has a reader count as diffusers' classes do."""
    assert name in AUTOENCODERS
    if autoencoder_entry(name)["config"]["_class_name"] in CLASSES:
        assert load_autoencoder(name).parameters == AUTOENCODERS[name]


def test_parts_of_a_whole_pipeline() -> None:
    """Stable Diffusion 3 medium, part by part, as another program printed it."""
    made = load_pipeline("stabilityai/stable-diffusion-3-medium-diffusers")
    assert {text.model.name: text.model.parameter_count().total for text in made.texts} == SD3_MEDIUM
    assert made.parameters["denoiser"] == 2028328000
    assert made.autoencoder is not None
    assert made.autoencoder.decoder.parameter_count().total == 49545475
    assert [text.tokens for text in made.texts] == [77.0, 77.0, 256.0]


def test_defaults_that_a_configuration_does_not_tell() -> None:
    """FLUX.1 [schnell] reads half the text of [dev]; their configurations do not differ in it."""
    made = load_model("flux.1-schnell").latent
    assert made is not None
    assert made.text == 256.0
    assert load_pipeline("flux.1-schnell").denoiser.latent == made


# Other ways to name one


def test_pipeline_of_its_own() -> None:
    """A pipeline stays what it is; a denoiser alone, as a model or as a dict, has nothing around it."""
    whole = load_pipeline("flux.1-dev")
    assert load_pipeline(whole) is whole
    for alone in (load_pipeline(whole.denoiser), load_pipeline(FLUX["config"])):
        assert (alone.texts, alone.autoencoder) == ((), None)
        assert set(alone.parameters) == {"denoiser", "text"}
        assert (alone.steps, alone.passes) == (50.0, 1.0)


def test_steps_of_a_configuration_are_those_of_its_likes(tmp_path: Path) -> None:
    """A file of the class of PixArt takes its steps and guidance; the nearest of a class counts."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(model_entry("pixart-alpha-xl-2-512")["config"]))
    made = load_pipeline(path)
    assert (made.steps, made.passes, made.texts) == (20.0, 2.0, ())
    path.write_text(json.dumps(model_entry("flux.1-schnell")["config"]))
    assert load_pipeline(path).steps == 4.0


def test_folder(tmp_path: Path) -> None:
    """Every part is read from its own configuration; what the index leaves out is none."""
    made = load_pipeline(folder(tmp_path / "mine", {**flux_parts()}, text_encoder_3=[None, None]))
    known = load_pipeline("flux.1-dev")
    assert made.name == "mine"
    assert made.parameters == known.parameters
    assert [text.tokens for text in made.texts] == [77.0, None]
    assert (made.steps, made.passes, made.format) == (known.steps, known.passes, known.format)
    assert load_model(tmp_path / "mine").parameter_count().total == known.parameters["denoiser"]


def test_folder_of_the_local_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub id that the catalogue has not is found where it was downloaded, whole or the denoiser of it."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder(tmp_path / "models--somebody--tuned-flux/snapshots/0123", flux_parts())
    made = load_pipeline("somebody/tuned-flux")
    assert made.name == "somebody/tuned-flux"
    assert made.parameters == load_pipeline("flux.1-dev").parameters
    assert load_model("somebody/tuned-flux").parameter_count().total == made.parameters["denoiser"]


def test_folder_of_fewer_parts(tmp_path: Path) -> None:
    """Without T5 and without an autoencoder; CLIP reads as many tokens as it has positions."""
    parts = flux_parts()
    made = load_pipeline(folder(tmp_path, {key: parts[key] for key in ("text_encoder", "transformer")}))
    assert made.autoencoder is None
    assert [text.tokens for text in made.texts] == [77.0]


def test_folder_with_an_autoencoder_that_nobody_reads(tmp_path: Path) -> None:
    """A class without a reader is no autoencoder."""
    parts = {**flux_parts(), "vae": {"_class_name": "AutoencoderOfTomorrow"}}
    assert load_pipeline(folder(tmp_path, parts)).autoencoder is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"text_encoder_3": ["transformers", "T5EncoderModel"]}, "holds no text_encoder_3/config.json"),
        ({"transformer": None}, "holds no transformer"),
    ],
)
def test_folder_that_lacks_a_part(tmp_path: Path, change: dict[str, object], says: str) -> None:
    """The error names what is missing."""
    parts = {key: value for key, value in flux_parts().items() if key not in change}
    with pytest.raises(BadInput) as error:
        load_pipeline(
            folder(tmp_path, parts, **{k: v for k, v in change.items() if v}, transformer=["diffusers", "Flux"])
        )
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_folder_of_a_unet(tmp_path: Path) -> None:
    """Stable Diffusion 1.5 has no transformer."""
    (tmp_path / "model_index.json").write_text(json.dumps({"unet": ["diffusers", "UNet2DConditionModel"]}))
    with pytest.raises(BadInput, match="names no transformer"):
        load_pipeline(tmp_path)


@pytest.mark.parametrize(
    ("what", "kind", "says"),
    [
        ("gpt2", BadInput, "gpt2 is no diffusion model; expected one such as flux.1-dev"),
        ({"model_type": "gpt2", "name": "mine"}, BadInput, "mine is no diffusion model"),
        ("flux.3-dev", NotFound, "flux.2-dev"),
        (3, BadInput, "not a int"),
        ({"_class_name": "UNet2DConditionModel"}, BadInput, "UNet2DConditionModel"),
    ],
)
def test_bad_input(what: object, kind: type[Exception], says: str) -> None:
    """One line: what was wrong, what was expected."""
    with pytest.raises(kind) as error:
        load_pipeline(what)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_autoencoder_by_name() -> None:
    """Its parameters are diffusers'; a name that nobody knows has near ones."""
    assert load_autoencoder("sd-vae").parameters == 83653863
    with pytest.raises(NotFound, match="flux-vae"):
        load_autoencoder("flux-vaes")


# The audit


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"autoencoder": "none"}, "the autoencoder 'none' is not in the catalogue"),
        ({"autoencoder": None}, "no autoencoder, and no note why"),
        ({"text_encoders": [{"model": "none"}]}, "the text encoder 'none' is not in the catalogue"),
        ({"text_encoders": [{"model": "qwen3-4b"}]}, "the text encoder qwen3-4b has a head"),
        (
            {"text_encoders": [{"model": "clip-vit-bigg-14-text", "tokens": 78}]},
            "the text encoder clip-vit-bigg-14-text reads no 78 tokens",
        ),
        ({"steps": 0}, "the pipeline has steps = 0"),
        ({"source": ""}, "no source of the pipeline"),
        ({"colour": "red"}, "unknown key 'colour' of the pipeline"),
    ],
)
def test_audit_finds(change: dict[str, object], says: str) -> None:
    """Every kind of mistake of a pipeline."""
    wrong = [f.reason for f in audit([{**FLUX, "pipeline": {**FLUX["pipeline"], **change}}]) if f.wrong]
    assert wrong == [says]


def test_audit_misses_nothing() -> None:
    """A key left out, and a pipeline around what is no diffusion model."""
    less = {key: value for key, value in FLUX["pipeline"].items() if key != "steps"}
    assert around({**FLUX, "pipeline": less}) == ["the key 'steps' of the pipeline is missing"]
    assert around({**model_entry("gpt2"), "pipeline": FLUX["pipeline"]}) == ["a pipeline of what is no diffusion model"]


def test_answer_in_short() -> None:
    """What a JSON answer says of a pipeline."""
    made: Pipeline = load_pipeline("flux.1-dev")
    answer = made.answer()
    assert answer["denoiser"] == "flux.1-dev"
    assert answer["autoencoder"] == "flux-vae"
    assert answer["guidance_passes"] == 1.0
