"""Encoders and encoder–decoders: a token that is decoded after the encoder, two lengths, and what an encoder alone has not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from floorline import (
    Decode,
    Encode,
    FloorlineError,
    Generate,
    Prefill,
    Train,
    count,
    estimate,
    fit,
    load_cluster,
    load_model,
)
from floorline.formulas.attention import around_share
from floorline.huggingface.families import modernbert
from floorline.masks import around, everything
from floorline.step import reach
from floorline.transformer import Transformer
from terminal import ask, run

H100 = load_cluster("h100-sxm")
SIDES = {
    "d_model": 48,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 100,
    "decoder_ffn_dim": 70,
    "vocab_size": 211,
}
T5 = {"model_type": "t5", "d_model": 48, "d_kv": 10, "d_ff": 100, "num_layers": 3, "num_heads": 4, "vocab_size": 211}
UNTIED = {**T5, "num_decoder_layers": 5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
SOUND = {"num_mel_bins": 16, "max_source_positions": 60, "max_target_positions": 200}
MODELS: dict[str, dict[str, Any]] = {
    "bart": {"model_type": "bart", **SIDES, "max_position_embeddings": 600},
    "t5": UNTIED,
    "whisper": {"model_type": "whisper", **SIDES, **SOUND},
    "bert": {"model_type": "bert", "hidden_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2},
}


def made(name: str) -> Transformer:
    """A small model."""
    return load_model({**MODELS[name], "name": name})


@pytest.mark.parametrize(("name", "decode"), [("t5", 1035168), ("bart", 401760), ("whisper", 413280)])
def test_a_later_token_reads_the_encoder_in_the_cache(name: str, decode: int) -> None:
    """FLOP of PyTorch's counter over transformers' classes: three sequences, 31 tokens before, 50 of the source."""
    assert count(made(name), Decode(batch=3, context_len=31, source_len=50)).flops == decode


@pytest.mark.parametrize(
    ("name", "once", "back"),
    [("t5", 314626048, 477216768), ("bart", 262803456, 252223488), ("whisper", 30205440, 201019392)],
)
def test_two_lengths(name: str, once: int, back: int) -> None:
    """A pass over 512 and 128 (Whisper: 112) tokens, and one with its backward over twice 96 and 128."""
    model = made(name)
    assert count(model, Encode(seq_len=512, decoder_len=112 if name == "whisper" else 128)).flops == once
    assert count(model, Train(micro_batch=2, global_batch=2, seq_len=96)).flops == back


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_prefill_is_the_pass_over_both_sides(name: str) -> None:
    model = made(name)
    together = count(model, Encode(batch=2, seq_len=60, decoder_len=9))
    assert count(model, Prefill(batch=2, prompt_len=9, source_len=60, logits="all")).flops == together.flops


def test_cache_holds_both_sides() -> None:
    """Keys and values of two layers, six heads of eight: of 100 tokens and of what the encoder read, in two bytes each."""
    bart = fit(made("bart"), H100, length=100, source_len=512, suggest=False)
    assert bart.kv_bytes == 2 * 2 * 48 * (100 + 512) * 2
    assert fit(made("bart"), H100, length=100, suggest=False).kv_bytes == bart.kv_bytes
    sound = fit(made("whisper"), H100, length=100, source_len=7, suggest=False)
    assert sound.kv_bytes == 2 * 2 * 48 * (100 + 60) * 2


def test_encode_is_one_phase() -> None:
    answer = estimate(made("bert"), Encode(batch=np.array([1.0, 8.0]), seq_len=128), H100)
    assert [p.name for p in answer.phases] == ["encode"]
    assert answer.ttft is None
    assert answer.tpot is None
    assert np.all(np.asarray(answer.latency.floor) <= np.asarray(answer.latency.serial))
    assert answer.memory.kv_cache == 0.0
    assert (
        estimate(made("bert"), Encode(batch=8, seq_len=128), H100).latency.floor == np.asarray(answer.latency.floor)[1]
    )


def test_sides_have_limits_of_their_own() -> None:
    """A table of positions covers both sides of BART; Whisper's encoder reads as much as it always does."""
    assert reach(made("bart"), Encode(seq_len=500, decoder_len=9)) == 500.0
    assert reach(made("whisper"), Encode(seq_len=500, decoder_len=9)) == 9.0
    assert reach(made("bert"), Encode(seq_len=500, decoder_len=900)) == 500.0
    with pytest.raises(FloorlineError, match=r"600 learned positions"):
        count(made("bart"), Encode(seq_len=601))


@pytest.mark.parametrize(
    ("name", "work", "text"),
    [
        ("bert", Decode(context_len=5), "is an encoder: it generates nothing"),
        ("bert", Generate(), "is an encoder: it generates nothing"),
        ("bert", Prefill(prompt_len=5, cached_len=5), "no cache before the prompt"),
        ("t5", Generate(), "expected the tokens that it reads"),
        ("t5", Decode(context_len=5), "expected the tokens that it reads"),
        ("bert", Prefill(prompt_len=5, source_len=5), "no encoder that reads"),
    ],
)
def test_what_a_model_has_not(name: str, work: Any, text: str) -> None:
    with pytest.raises(FloorlineError, match=text):
        estimate(made(name), work, H100)


@pytest.mark.parametrize(("tokens", "side"), [(1, 3), (4, 1), (7, 2), (9, 64), (200, 64)])
def test_a_window_to_both_sides(tokens: int, side: int) -> None:
    pairs = sum(abs(i - j) <= side for i in range(tokens) for j in range(tokens))
    assert around_share(float(tokens), float(side)) == pairs / tokens**2


def test_modernbert_alternates() -> None:
    """Every third layer sees everything; the first has no norm before its attention."""
    model = load_model({"model_type": "modernbert", "num_hidden_layers": 7, "vocab_size": 100})
    layers = [s for s in model.stacks if s.is_layer]
    assert [(s.mask, s.repeat) for s in layers] == [(everything, 1.0), (around, 4.0), (everything, 2.0)]
    assert model.order == (0, 1, 1, 2, 1, 1, 2)
    assert layers[1].sizes["window"] == 64.0
    assert modernbert.LOCAL == "sliding_attention"


def test_a_class_that_is_not_read() -> None:
    with pytest.raises(FloorlineError, match=r"BartForCausalLM.*expected one of BartForConditionalGeneration"):
        load_model({**MODELS["bart"], "architectures": ["BartForCausalLM"]})


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """A folder with the small models."""
    for name, config in MODELS.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
    return tmp_path


def test_flops_on_the_command_line(configs: Path) -> None:
    """Both lengths; an encoder's default is no longer than its positions."""
    bart = ask("flops", configs / "bart.json", "--seq-len", 512, "--decoder-len", 128)
    assert bart["total"] == 262803456
    assert ask("flops", configs / "bert.json")["total"] == count(made("bert"), Encode(seq_len=512)).flops
    trained = ask("flops", configs / "bart.json", "--batch-size", 2, "--seq-len", 96, "--backward")
    assert trained["total"] == count(made("bart"), Train(micro_batch=2, global_batch=2, seq_len=96)).flops


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("flops", "bert.json", "--cached-len", "3"), "--cached-len goes with a decoder; bert is an encoder"),
        (("flops", "bart.json", "--cached-len", "3"), "counted in one pass over both sides"),
        (("flops", "bert.json", "--decoder-len", "3"), "--decoder-len goes with an encoder and a decoder"),
        (("infer", "bert.json"), "bert is an encoder: it generates nothing"),
        (("fit", "bert.json"), "bert is an encoder: it generates nothing"),
        (("sweep", "bert.json", "--batch-size", "1,2"), "bert is an encoder: it generates nothing"),
    ],
)
def test_one_line(words: tuple[str, ...], text: str, configs: Path) -> None:
    printed = run(words[0], configs / words[1], *words[2:])
    assert printed.status == 2
    assert text in printed.err
    assert printed.err.count("\n") == 1


def test_infer_and_fit_take_a_source(configs: Path) -> None:
    usual = ask("infer", configs / "t5.json", "--osl", 8)
    assert (
        usual["ttft_s"]["floor"]
        == ask("infer", configs / "t5.json", "--osl", 8, "--source-len", 512)["ttft_s"]["floor"]
    )
    longer = ask("infer", configs / "t5.json", "--osl", 8, "--source-len", 5120)
    assert longer["ttft_s"]["serial"] > usual["ttft_s"]["serial"]
    few = ask("fit", configs / "bart.json", "--max-model-len", 100, "--source-len", 10)
    assert few["kv_bytes"] == 2 * 2 * 48 * (100 + 10) * 2
