"""Every number of an article on transformers, diffusion transformers and the backward pass comes out of a command line too;
test_diffusion_analysis.py has them, and the laws, from Python."""

import json
import re
from pathlib import Path

import pytest

from floorline import ModuleSizes, count_splits, load_model
from floorline.module_counts import sizes_of_model
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


def test_pixels_that_tokens_do_not_divide_are_told() -> None:
    """Frames that are no whole latent frames, sides that are no whole tokens: how many pixels were counted instead."""
    words = ("modules", "--vae-frames", "4", "--vae-first-frame", "--only", "feed-forward")
    printed = run(*words, "--pixels", "128x720x1280")
    found = re.search(r"--pixels 128 × 720 × 1280 is counted as (\d+) × 720 × 1280", printed.err)
    assert found is not None
    latent_frames = (int(found[1]) - 1) // 4 + 1  # the first by itself, four in each of the others
    assert f"{latent_frames} frames of 45 × 80" in printed.out
    assert abs(int(found[1]) - 128) < 4
    assert "1 × 500 × 1000 is counted as 1 × 496 × 992" in run(*words, "--pixels", "500x1000").err
    assert "is counted as" not in run(*words, "--pixels", "129x720x1280").err


def test_windows_that_do_not_divide_are_told() -> None:
    words = ("modules", "--only", "windowed attention")
    printed = run(*words, "--tokens", "16x30x45")
    assert "8·s'·D² + 4·s'·u·D" in printed.out
    assert "s' tokens of all windows, filled up" in printed.err
    assert "24 576 tokens instead of 21 600" in printed.err
    (found,) = ask(*words, "--tokens", "16x30x45", "--fusion", "flash")["traffic"]["flash"]
    assert found["flops"] == 8 * 24576 * 1536**2 + 4 * 24576 * 64 * 1536
    assert "instead of" not in run(*words, "--tokens", "16x32x48").err
    assert "instead of" not in run("modules", "--only", "feed-forward", "--tokens", "16x30x45").err


WAN = ("--hidden-size", "5120", "--num-heads", "40", "--intermediate-size", "13824")
WAN_TEXT = ("--text-tokens", "512", "--text-width", "5120")


def test_parts_of_a_model() -> None:
    """Wan 2.1 14B (its config.json and paper, table 1): 40 heads of 128, 13 824 inside, 81 frames of 480 × 832."""
    by_name = ask("modules", "wan2.1-t2v-14b")
    assert by_name["inputs"]["model"] == "wan2.1-t2v-14b"
    assert by_name["traffic"] == ask("modules", *WAN, *WAN_TEXT, "--tokens", "21x30x52")["traffic"]
    larger = ask("modules", "wan2.1-t2v-14b", "--pixels", "81x720x1280", "--text-tokens", "77")
    assert larger["sizes"]["tokens"] == 21 * 45 * 80
    assert (
        larger["traffic"]
        == ask("modules", *WAN, *WAN_TEXT[2:], "--text-tokens", "77", "--tokens", "21x45x80")["traffic"]
    )
    assert ask("modules", "wan2.1-t2v-14b", "--tokens", "4x4")["sizes"]["tokens"] == 16
    assert "wan2.1-t2v-14b: 32 760 tokens" in told("modules", "wan2.1-t2v-14b")
    assert "it reads no text: 300 tokens, 4 096 wide, are assumed" in run("modules", "dit-xl-2-256").err
    assert "has experts: one of them is counted" in run("modules", "hidream-i1").err
    assert "reads no text" not in run("modules", "wan2.1-t2v-14b").err
    flux = sizes_of_model(load_model("flux.2-dev"))  # its feed-forward has a gate
    assert (flux.gated, flux.inner, flux.tokens) == ("yes", 3 * 6144, 4096)


def test_crossover_of_a_model() -> None:
    """8·s·D² + 4·s²·D against 4·s·D·F: s = F − 2·D."""
    assert ask("crossover", "wan2.1-t2v-14b")["meet_at"] == 13824 - 2 * 5120
    p = 30 * 52
    found = ask("crossover", "wan2.1-t2v-14b", "--over", "frames")
    assert found["meet_at"] == pytest.approx((2 * 5120 + p) / (p - 1))
    assert ask("crossover", "wan2.1-t2v-14b", "--frame", "8x8", "--over", "frames") != found


def test_frames_that_grow_are_latent_ones() -> None:
    shown = told("crossover", "--over", "frames")
    assert shown.startswith("over latent frames, frames of 32 × 32 tokens; width 1 536, 24 heads")
    assert "they meet at 4.004 latent frames" in shown
    assert "latent" not in told("crossover")


PLANS = ("plans", "wan2.1-t2v-1.3b", "--devices", "2", "--tp", "1", "--pp", "1", "--cp", "1", "--micro-batch-size", "1")
SMALL = ("--height", "256", "--width", "448", "--frames", "17", "--text-tokens", "100")


def test_plans_of_pictures_and_videos() -> None:
    """Of the size that is asked for, or of the model's own; the step is that of `train`, and either says for which video."""
    found = ask(*PLANS, *SMALL, "--zero-stage", "1", "--recompute", "none", "--sequence-parallel", "no")
    (point,) = found["points"]
    alone = ask("train", "wan2.1-t2v-1.3b", *SMALL, "--dp", "2", "--zero-stage", "1", "--micro-batch-size", "1")
    assert point["step_expected_s"] == pytest.approx(alone["step_time_s"]["expected"], rel=0.01)
    assert point["memory_bytes"] == alone["peak_memory"]
    assert found["workload"]["seq_len"] == alone["workload"]["seq_len"] == 5 * 16 * 28
    assert (
        "2 videos of 17 frames of 256 × 448 pixels (2 240 tokens beside 100 of the text) a step"
        in run(*PLANS, *SMALL).err
    )
    assert "2 videos of 81 frames of 480 × 832 pixels (32 760 tokens" in run(*PLANS).err
    assert "1 sequences of 128 tokens a step" in run("plans", "gpt2", "--devices", "1", "--seq-len", "128").err


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
    "pixels-with-commas": (
        "modules --pixels 129,720,1280",
        "expected frames, height and width in pixels, such as 129x720x1280",
    ),
    "no-diffusion-model": (
        "modules gpt2",
        "gpt2 is no diffusion model; expected one such as flux.1-dev, or sizes by flags",
    ),
    "model-and-flag": ("modules flux.1-dev --vae-down 4", "--vae-down is flux.1-dev's own; leave out one of the two"),
    "plans-of-text": ("plans gpt2 --devices 2 --seq-len 128 --height 256", "no diffusion model"),
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
