"""Autoencoders against diffusers' own classes: parameters, FLOP of encode and of decode; laws of what they count."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from floorline.autoencoder import Autoencoder
from floorline.autoencoder_memory import autoencoder_memory
from floorline.autoencoder_step import (
    DECODE,
    ENCODE,
    Clip,
    autoencoder_cost,
    autoencoder_flops,
    autoencoder_runs,
    autoencoder_step,
)
from floorline.errors import BadInput
from floorline.huggingface.autoencoders import CLASSES
from floorline.huggingface.autoencoders.read import read

VALIDATION = Path(__file__).parents[1] / "validation"
ORACLE = VALIDATION / "oracle" / "autoencoders"
LINES = [json.loads(line) for line in (VALIDATION / "variants" / "autoencoders.jsonl").read_text().splitlines()[1:]]
CONFIGS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text())["config"] for path in sorted(ORACLE.glob("*.json"))
}
ROWS, VARIANTS, COUNTS = 118, 118, 837
"""Rows of the oracle; made-up configurations, and counts of them that the library itself could make."""
DEFAULTS = [{"_class_name": kind} for kind in CLASSES]


def rows() -> Iterator[Mapping[str, str]]:
    """Rows of the recorded oracle."""
    with ORACLE.with_suffix(".csv").open() as lines:
        yield from csv.DictReader(line for line in lines if not line.startswith("#"))


@cache
def known(name: str) -> Autoencoder:
    """One of the configurations of the oracle."""
    return read(CONFIGS[name], name)


@pytest.mark.parametrize(
    "row", list(rows()), ids=lambda row: f"{row['name']}-{row['mode']}-{row['height']}-{row['tiled']}"
)
def test_published_ones_equal_the_oracle(row: Mapping[str, str]) -> None:
    found = known(row["name"])
    clip = Clip(*(float(row[key]) for key in ("batch", "frames", "height", "width")))
    assert found.parameters == float(row["params"])
    assert autoencoder_flops(found, row["mode"], clip, tile=row["tiled"] == "1") == float(row["flops"])


@pytest.mark.parametrize("line", LINES, ids=lambda line: str(line["name"]))
def test_variants_equal_the_oracle(line: Mapping[str, Any]) -> None:
    """What the library cannot build is refused; what it cannot run at some size says nothing."""
    if "error" in line:
        with pytest.raises(BadInput):
            read(line["config"], line["name"])
        return
    found = read(line["config"], line["name"])
    assert found.parameters == line["params"]
    for mode, batch, frames, height, width, tiled, flops in line["counts"]:
        if not isinstance(flops, str):
            clip = Clip(float(batch), float(frames), float(height), float(width))
            assert autoencoder_flops(found, mode, clip, tile=tiled) == flops, (mode, clip, tiled)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("mode", [ENCODE, DECODE])
def test_flop_grow_with_the_batch(name: str, mode: str) -> None:
    one, three = (autoencoder_flops(known(name), mode, Clip(n, 9.0, 256.0, 384.0)) for n in (1.0, 3.0))
    assert three == 3.0 * one


@pytest.mark.parametrize("name", ["cogvideox", "wan-2.1", "wan-2.2"])
@pytest.mark.parametrize("mode", [ENCODE, DECODE])
def test_frames_that_are_kept_cost_no_arithmetic(name: str, mode: str) -> None:
    """Runs of a few frames do as much as one run over all of them, and each further latent frame as much as the one before."""
    found = known(name)
    model = found.encoder if mode == ENCODE else found.decoder
    flops = [autoencoder_flops(found, mode, Clip(1.0, frames, 256.0, 384.0)) for frames in (9.0, 17.0, 25.0)]
    whole = autoencoder_step(model, 1.0, 25.0, 256.0, 384.0, found).cost("unfused").flops
    assert flops[2] == whole
    assert flops[2] - flops[1] == flops[1] - flops[0]


@pytest.mark.parametrize("name", CONFIGS)
def test_tiles_need_no_more_memory(name: str) -> None:
    clip = Clip(1.0, 17.0, 2048.0, 2048.0)
    whole, tiled = (autoencoder_memory(known(name), DECODE, clip, tile=tile) for tile in (False, True))
    assert tiled.activations <= whole.activations
    assert tiled.weights == whole.weights


@pytest.mark.parametrize("side", [512.0, 1024.0, 1352.0, 2048.0])
@pytest.mark.parametrize("mode", [ENCODE, DECODE])
def test_tiles_overlap(side: float, mode: str) -> None:
    """Convolutions do more over tiles than over the whole; only attention of all pixels does less."""
    bare = read({**CONFIGS["sd-1.5"], "mid_block_add_attention": False}, "without attention")
    clip = Clip(1.0, 1.0, side, side)
    assert autoencoder_flops(bare, mode, clip, tile=True) >= autoencoder_flops(bare, mode, clip)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("tile", [False, True])
@pytest.mark.parametrize("mode", [ENCODE, DECODE])
def test_an_array_gives_what_its_scalars_give(name: str, tile: bool, mode: str) -> None:
    heights = np.array([512.0, 768.0, 1408.0])
    found = autoencoder_flops(known(name), mode, Clip(1.0, 21.0, heights, 640.0), tile=tile)
    assert list(np.asarray(found)) == [
        autoencoder_flops(known(name), mode, Clip(1.0, 21.0, float(h), 640.0), tile=tile) for h in heights
    ]


@pytest.mark.parametrize("name", CONFIGS)
def test_runs_move_bytes_and_share_weights(name: str) -> None:
    found, clip = known(name), Clip(1.0, 9.0, 256.0, 256.0)
    cost = autoencoder_cost(autoencoder_runs(found, DECODE, clip))
    assert cost.flops == autoencoder_flops(found, DECODE, clip)
    assert cost.bytes > 2.0 * found.decoder.parameter_count().total


@pytest.mark.parametrize("mode", [ENCODE, DECODE])
def test_what_no_whole_tile_covers_is_not_read(mode: str) -> None:
    """Allegro's library cuts always, into whole tiles; only its first or last matmul reads everything."""
    runs = [
        autoencoder_runs(known("allegro"), mode, Clip(1.0, 88.0, h, 1280.0), tile=t)
        for h in (720.0, 880.0)
        for t in (False, True)
    ]
    assert [[float(np.asarray(times)) for times, _ in run] for run in runs] == [[75.0, 1.0]] * 4
    assert len({float(run[0][1].cost("unfused").flops) for run in runs}) == 1
    assert runs[2][1][1].cost("unfused").flops > runs[0][1][1].cost("unfused").flops


@pytest.mark.parametrize("config", DEFAULTS, ids=lambda config: str(config["_class_name"]))
def test_every_class_has_defaults(config: Mapping[str, object]) -> None:
    found = read(config, "defaults")
    assert found.parameters > 0.0
    assert found.config == config


KL = {**CONFIGS["sd-1.5"]}
LATE: dict[str, Any] = {"_class_name": "AutoencoderKLLTXVideo", "down_block_types": ["LTXVideo095DownBlock3D"] * 3}
LATE |= {"spatio_temporal_scaling": [True] * 3, "layers_per_block": [1] * 4}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"_class_name": "AutoencoderKLL"}, "did you mean AutoencoderKL"),
    ({"_class_name": None}, "no autoencoder that is known"),
    ({**KL, "block_out_channels": "wide"}, "block_out_channels"),
    ({**KL, "block_out_channels": [128, 256, 500, 512]}, "norm_num_groups = 32 does not divide 500"),
    ({**KL, "down_block_types": ["AttnDownEncoderBlock2D"] * 4}, "down_block_types"),
    ({**KL, "up_block_types": ["UpDecoderBlock2D"] * 3}, "up_block_types"),
    ({**KL, "act_fn": "geglu"}, "act_fn"),
    ({**KL, "latent_channels": 0}, "latent_channels"),
    ({**KL, "layers_per_blok": 2}, "layers_per_blok"),
    ({"_class_name": "AutoencoderKLCogVideoX", "use_quant_conv": True}, "use_quant_conv"),
    ({"_class_name": "AutoencoderKLCogVideoX", "temporal_compression_ratio": "four"}, "temporal_compression_ratio"),
    ({"_class_name": "AutoencoderKLHunyuanVideo", "temporal_compression_ratio": 8}, "temporal_compression_ratio"),
    ({"_class_name": "AutoencoderKLWan", "temperal_downsample": [True, True, True]}, "temperal_downsample"),
    ({"_class_name": "AutoencoderKLWan", "temperal_downsample": [True]}, "temperal_downsample"),
    ({"_class_name": "AutoencoderKLWan", "attn_scales": "all"}, "attn_scales"),
    ({"_class_name": "AutoencoderKLMochi", "layers_per_block": [3, 3]}, "layers_per_block has 2 values; expected 5"),
    ({"_class_name": "AutoencoderKLMochi", "add_attention_block": "all"}, "add_attention_block"),
    ({"_class_name": "AutoencoderKLMochi", "encoder_block_out_channels": [48] * 4}, "multiples of 32"),
    ({"_class_name": "AutoencoderKLMochi", "in_channels": 3}, "in_channels must be a multiple of 5"),
    ({"_class_name": "AutoencoderKLLTXVideo", "patch_size_t": 2}, "patch_size_t"),
    (
        {"_class_name": "AutoencoderKLLTXVideo", "decoder_inject_noise": [False] * 4},
        "decoder_inject_noise has 4 values",
    ),
    ({**LATE, "downsample_type": ["conv"] * 3}, "no downsample_type"),
    (LATE, "downsample_type is"),
    ({"_class_name": "AutoencoderKLAllegro", "temporal_compression_ratio": 8}, "temporal_downsample_blocks"),
    ({"_class_name": "AutoencoderKLAllegro", "sample_size": 124}, "sample_size"),
    ({"_class_name": "AutoencoderKLCosmos", "patch_type": "wavelet"}, "patch_type"),
    ({"_class_name": "AutoencoderKLCosmos", "spatial_compression_ratio": 6}, "a power of two"),
    ({"_class_name": "AutoencoderKLCosmos", "decode_block_out_channels": [64]}, "two widths or more"),
    ({"_class_name": "AutoencoderDC", "encoder_layers_per_block": [2, 0, 2, 3, 3, 3]}, "encoder_layers_per_block"),
    ({"_class_name": "AutoencoderDC", "decoder_norm_types": "layer_norm"}, "decoder_norm_types"),
    ({"_class_name": "AutoencoderDC", "encoder_qkv_multiscales": [5]}, "encoder_qkv_multiscales"),
]


@pytest.mark.parametrize(("config", "said"), BAD, ids=[said for _, said in BAD])
def test_bad_configurations_say_so_in_a_line(config: Mapping[str, object], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(config, "mine")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("clip", [Clip(height=7.0), Clip(width=4.0), Clip(frames=0.0)])
def test_a_picture_has_a_latent(clip: Clip) -> None:
    with pytest.raises(BadInput, match="8 × 8 pixels"):
        autoencoder_flops(known("sd-1.5"), DECODE, clip)


def test_there_are_two_modes() -> None:
    with pytest.raises(BadInput, match="'encode' or 'decode'"):
        autoencoder_flops(known("sd-1.5"), "paint", Clip())
