"""Every number of an article on transformers, diffusion transformers and the backward pass comes out of a command line too;
test_diffusion_analysis.py has them, and the laws, from Python."""

import json
from pathlib import Path

import pytest

from floorline import ModuleSizes, count_splits
from terminal import ask, run, told
from test_diffusion_analysis import FLOPS, S

# Parts, crossings, the backward pass, splits


def test_modules_command() -> None:
    found = ask("modules", "--hidden-size", "1536", "--tokens", "16x32x32")
    for fusion in ("unfused", "flash"):
        rows = {row["name"]: row for row in found["traffic"][fusion]}
        assert {name: (row["flops"], row["formula"]) for name, row in rows.items()} == FLOPS
        assert all(row["elements"] == row["inputs"] + row["weights"] + row["written"] for row in rows.values())
    assert found["sizes"]["tokens"] == S
    picture, sequence = (ask("modules", "--tokens", text)["sizes"] for text in ("32x32", "4k"))
    assert (picture["frames"], picture["height"], sequence["tokens"]) == (1, 32, 4000)


def test_pixels() -> None:
    """49 frames of 480 × 720: 13 latent frames of 60 × 90, tokens of 2 × 2 of them (CogVideoX)."""
    words = ("--pixels", "49x480x720", "--vae-frames", "4", "--vae-first-frame", "--patch", "2")
    assert ask("modules", *words)["sizes"]["tokens"] == 13 * 30 * 45
    assert ask("modules", *words)["traffic"] == ask("modules", "--tokens", "13x30x45")["traffic"]


def test_operators_and_parts() -> None:
    shown = told("modules", "--only", "full self-attention", "--fusion", "unfused", "--operators")
    assert [w for w in ("qkv", "scores", "softmax", "values", "out") if f"  {w} " in shown] == [
        *("qkv", "scores", "softmax", "values", "out")
    ]
    assert "feed-forward" not in shown


def test_crossover_command(tmp_path: Path) -> None:
    path = tmp_path / "crossing.json"
    found = ask("crossover", "--hidden-size", "1536", "--chart", path)
    assert found["meet_at"] == 3072
    at = next(x for x in found["curve"] if x["tokens"] == 3072)
    assert at["first"] == at["second"] == 16 * 3072 * 1536**2
    chart = json.loads(path.read_text())
    assert chart["title"] == "attention against feed-forward"
    assert chart["layer"][1]["data"]["values"] == [{"tokens": 3072.0}]
    shown = told("crossover", "--hidden-size", "1536")
    assert "they meet at 3 072 tokens, 2·D" in shown
    assert "bbXbb" in shown
    assert ask("crossover", "--gated")["meet_at"] == 4 * 1536


def test_backward_command() -> None:
    found = ask("backward", "--widths", "784,512,512,10", "--batch-size", "64")
    assert found["ratio"] == found["backward"] / found["forward"]
    assert [op["ratio"] for op in found["operators"]] == [1, None, 2, None, 2]
    shown = told("backward", "--widths", "784,512,512,10")
    assert "[784, 64] · [64, 512]" in shown


ERRORS = {
    "tokens-of-four": ("modules --tokens 1x2x3x4", "--tokens is '1x2x3x4'; expected frames, height and width"),
    "tokens-zero": ("modules --tokens 0x2x3", "such as 16x32x32"),
    "tokens-empty": ("modules --tokens x", "such as 16x32x32"),
    "window": ("modules --window many", "--window is 'many'; expected"),
    "both": ("modules --tokens 4 --pixels 64x64", "--pixels and --tokens say the same thing twice"),
    "too-few-pixels": ("modules --pixels 8x8", "a token is 16 × 16 pixels"),
    "no-part": ("modules --only temporal", "did you mean temporal self-attention"),
    "no-fusion": ("modules --fusion compulsory", "--fusion is 'compulsory'; expected unfused or flash"),
    "width-of-no-heads": ("modules --hidden-size 1000", "heads of 64 do not divide hidden_size = 1000; give num_heads"),
    "heads": ("modules --num-heads 7", "num_heads = 7 does not divide hidden_size = 1536"),
    "kv-heads": ("modules --kv-heads 5", "num_kv_heads = 5 does not divide num_heads = 24"),
    "size": ("modules --hidden-size many", "--hidden-size is 'many'; expected a whole number"),
    "over": ("crossover --over time", "over is 'time'; expected one of tokens, frames"),
    "one-width": ("backward --widths 5", "two widths or more"),
    "fraction": ("backward --widths 5,2.5", "expected whole numbers"),
    "ranks": ("split --ranks 7", "7 ranks do not divide hidden_size = 1536"),
    "dtype": ("split --dtype bf17", "--dtype is 'bf17'; expected one of"),
}


@pytest.mark.parametrize(("words", "text"), ERRORS.values(), ids=ERRORS)
def test_errors(words: str, text: str) -> None:
    """One line, with what was expected."""
    printed = run(*words.split())
    assert (printed.status, printed.out) == (2, "")
    assert printed.err.count("\n") == 1
    assert text in printed.err


# Capacity, keys and values


def value(*words: str) -> float:
    """What a formula gives."""
    return float(ask("explain", *words)["value"])


def test_capacity() -> None:
    """52e9 parameters are 104 GB; four cards leave 56 GB and 28 000 tokens, the article's 16 GB and 8000 tokens are three."""
    words = ("memory=40GB", "weight_bytes=104e9")
    assert value("memory_beside_weights", "devices=4", *words) == 56e9
    assert value("memory_beside_weights", "devices=3", *words) == 16e9
    assert value("kv_capacity", "devices=4", *words, "kv_bytes=2e6") == 28_000
    assert value("kv_capacity", "devices=3", *words, "kv_bytes=2e6") == 8_000


def test_keys_and_values() -> None:
    """2·L·N·H elements and 2·2·L·D² FLOP a token; reading the weights takes 208 times as long on an A100."""
    words = ("layers=64", "kv_heads=128", "head_dim=64")
    assert value("kv_bytes_per_token", *words, "bytes_per_element=1") == 2 * 64 * 128 * 64
    made = value("kv_flops_per_token", "layers=64", "width=8192")
    assert made == 2 * 2 * 64 * 8192**2
    read = value("kv_weight_bytes", "layers=64", "width=8192", "bytes_per_element=2")
    assert (read / 1.5e12) / (made / 312e12) == pytest.approx(208, rel=1e-12)


def test_messages_of_a_layer_are_those_of_a_model() -> None:
    """The splits that tensor parallelism uses, in a whole model; pipeline stages hand on the width."""
    rows = {m["name"]: m for m in ask("flops", "textbook-52b", "--seq-len", "1", "--tp", "4")["messages"]}
    z = ModuleSizes(hidden_size=8192, num_heads=128, frames=1, height=1, width=1)
    found = {x.name: x for x in count_splits(z, 4)}
    feed_forward = found["columns, then rows (feed-forward)"]
    assert rows["block.ffn.all_reduce"]["sent"] == feed_forward.sent
    assert rows["block.attn.all_reduce"]["sent"] == found["heads, with the output projection by rows"].sent
    (sent,) = ask("flops", "textbook-52b", "--seq-len", "1", "--pp", "4")["messages"]
    assert (sent["kind"], sent["bytes"], sent["repeat"]) == ("stage_send", 2 * 8192, 3)
