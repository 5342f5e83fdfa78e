"""Readers take any value of any key: they read it, or refuse it with one line; nothing else escapes."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from floorline.catalogue.load import model_entry
from floorline.catalogue.spelling import names
from floorline.errors import FloorlineError
from floorline.huggingface.read import read

ODD: tuple[Any, ...] = (
    None,
    [],
    {},
    [1],
    [None],
    {"a": 1},
    "x",
    "",
    -1,
    0,
    True,
    False,
    1.5,
    1e30,
    10**400,
    float("nan"),
)
PARTS = ("text_config", "vision_config", "audio_config")
METHODS = (
    "gptq",
    "awq",
    "fp8",
    "fbgemm_fp8",
    "mxfp4",
    "nvfp4",
    "bitsandbytes",
    "compressed-tensors",
    "modelopt",
    "mlx",
)
SETTINGS = (
    "bits",
    "group_size",
    "weight_block_size",
    "modules_to_not_convert",
    "ignore",
    "config_groups",
    "dynamic",
    "quant_algo",
    "quantized_layers",
    "llm_int8_skip_modules",
    "lm_head",
)


def one_of_each() -> dict[str, Mapping[str, Any]]:
    """The first model of the catalogue of every type of transformers and every class of diffusers."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in names():
        config = model_entry(name)["config"]
        found.setdefault(config.get("model_type") or config["_class_name"], config)
    return found


TYPES = one_of_each()


def changed(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The configuration with every key, and every key of its parts, set to every odd value."""
    for key, value in config.items():
        if key != "model_type":
            yield from ({**config, key: odd} for odd in ODD)
        if key in PARTS:
            for inner in value:
                yield from ({**config, key: {**value, inner: odd}} for odd in ODD)


def escapes(config: Mapping[str, Any]) -> str:
    """What comes out that is neither a model nor a kind error."""
    try:
        read(config, "odd").parameter_count()
    except FloorlineError as error:
        return "" if len(str(error).splitlines()) == 1 else f"several lines: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.parametrize("kind", TYPES)
def test_odd_values(kind: str) -> None:
    found = {json.dumps(config)[:200]: text for config in changed(TYPES[kind]) if (text := escapes(config))}
    assert found == {}


@pytest.mark.parametrize("method", METHODS)
def test_odd_quantisation(method: str) -> None:
    plain = TYPES["llama"]
    for key in SETTINGS:
        for odd in (*ODD, "re:(", ["re:("], {"+:(": {"bits": 8}}, {"g": {"targets": 1}}, {"g": 1}):
            assert escapes({**plain, "quantization_config": {"quant_method": method, key: odd}}) == ""
