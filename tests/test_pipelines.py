"""Diffusion pipelines of the catalogue: denoiser, encoders of the text, autoencoder, steps and guidance."""

import json
from pathlib import Path

import pytest

from floorline import load_model
from floorline.catalogue.audit import around, audit
from floorline.catalogue.latents import beside
from floorline.catalogue.load import model_entry
from floorline.catalogue.pipelines import (
    OTHERS,
    UNCOUNTED,
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


def test_catalogue_of_two_denoisers() -> None:
    """Those of Wan 2.2 have two; what a video that starts from an image needs besides is said."""
    assert {name for name in pipelines() if load_pipeline(name).others} == set(OTHERS)
    assert all(load_pipeline(name).uncounted[-len(words) :] == words for name, words in UNCOUNTED.items())
    assert load_pipeline("wan2.1-i2v-14b").uncounted[0] == "the image's encoder"
    assert load_pipeline("open-sora-1.2").uncounted == ("the autoencoder",)
    assert load_pipeline("wan2.2-t2v-a14b").uncounted == load_pipeline("dit-xl-2-256").uncounted == ()


@pytest.mark.parametrize("name", pipelines())
def test_channels_of_the_catalogue_fit(name: str) -> None:
    """Nothing changes where the class and the autoencoder agree."""
    made = load_pipeline(name)
    if made.autoencoder is not None:
        assert beside(made.denoiser, made.autoencoder).latent == made.denoiser.latent


@pytest.mark.parametrize(
    "name", ["sdxl", "stabilityai/stable-diffusion-xl-base-1.0", "sd-1.5", "Stable Diffusion v1-5"]
)
def test_names_of_unets(name: str) -> None:
    """Kinder than names that look alike."""
    with pytest.raises(BadInput, match="U-Nets are not covered"):
        load_pipeline(name)


def test_steps_of_model_cards() -> None:
    """The card of Stable Diffusion 3.5 medium: 40 steps, guidance 4.5; of Wan 2.2 A14B: 40 steps of 1280 by 720."""
    medium, wan = load_pipeline("sd3.5-medium"), load_pipeline("wan2.2-t2v-a14b")
    assert (medium.steps, medium.passes, wan.steps, wan.passes) == (40.0, 2.0, 40.0, 2.0)
    assert wan.denoiser.latent is not None
    assert (wan.denoiser.latent.height, wan.denoiser.latent.width, wan.denoiser.latent.length) == (720.0, 1280.0, 81.0)


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


@pytest.mark.parametrize(
    ("what", "kind", "says"),
    [
        ("gpt2", BadInput, "gpt2 is no diffusion model; expected one such as flux.1-dev"),
        ({"model_type": "gpt2", "name": "mine"}, BadInput, "mine is no diffusion model"),
        ("flux.3-dev", NotFound, "flux.2-dev"),
        (3, BadInput, "not a int"),
        ({"_class_name": "UNet2DConditionModel"}, BadInput, "'UNet2DConditionModel': U-Nets are not covered"),
        ({"_class_name": "SD3Transformer2DModel", "qk_norm": ["rms_norm"]}, BadInput, "qk_norm is"),
        (
            {"_class_name": "LatteTransformer3DModel", "num_layers": 1e9},
            BadInput,
            "num_layers is 1e+09, beyond the limit",
        ),
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
