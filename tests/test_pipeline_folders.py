"""Folders of diffusion pipelines: parts that are read, that are not there, and that do not belong together."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from floorline import Denoise, load_model
from floorline.catalogue.latents import beside
from floorline.catalogue.load import model_entry
from floorline.catalogue.pipelines import autoencoder_entry, load_pipeline
from floorline.denoise_step import grid
from floorline.errors import BadInput
from oracle import table

FLUX = model_entry("flux.1-dev")
DIFFUSERS_WAN = next(int(row["unique_params"]) for row in table("params.csv") if row["name"] == "wan2.1-t2v-14b")
"""Each denoiser of Wan 2.2 A14B has the configuration of that one (diffusers, scripts/convert_wan_to_diffusers.py)."""


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


def wan_parts() -> dict[str, Any]:
    """The parts of Wan 2.2 A14B, text to video."""
    denoiser = model_entry("wan2.2-t2v-a14b")["config"]
    vae, text = autoencoder_entry("wan2.1-vae")["config"], model_entry("umt5-xxl-encoder")["config"]
    return {"vae": vae, "text_encoder": text, "transformer": denoiser, "transformer_2": denoiser}


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
    """A class without a reader is no autoencoder, and is named."""
    made = load_pipeline(folder(tmp_path, {**flux_parts(), "vae": {"_class_name": "AutoencoderOfTomorrow"}}))
    assert made.autoencoder is None
    assert made.uncounted == ("the autoencoder ('AutoencoderOfTomorrow' is not read)",)


def test_folder_without_the_denoiser(tmp_path: Path) -> None:
    """The error names what is missing."""
    parts = {key: value for key, value in flux_parts().items() if key != "transformer"}
    with pytest.raises(BadInput, match=r"holds no transformer/config\.json"):
        load_pipeline(folder(tmp_path, parts, transformer=["diffusers", "FluxTransformer2DModel"]))


def test_folder_that_lacks_a_part(tmp_path: Path) -> None:
    """Whoever downloaded only some parts is told what is not counted; the encoders that are there read what they would."""
    parts = {key: value for key, value in flux_parts().items() if key not in ("vae", "text_encoder")}
    said = {key: ["library", "Class"] for key in ("text_encoder", "vae", "transformer_2")}
    made = load_pipeline(folder(tmp_path, parts, **said))
    assert [(text.model.name, text.tokens) for text in made.texts] == [("text_encoder_2", None)]
    assert (made.autoencoder, made.others) == (None, ())
    assert made.uncounted == (
        "transformer_2 (no config.json)",
        "text_encoder (no config.json)",
        "the autoencoder (no config.json)",
    )


def test_folder_without_an_index(tmp_path: Path) -> None:
    """What lies there is read, other folders are not; without encoders and autoencoder these are what is not counted."""
    made = load_pipeline(folder(tmp_path / "mine", {**flux_parts(), "onnx": {}}))
    (tmp_path / "mine" / "model_index.json").unlink()
    bare = load_pipeline(tmp_path / "mine")
    assert (bare.parameters, bare.uncounted) == (load_pipeline("flux.1-dev").parameters, ())
    assert made.uncounted == ("the part onnx",)
    alone = tmp_path / "alone" / "transformer"
    alone.mkdir(parents=True)
    (alone / "config.json").write_text(json.dumps(FLUX["config"]))
    assert load_pipeline(alone.parent).uncounted == ("the text's encoders", "the autoencoder")


def test_folder_of_two_denoisers(tmp_path: Path) -> None:
    """Both count, and the steps are those of the pipeline that has two; its likes with one have others."""
    made = load_pipeline(folder(tmp_path / "wan", wan_parts(), boundary_ratio=0.875))
    assert [other.name for other in made.others] == ["wan transformer_2"]
    assert made.parameters == load_pipeline("wan2.2-t2v-a14b").parameters
    assert made.parameters["denoiser"] == made.parameters["other_denoisers"] == DIFFUSERS_WAN
    assert made.assumed == ("40 steps, as wan2.2-t2v-a14b takes", "2 guidance passes, as wan2.2-t2v-a14b takes")
    assert made.answer()["other_denoisers"] == ("wan transformer_2",)
    one = {key: value for key, value in wan_parts().items() if key != "transformer_2"}
    assert load_pipeline(folder(tmp_path / "one", one, transformer_2=[None, None])).steps == 50.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ffn_dim": 8960}, "differs in the size of F; expected the same sizes"),
        ({"num_layers": 30}, "differs in how many layers it has"),
        ({"cross_attn_norm": False}, "differs in its layers"),
    ],
)
def test_denoisers_of_different_sizes(tmp_path: Path, change: dict[str, object], says: str) -> None:
    """A step of the one would not take what a step of the other takes."""
    parts = wan_parts()
    with pytest.raises(BadInput, match=says):
        load_pipeline(folder(tmp_path, {**parts, "transformer_2": {**parts["transformer"], **change}}))


def test_folder_that_starts_from_an_image(tmp_path: Path) -> None:
    """The image's encoder, and the way to latents, are not counted."""
    parts = {**wan_parts(), "image_encoder": {"model_type": "clip_vision_model"}}
    made = load_pipeline(
        folder(tmp_path, parts, _class_name="WanImageToVideoPipeline", tokenizer=["transformers", "T5TokenizerFast"])
    )
    assert made.uncounted == ("the image's encoder", "the encoding of the image that it starts from")


def test_autoencoder_says_how_large_latents_are(tmp_path: Path) -> None:
    """FLUX with an autoencoder of 32 pixels a latent has 16 x 16 tokens of 2 x 2 latents each, not 64 x 64."""
    parts = {
        **flux_parts(),
        "vae": autoencoder_entry("dc-ae-f32c32-sana")["config"],
        "transformer": {**FLUX["config"], "in_channels": 128},
    }
    square = Denoise(height=1024, width=1024)
    assert grid(load_pipeline(folder(tmp_path, parts)).denoiser, square).tokens == 256.0
    assert grid(load_pipeline("flux.1-dev").denoiser, square).tokens == 4096.0


def test_autoencoder_says_how_many_frames_latents_have(tmp_path: Path) -> None:
    """A video has its autoencoder's eight frames a latent frame; a picture has none, whatever its autoencoder could."""
    parts = {**wan_parts(), "vae": autoencoder_entry("cosmos-1.0-vae")["config"]}
    made = load_pipeline(folder(tmp_path, parts)).denoiser
    assert grid(made, Denoise(frames=81)).frames == 11.0
    picture = load_pipeline("qwen-image")
    assert picture.autoencoder is not None
    assert beside(picture.denoiser, picture.autoencoder).latent == picture.denoiser.latent


@pytest.mark.parametrize("name", ["dc-ae-f32c32-sana", "sd-vae"])
def test_channels_that_do_not_fit(tmp_path: Path, name: str) -> None:
    """More channels than the denoiser's 16, or fewer."""
    parts = {**flux_parts(), "vae": autoencoder_entry(name)["config"]}
    with pytest.raises(BadInput, match=r"reads 16 and makes 16 channels of a latent .* its autoencoder has (32|4);"):
        load_pipeline(folder(tmp_path, parts))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"_class_name": ["a"]}, "is no autoencoder that is known"),
        (5, "not a JSON object"),
        ({"layers_per_block": 1e9}, "layers_per_block is 1e.09, beyond the limit of 1e.06"),
        ({"layers_per_block": 1e6}, "parameters are beyond the limit"),
        ({"latent_channels": 1e12}, "beyond the limit of 1e.09"),
        ({"block_out_channels": [32] * 2000}, "2000 values; expected at most 64"),
    ],
)
def test_autoencoder_that_makes_no_sense(tmp_path: Path, values: object, says: str) -> None:
    """One line, and no absurd answer."""
    vae = {**flux_parts()["vae"], **values} if isinstance(values, dict) else values
    with pytest.raises(BadInput, match=says):
        load_pipeline(folder(tmp_path, {**flux_parts(), "vae": vae}))


def test_lists_of_an_autoencoder_that_are_no_levels(tmp_path: Path) -> None:
    """The mean of each of many channels is no size."""
    vae = {**flux_parts()["vae"], "latents_mean": [0.0] * 128}
    assert load_pipeline(folder(tmp_path, {**flux_parts(), "vae": vae})).autoencoder is not None


@pytest.mark.parametrize("value", [[None, None], "x", None, [], ["diffusers"], [["a"], ["b"]], {"a": 1}, 5])
def test_index_that_names_no_transformer(tmp_path: Path, value: object) -> None:
    """Only a library and a class are a part, whatever lies in the folder."""
    with pytest.raises(BadInput, match="names no transformer"):
        load_pipeline(folder(tmp_path, flux_parts(), transformer=value))


def test_folder_of_a_unet(tmp_path: Path) -> None:
    """Stable Diffusion 1.5 has no transformer, with an index or without."""
    (tmp_path / "model_index.json").write_text(json.dumps({"unet": ["diffusers", "UNet2DConditionModel"]}))
    with pytest.raises(BadInput, match="U-Nets are not covered; expected a diffusion transformer"):
        load_pipeline(tmp_path)
    (tmp_path / "model_index.json").unlink()
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text("{}")
    with pytest.raises(BadInput, match="U-Nets are not covered"):
        load_pipeline(tmp_path)


def test_what_is_assumed(tmp_path: Path) -> None:
    """Steps and passes that no folder tells are said; those of the catalogue are read."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"_class_name": "BriaTransformer2DModel"}))
    assert load_pipeline(path).assumed == ("50 steps", "one guidance pass")
    path.write_text(json.dumps(FLUX["config"]))
    assert load_pipeline(path).assumed[0] == "50 steps, as flux.1-dev takes"
    assert load_pipeline("flux.1-dev").assumed == ()
