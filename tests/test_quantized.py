"""Quantised weights: bytes against published checkpoints, and what follows from them in memory and time."""

import csv
import json
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import floorline
from floorline.catalogue.load import load_model
from floorline.cli.main import main
from floorline.errors import BadInput
from floorline.huggingface.quantization import DEFAULTS
from floorline.memory import weight_bytes as on_one_rank
from floorline.quantized import checkpoint_bytes, held, quantized, storage, weight_bytes
from floorline.specs.gguf import BASE, BLOCKS, block_format, mix
from floorline.specs.parallelism import Parallelism
from floorline.step import Step
from floorline.transformer import Transformer

HERE = Path(__file__).parents[1] / "validation"
TOLERANCE = 0.005
LEAST = {"gptq": 8, "awq": 4, "fp8": 2, "mxfp4": 3, "bitsandbytes": 1, "mlx": 1, "gguf": 40}

Row = dict[str, str]


def rows() -> list[Row]:
    """Every published figure."""
    with (HERE / "quantized/checkpoints.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@cache
def config(name: str) -> dict[str, Any]:
    """One of the oracle's configurations."""
    found: dict[str, Any] = json.loads((HERE / "oracle/configs" / f"{name}.json").read_text())
    return found


def model(row: Row) -> Transformer:
    """The model of a row with its quantisation: its configuration's own, other settings, or a mix."""
    values = config(row["config"])
    if row["method"] == "gguf":
        return replace(load_model({**values, "quantization_config": None}), quantization=mix(row["details"]))
    settings = json.loads(row["details"]) if row["details"] else values["quantization_config"]
    return load_model({**values, "quantization_config": settings})


def named(name: str) -> Row:
    """The row of a name."""
    return next(row for row in rows() if row["name"] == name)


def test_what_is_covered() -> None:
    found = Counter(row["method"] for row in rows())
    assert all(found[method] >= least for method, least in LEAST.items())
    assert len({row["name"] for row in rows()}) == len(rows())
    assert all(row["source"].startswith("https://") and row["precision_of_figure"] for row in rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"])
def test_published(row: Row) -> None:
    ours, published = float(checkpoint_bytes(model(row))), float(row["published_bytes"])
    assert abs(ours / published - 1.0) <= TOLERANCE


@pytest.mark.parametrize(
    "row", [r for r in rows() if "bits/weight" in r["precision_of_figure"]], ids=lambda r: r["name"]
)
def test_bits_a_weight_to_the_last_printed_digit(row: Row) -> None:
    made = model(row)
    bits = 8.0 * float(weight_bytes(made)) / float(made.parameter_count().total)
    assert f"{bits:.4f}" == row["precision_of_figure"].split()[0]


@pytest.mark.parametrize(
    "name", ["gpt-oss-20b", "Qwen3-14B-MLX-4bit", "Llama-2-7B Q4_0", "Llama-2-7B Q4_K_M", "Qwen3-32B Q8_0"]
)
def test_tensors_alone_are_exact(name: str) -> None:
    assert weight_bytes(model(named(name))) == float(named(name)["published_bytes"])


def test_one_header_fits_all_files() -> None:
    """Eleven files of one model differ in their tensors alone: what is left of each is its header and tokenizer."""
    files = [row for row in rows() if row["name"].startswith("Mistral-7B-Instruct-v0.2 ")]
    left = {float(row["published_bytes"]) - float(weight_bytes(model(row))) for row in files}
    assert len(files) == 11
    assert left == {735520.0}


def test_every_tensor_is_described() -> None:
    """As many elements as parameters, in each of some very different models."""
    for name in (
        "gpt2",
        "gpt-oss-20b",
        "deepseek-v3",
        "gemma-3-4b",
        "bamba-9b",
        "t5-small",
        "qwen3-next-80b-a3b",
        "whisper-tiny",
    ):
        made = load_model(config(name))
        assert sum(h.weight.elements * h.copies for h in held(made)) == made.parameter_count().total


@pytest.mark.parametrize("name", ["gptq", "awq", "fp8", "nvfp4", "bitsandbytes", "int8", "q4_k_m", "iq2_xs", "q4_0"])
def test_arrays_are_their_scalars(name: str) -> None:
    """The first law, where layers, widths and heads are arrays: also for mixes that treat each layer differently."""
    base = config("llama-3.2-1b")
    vary = {"num_hidden_layers": [4, 17, 80], "intermediate_size": [512, 8192, 1000], "num_key_value_heads": [8, 32, 4]}
    every = quantized(load_model({**base, **{k: np.array(v, dtype=float) for k, v in vary.items()}}), name)
    each = [quantized(load_model({**base, **{k: v[i] for k, v in vary.items()}}), name) for i in range(3)]
    assert np.asarray(weight_bytes(every)).tolist() == [float(weight_bytes(x)) for x in each]


@pytest.mark.parametrize("name", ["none", "awq", "q4_k_m", "fp8"])
@pytest.mark.parametrize("which", ["llama-3.1-8b", "gemma-3-4b-text", "mixtral-8x7b"])
def test_memory_is_what_the_files_hold(which: str, name: str) -> None:
    made = quantized(load_model(config(which)), name)
    assert on_one_rank(Step(made, 1.0, 1.0)) == weight_bytes(made)


def test_a_rank_has_its_share() -> None:
    whole = quantized(load_model("llama-3.1-8b"), "awq")
    half = Step(whole, 1.0, 1.0, parallelism=Parallelism(tp=2))
    norms = 2 * 65 * 4096  # bytes that every rank has
    assert on_one_rank(half) == pytest.approx((float(weight_bytes(whole)) + norms) / 2, rel=1e-12)


def test_weights_are_moved_as_they_are_stored() -> None:
    """Decoding reads every weight once, of the token table one row."""
    h100, step = floorline.load_cluster("h100-sxm"), floorline.Decode(context_len=1)
    for name in ("none", "awq", "q4_k_m"):
        made = quantized(load_model("llama-3.1-8b"), name)
        table = next(h for h in held(made) if h.weight.kind == "table")
        read = float(weight_bytes(made)) - float(table.bytes(made.quantization, 2.0))
        phase = floorline.estimate(made, step, h100).phases[0]
        assert phase.floor.weights == pytest.approx(read, rel=1e-4)


def test_quantised_matmuls_run_at_their_own_rate() -> None:
    h100, work = floorline.load_cluster("h100-sxm"), floorline.Prefill(prompt_len=4096)
    plain, narrow, weights = (
        floorline.estimate(quantized(load_model("llama-3.1-8b"), name), work, h100).phases[0]
        for name in ("none", "fp8", "awq")
    )
    assert narrow.floor.compute == pytest.approx(plain.floor.compute / 2, rel=1e-3)
    assert weights.floor.compute == plain.floor.compute
    assert narrow.serial_s < plain.serial_s


def test_layers_that_are_left_out() -> None:
    """Patterns name modules of single layers, words of names, or regular expressions."""
    base, layers = config("llama-3.2-1b"), 16
    plain = load_model(base)
    attention = 2048 * (2048 + 512) * 2
    mlp = 3 * 2048 * 8192
    for skipped, elements in (
        (["model.layers.0"], attention + mlp),
        ([f"model.layers.{i}.self_attn" for i in range(layers)], layers * attention),
        (["re:.*self_attn.*"], layers * attention),
        (["model.layers.*.mlp"], layers * mlp),
        (["mlp", "lm_head"], layers * mlp),
        (["mlp.gate"], 0),
    ):
        settings = {"quant_method": "fp8", "modules_to_not_convert": skipped}
        kept = weight_bytes(load_model({**base, "quantization_config": settings}))
        every = weight_bytes(plain, storage("fp8", plain))
        assert kept == pytest.approx(float(every) + elements, rel=1e-3)


@pytest.mark.parametrize(
    ("weights", "bits"),
    [
        ({"num_bits": 8, "type": "float", "strategy": "tensor"}, 8.0),
        ({"num_bits": 8, "type": "int", "strategy": "channel"}, 8.0),
        ({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}, 4.125),
        ({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": False}, 4.15625),
        ({"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}, 4.5),
        ({"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [128, 128]}, 8.0),
    ],
)
def test_compressed_tensors(weights: dict[str, Any], bits: float) -> None:
    groups = {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": None}}
    settings = {"quant_method": "compressed-tensors", "config_groups": groups, "ignore": ["lm_head"]}
    made = load_model({**config("llama-3.1-8b"), "quantization_config": settings})
    linear = [h for h in held(made) if h.weight.kind == "linear"]
    stored = sum(float(h.bytes(made.quantization, 2.0)) for h in linear)
    assert 8.0 * stored / sum(float(h.weight.elements * h.copies) for h in linear) == pytest.approx(bits, rel=1e-3)
    rest = sum(float(h.weight.elements * h.copies) for h in held(made) if h.weight.kind != "linear")
    assert weight_bytes(made) == stored + 2.0 * rest


def test_a_mixture_by_module() -> None:
    layers = {f"model.language_model.layers.{i}.mlp.down_proj": {"quant_algo": "FP8"} for i in range(4)}
    layers |= {f"model.language_model.layers.{i}.mlp.up_proj": {"quant_algo": "NVFP4"} for i in range(16)}
    settings = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers}
    base = config("llama-3.2-1b")
    saved = weight_bytes(load_model(base)) - weight_bytes(load_model({**base, "quantization_config": settings}))
    matrix = 2048 * 8192
    assert saved == pytest.approx(matrix * (4 * 1.0 + 16 * (2.0 - 0.5625)), rel=1e-6)


def test_blocks_and_mixes() -> None:
    assert {k: 8.0 * b / n for k, (n, b) in BLOCKS.items() if k in ("q4_K", "q6_K", "iq2_xxs", "tq2_0")} == {
        "q4_K": 4.5,
        "q6_K": 6.5625,
        "iq2_xxs": 2.0625,
        "tq2_0": 2.0625,
    }
    assert set(BASE.values()) <= set(BLOCKS)
    assert block_format("q4_K").bytes(1408.0, 10.0) == block_format("q5_0").bytes(1408.0, 10.0)  # 1408 = 5.5 × 256
    assert block_format("q4_0").bytes(33.0, 10.0) == 660.0  # nothing fits: 16 bits
    llama = load_model("llama-3.1-8b")
    sizes = [float(weight_bytes(llama, mix(name))) for name in ("Q4_K_M", "Q4_K_L", "Q8_0")]
    assert sizes == sorted(sizes)


def test_names_of_the_command_line() -> None:
    llama, deepseek = load_model("llama-3.1-8b"), load_model(config("deepseek-v3"))
    assert storage("none", deepseek) is None
    assert storage("fp8", deepseek) is deepseek.quantization
    assert all(storage(name, deepseek) is not None for name in (*DEFAULTS, *(x.lower() for x in BASE)))
    with pytest.raises(BadInput, match="did you mean gptq"):
        storage("gptk", llama)
    with pytest.raises(BadInput, match="format of experts"):
        storage("mxfp4", llama)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"quant_method": "gptk"}, "quant_method 'gptk' is not known"),
        ({"quant_method": "gptq", "bits": "four"}, "bits is 'four'"),
        ({"quant_method": "fp8", "weight_block_size": 128}, "weight_block_size is '128'"),
        ({"quant_method": "modelopt", "quant_algo": "FP3"}, "quant_algo is 'FP3'"),
        ("gptq", "expected an object"),
    ],
)
def test_kind_errors(settings: object, text: str) -> None:
    with pytest.raises(BadInput, match=text):
        load_model({**config("llama-3.2-1b"), "quantization_config": settings})


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """``params`` says what the weights take, ``fit`` and ``infer`` use it."""
    answers = []
    for command in ("params", "fit", "infer"):
        assert main([command, "llama-3.1-8b", "--quantization", "awq", "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    counted, fits, served = answers
    assert counted["weight_bytes"] == fits["memory"]["weights"] == served["memory"]["weights"]
    assert counted["quantization"] == "awq (4 bit, groups of 128)"
