"""FLOP equal those of PyTorch's FlopCounterMode over transformers' own classes.

Its convention: matmuls only, the full query × key square, logits of all positions; aten's flash attention computes its
scores again in the backward pass, eager attention does not. What a class does otherwise than its arithmetic needs (every
expert on every token, latents expanded again) is the convention "transformers".
"""

import json
import re

import pytest

from floorline.counts import Count, count
from floorline.specs.workload import Decode, Encode, Prefill, Train
from oracle import ORACLE, Row, model, rows

FLOPS = rows("flops.csv", 380)
FUSION = {"sdpa": "unfused", "eager": "unfused", "meta_fa": "flash"}
RECOMPUTE = {"fwd+bwd": "none", "fwd+bwd+ckpt": "full"}
MODULES = json.loads((ORACLE / "flops_modules.json").read_text())["models"]

GPT2 = {
    "transformer.h.0.attn.c_attn": ("q", "k", "v"),
    "transformer.h.0.attn.c_proj": ("out",),
    "transformer.h.0.attn": ("q", "k", "v", "scores", "values", "out"),
    "transformer.h.0.mlp.c_fc": ("up",),
    "transformer.h.0.mlp.c_proj": ("down",),
    "transformer.h.0.mlp": ("up", "down"),
    "transformer.h.0": ("q", "k", "v", "scores", "values", "out", "up", "down"),
}
LLAMA = {
    "model.layers.0.self_attn.q_proj": ("q",),
    "model.layers.0.self_attn.k_proj": ("k",),
    "model.layers.0.self_attn.v_proj": ("v",),
    "model.layers.0.self_attn.o_proj": ("out",),
    "model.layers.0.self_attn": ("q", "k", "v", "scores", "values", "out"),
    "model.layers.0.mlp.gate_proj": ("gate",),
    "model.layers.0.mlp.up_proj": ("up",),
    "model.layers.0.mlp.down_proj": ("down",),
    "model.layers.0.mlp": ("gate", "up", "down"),
    "model.layers.0": ("q", "k", "v", "scores", "values", "out", "gate", "up", "down"),
}


def label(row: Row) -> str:
    return "-".join(row[key] for key in ("name", "mode", "attn", "batch", "q_len", "past_len"))


def counted(row: Row) -> Count:
    """Our count of a row, in its own convention."""
    made, fusion = model(row["name"], "transformers"), FUSION[row["attn"]]
    batch, tokens, past = int(row["batch"]), int(row["q_len"] or 1), int(row["past_len"])
    if row["mode"] == "forward":
        decoder = re.search(r"decoder_input_ids \(1, (\d+)\)", row["inputs"])
        return count(made, Encode(batch=batch, seq_len=tokens, decoder_len=int(decoder[1]) if decoder else 1))
    if row["mode"] == "prefill":
        assert past == 0
        return count(made, Prefill(batch=batch, prompt_len=tokens, logits="all"), fusion=fusion)
    if row["mode"] == "decode":
        assert tokens == 1
        return count(made, Decode(batch=batch, context_len=past), fusion=fusion)
    work = Train(micro_batch=batch, global_batch=batch, seq_len=tokens)
    return count(made, work, fusion=fusion, recompute=RECOMPUTE[row["mode"]])


@pytest.mark.parametrize("row", FLOPS, ids=label)
def test_flops(row: Row) -> None:
    answer = counted(row)
    assert answer.attention == "full"
    assert answer.flops == int(row["total_flops"])
    assert answer.flops == answer.forward + answer.backward == sum(float(o.flops) for o in answer.operators)


@pytest.mark.parametrize(
    ("key", "parts", "layers", "table"),
    [
        ("gpt2|prefill|sdpa|b1|s1024", GPT2, "transformer", "lm_head"),
        ("llama-3.1-8b|prefill|sdpa|b1|s2048", LLAMA, "model", "lm_head"),
    ],
    ids=["gpt2", "llama-3.1-8b"],
)
def test_flops_by_module(key: str, parts: dict[str, tuple[str, ...]], layers: str, table: str) -> None:
    """Every module of the file, by the operators that it is made of."""
    expected = {name: sum(kinds.values()) for name, kinds in MODULES[key].items()}
    name, length = key.split("|")[0], int(key.rpartition("s")[2])
    answer = count(model(name), Prefill(prompt_len=length, logits="all"))
    whole = {o.name: float(o.flops) for o in answer.operators}
    once = {o.name.removeprefix("block."): float(o.flops) / float(o.repeat) for o in answer.operators}
    ours = {module: sum(once[op] for op in ops) for module, ops in parts.items()}
    ours[layers] = sum(flops for op, flops in whole.items() if op.startswith("block."))
    ours[table] = whole["head.logits"]
    ours["(model)"] = float(answer.flops)
    assert ours == expected


def test_serving_computes_the_last_logits() -> None:
    """A prefill counts the last position's logits unless it is asked for all of them."""
    made = model("gpt2")
    last, every = (count(made, Prefill(prompt_len=1024, logits=logits)).flops for logits in ("last", "all"))
    assert every - last == 2 * 1023 * 768 * 50257
