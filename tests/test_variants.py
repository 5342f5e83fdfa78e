"""Made-up configurations count as transformers' own classes do: sizes and flags that no published model has.

``validation/variants/*.jsonl`` holds them with their counts; ``make_variants.py`` beside them made both.
"""

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from floorline import load_cluster, load_model
from floorline.capacity import fit
from floorline.counts import count
from floorline.specs.precision import Precision
from floorline.specs.workload import Decode, Encode, Prefill, Train, Workload
from floorline.transformer import Transformer

VARIANTS = Path(__file__).parents[1] / "validation/variants"
CLUSTER = load_cluster("h100-sxm")
FILES = sorted(
    p for p in VARIANTS.glob("*.jsonl") if not p.stem.startswith(("diffusers-", "open-sora", "autoencoders"))
)
CONFIGS, CACHES = 2282, 1104
FLOPS = {"decode": 1190, "forward": 949, "fwd+bwd": 784, "fwd+bwd+ckpt": 741, "prefill": 1582}
"""How many there are; what the library itself could not run is not among them."""


@cache
def cases(path: Path) -> tuple[dict[str, Any], ...]:
    """Every configuration of a file that the library could build."""
    return tuple(case for case in map(json.loads, path.read_text().splitlines()) if "params" in case)


def workload(row: dict[str, Any]) -> Workload:
    """What a row ran."""
    batch, tokens, past = row["batch"], row["q_len"], row["past_len"]
    if row["mode"] == "prefill":
        return Prefill(batch=batch, prompt_len=tokens, logits="all")
    if row["mode"] == "decode":
        return Decode(batch=batch, context_len=past)
    if row["mode"] == "forward":
        decoder = row["inputs"].rpartition("decoder_input_ids (1, ")[2].rstrip(")")
        return Encode(batch=batch, seq_len=tokens or 1, decoder_len=int(decoder) if decoder.isdigit() else 1)
    return Train(micro_batch=batch, global_batch=batch, seq_len=tokens)


def differences(case: dict[str, Any]) -> Iterator[str]:
    """What differs between our counts and the library's."""
    made = load_model({**case["config"], "name": case["name"]})
    library = load_model({**case["config"], "name": case["name"]}, "transformers")
    yield from different_parameters(made, case["params"])
    for row in case["flops"]:
        recompute = "full" if row["mode"].endswith("ckpt") else "none"
        fusion = "flash" if row["attn"] == "meta_fa" else "unfused"
        ours = count(library, workload(row), fusion=fusion, recompute=recompute).flops
        if ours != row["total_flops"]:
            yield f"{row['mode']} FLOP {ours:.0f}, not {row['total_flops']}"
    if case.get("kv"):
        formats = Precision.of("bf16")
        kept = fit(library, CLUSTER, batch=1, length=case["kv"]["seq"], precision=formats, suggest=False).kv_bytes
        if kept != case["kv"]["bytes"]:
            yield f"cache {float(kept):.0f} B, not {case['kv']['bytes']}"


def different_parameters(made: Transformer, expected: dict[str, int]) -> Iterator[str]:
    """Which of the parameter counts differ."""
    counted = made.parameter_count()
    embedding = sum(expected[k] for k in ("token_embedding", "position_embedding", "type_embedding"))
    pairs = (
        ("parameters", counted.total, expected["unique_params"]),
        ("active", counted.active_per_token, expected["active_params"]),
        ("embedding", counted.embedding, embedding),
        ("head", counted.head, expected["lm_head_weight_untied"]),
        ("blocks", counted.layers, expected["blocks"]),
    )
    for name, ours, theirs in pairs:
        if ours != theirs:
            yield f"{name} {float(ours):.0f}, not {theirs}"


def test_there_are_variants() -> None:
    """So that none is dropped silently: configurations, and rows of each kind."""
    every = [case for path in FILES for case in cases(path)]
    assert len(every) == CONFIGS
    assert Counter(row["mode"] for case in every for row in case["flops"]) == FLOPS
    assert sum(bool(case.get("kv")) for case in every) == CACHES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_variants(path: Path) -> None:
    found = {case["name"]: wrong for case in cases(path) if (wrong := list(differences(case)))}
    assert found == {}
