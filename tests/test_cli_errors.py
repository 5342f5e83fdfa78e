"""Every kind of bad input is one kind line on stderr and an exit status: what was wrong, what was expected, what to try."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floorline import FloorlineError, load_cluster, load_model
from terminal import run

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 1000,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
}
DEVICE = """
[figures]
memory = "80 GB"
memory_bandwidth = "3.35 TB/s"
[peaks]
bf16 = "989.4 TFLOP/s"
[links.nvlink]
bandwidth = "450 GB/s"
"""


def llama(*without: str, **changed: object) -> str:
    """A small model's configuration with some keys changed or left out, as JSON."""
    return json.dumps({k: v for k, v in {**LLAMA, **changed}.items() if k not in without})


def device(old: str, new: str) -> str:
    """A device's file with one piece replaced."""
    assert old in DEVICE
    return DEVICE.replace(old, new)


class Case(NamedTuple):
    """A bad input.

    text      of the line that answers it
    words     the command line; @name is a file or a path that does not exist
    status    2 bad input, 3 not found
    """

    text: str
    words: tuple[str, ...]
    status: int = 2


CONFIGS: dict[str, tuple[str | bytes, str]] = {
    "negative-size": (llama(hidden_size=-64), "hidden_size is -64; expected a positive whole number"),
    "zero-size": (llama(hidden_size=0), "hidden_size is 0; expected a positive whole number"),
    "fraction": (llama(hidden_size=64.5), "hidden_size is 64.5; expected a positive whole number"),
    "size-in-quotes": (llama(hidden_size="64"), "hidden_size is '64'; expected a positive whole number"),
    "size-in-a-list": (llama(hidden_size=[64]), "hidden_size is '[64]'; expected a positive whole number"),
    "size-is-true": (llama(hidden_size=True), "hidden_size is 'True'; expected a positive whole number"),
    "size-is-null": (llama(hidden_size=None), "the key 'hidden_size' is missing; expected a positive whole number"),
    "size-is-an-object": (llama(hidden_size={"value": 64}), "expected a positive whole number"),
    "size-beyond-float": (llama(hidden_size=10**400), "hidden_size is above 1e300, beyond the limit of 1e+09"),
    "negative-beyond-float": (llama(hidden_size=-(10**400)), "expected a positive whole number"),
    "width-beyond-limit": (llama(hidden_size=10**12), "hidden_size is 1e+12, beyond the limit of 1e+09"),
    "layers-beyond-limit": (
        llama(num_hidden_layers=10**6 + 1),
        "num_hidden_layers is 1e+06, beyond the limit of 1e+06",
    ),
    "missing-key": (llama("vocab_size"), "the key 'vocab_size' is missing; expected a positive whole number"),
    "misspelt-key": (llama("vocab_size", vocabsize=9), "'vocab_size' is missing"),
    "no-model-type": (llama("model_type"), "'model_type' is missing; expected one of"),
    "unknown-model-type": (llama(model_type="lama"), "model_type 'lama' is not known; did you mean llama"),
    "model-type-is-a-number": (llama(model_type=7), "model_type '7' is not known"),
    "model-type-is-a-list": (llama(model_type=["llama"]), "is not known"),
    "heads-do-not-divide": (
        llama(num_attention_heads=5),
        "= 5 does not divide hidden_size = 64; nearest that do: 2, 4",
    ),
    "kv-heads-do-not-divide": (llama(num_key_value_heads=3), "= 3 does not divide num_attention_heads = 4"),
    "unknown-size": (llama(num_experts=8), "the key 'num_experts' (8) looks like a size that a 'llama' model does not"),
    "unknown-rank": (llama(q_lora_rank=512), "the key 'q_lora_rank' (512) looks like a size"),
    "flag-is-a-word": (llama(attention_bias="yes"), "attention_bias is 'yes'; expected true or false"),
    "flag-is-a-number": (llama(tie_word_embeddings=1), "tie_word_embeddings is '1'; expected true or false"),
    "share-above-one": (llama(attention_dropout=2), "attention_dropout is '2'; expected a number from 0 to 1"),
    "share-is-a-word": (llama(attention_dropout="0.1"), "attention_dropout is '0.1'; expected a number from 0 to 1"),
    "word-is-a-number": (llama(hidden_act=5), "hidden_act is '5'; expected a word"),
    "no-positions": (
        llama(max_position_embeddings=0),
        "max_position_embeddings is 0; expected a positive whole number",
    ),
    "head-width-zero": (llama(head_dim=0), "head_dim is 0; expected a positive whole number"),
    "truncated": (llama()[:40], "not valid JSON (line 1, column"),
    "empty": ("", "not valid JSON (line 1, column 1: Expecting value); is the file cut off?"),
    "binary": (bytes(range(256)) * 8, "not valid JSON"),
    "nul": (b'{"a": "\x00"}', "not valid JSON"),
    "ten-megabytes": (b"x" * 10_000_000, "10,000,000 bytes is no config.json; expected at most 2,000,000"),
    "deep-list": ("[" * 200_000, "not valid JSON (maximum recursion depth exceeded"),
    "deep-object": ('{"a":' * 100_000 + "1" + "}" * 100_000, "not valid JSON (maximum recursion depth exceeded"),
    "nan": (llama(hidden_size=float("nan")), "hidden_size is nan; expected a positive whole number"),
    "infinity": (llama(hidden_size=float("inf")), "hidden_size is above 1e300, beyond the limit"),
    "digits": ('{"hidden_size": ' + "9" * 5000 + "}", "not valid JSON"),
    "a-list": ("[1, 2]", "a configuration is a JSON object with Hugging Face fields, not a list"),
    "a-word": ('"llama"', "a configuration is a JSON object with Hugging Face fields"),
    "nothing": ("null", "a configuration is a JSON object with Hugging Face fields"),
    "no-keys": ("{}", "the key 'model_type' is missing"),
}
"""A file's content, and what the error says of it."""

DEVICES: dict[str, tuple[str | bytes, str]] = {
    "unknown-key": ('colour = "green"' + DEVICE, "unknown key 'colour'; known names start with: aliases"),
    "unknown-figure": (device("memory =", "memry ="), "unknown figure 'memry'; did you mean memory"),
    "unknown-format": (device("bf16 =", "bf17 ="), "unknown figure 'bf17'; did you mean bf16"),
    "no-memory": (device('memory = "80 GB"', ""), "the figure 'memory' is missing under [figures]"),
    "no-bandwidth": (device('memory_bandwidth = "3.35 TB/s"', ""), "the figure 'memory_bandwidth' is missing"),
    "no-peaks": (device('bf16 = "989.4 TFLOP/s"', ""), "[peaks] is empty; expected at least one, such as bf16"),
    "wrong-unit": (device("3.35 TB/s", "3.35 TB"), "has the wrong unit; expected B/s, for example '3.35 TB/s'"),
    "no-unit": (device('"80 GB"', "80"), "memory is '80'; expected text, such as '80 GB'"),
    "negative": (device("80 GB", "-80 GB"), "memory is '-80 GB'; expected more than zero"),
    "zero": (device("989.4", "0"), "bf16 is '0 TFLOP/s'; expected more than zero"),
    "infinite": (device("989.4", "1e999"), "is beyond any machine"),
    "no-number": (device("989.4 TFLOP/s", "fast"), "'fast' is no number with a unit"),
    "link-without-bandwidth": (device('bandwidth = "450 GB/s"', "speed = 1"), "'nvlink' has no bandwidth"),
    "link-is-text": (device("[links.nvlink]\nbandwidth =", "[links]\nnvlink ="), "'nvlink' has no bandwidth"),
    "peaks-is-text": ('peaks = "many"\n' + DEVICE.split("[peaks]")[0], "'peaks' is str; expected a table [peaks]"),
    "truncated": (DEVICE[:-10], "not valid TOML"),
    "binary": (bytes(range(256)), "not valid TOML"),
    "too-large": (b"#" * 2_000_000, "2,000,000 bytes is no accelerator file; expected at most 1,000,000"),
    "deep": ("a = " + "[" * 100_000, "not valid TOML"),
}

SIZES = {"--batch-size": 1e9, "--input-len": 1e9, "--output-len": 1e6, "--tensor-parallel-size": 1e7, "--devices": 1e7}
NO_SIZES = ("-1", "0", "1.5", "nan", "inf", "-inf", "1e30", "1e400", "many", "", "1,2", "0x10", "2**100", "2**1e9")


def sizes() -> dict[str, Case]:
    """Values that are no size, for each flag that takes one."""
    found = {}
    for flag, most in SIZES.items():
        for value in NO_SIZES:
            words = ("infer", "@ok.json", f"{flag}={value}")
            found[f"{flag.lstrip('-')}={value or 'nothing'}"] = Case(f"a whole number from 1 to {most:g}", words)
    return found


def infer(text: str, *words: str, status: int = 2) -> Case:
    return Case(text, ("infer", "@ok.json", *words), status)


def fit(text: str, *words: str) -> Case:
    return Case(text, ("fit", "@ok.json", *words))


def flops(text: str, *words: str) -> Case:
    return Case(text, ("flops", "@ok.json", *words))


def sweep(text: str, *words: str) -> Case:
    return Case(text, ("sweep", "@ok.json", *words))


def explain(text: str, *words: str, status: int = 2) -> Case:
    return Case(text, ("explain", *words), status)


CASES: dict[str, Case] = {
    # Names and paths
    "missing-file": Case("there is no such file or folder; expected a config.json", ("params", "@none.json"), 3),
    "missing-folder": Case("there is no such file or folder", ("params", "@none"), 3),
    "folder-without-config": Case("the folder holds no config.json", ("params", "@hollow")),
    "config-is-a-folder": Case("the folder holds no config.json", ("params", "@nested")),
    "unknown-model": Case("not in the catalogue; did you mean llama-3.1-8b", ("params", "lama-3.1-8b"), 3),
    "unknown-hub-id": Case("model 'nobody/nothing' is not in the catalogue", ("params", "nobody/nothing"), 3),
    "empty-model": Case("model '' is not in the catalogue", ("params", ""), 3),
    "nobody's-home": Case("there is no such file or folder", ("params", "~nobody-of-that-name/model"), 3),
    "endless-name": Case("is not in the catalogue", ("params", "x" * 100_000), 3),
    "nul-in-name": Case("is not in the catalogue", ("params", "a\0b"), 3),
    "escape-in-name": Case(r"model '\x1b[31mred' is not in the catalogue", ("params", "\x1b[31mred"), 3),
    "newline-in-name": Case(r"model 'a\nb' is not in the catalogue", ("params", "a\nb"), 3),
    "unknown-hardware": infer("hardware 'h10' is not in the catalogue; did you mean h100", "--gpu", "h10", status=3),
    "empty-hardware": infer("hardware '' is not in the catalogue", "--hardware", "", status=3),
    "missing-toml": infer("there is no such file; expected a TOML file", "--hardware", "@none.toml", status=3),
    "endless-toml": infer("there is no such file", "--hardware", "x" * 5000 + ".toml", status=3),
    "no-such-model-in-list": Case("no model contains 'zebra'", ("models", "zebra"), 3),
    "no-such-hardware-in-list": Case("no accelerator contains 'zebra'", ("hardware", "zebra"), 3),
    # The command line itself
    "unknown-command": Case("'parms' is no command; did you mean params", ("parms", "@ok.json")),
    "unknown-option-alone": Case("--jsn", ("--jsn",)),
    "empty-command": Case("'' is no command", ("",)),
    "unknown-option": infer("unknown option --batch-siz; did you mean --batch-size", "--batch-siz", "1"),
    "missing-argument": Case("required: MODEL; 'floorline params --help' lists", ("params",)),
    "option-without-value": infer("--batch-size: expected one argument", "--batch-size"),
    "option-then-option": infer("--batch-size: expected one argument", "--batch-size", "--json"),
    "one-argument-too-many": Case("'extra' is one argument too many", ("params", "@ok.json", "extra")),
    "switch-with-word": infer("--json", "--json=maybe"),
    "option-twice": infer("--tp is given twice", "--tp", "1", "--tp", "2"),
    # Formats and words
    "dtype": infer("--dtype is 'float17'; expected one of bf16, fp16", "--dtype", "float17"),
    "weight-dtype": infer("--weight-dtype is 'bf17'; expected one of bf16, fp16", "--weight-dtype", "bf17"),
    "kv-cache-dtype": infer("--kv-cache-dtype is 'fp9'; expected one of bf16", "--kv-cache-dtype", "fp9"),
    "fusion": infer("--fusion is 'magic'; expected one of unfused, flash, compulsory", "--fusion", "magic"),
    "attention": infer("--attention is 'half'; expected one of full, causal", "--attention", "half"),
    "context": infer("--context is 'ring'; expected one of all-gather, all-to-all", "--context", "ring"),
    "sequence-parallel-with-word": infer("--sequence-parallel", "--sequence-parallel=maybe"),
    "flops-attention": flops("attention is 'none'; expected full or causal", "--attention", "none"),
    "flops-fusion": flops("fusion is 'magic'; expected one of", "--fusion", "magic"),
    "flops-logits": flops("logits is 'some'; expected one of", "--logits", "some"),
    "recompute": flops("recompute is 'half'; expected none, selective or full", "--backward", "--recompute", "half"),
    "fit-fusion": fit("fusion is 'magic'; expected one of", "--fusion", "magic"),
    # Plans
    "tp-does-not-divide": infer("does not divide 4 query heads of ok; degrees that do: 1 2 4", "--tp", "3"),
    "fit-tp-does-not-divide": fit("does not divide 4 query heads of ok", "--tp", "3"),
    "more-tp-than-heads": infer("does not divide 4 query heads of ok", "--tp", "8"),
    "devices-contradict": infer("and --devices is 8; expected the same", "--tp", "2", "--dp", "2", "--devices", "8"),
    "devices-no-multiple": infer("--devices 3 is no multiple of tp·cp·pp = 2", "--tp", "2", "--devices", "3"),
    "ten-million-devices": infer("--devices is '1e8'; expected a whole number from 1 to 1e+07", "--devices", "1e8"),
    "beyond-learned-positions": Case(
        "1100 tokens are more than the 1024 learned positions of gpt2; shorten the input",
        ("infer", "gpt2", "--input-len", "1000", "--output-len", "100"),
    ),
    "fit-beyond-learned-positions": Case(
        "2000 tokens are more than the 1024 learned positions of gpt2", ("fit", "gpt2", "--max-model-len", "2000")
    ),
    # Quantities
    "bandwidth-without-per-second": infer("'3 TB' has the wrong unit; expected B/s", "--memory-bandwidth", "3 TB"),
    "bandwidth-without-unit": infer("'3' has the wrong unit; expected B/s", "--memory-bandwidth", "3"),
    "bandwidth-zero": infer("expected more than zero", "--memory-bandwidth", "0 TB/s"),
    "bandwidth-negative": infer("expected more than zero", "--memory-bandwidth=-3 TB/s"),
    "peak-fast": infer("--peak: 'fast' is no number with a unit; expected for example", "--peak", "fast"),
    "peak-infinite": infer("is beyond any machine", "--peak", "1e999 TFLOP/s"),
    "peak-beyond-decimals": infer("", "--peak", "1e99999999999 FLOP/s"),
    "peak-zero": infer("expected more than zero", "--peak", "1e-999 FLOP/s"),
    "peak-flops": infer("'1 TFLOPS' has the wrong unit; expected FLOP/s", "--peak", "1 TFLOPS"),
    "memory-per-second": infer("'80 GB/s' has the wrong unit; expected B,", "--memory", "80 GB/s"),
    "link-gbps": infer("'200 Gbps' has the wrong unit; expected B/s", "--link-bandwidth", "200 Gbps"),
    "launch-time-in-kilograms": infer("'5 kg' has the wrong unit; expected s", "--launch-time", "5 kg"),
    "launch-time-too-long": infer("--launch-time is 5; expected a number from 0 to 1", "--launch-time", "5"),
    "launch-time-nan": infer("--launch-time: 'nan' is no number", "--launch-time", "nan"),
    "efficiency-zero": infer("--compute-efficiency is 0; expected a number from", "--compute-efficiency", "0"),
    "efficiency-above-one": infer("--compute-efficiency is 1.1; expected", "--compute-efficiency", "1.1"),
    "efficiency-word": infer("--memory-efficiency is 'high'; expected", "--memory-efficiency", "high"),
    "utilisation-above-one": fit("expected a share above 0 and up to 1", "--gpu-memory-utilization", "1.5"),
    "utilisation-zero": fit("expected a share above 0 and up to 1", "--gpu-memory-utilization", "0"),
    "utilisation-word": fit("--gpu-memory-utilization is 'most'; expected a share", "--gpu-memory-utilization", "most"),
    "fit-length-zero": fit("--max-model-len is '0'; expected a whole number", "--max-model-len", "0"),
    "fit-length-huge": fit("--max-model-len is '1e12'; expected a whole number", "--max-model-len", "1e12"),
    "fit-output-negative": fit("--output-len is '-1'; expected a whole number", "--output-len", "-1"),
    "fit-step-huge": fit("--max-num-batched-tokens is '1e30'", "--max-num-batched-tokens", "1e30"),
    # Counts
    "cached-with-backward": flops("--cached-len goes with inference", "--backward", "--cached-len", "5"),
    "logits-with-backward": flops("--logits goes with inference", "--backward", "--logits", "last"),
    "recompute-without-backward": flops("--recompute belongs to the backward pass", "--recompute", "full"),
    "cached-negative": flops("--cached-len is '-5'; expected a whole number from 0", "--cached-len", "-5"),
    "flops-batch-fraction": flops("--batch-size is '1.5'; expected a whole number", "--batch-size", "1.5"),
    "flops-billion-tokens": flops("--seq-len is '1e12'; expected a whole number", "--seq-len", "1e12"),
    # Other sizes
    "set-without-value": Case("'abc' is no KEY=VALUE", ("params", "@ok.json", "--set", "abc")),
    "set-without-key": Case("'=3' is no KEY=VALUE", ("params", "@ok.json", "--set", "=3")),
    "set-unknown-key": Case("the key 'hidden_siz' (64) looks like", ("params", "@ok.json", "--set", "hidden_siz=64")),
    "set-word": Case("hidden_size is 'wide'; expected", ("params", "@ok.json", "--set", "hidden_size=wide")),
    "variants-without-value": Case(
        "--variants is 'abc'; expected KEY=VALUE", ("compare", "@ok.json", "--variants", "abc")
    ),
    "variants-without-key": Case("--variants is '=1'; expected KEY=VALUE", ("compare", "@ok.json", "--variants", "=1")),
    "variant-of-nothing": Case("looks like a size", ("compare", "@ok.json", "--variants", "n_size=4")),
    "variant-breaks-heads": Case("does not divide", ("compare", "@ok.json", "--variants", "num_key_value_heads=3,4")),
    "compare-nothing": Case("compare needs at least one MODEL; expected such as", ("compare",)),
    "compare-too-many": Case("9 columns are too many to read; expected at most 8", ("compare", *["@ok.json"] * 9)),
    "compare-unknown-hardware": Case("is not in the catalogue", ("compare", "@ok.json", "--gpu", "h100,zebra"), 3),
    "compare-empty-hardware": Case("hardware '' is not", ("compare", "@ok.json", "--gpu", "h100,"), 3),
    # Sweeps
    "range-without-end": sweep("--batch-size: '1:' is no number", "--batch-size", "1:"),
    "range-backwards": sweep("'5:1' is no range; expected start:stop:step", "--batch-size", "5:1"),
    "range-without-step": sweep("'1:10:0' is no range", "--batch-size", "1:10:0"),
    "range-of-four": sweep("'1:2:3:4' is no range", "--batch-size", "1:2:3:4"),
    "range-of-words": sweep("'a:b' is no number", "--batch-size", "a:b"),
    "range-to-infinity": sweep("'1:inf' is no number", "--batch-size", "1:inf"),
    "range-of-nan": sweep("'1:nan' is no number", "--batch-size", "1:nan"),
    "range-too-long": sweep("has 1,000,000,000 values; expected at most 10,000,000", "--batch-size", "1:1e9"),
    "range-too-fine": sweep("expected at most 10,000,000", "--batch-size", "1:2:1e-30"),
    "empty-list": sweep("',' is no number", "--batch-size", ","),
    "hole-in-a-list": sweep("'1,,2' is no number", "--batch-size", "1,,2"),
    "word-in-a-list": sweep("'1,x' is no number", "--batch-size", "1,x"),
    "powers-backwards": sweep("'2**5..2**1' is an empty list", "--batch-size", "2**5..2**1"),
    "powers-beyond": sweep("the powers go beyond any size", "--batch-size", "2**0..2**90"),
    "power-beyond": sweep("--batch-size: '1,2**5000' is no number", "--batch-size", "1,2**5000"),
    "zero-in-a-range": sweep("batch is 0; expected a whole number from 1", "--batch-size", "0:3"),
    "fraction-in-a-list": sweep("batch is 1.5; expected a whole number from 1", "--batch-size", "2,1.5"),
    "too-many-points": sweep("points; expected at most 50,000,000", "--batch-size", "1:90000", "--input-len", "1:900"),
    "unknown-best": sweep("'speed' is no numeric column of the sweep", "--tp", "1,2", "--best", "speed"),
    "near-best": sweep("did you mean tpot_floor_s", "--tp", "1,2", "--best", "tpot_floor"),
    "word-best": sweep("'bound' is no numeric column", "--tp", "1,2", "--best", "bound"),
    "empty-best": sweep("'' is no numeric column", "--tp", "1,2", "--best", ""),
    "unknown-pareto": sweep("'speed' is no numeric column", "--tp", "1,2", "--pareto", "tpot_floor_s,speed"),
    "vary-unknown": sweep("'colour' is nothing that can vary", "--vary", "colour=1,2"),
    "vary-near": sweep("did you mean hidden_size", "--vary", "hiden_size=1,2"),
    "vary-without-values": sweep("--vary has 'batch'; expected NAME=VALUES", "--vary", "batch"),
    "vary-without-name": sweep("--vary has '=1,2'; expected NAME=VALUES", "--vary", "=1,2"),
    "vary-word": sweep("--vary batch: 'x' is no number", "--vary", "batch=x"),
    "vary-twice": sweep("--vary has 'batch' twice", "--vary", "batch=1,2;batch=3"),
    "vary-and-flag": sweep("which --batch-size varies too", "--batch-size", "1,2", "--vary", "batch=1,2"),
    "vary-bandwidth-zero": sweep("memory_bandwidth is 0; expected more than zero", "--vary", "memory_bandwidth=0,1"),
    "vary-layers-beyond": sweep("num_hidden_layers has values that are no", "--vary", "num_hidden_layers=1,1e7"),
    "workload": sweep("--workload is 'train'; expected one of generate, decode, serve", "--workload", "train"),
    "decode-without-context": sweep("--context-len is missing; expected tokens", "--workload", "decode"),
    "decode-with-prompt": sweep("--input-len is no input of --workload decode", "--context-len", "1", "--isl", "2"),
    "generate-with-context": sweep("is no input of", "--workload", "generate", "--context-len", "5"),
    "format": sweep("--format is 'xml'; expected one of table, csv", "--format", "xml"),
    "format-contradicts": sweep("--json and --format csv contradict", "--json", "--format", "csv"),
    "parquet-to-stdout": sweep("--format parquet needs --output FILE: it is binary", "--format", "parquet"),
    "csv-into-nowhere": sweep("cannot be written (No such file", "--format", "csv", "--output", "@none/x.csv"),
    "parquet-into-nowhere": sweep("cannot be written (No such file", "--format", "parquet", "--output", "@none/x.pq"),
    "jsonl-over-a-folder": sweep("cannot be written (Is a directory", "--format", "jsonl", "--output", "@hollow"),
    "limit-word": sweep("--limit is 'x'; expected a whole number", "--limit", "x"),
    "limit-zero": sweep("--limit is '0'; expected a whole number", "--limit", "0"),
    "limit-infinite": sweep("--limit is '1e400'; expected a whole number", "--limit", "1e400"),
    "formats-in-a-list": sweep("--dtype is 'bf16,fp16'; expected one of", "--dtype", "bf16,fp16"),
    # Explanations
    "formula-near": explain("did you mean machine_balance", "machine_balanc"),
    "formula-unknown": explain("'zebra' is neither a figure nor a formula", "zebra"),
    "argument-missing": explain("machine_balance needs bandwidth; give peak=… [FLOP/s]", "machine_balance", "peak=1"),
    "argument-unknown": explain("no argument 'x'; it takes", "machine_balance", "peak=1", "bandwidth=2", "x=3"),
    "argument-without-value": explain("'peak' is no argument=value", "machine_balance", "peak"),
    "argument-twice": explain("has 'peak' twice", "machine_balance", "peak=1", "peak=2", "bandwidth=1"),
    "argument-word": explain("'fast' is no number", "machine_balance", "peak=fast", "bandwidth=2"),
    "argument-unit": explain("has the wrong unit; expected FLOP/s", "machine_balance", "peak=1 TB/s", "bandwidth=2"),
    "argument-negative": explain("peak is '-1'; expected zero or more", "machine_balance", "peak=-1", "bandwidth=1"),
    "argument-infinite": explain("is beyond any machine", "machine_balance", "peak=1e999 FLOP/s", "bandwidth=1"),
    "divisor-zero": explain("machine_balance has no finite value", "machine_balance", "peak=1", "bandwidth=0"),
    "figure-without-model": explain("explain params needs one model; expected such as", "params"),
    "figure-of-two-models": explain("explain params needs one model", "params", "gpt2", "gpt2"),
    "figure-unknown-model": explain("is not in the catalogue; did you mean gpt2", "params", "gtp2", status=3),
    "figure-without-decode": explain("tpot needs --output-len above 1", "tpot", "@ok.json", "--output-len", "1"),
    "explain-style": explain(
        "style is 'html'; expected one of text, markdown, latex", "params", "gpt2", "--format", "html"
    ),
    # Files
    **{f"config:{name}": Case(text, ("params", f"@{name}.json")) for name, (_, text) in CONFIGS.items()},
    **{f"device:{name}": infer(text, "--hardware", f"@{name}.toml") for name, (_, text) in DEVICES.items()},
    **sizes(),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All the files that the cases name."""
    found = tmp_path_factory.mktemp("inputs")
    contents: dict[str, str | bytes] = {
        "ok.json": llama(),
        "ok.toml": DEVICE,
        **{f"{name}.json": content for name, (content, _) in CONFIGS.items()},
        **{f"{name}.toml": content for name, (content, _) in DEVICES.items()},
    }
    for name, content in contents.items():
        (found / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (found / "hollow").mkdir()
    (found / "nested" / "config.json").mkdir(parents=True)
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_line(case: Case, folder: Path) -> None:
    """One line that starts with the program's name, nothing on stdout, and the status of its kind."""
    printed = run(*(str(folder / word[1:]) if word.startswith("@") else word for word in case.words))
    assert printed.status == case.status, printed
    assert printed.out == ""
    assert printed.err.startswith("floorline: ")
    assert printed.err.count("\n") == 1
    assert printed.err.endswith("\n")
    assert len(printed.err) < 700
    assert case.text in printed.err


def test_good_inputs_of_this_file(folder: Path) -> None:
    """What the cases break is whole before they break it."""
    assert run("infer", folder / "ok.json", "--hardware", folder / "ok.toml").status == 0


def test_unreadable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read, whoever runs the tests; the catalogue's own have been."""
    run("infer", "gpt2", "--hardware", "h100-sxm")

    def refuse(path: Path, *args: object, **options: object) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(Path, "read_text", refuse)
    for words in (("params", folder / "ok.json"), ("infer", "gpt2", "--hardware", folder / "ok.toml")):
        printed = run(*words)
        assert printed.status == 2
        assert printed.out == ""
        assert printed.err.endswith("cannot be read (Permission denied); check its permissions\n")


def test_does_not_fit(folder: Path) -> None:
    """``fit --check`` answers in full, and says no by its status alone."""
    words = ("fit", "llama-3.1-70b", "--max-model-len", "4096")
    no, checked = run(*words), run(*words, "--check")
    assert (no.status, checked.status) == (0, 1)
    assert no.out == checked.out
    assert "does not fit" in checked.out
    assert checked.err == ""
    assert run("fit", "llama-3.1-8b", "--max-model-len", "4096", "--check").status == 0


def test_error_of_a_process(folder: Path) -> None:
    """The same from outside: a real process, a real status, no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "floorline", "infer", str(folder / "ok.json"), "--batch_size", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "floorline: --batch-size is 0; expected a whole number from 1 to 1e+09\n"


def test_closed_pipe() -> None:
    """A reader that goes away early, as ``head`` does, is no error."""
    with subprocess.Popen(
        [sys.executable, "-m", "floorline", "models", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


def test_full_disk() -> None:
    """An answer that cannot be written is one line and a status, once."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "floorline", "models"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    assert done.returncode == 2
    assert done.stderr.startswith("floorline: No space left on device; check")
    assert done.stderr.count("\n") == 1


def test_no_stdout_at_all() -> None:
    """A process that was started with its streams closed ends as it should."""
    command = f'"{sys.executable}" -m floorline params gpt2 >&- 2>&-'
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(["sh", "-c", command], env=env, timeout=60, check=False).returncode == 0


# Anything at all

VALUES = (
    "1",
    "2",
    "0",
    "-1",
    "1.5",
    "nan",
    "1e400",
    "64",
    "1,2",
    "1:3",
    "2**0..2**2",
    "x",
    "",
    "bf16",
    "1 TB/s",
    "5 us",
)
FLAGS = (
    *(
        "--json",
        "--batch-size",
        "--isl",
        "--osl",
        "--tp",
        "--dp",
        "--cp",
        "--devices",
        "--hardware",
        "--gpu",
        "--dtype",
    ),
    *("--peak", "--memory", "--memory-bandwidth", "--set", "--fusion", "--attention", "--launch-time", "--seq-len"),
    *(
        "--kv-cache-dtype",
        "--check",
        "--backward",
        "--cached-len",
        "--max-model-len",
        "--variants",
        "--vary",
        "--format",
    ),
    *(
        "--best",
        "--pareto",
        "--limit",
        "--workload",
        "--context-len",
        "--operators",
        "--recompute",
        "--nonsense",
        "-x",
        "--",
    ),
)
NAMES = (
    "gpt2",
    "llama-3.1-8b",
    "textbook-24x768",
    "nothing",
    "h100",
    "a100",
    "machine_balance",
    "peak=1",
    "bandwidth=2",
)
COMMANDS = ("params", "flops", "fit", "infer", "compare", "sweep", "explain", "models", "hardware", "nonsense")
WORDS = st.one_of(st.sampled_from(FLAGS), st.sampled_from(VALUES), st.sampled_from(NAMES), st.text(max_size=8))


@settings(max_examples=120)
@given(st.sampled_from(COMMANDS), st.lists(WORDS, max_size=7))
def test_any_words(command: str, words: list[str]) -> None:
    """No list of words ends in a traceback; an error is one line, and nothing else comes with it."""
    printed = run(command, *(w for w in words if w != "--output"))
    assert printed.status in (0, 1, 2, 3)
    if printed.status in (2, 3):
        assert printed.err.startswith("floorline: ")
        assert printed.err.count("\n") == 1
        assert printed.out == ""


KEYS = (
    *LLAMA,
    "head_dim",
    "n_embd",
    "n_layer",
    "n_head",
    "tie_word_embeddings",
    "attention_bias",
    "torch_dtype",
    "num_x",
)
ANYTHING = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.sampled_from((1, 2, 64, 10**400))
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=4,
)
TYPES = st.sampled_from(("llama", "gpt2", "textbook"))


@settings(max_examples=200)
@given(TYPES, st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=4), st.booleans())
def test_any_configuration(kind: str, changed: dict[str, object], whole: bool) -> None:
    """A configuration is a model of finite size, or an error of one line."""
    config = {**(LLAMA if whole else {}), "model_type": kind, **changed}
    try:
        total = float(load_model(config).parameter_count().total)
    except FloorlineError:
        return
    assert 0.0 < total < 1e300


@settings(max_examples=100)
@given(st.text(max_size=40), st.dictionaries(st.sampled_from(tuple(DEVICE.split())), st.text(max_size=10), max_size=3))
def test_any_device_file(tmp_path_factory: pytest.TempPathFactory, head: str, swapped: dict[str, str]) -> None:
    """A device's file is a device, or an error of one line."""
    text = DEVICE
    for old, new in swapped.items():
        text = text.replace(old, new)
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(f"# {head!r}\n{text}", encoding="utf-8")
    try:
        found = load_cluster(path).accelerator
    except FloorlineError:
        return
    assert 0.0 < float(found.memory) < float("inf")
