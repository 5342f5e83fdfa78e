"""``quantization_config`` of a ``config.json``: which weights a checkpoint quantises, and how it stores them.

Each method is a function from its settings to a Quantization; what it adds to a matrix is what its own code saves:

    gptq                AutoGPTQ, auto_gptq/nn_modules/qlinear/qlinear_cuda.py: qweight, scales, qzeros, g_idx
    awq                 AutoAWQ, awq/modules/linear/gemm.py: qweight, scales, qzeros
    fp8, fbgemm_fp8     transformers, integrations/finegrained_fp8.py and fbgemm_fp8.py: weight, scales
    mxfp4               transformers, integrations/mxfp4.py: experts' blocks and scales
    compressed-tensors  compressed_tensors/compressors and quantization/lifecycle/initialize.py
    modelopt            NVIDIA's Model Optimizer: the same scales as compressed-tensors' FP8 and NVFP4
    bitsandbytes        bitsandbytes/functional.py (QuantState) and nn/modules.py (SCB)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from floorline.errors import BadInput, near
from floorline.huggingface.config import Config, as_whole
from floorline.specs.quantization import EXPERT, HEAD, LINEAR, TABLE, Format, Quantization

Settings = Mapping[str, Any]
MXFP4 = Format("mxfp4", 4.0, (32.0, 1.0), 8.0)
"""Four bits and one 8-bit exponent for 32 elements."""
NVFP4 = Format("nvfp4", 4.0, (16.0, 1.0), 8.0, matrix_bits=64.0)
"""Four bits, an 8-bit scale for 16 elements, and fp32 scales of the matrix and of its input."""
FP8_TENSOR = Format("fp8", 8.0, matrix_bits=64.0)
INT8_ROWS = Format("int8", 8.0, (0.0, 1.0), 32.0, matrix_bits=8.0)
"""LLM.int8(): fp32 absolute maxima of the rows (SCB) and a byte that names the layout."""
NF4 = Format("nf4", 4.0, (64.0, 1.0), 32.0, matrix_bits=16 * 32.0 + 85 * 8.0)
"""An fp32 scale for 64 elements; the table of 16 values and the settings, some 85 letters of JSON, for each matrix."""
NF4_DOUBLE = Format("nf4, double", 4.0, (64.0, 1.0), 8.0 + 32.0 / 256, matrix_bits=(16 + 256) * 32.0 + 180 * 8.0)
"""The same with scales of 8 bits, 256 of which share one of 32. Source: QLoRA, arXiv:2305.14314."""


def whole(settings: Settings, key: str, default: float, name: str) -> float:
    """A whole number of a method's settings.

    raises BadInput where it is none
    """
    value = settings.get(key, default)
    found = as_whole(value, -1.0 if key in ("group_size", "q_group_size") else 1.0, 1e6)
    if not found:
        raise BadInput(f"{name}: quantization_config's {key} is {str(value)[:40]!r}; expected a whole number")
    return found


def skips(settings: Settings, *keys: str) -> tuple[str, ...]:
    """Modules that stay as they were, from the first of some keys that is set."""
    for key in keys:
        if settings.get(key) and not isinstance(settings[key], list):
            raise TypeError(f"{key} is no list")
        if settings.get(key):
            return tuple(whole_name(str(x)) for x in settings[key])
    return ()


def whole_name(pattern: str) -> str:
    """A pattern without the word for the text part of a model that has others, which ours have not.

    >>> whole_name("model.language_model.layers.0.mlp")
    'model.layers.0.mlp'
    """
    return pattern.replace("language_model.model.", "model.").replace("language_model.", "")


def groups(bits: float, size: float, *, zero: bool = True, index: bool = False) -> Format:
    """Integers in groups along the inputs, 16-bit scales, zero points of as many bits.

    size  inputs of a group; −1 for all of them

    >>> groups(4.0, 128.0).bytes_per_parameter
    0.51953125
    """
    along = "groups of " + f"{size:g}" if size > 0 else "rows"
    return Format(
        f"{bits:g} bit, {along}",
        bits,
        (max(size, 0.0), 1.0),
        16.0,
        bits if zero else 0.0,
        input_bits=32.0 if index else 0.0,
    )


def gptq(settings: Settings, name: str) -> Quantization:
    """GPTQ: linear layers of the decoder's layers, with the group of each input; the head where ``lm_head`` says so.

    Source: Frantar et al. 2022, arXiv:2210.17323.
    """
    bits, size = whole(settings, "bits", 4, name), whole(settings, "group_size", 128, name)
    form = groups(bits, size, index=True)
    dynamic = settings.get("dynamic") or {}
    skipped = tuple(f"re:{k[2:]}" for k in dynamic if k.startswith("-:"))
    own = []
    for pattern, other in dynamic.items():
        if not pattern.startswith("-:"):
            changed = {**settings, **(other or {})}
            each = groups(whole(changed, "bits", 4, name), whole(changed, "group_size", 128, name), index=True)
            own.append((f"re:{pattern.removeprefix('+:')}", each))
    kinds = (LINEAR, EXPERT, HEAD) if settings.get("lm_head") else (LINEAR, EXPERT)
    skipped += skips(settings, "modules_to_not_convert")
    return Quantization(method="gptq", rules=(*own, ("", form)), kinds=kinds, skipped=skipped)


def awq(settings: Settings, name: str) -> Quantization:
    """AWQ: linear layers of the decoder's layers. Source: Lin et al. 2023, arXiv:2306.00978."""
    bits = whole(settings, "bits" if "bits" in settings else "w_bit", 4, name)
    size = whole(settings, "group_size" if "group_size" in settings else "q_group_size", 128, name)
    skipped = skips(settings, "modules_to_not_convert")
    return Quantization(method="awq", rules=(("", groups(bits, size)),), skipped=skipped)


def fp8(settings: Settings, name: str) -> Quantization:
    """8-bit floats: fp32 scales for blocks of 128 × 128 (DeepSeek-V3, arXiv:2412.19437), or one a matrix."""
    block = settings.get("weight_block_size")
    form = FP8_TENSOR
    if block is not None:
        if not isinstance(block, list) or len(block) != 2:
            raise BadInput(
                f"{name}: weight_block_size is {str(block)[:40]!r}; expected two numbers, outputs and inputs"
            )
        across, along = (float(x) for x in block)
        if across < 1.0 or along < 1.0:
            raise ValueError(f"blocks of {across:g} by {along:g}")
        form = Format(f"fp8, blocks of {across:g} × {along:g}", 8.0, (along, across), 32.0)
    skipped = skips(settings, "modules_to_not_convert", "ignored_layers")
    rules = (("experts", MXFP4), ("", form)) if settings.get("expert_dtype") == "fp4" else (("", form),)
    return Quantization(method="fp8", rules=rules, skipped=skipped, everywhere=True, arithmetic="fp8")


def fbgemm_fp8(settings: Settings, name: str) -> Quantization:
    """8-bit floats with an fp32 scale for each output, as in Llama-3.1-405B-Instruct-FP8."""
    form = Format("fp8, rows", 8.0, (0.0, 1.0), 32.0)
    skipped = skips(settings, "modules_to_not_convert")
    return Quantization(method="fbgemm_fp8", rules=(("", form),), skipped=skipped, everywhere=True, arithmetic="fp8")


def mxfp4(settings: Settings, name: str) -> Quantization:
    """Experts alone (gpt-oss-120b & gpt-oss-20b Model Card, arXiv:2508.10925). Their matmuls are priced at the
    rate of 8-bit floats, to which engines may bring the experts' inputs: a floor must not be above what these reach."""
    return Quantization(method="mxfp4", rules=(("", MXFP4),), kinds=(EXPERT,), arithmetic="fp8")


def bitsandbytes(settings: Settings, name: str) -> Quantization:
    """LLM.int8() (arXiv:2208.07339) or NF4 (QLoRA, arXiv:2305.14314): every linear layer but the head."""
    skipped = skips(settings, "llm_int8_skip_modules")
    if settings.get("load_in_8bit"):
        rules, runs = (("", INT8_ROWS),), "int8"
    else:
        rules, runs = (("", NF4_DOUBLE if settings.get("bnb_4bit_use_double_quant") else NF4),), ""
    return Quantization(method="bitsandbytes", rules=rules, skipped=skipped, everywhere=True, arithmetic=runs)


def compressed_tensors(settings: Settings, name: str) -> Quantization:
    """Groups of modules, each with its own format, less an ignore list that names the head too."""
    found: list[tuple[str, Format]] = []
    narrow = []
    for group in (settings.get("config_groups") or {}).values():
        weights, inputs = group.get("weights"), group.get("input_activations")
        if weights is None:
            continue
        form = compressed(weights, inputs, name)
        words = [str(t) for t in group.get("targets", ["Linear"])]
        found += [("" if t == "Linear" else whole_name(t), form) for t in words]
        narrow.append(inputs and arithmetic(inputs))
    skipped = skips(settings, "ignore")
    runs = narrow[0] if narrow and len(set(narrow)) == 1 else ""
    kinds = (LINEAR, EXPERT, HEAD)
    method = "compressed-tensors"
    return Quantization(
        method=method, rules=tuple(found), kinds=kinds, skipped=skipped, everywhere=True, arithmetic=runs or ""
    )


def compressed(weights: Settings, inputs: Settings | None, name: str) -> Format:
    """The format of one group of compressed-tensors."""
    bits, size = whole(weights, "num_bits", 8, name), weights.get("group_size")
    strategy = weights.get("strategy") or ("group" if size and size > 0 else "channel" if size == -1 else "tensor")
    static = inputs is not None and not inputs.get("dynamic", False)
    float_kind, packed = weights.get("type") == "float", bits < 8.0 and weights.get("type") != "float"
    zero = 0.0 if weights.get("symmetric", True) else bits
    kind = f"{'fp' if float_kind else 'int'}{bits:g}"
    extra = (16.0 if static else 0.0) + (128.0 if packed else 0.0)
    if strategy == "tensor":
        return Format(kind, bits, (0.0, 0.0), 16.0, zero, matrix_bits=extra)
    if strategy == "channel":
        return Format(f"{kind}, rows", bits, (0.0, 1.0), 16.0, zero, matrix_bits=extra)
    if strategy == "block":
        across, along = (float(x) for x in weights.get("block_structure") or (128, 128))
        if across < 1.0 or along < 1.0:
            raise ValueError(f"blocks of {across:g} by {along:g}")
        return Format(f"{kind}, blocks of {across:g} × {along:g}", bits, (along, across), 16.0, matrix_bits=extra)
    if strategy == "tensor_group":
        return NVFP4
    if strategy == "group":
        along = whole(weights, "group_size", 128, name)
        if float_kind and bits == 4.0 and along == 32.0:
            return MXFP4
        index = 32.0 if weights.get("actorder") in ("group", "dynamic") else 0.0
        return Format(f"{kind}, groups of {along:g}", bits, (along, 1.0), 16.0, zero, index, matrix_bits=extra)
    raise BadInput(
        f"{name}: strategy {str(strategy)[:40]!r} of compressed-tensors; expected tensor, channel, group or block"
    )


def arithmetic(inputs: Settings) -> str:
    """The format in which matmuls of quantised activations run."""
    return f"{'fp' if inputs.get('type') == 'float' else 'int'}{inputs.get('num_bits', 8):g}"


ALGORITHMS = {"FP8": FP8_TENSOR, "NVFP4": NVFP4, "FP4": NVFP4, "W4A16_NVFP4": NVFP4}
"""The Model Optimizer's names → formats."""


def modelopt(settings: Settings, name: str) -> Quantization:
    """NVIDIA's Model Optimizer: FP8 with one scale a matrix, NVFP4, or a mixture that names each module's."""
    inner = settings.get("quantization") or settings
    algorithm = str(settings.get("quant_algo") or inner.get("quant_algo") or "FP8")
    skipped = skips({**settings, **inner}, "ignore", "exclude_modules", "modules_to_not_convert")
    listed = {"": algorithm}
    if algorithm == "MIXED_PRECISION":
        layers = inner.get("quantized_layers") or settings.get("quantized_layers") or {}
        listed = {whole_name(m): str(s.get("quant_algo")) for m, s in layers.items()}
    unknown = next((a for a in listed.values() if a not in ALGORITHMS), None)
    if unknown is not None:
        known = ", ".join((*ALGORITHMS, "MIXED_PRECISION"))
        raise BadInput(f"{name}: quant_algo is {unknown[:40]!r}; expected one of {known}")
    narrow = {"fp8" if a == "FP8" else "fp4" for a in listed.values()}
    return Quantization(
        method="modelopt",
        rules=tuple((m, ALGORITHMS[a]) for m, a in listed.items()),
        kinds=(LINEAR, EXPERT, HEAD) if skipped else (LINEAR, EXPERT),
        skipped=skipped,
        everywhere=True,
        arithmetic="fp4" if "fp4" in narrow else "fp8",
    )


def nvfp4(settings: Settings, name: str) -> Quantization:
    """NVFP4 without more settings: every linear layer but the head."""
    skipped = skips(settings, "modules_to_not_convert")
    return Quantization(method="nvfp4", rules=(("", NVFP4),), skipped=skipped, everywhere=True, arithmetic="fp4")


def mlx(settings: Settings, name: str) -> Quantization:
    """Apple's MLX: groups with a 16-bit scale and a 16-bit bias; the token table and the head too."""
    kinds = (LINEAR, EXPERT, HEAD, TABLE)
    modules = {k: v for k, v in settings.items() if isinstance(v, (Mapping, bool)) and "." in k}
    own = tuple((f"re:.*{re.escape(k)}", mlx_format(v, name)) for k, v in modules.items() if isinstance(v, Mapping))
    plain = tuple(whole_name(k) for k, v in modules.items() if v is False)
    rules = (*own, ("", mlx_format(settings, name)))
    return Quantization(method="mlx", rules=rules, kinds=kinds, skipped=plain, everywhere=True)


MLX_MODES = {
    "mxfp4": Format("mxfp4", 4.0, (32.0, 1.0), 8.0),
    "nvfp4": Format("nvfp4", 4.0, (16.0, 1.0), 8.0),
    "mxfp8": Format("mxfp8", 8.0, (32.0, 1.0), 8.0),
}
"""Modes with an 8-bit scale for each group and no bias. Source: mlx, mlx/ops.cpp, ``quantize``."""


def mlx_format(settings: Settings, name: str) -> Format:
    """The format of a module: of a mode, or integers in groups with a scale and a bias."""
    mode = settings.get("mode", "affine")
    if mode in MLX_MODES:
        return MLX_MODES[mode]
    bits, size = whole(settings, "bits", 4, name), whole(settings, "group_size", 64, name)
    return Format(f"{bits:g} bit, groups of {size:g}", bits, (size, 1.0), 16.0, 16.0)


METHODS: dict[str, Callable[[Settings, str], Quantization]] = {
    "gptq": gptq,
    "awq": awq,
    "fp8": fp8,
    "fbgemm_fp8": fbgemm_fp8,
    "mxfp4": mxfp4,
    "bitsandbytes": bitsandbytes,
    "compressed-tensors": compressed_tensors,
    "modelopt": modelopt,
    "nvfp4": nvfp4,
    "mlx": mlx,
}

OTHER_NAMES = {
    "gptq_marlin": "gptq",
    "awq_marlin": "awq",
    "auto-round": "gptq",
    "intel/auto-round": "gptq",
    "modelopt_fp4": "nvfp4",
}
"""Names of engines and tools for what another method stores."""

DEFAULTS: dict[str, Quantization] = {
    "gptq": gptq({}, "gptq"),
    "awq": awq({}, "awq"),
    "fp8": fp8({"weight_block_size": [128, 128]}, "fp8"),
    "fbgemm_fp8": fbgemm_fp8({}, "fbgemm_fp8"),
    "mxfp4": mxfp4({}, "mxfp4"),
    "nvfp4": nvfp4({}, "nvfp4"),
    "bitsandbytes": bitsandbytes({}, "bitsandbytes"),
    "int8": bitsandbytes({"load_in_8bit": True}, "int8"),
    "mlx": mlx({}, "mlx"),
}
"""What a method's name alone stands for: its usual settings (4 bits in groups of 128; blocks of 128 × 128; NF4)."""


def guessed(settings: Settings) -> str:
    """The method of settings that do not name it."""
    if settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        return "bitsandbytes"
    return "modelopt" if "quant_algo" in settings else "mlx" if "bits" in settings else ""


def read(config: Config) -> Quantization | None:
    """The quantisation that a configuration describes, or None.

    raises BadInput for a method that is not known

    >>> settings = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": True}
    >>> read(Config({"quantization_config": settings}, "mine")).label
    'gptq (4 bit, groups of 128)'
    """
    text, older = config.get("text_config"), config.get("quantization")
    settings = (
        config.get("quantization_config") or older or (isinstance(text, Mapping) and text.get("quantization_config"))
    )
    if not settings:
        return None
    if not isinstance(settings, Mapping):
        raise BadInput(f"{config.name}: quantization_config is {str(settings)[:40]!r}; expected an object")
    method = settings.get("quant_method") or guessed(settings)
    method = OTHER_NAMES.get(method, method) if isinstance(method, str) else method
    if not isinstance(method, str) or method not in METHODS:
        known = list(METHODS)
        raise BadInput(
            f"{config.name}: quant_method {str(method)[:40]!r} is not known; {near(str(method), known)}; expected one of "
            f"{', '.join(known)}; set quantization_config to null to have the model without it"
        )
    try:
        found = METHODS[method](settings, config.name)
        for pattern in (*(pattern for pattern, _ in found.rules), *found.skipped):
            re.compile(pattern.removeprefix("re:"))
        return found
    except BadInput:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, re.error) as error:
        raise BadInput(
            f"{config.name}: quantization_config cannot be read as {method} settings ({str(error)[:60]}); expected what that "
            "method writes, or null to have the model without it"
        ) from None
