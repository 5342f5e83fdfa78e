"""Diffusion transformers count as diffusers' own classes do: published configurations and made-up ones, forward and back.

``validation/oracle`` and ``validation/variants/diffusers-*.jsonl`` hold what PyTorch's FlopCounterMode counted on the meta device.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from floorline import load_model
from floorline.counts import count
from floorline.specs.workload import Denoise, Train
from floorline.transformer import Transformer
from oracle import ORACLE, Row, table

CONFIGURATIONS, FLOPS = 37, 43
PARAMETERS = [row for row in table("params.csv") if row["library"] == "diffusers"]
ROWS = [row for row in table("flops.csv") if row["library"] == "diffusers"]
LISTED = {"wan2.1-i2v-14b": 1280 * 1280 + 1280 + 1280 * 5120 + 5120, "hidream-i1": 49 * 4096 * 2560}
"""Parameters in lists of modules that are no layers: the network that projects a picture, and 49 matmuls that project texts."""
FOLDER = Path(__file__).parents[1] / "validation/variants"
VARIANTS = [*sorted(FOLDER.glob("diffusers-*.jsonl")), FOLDER / "open-sora.jsonl"]


@cache
def model(name: str) -> Transformer:
    """A configuration of the oracle."""
    return load_model(ORACLE / "configs" / f"{name}.json")


def sizes(row: Row) -> dict[str, Any]:
    """What a row of the oracle made, read from its label: "video 129x720x1280, latent 33x90x160, text 256"."""
    pixels = re.search(r"(?:video (\d+)x|image )(\d+)x(\d+)", row["inputs"])
    assert pixels is not None
    found: dict[str, Any] = {"frames": float(pixels[1] or 1), "height": float(pixels[2]), "width": float(pixels[3])}
    text = re.search(r"text (\d+)(?:\+(\d+))?", row["inputs"])
    if text:
        found["text_tokens"] = float(text[1]) + float(text[2] or 0)
    return found


def test_nothing_is_left_out() -> None:
    assert len(PARAMETERS) == CONFIGURATIONS
    assert len(ROWS) == FLOPS


@pytest.mark.parametrize("row", PARAMETERS, ids=lambda row: row["name"])
def test_parameters(row: Row) -> None:
    found = model(row["name"]).parameter_count()
    assert found.total == int(row["unique_params"])
    assert found.layers == int(row["blocks"]) - LISTED.get(row["name"], 0)
    assert found.active_per_token == int(row["active_params"])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['name']}-{row['mode']}-{row['inputs'][:14]}")
def test_flops(row: Row) -> None:
    made, asked = model(row["name"]), sizes(row)
    if row["mode"] == "forward":
        answer = count(made, Denoise(**asked))
    else:
        answer = count(made, Train(micro_batch=1, global_batch=1, **asked))
    assert answer.flops == int(row["total_flops"])


def differences(case: dict[str, Any]) -> list[str]:
    """What differs between our counts and the library's."""
    made = load_model({**case["config"], "name": case["name"]})
    given = case["inputs"]
    asked = {name: given[name] for name in ("frames", "height", "width")} | {"text_tokens": given["text"]}
    ours = {
        "params": made.parameter_count().total,
        "forward": count(made, Denoise(batch=given["batch"], **asked)).flops,
        "fwd+bwd": count(made, Train(micro_batch=given["batch"], global_batch=given["batch"], **asked)).flops,
    }
    return [f"{name} {float(value):.0f}, not {case[name]}" for name, value in ours.items() if value != case[name]]


@pytest.mark.parametrize("path", VARIANTS, ids=lambda path: path.stem)
def test_variants(path: Path) -> None:
    cases = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(cases) >= 5
    assert {case["name"]: wrong for case in cases if (wrong := differences(case))} == {}
