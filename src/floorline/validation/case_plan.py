"""What a measured run ran: its model as stored, its formats, its software and its split."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from floorline.catalogue.clusters import load_cluster
from floorline.catalogue.engines import engines, of_version
from floorline.catalogue.load import load_model, read_json
from floorline.errors import BadInput, near
from floorline.huggingface.quantization import DEFAULTS, METHODS
from floorline.huggingface.read import read as read_config
from floorline.num import Num
from floorline.specs.cluster import Cluster
from floorline.specs.engine import LAUNCHES, Engine
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import FORMATS, Precision
from floorline.specs.quantization import EXPERT, HEAD, LINEAR, Format, Quantization
from floorline.transformer import Transformer
from floorline.units import parse
from floorline.validation.cases import Case

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
"""What configurations call the number of layers."""

NAMES = {"nvfp4": "fp4", "mxfp4": "fp4", "nf4": "int4", "mxfp8": "fp8"}
"""Formats by the names that runs give them, scales left out."""

WIDE = ("bf16", "fp16", "fp32", "tf32", "fp64")
"""Formats that quantise nothing."""

OWN = {
    "fp8": ("fp8", "fbgemm_fp8", "modelopt"),
    "mxfp4": ("mxfp4",),
    "nvfp4": ("nvfp4", "modelopt"),
    "int8": ("gptq", "compressed-tensors", "bitsandbytes"),
    "int4": ("gptq", "awq", "compressed-tensors", "bitsandbytes"),
}
"""Format of a case → methods of a configuration that store it."""

BLOCKS = ("qwen3", "glm", "deepseek", "kimi", "minimax")
"""Model types whose makers publish 8-bit floats in blocks of 128 × 128 (cards of Qwen/Qwen3-8B-FP8, deepseek-ai/DeepSeek-V3,
zai-org/GLM-5-FP8, MiniMaxAI/MiniMax-M2.5); others have one scale a matrix, as NVIDIA's Model Optimizer and AMD's Quark write."""

ENGINES = {
    "fastertransformer": "fastertransformer",
    "hf transformers": "transformers",
    "megatron-lm": "eager",
    "sglang": "sglang",
    "tensorrt-llm": "trtllm",
    "gpt-fast": "gpt-fast",
    "lmdeploy": "lmdeploy",
    "vllm": "vllm",
    "pytorch torchscript": "torchscript",
    "pytorch": "eager",
    "tensorflow xla": "xla",
}
"""How a case names its software, without a version → the catalogue's engine."""


def plain_model(case: Case, folder: Path | None) -> Transformer:
    """The model of a case: a configuration in the folder, or one of the catalogue, cut to its layers where it says so."""
    return cut_model(case.word("model"), folder, case.number("layers_override", 0.0))


@lru_cache(maxsize=512)
def cut_model(name: str, folder: Path | None, layers: float) -> Transformer:
    """A model with as many layers, or with its own for 0."""
    path = folder / f"{name}.json" if folder else None
    if path is None or not path.is_file():
        whole = load_model(name)
        config, source = dict(whole.config), whole.source
    else:
        config, source = read_json(path), str(path)
    if not layers:
        return read_config(config, name, source)
    if layers != int(layers) or layers < 1:
        raise BadInput(f"layers_override is {layers:g}; expected a whole number of layers")
    key = next((key for key in LAYERS if key in config), LAYERS[0])
    return read_config({**config, key: int(layers)}, name, source)


def plain_format(text: str, default: str) -> str:
    """A format without its group size: "int4-g128" is int4.

    raises BadInput for one that nobody knows
    """
    word = text.partition("-")[0]
    name = NAMES.get(word, word) or default
    if name not in FORMATS:
        raise BadInput(f"format {text[:40]!r} is not known; {near(name, FORMATS)}")
    return name


def model_of(case: Case, folder: Path | None) -> Transformer:
    """The model of a case, its weights stored as the run stored them."""
    model = plain_model(case, folder)
    return stored(model, case.word("weights"), case.word("activations"), case.word("note"), case.word("engine"))


@lru_cache(maxsize=512)
def stored(model: Transformer, weights: str, activations: str, note: str, engine: str) -> Transformer:
    """A model with weights in a format that a case names; once for all cases that share it."""
    return replace(model, quantization=quantization_of(model, weights, activations, note, engine))


def quantization_of(model: Transformer, weights: str, activations: str, note: str, engine: str) -> Quantization | None:
    """How a run stored its weights; None where nothing is quantised, or all of it is (integers throughout).

    weights, activations  the case's formats: "int4-g128", "fp8"
    note                  names AWQ where it is that
    engine                software that has its own form, else the published checkpoint's counts

    >>> quantization_of(load_model("llama-3.1-8b"), "int4-g128", "fp16", "awq; A100", "vLLM 0.6").label
    'awq (4 bit, groups of 128)'
    """
    word, _, group = weights.partition("-g")
    if (plain_format(word, "bf16") in WIDE) or (word == "int8" and plain_format(activations, "bf16") == "int8"):
        return None
    published = checkpoint(model, word)
    if published is not None:
        return published
    if engine.lower().startswith("gpt-fast"):
        return gpt_fast(word, float(group or 0.0))
    if word in ("int4", "int8"):
        settings: dict[str, Any] = {"bits": int(word[3:]), "group_size": int(group or 128)}
        return METHODS["awq" if note.lower().startswith("awq") else "gptq"](settings, model.name)
    if word == "fp8" and not str(model.config.get("model_type", "")).startswith(BLOCKS):
        return METHODS["modelopt"]({"quant_algo": "FP8"}, model.name)
    return DEFAULTS.get(word)


def checkpoint(model: Transformer, word: str) -> Quantization | None:
    """What the model's own configuration says, or the catalogue's of the same name, where it is of that format."""
    owns: list[Callable[[], Any]] = [lambda: model.quantization, lambda: load_model(model.name).quantization]
    for own in owns:
        try:
            found = own()
        except BadInput:
            continue
        if isinstance(found, Quantization) and found.method in OWN.get(word, ()):
            return found
    return None


def gpt_fast(word: str, group: float) -> Quantization:
    """Every linear layer, the head too: 8 bits with a 16-bit scale for each output; 4 bits in groups, each with a 16-bit scale and
    a 16-bit zero point. Source: gpt-fast, quantize.py, WeightOnlyInt8Linear and WeightOnlyInt4Linear.

    >>> gpt_fast("int4", 32.0).rules[0][1].bytes_per_parameter
    0.625
    """
    eight = Format("int8, rows", 8.0, (0.0, 1.0), 16.0)
    four = Format(f"4 bit, groups of {group:g}", 4.0, (group, 1.0), 16.0, 16.0)
    rules = (("", {"int8": eight}.get(word, four)),)
    return Quantization(method="gpt-fast", rules=rules, kinds=(LINEAR, EXPERT, HEAD), everywhere=True)


def precision_of(case: Case) -> Precision:
    """Formats of what is not quantised: 16 bits where the run's own weights are narrower, and of the cache, that of the activations
    where nothing is said (vLLM, CacheConfig.cache_dtype "auto")."""
    said = plain_format(case.word("weights"), "bf16")
    runs = plain_format(case.word("activations"), said)
    cache = case.word("kv_cache")
    if said == runs == "int8":
        return Precision(weights=said, activations=runs, kv_cache=plain_format(cache, "fp16"))
    near_by = (runs, plain_format(cache, "bf16"), "bf16")
    wide = next(form for form in near_by if form in WIDE)
    return Precision(weights=said if said in WIDE else wide, activations=wide, kv_cache=plain_format(cache, wide))


def engine_of(case: Case) -> Engine:
    """The software of a case as it was at its version, with the launches and the most sequences that the case names; the median
    engine where it is not in the catalogue."""
    said = case.word("engine").lower()
    name = next((name for start, name in ENGINES.items() if said.startswith(start)), "any")
    engine = of_version(name if name in engines() else "any", version_of(case))
    launch = case.word("launch")
    most = re.search(r"at most (\d+) sequences at once", case.word("note"))
    engine = replace(engine, max_num_seqs=float(most[1])) if most else engine
    engine = replace(engine, known="no") if name == "any" or said.startswith(STAND_IN) else engine
    return replace(engine, launch=launch) if launch in LAUNCHES else engine


STAND_IN = ("megatron-lm",)
"""Software that the catalogue does not have, and that is priced as another."""


def version_of(case: Case) -> tuple[int, ...]:
    """The first version number in what the case calls its software, without what names a candidate or a patch; () where there is
    none.

    >>> version_of(Case({"engine": "HF Transformers 4.38.2 + FA2"})), version_of(Case({"engine": "SGLang 0.4.6.post1"}))
    ((4, 38, 2), (0, 4, 6))
    """
    found = re.search(r"(?<!\S)v?(\d+(?:\.\d+)+)", case.word("engine"))
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def plan_of(case: Case) -> Parallelism:
    """The split of a case: degrees that it does not state are 1."""
    tp, pp, dp, cp, ep = (case.number(name, 1.0) for name in ("tp", "pp", "dp", "cp", "ep"))
    return Parallelism(tp=tp, pp=pp, dp=dp, cp=cp, ep=ep)


def machine(case: Case, devices: Num) -> Cluster:
    """So many of a case's accelerators, in nodes as it says, joined by as many adapters a node as it says ("8x200Gb/s").

    raises BadInput for a network that is no number of adapters and their bandwidth
    """
    found = load_cluster(case.word("accelerator"), devices=devices)
    size = case.number("node_size", 0.0) or None
    adapters, times, each = case.word("network").partition("x")
    if not times or not adapters.isdigit():
        return found.with_network(size, None)
    return found.with_network(size, float(adapters) * parse(each, "B/s", "network") / (size or 1.0))
