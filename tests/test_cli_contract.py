"""What the command line promises: names, keys and exit statuses that others build on; and that its numbers agree."""

import json
import math
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from floorline import (
    Accelerator,
    Assumptions,
    Decode,
    Generate,
    Link,
    Parallelism,
    Precision,
    Prefill,
    Train,
    count,
    estimate,
    fit,
    load_cluster,
    load_model,
)
from floorline.cli.main import COMMANDS
from terminal import Json, Printed, ask, run, told

ENVELOPE = {"schema_version", "floorline", "command", "inputs", "calibration"}
TIME = ["floor", "serial", "expected", "low", "high"]
VALIDATION = Path(__file__).parents[1] / "validation"
GENERATE = ("--isl", "100", "--osl", "20")


def process(*arguments: str, **environment: str) -> Printed:
    """A real process with pipes."""
    done = subprocess.run(
        [sys.executable, "-m", "floorline", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    return Printed(done.returncode, done.stdout, done.stderr)


def terminal(*arguments: str, **environment: str) -> str:
    """What a real process prints to a terminal."""
    near, far = pty.openpty()
    kept = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    env = {**kept, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", **environment}
    with subprocess.Popen([sys.executable, "-m", "floorline", *arguments], stdout=far, stderr=far, env=env) as child:
        os.close(far)
        found = b""
        while True:
            try:
                piece = os.read(near, 65536)
            except OSError:  # Linux says so where the other end is closed
                break
            if not piece:
                break
            found += piece
        assert child.wait(timeout=60) == 0
    os.close(near)
    return found.decode()


def leaves(value: object) -> Iterator[object]:
    """Every number, text and null of a JSON document."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def answer(document: Json) -> Json:
    """A document without what says how it was asked for."""
    return {k: v for k, v in document.items() if k not in ("inputs", "provenance")}


def nameless(document: Json) -> Json:
    """An answer without what its model and its hardware are called."""
    found = answer(document)
    for part in ("model", "hardware"):
        found[part] = {k: v for k, v in found.get(part, {}).items() if k not in ("name", "title", "source")}
    return found


# Keys

DOCUMENTS = {
    "params": ("params", "llama-3.1-8b"),
    "flops": ("flops", "gpt2", "--batch-size", "3", "--seq-len", "10", "--backward"),
    "fit": ("fit", "llama-3.1-8b", "--max-model-len", "4096"),
    "infer": ("infer", "llama-3.1-8b", "--tp", "2", *GENERATE),
    "compare": ("compare", "gpt2", "gpt2-xl", *GENERATE),
    "sweep": ("sweep", "gpt2", "--batch-size", "1,2", *GENERATE),
    "explain": ("explain", "tpot", "gpt2", *GENERATE),
    "models": ("models", "gpt2"),
    "hardware": ("hardware", "h100"),
    "roofline": ("roofline", "gpt2", *GENERATE),
    "balance": ("balance", "llama-3.1-8b", "--tp", "2", *GENERATE),
    "modules": ("modules", "--hidden-size", "128", "--tokens", "2x4x4"),
    "crossover": ("crossover", "--hidden-size", "512"),
    "backward": ("backward", "--widths", "8,4,2"),
    "split": ("split", "--hidden-size", "512"),
    "occupancy": ("occupancy", "--threads", "128"),
    "train": ("train", "gpt2", "--seq-len", "128", "--dp", "2"),
    "denoise": ("denoise", "dit-xl-2-256", "--steps", "4", "--cfg-parallel", "2", "--guidance", "two"),
    "plans": ("plans", "gpt2", "--devices", "2", "--seq-len", "128", "--pp", "1", "--zero-stage", "1"),
    "scale": ("scale", "gpt2", "--strong", "1,2", "--seq-len", "128"),
    "mfu": ("mfu", "gpt2", "--seq-len", "128", "--step-time", "1"),
    "calibrate": (
        *("calibrate", str(VALIDATION / "kernels" / "vidur_elementwise.csv.xz")),
        *("--accelerator", "a40", "--kind", "add"),
    ),
    "validate": ("validate", str(VALIDATION / "cases" / "encoder.csv"), "--models", str(VALIDATION / "models")),
}


def test_every_command_has_a_document() -> None:
    assert set(DOCUMENTS) == set(COMMANDS)


@pytest.mark.parametrize("words", DOCUMENTS.values(), ids=DOCUMENTS)
def test_envelope(words: tuple[str, ...]) -> None:
    """A schema version, the inputs echoed, whole numbers as integers, nothing beside the document."""
    printed = run(*words, "--json")
    document = json.loads(printed.out)
    assert printed.err == ""
    assert set(document) >= ENVELOPE
    assert document["schema_version"] == 1
    assert document["command"] == words[0]
    fitted = document.get("provenance", {}).get("calibrations", {})
    assert document["calibration"] == ("+".join(dict.fromkeys(filter(None, fitted.values()))) or None)
    echoed = [str(x) for x in leaves(document["inputs"])]
    assert {w for w in words[1:] if not w.startswith("--")} <= set(echoed)
    assert not [x for x in leaves(document) if isinstance(x, float) and (not math.isfinite(x) or x == int(x))]


def test_params_keys() -> None:
    """Numbers of the model's page on Hugging Face: 8 030 261 248 parameters."""
    document = ask("params", "llama-3.1-8b")
    assert document["total"] == 8030261248
    assert document["embedding"] == 128256 * 4096
    assert document["non_embedding"] == 8030261248 - 128256 * 4096
    assert document["active_per_token"] == document["total"]
    assert all({"name", "count", "parameters"} <= set(m) for m in document["modules"])
    assert sum(m["parameters"] for m in document["modules"]) == document["total"]


def test_flops_keys() -> None:
    """Forward and backward add up, operators add up, and Python says the same."""
    document = ask(*DOCUMENTS["flops"])
    assert document["total"] == document["forward"] + document["backward"]
    assert document["total"] == sum(o["flops"] for o in document["operators"])
    assert document["attention"] == "full"
    counted = count("gpt2", Train(micro_batch=3, global_batch=3, seq_len=10))
    assert document["total"] == counted.flops
    assert document["bytes"] == counted.bytes
    causal = ask("flops", "gpt2", "--seq-len", "10", "--cached-len", "6", "--attention", "causal")
    assert causal["total"] == count("gpt2", Prefill(prompt_len=10, cached_len=6, logits="all"), "causal").flops
    assert causal["backward"] == 0


def test_infer_keys() -> None:
    """A time is always an object with a floor; what no kernel model backs is null."""
    document = ask(*DOCUMENTS["infer"])
    for name in ("ttft_s", "tpot_s", "latency_s"):
        assert list(document[name]) == TIME
        assert 0.0 < document[name]["floor"] <= document[name]["serial"]
        time = document[name]
        assert time["floor"] <= time["low"] < time["expected"] < time["high"]
    rates = document["output_tokens_per_s"]
    assert rates["low"] < rates["expected"] < rates["high"] <= rates["ceiling"]
    assert document["provenance"]["calibrations"]["h100-sxm"]
    assert document["engine"]["name"] == "any"
    for phase in document["phases"].values():
        assert 0.0 < phase["mfu"] < 1.0
        assert 0.0 < phase["mbu"] < 1.0
        summed = sum(kind["seconds"] for kind in phase["expected"]["kinds"].values()) + phase["expected"]["host_s"]
        assert phase["time_s"]["expected"] == pytest.approx(summed)
    unknown = ask("infer", "gpt2", "--hardware", "tpu-v5e", "--input-len", "8", "--output-len", "2")
    assert [unknown["tpot_s"][k] for k in ("expected", "low", "high")] == [None, None, None]
    assert unknown["output_tokens_per_s"]["expected"] is None
    assert set(document["memory"]) == {
        "weights",
        "kv_cache",
        "activations",
        "workspace",
        "graphs",
        "framework",
        "total",
    }
    assert document["memory"]["total"] == sum(v for k, v in document["memory"].items() if k != "total")
    assert document["bound"]["decode"] in ("compute", "memory", "link")
    assert document["assumptions"]["attention"] == "full"
    assert document["parallelism"]["tp"] == 2
    assert document["hardware"]["devices"] == 2
    assert document["provenance"]["hardware"] == "NVIDIA H100 SXM5 80 GB"
    for phase in document["phases"].values():
        assert phase["time_s"]["floor"] == max(phase["floor_s"].values())
        assert len(phase["operators"]) > 10


def test_infer_is_estimate() -> None:
    """The command says what Python says."""
    document = ask("infer", "llama-3.1-8b", "--tp", "2", "--dtype", "fp16", "--launch-time", "5e-6", *GENERATE)
    found = estimate(
        "llama-3.1-8b",
        Generate(prompt_len=100, output_len=20),
        load_cluster("h100-sxm", devices=2),
        parallelism=Parallelism(tp=2),
        precision=Precision.of("fp16"),
        assumptions=Assumptions(launch_time=5e-6),
    ).to_dict()
    assert {k: document[k] for k in found} == found


@pytest.mark.parametrize("hardware", ["v100", "h100"])
@pytest.mark.parametrize("model", ["gpt2", "llama-3.1-8b", "textbook-52b"])
def test_floor_below_serial(model: str, hardware: str) -> None:
    """Nothing is faster than its floor, whatever is fused and however attention is counted."""
    for fusion in ("unfused", "flash", "compulsory"):
        for plan in ((), ("--tp", "2"), ("--tp", "2", "--sequence-parallel"), ("--cp", "2"), ("--dp", "2")):
            words = (
                "infer",
                model,
                "--gpu",
                hardware,
                "--attention",
                "causal",
                "--fusion",
                fusion,
                "--batch-size",
                "3",
            )
            document = ask(*words, *plan, *GENERATE)
            for name in ("ttft_s", "tpot_s", "latency_s"):
                assert 0.0 < document[name]["floor"] <= document[name]["serial"], (plan, fusion, name)


# Names

SAME = {
    "tp": ("infer", "llama-3.1-8b", ("--tp", "--tensor-parallel-size", "--tensor_parallel_size"), "2"),
    "dp": ("infer", "llama-3.1-8b", ("--dp", "--data-parallel-size"), "2"),
    "cp": ("infer", "llama-3.1-8b", ("--cp", "--context-parallel-size"), "2"),
    "input": ("infer", "gpt2", ("--isl", "--input-len", "--input_len"), "77"),
    "output": ("infer", "llama-3.1-8b", ("--osl", "--output-len"), "7"),
    "batch": ("infer", "llama-3.1-8b", ("--batch-size", "--batch_size"), "2"),
    "gpu": ("infer", "llama-3.1-8b", ("--gpu", "--hardware"), "a100"),
    "sequence": ("flops", "gpt2", ("--seq-length", "--seq-len", "--isl", "--input-len", "--seq_len"), "9"),
    "sequences": ("fit", "llama-3.1-8b", ("--max-num-seqs", "--batch-size"), "9"),
    "fit-input": ("fit", "llama-3.1-8b", ("--isl", "--input-len"), "900"),
    "kv": ("fit", "llama-3.1-8b", ("--kv-cache-dtype", "--kv_cache_dtype"), "fp8"),
}


@pytest.mark.parametrize(("command", "model", "names", "value"), SAME.values(), ids=SAME)
def test_aliases(command: str, model: str, names: tuple[str, ...], value: str) -> None:
    """One input under all its names, with a space or with an equals sign; and it matters."""
    first, *others = [ask(command, model, name, value) for name in names]
    assert all(other == first for other in others)
    assert ask(command, model, f"{names[0]}={value}") == first
    assert answer(first) != answer(ask(command, "llama-3.1-8b"))


def test_recompute_has_two_names() -> None:
    """Megatron's name and the short one."""
    long, short = (
        ask("flops", "gpt2", "--backward", name, "full") for name in ("--recompute-granularity", "--recompute")
    )
    assert long == short
    assert long["backward"] > ask("flops", "gpt2", "--backward")["backward"]


@pytest.mark.parametrize(
    ("text", "tokens"), [("1k", 1000), ("1K", 1024), ("2**10", 1024), ("1e3", 1000), ("1_000", 1000), ("1000.0", 1000)]
)
def test_sizes_as_people_type_them(text: str, tokens: int) -> None:
    """Thousands and 1024s as vLLM reads them, powers, exponents."""
    assert ask("infer", "llama-3.1-8b", "--isl", text)["workload"]["prompt_len"] == tokens


def test_one_model_by_any_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue name, a hub id, a file, a folder, a hub id of the local cache and a dict are one model."""
    config = ask("models", "llama-3.1-8b")["models"][0]["config"]
    folder = tmp_path / "my-model"
    snapshot = tmp_path / "hub" / "models--me--mine" / "snapshots" / "abc"
    for place in (folder, snapshot):
        place.mkdir(parents=True)
        (place / "config.json").write_text(json.dumps(config))
    alone = tmp_path / "alone.json"
    alone.write_text(json.dumps(config))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    ways = ("llama-3.1-8b", "meta-llama/Llama-3.1-8B", "LLAMA-3.1-8B", alone, folder, folder / "config.json", "me/mine")
    for command in (("params",), ("flops",), ("fit",), ("infer",)):
        first, *others = [nameless(ask(*command, way)) for way in ways]
        assert all(other == first for other in others)
    named = ask("params", folder)["model"]["name"], ask("params", alone)["model"]["name"]
    assert named == ("my-model", "alone")
    assert ask("params", "me/mine")["model"]["name"] == "me/mine"
    assert load_model(config).parameter_count() == load_model("llama-3.1-8b").parameter_count()
    assert load_model(folder).parameter_count() == load_model(str(alone)).parameter_count()


@pytest.mark.parametrize("name", ["NVIDIA H100_SXM", "h100", "H100-SXM", "h100 sxm", "nvidia h100 80gb hbm3"])
def test_hardware_names(name: str) -> None:
    """Case, spaces, underscores and the vendor's name are forgiven."""
    assert ask("hardware", name)["hardware"][0]["name"] == "h100-sxm"
    assert load_cluster(name).accelerator.name == "h100-sxm"


def test_set_changes_a_size() -> None:
    """``--set`` is the same as another configuration."""
    document = ask("params", "gpt2", "--set", "n_layer=24,n_embd=1024,n_head=16")
    assert document["total"] == ask("params", "gpt2-medium")["total"]
    assert ask("params", "gpt2", "--set", "bias=false,n_layer=12")["total"] == 124337664


# Streams


def test_data_to_stdout_and_notes_to_stderr() -> None:
    """What a pipe reads is data alone; JSON is alone on both streams."""
    printed = run("infer", "llama-3.1-8b")
    assert printed.status == 0
    assert "time per output token" in printed.out
    assert "no engine runs this batch faster" in printed.err
    assert "no engine runs this batch faster" not in printed.out
    assert run("infer", "llama-3.1-8b", "--json").err == ""
    counted = run("flops", "gpt2")
    assert "FLOP" in counted.out
    assert "convention" in counted.err


@pytest.mark.parametrize("words", DOCUMENTS.values(), ids=DOCUMENTS)
def test_no_colours_in_a_pipe(words: tuple[str, ...]) -> None:
    """No escape codes where nobody sees colours."""
    printed = run(*words)
    assert printed.status == 0
    assert "\033" not in printed.out + printed.err
    assert printed.out.endswith("\n")


def test_colours_on_a_terminal() -> None:
    """A heading is bold on a terminal, unless NO_COLOR is set."""
    assert "\033[1m" in terminal("params", "gpt2")
    assert "\033" not in terminal("params", "gpt2", NO_COLOR="1")
    assert "\033" not in terminal("params", "gpt2", TERM="dumb")


def test_process() -> None:
    """A real process: the same bytes as in-process, and a version."""
    printed = process("params", "gpt2", "--json")
    assert printed == Printed(0, told("params", "gpt2", "--json"), "")
    assert process("--version").out.strip() == ask("params", "gpt2")["floorline"]


def test_utf8_whatever_the_locale() -> None:
    """Greek letters and GiB come out under a C locale too."""
    printed = process("explain", "machine_balance", "peak=312e12", "bandwidth=1.5e12", LC_ALL="C", PYTHONUTF8="1")
    assert printed.status == 0
    assert "β = 1.5e+12 B/s" in printed.out


def test_terminal_without_greek() -> None:
    """A character that the terminal lacks is written out; nothing fails for it."""
    printed = process("explain", "machine_balance", "peak=312e12", "bandwidth=1.5e12", PYTHONIOENCODING="ascii")
    assert printed.status == 0
    assert "\\u03b2 = 1.5e+12 B/s" in printed.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str) -> None:
    """Every command says how it is used and, first, what it answers."""
    lines = told(command, "--help").splitlines()
    assert lines[0].startswith(f"usage: floorline {command} [OPTIONS]")
    assert len(lines[2].split()) > 4
    assert any(line.strip().startswith("--json") for line in lines)


def test_help_lists_the_commands() -> None:
    """The program without words shows the commands and is content."""
    for words in ((), ("--help",), ("-h",)):
        shown = told(*words)
        assert all(command in shown for command in COMMANDS)


# Lists


def test_models() -> None:
    """All, those with a word in their name or hub id, with their parameters."""
    everything = {m["name"]: m["parameters"] for m in ask("models")["models"]}
    assert everything["gpt2"] == 124439808
    assert len(everything) > 25
    assert [m["name"] for m in ask("models", "meta-llama-3.1-8b")["models"]] == ["llama-3.1-8b"]
    assert {m["name"] for m in ask("models", "OpenAI-Community")["models"]} >= {"gpt2", "gpt2-xl"}
    assert "8 030 261 248" in told("models", "llama-3.1")


def test_hardware() -> None:
    """All, those with a word in their name, or one with every figure and its sources."""
    names = [h["name"] for h in ask("hardware")["hardware"]]
    assert {"h100-sxm", "h200-sxm", "a100-pcie-80gb", "v100-sxm2-16gb"} <= set(names)
    pcie = [h["name"] for h in ask("hardware", "pcie")["hardware"]]
    assert {n for n in names if "pcie" in n} <= set(pcie) < set(names)  # other names count too
    assert [h["name"] for h in ask("hardware", "strix")["hardware"]] == ["ryzen-ai-max-395"]
    assert {h["name"] for h in ask("hardware", "apple")["hardware"]} >= {"m1", "m2-ultra", "m5"}
    shown = told("hardware", "h100-sxm")
    assert "3.35 TB/s" in shown
    assert "989.4 TFLOP/s" in shown
    assert "450 GB/s" in shown


# Devices


def plan(*words: str) -> tuple[float, float, float, float]:
    """tp, dp, cp and devices of an answer."""
    document = ask("infer", "llama-3.1-8b", *words)
    p = document["parallelism"]
    return p["tp"], p["dp"], p["cp"], document["hardware"]["devices"]


def test_devices() -> None:
    """Left out, the product of the degrees; given, the rest becomes data parallel."""
    assert plan() == (1, 1, 1, 1)
    assert plan("--tp", "4") == (4, 1, 1, 4)
    assert plan("--tp", "2", "--dp", "3") == (2, 3, 1, 6)
    assert plan("--devices", "8") == (1, 8, 1, 8)
    assert plan("--tp", "2", "--devices", "8") == (2, 4, 1, 8)
    assert plan("--tp", "2", "--cp", "2", "--devices", "8") == (2, 2, 2, 8)
    assert plan("--tp", "2", "--dp", "4", "--devices", "8") == (2, 4, 1, 8)
    refused = run("infer", "llama-3.1-8b", "--tp", "2", "--dp", "2", "--devices", "8")
    assert refused.status == 2
    assert "tp·dp·cp·pp is 4 and --devices is 8" in refused.err


# Hardware by hand

H100 = """
name = "by hand"
[figures]
memory = "80 GB"
usable_memory = "81559 MiB"
memory_bandwidth = "3350 GB/s"
last_level_cache = "50 MiB"
[peaks]
bf16 = "989.4 TFLOP/s"
fp8 = "1.9789 PFLOP/s"
[links.fast]
bandwidth = "3600 Gb/s"
"""


def without_expected(document: Json) -> None:
    """Leave out of an answer what depends on kernel models."""
    document.pop("provenance", None)
    document.pop("calibration", None)
    for name in ("ttft_s", "tpot_s", "latency_s", "output_tokens_per_s"):
        document[name] = {k: v for k, v in document[name].items() if k not in ("expected", "low", "high")}
    for name, phase in document["phases"].items():
        kept = {k: v for k, v in phase.items() if k not in ("time_s", "expected", "mfu", "mbu", "operators")}
        document["phases"][name] = kept


def test_custom_accelerator(tmp_path: Path) -> None:
    """A file with an H100's figures, in whatever units, gives an H100's answers; so does one made in Python."""
    path = tmp_path / "mine.toml"
    path.write_text(H100)
    words = ("--tp", "2", "--isl", "500", "--osl", "50", "--kv-cache-dtype", "fp8")
    custom, shipped = (answer(ask("infer", "llama-3.1-70b", "--gpu", gpu, *words)) for gpu in (path, "h100-sxm"))
    assert custom.pop("hardware")["name"] == "mine"
    assert shipped.pop("hardware")["name"] == "h100-sxm"
    assert custom.pop("cost")["usd_per_million_output_tokens"] is None  # the file has no price
    assert shipped.pop("cost")["price_usd_per_device_hour"] == 2.69
    for found in (custom, shipped):  # without multiprocessors there are no kernel models
        without_expected(found)
    assert custom == shipped
    made = Accelerator(
        name="made",
        peaks={"bf16": 989.4e12},
        memory=80e9,
        usable_memory=81559 * 2.0**20,
        memory_bandwidth=3.35e12,
        last_level_cache=50 * 2.0**20,
        links=(Link("link", 450e9),),
    )
    work, degrees = Generate(prompt_len=500, output_len=50), Parallelism(tp=2)
    clusters = load_cluster(made, devices=2), load_cluster("h100", devices=2), load_cluster(path, devices=2)
    first, *others = [estimate("llama-3.1-70b", work, c, parallelism=degrees).to_dict() for c in clusters]
    for found in (first, *others):
        without_expected(found)
    assert [found.pop("hardware")["devices"] for found in (first, *others)] == [2, 2, 2]
    assert all(other == first for other in others)


def test_figures_by_hand() -> None:
    """A flag replaces one figure; a rate in bits is an eighth of one in bytes."""
    device = ask("infer", "llama-3.1-8b", "--link-bandwidth", "200 Gb/s", "--memory-bandwidth", "1935 GB/s")["hardware"]
    nvlink = {"name": "nvlink", "bandwidth": 25_000_000_000, "latency": 0, "domain": 8, "topology": "switch"}
    assert device["links"][0] == nvlink
    assert device["memory_bandwidth"] == 1_935_000_000_000
    assert device["peaks"]["bf16"] == 989_400_000_000_000
    half = ask("infer", "llama-3.1-8b", "--peak", "494.7 TFLOP/s")
    assert half["ttft_s"]["floor"] == pytest.approx(2 * ask("infer", "llama-3.1-8b")["ttft_s"]["floor"])
    assert half["hardware"]["name"] == "h100-sxm*"
    small = ask("fit", "llama-3.1-8b", "--max-model-len", "4096", "--memory", "10 GB")
    assert not small["fits"]
    assert small["budget"] == 9_000_000_000


def test_a_time_is_the_same_in_any_unit() -> None:
    """5 µs is the float 5e-6, however it is written."""
    ways = ("5us", "5 us", "5e-6", "5E-6", "5µs", "5000ns", "0.005 ms", "5e-6s")
    first, *others = [answer(ask("infer", "gpt2", "--launch-time", way, *GENERATE)) for way in ways]
    assert first["assumptions"]["launch_time"] == 5e-6
    assert all(other == first for other in others)


# Fit


@pytest.mark.parametrize(
    "words",
    [
        ("llama-3.1-8b", "--osl", "4096"),
        ("llama-3.1-8b", "--isl", "8192", "--kv-cache-dtype", "fp8", "--tp", "2"),
        ("llama-3.1-70b", "--isl", "3000", "--osl", "1000", "--tp", "8"),
        ("llama-3.1-70b", "--isl", "3000", "--osl", "1000", "--tp", "4", "--devices", "8"),
        ("gpt2", "--gpu", "v100-sxm2-16gb", "--gpu-memory-utilization", "0.5"),
        ("llama-2-13b", "--gpu", "a100-sxm-40gb", "--max-num-batched-tokens", "2048", "--fusion", "unfused"),
    ],
    ids=" ".join,
)
def test_largest_that_fits(words: tuple[str, ...]) -> None:
    """The largest batch fits and one more does not; so for the context."""

    def fits(*more: object) -> bool:
        return bool(ask("fit", *words, *more)["fits"])

    found = ask("fit", *words)
    most = found["max_batch"]
    assert most >= 1
    assert fits("--batch-size", most)
    assert not fits("--batch-size", most + 1)
    longest = found["max_context"]
    assert fits("--max-model-len", longest)
    whole = load_model(words[0]).max_positions
    assert longest == whole or not fits("--max-model-len", longest + 1)


def test_fit_in_python() -> None:
    """The same through Python, on a machine that the whole batch just fills."""
    cluster = load_cluster("a100-sxm-40gb")
    most = fit("llama-3.1-8b", cluster, length=2000).max_batch
    for batch, fits in ((most, True), (most + 1.0, False)):
        assert fit("llama-3.1-8b", cluster, batch=batch, length=2000).fits == fits


@pytest.mark.parametrize("tokens", [1, 100, 4096, 131072])
def test_kv_bytes(tokens: int) -> None:
    """2 (keys and values) · 2 bytes · 32 layers · 8 heads · 128: 131 072 bytes a token."""
    document = ask("fit", "llama-3.1-8b", "--max-model-len", tokens, "--batch-size", "3")
    assert document["kv_bytes"] == 131072 * tokens * 3
    assert document["kv_bytes_per_token"] == 131072
    assert document["memory"]["kv_cache"] == 131072 * 3 * -(-tokens // 16) * 16  # in blocks of 16 tokens
    explained = ask("explain", "kv", "llama-3.1-8b", "--max-model-len", tokens, "--batch-size", "3")
    assert explained["value"] == document["kv_bytes"]


def test_suggestions_fit() -> None:
    """What is suggested makes it fit."""
    words = ("llama-3.1-70b", "--gpu", "h100", "--max-model-len", "4096")
    document = ask("fit", *words)
    assert not document["fits"]
    assert document["margin"] < 0
    assert document["suggestions"]
    for suggestion in document["suggestions"]:
        assert ask("fit", *words, *suggestion.split())["fits"], suggestion


# Explain

FIGURES = {
    "params": ("params", "llama-3.1-8b"),
    "params-tied": ("params", "gpt2"),
    "flops": ("flops", "llama-3.1-8b", "--isl", "100"),
    "flops-tied": ("flops", "gpt2", "--isl", "100", "--attention", "causal"),
    "memory": ("memory", "llama-3.1-8b", "--max-model-len", "4096", "--batch-size", "5"),
    "kv": ("kv", "llama-3.1-8b"),
    "ttft": ("ttft", "llama-3.1-8b"),
    "tpot": ("tpot", "llama-3.1-8b", "--tp", "2"),
    "latency": ("latency", "llama-3.1-8b"),
}


@pytest.mark.parametrize("words", FIGURES.values(), ids=FIGURES)
def test_figures(words: tuple[str, ...]) -> None:
    """Every figure opens in every style, and its title and value are the first thing said."""
    document = ask("explain", *words)
    text, markdown, latex = (told("explain", *words, "--format", style) for style in ("text", "markdown", "latex"))
    assert text.startswith(document["title"] + " = ")
    assert markdown.startswith(f"- **{document['title']}**:")
    assert latex.startswith("\\begin{align*}\n")
    assert latex.endswith("\\end{align*}\n")
    assert told("explain", *words) == text

    def nodes(node: Json) -> int:
        return 1 + sum(nodes(part) for part in node["parts"])

    assert markdown.count("- **") == nodes(document)
    assert latex.count("\\\\\n") == nodes(document)


@pytest.mark.parametrize("name", ["params", "params-tied", "flops", "flops-tied", "memory"])
def test_parts_add_up(name: str) -> None:
    """A total is the sum of what it opens into."""
    document = ask("explain", *FIGURES[name])
    assert document["value"] == sum(part["value"] for part in document["parts"])


def test_figures_are_the_answers() -> None:
    """What is explained is what the other commands say."""
    model, words = "llama-3.1-8b", ("--isl", "300", "--osl", "30", "--batch-size", "2")
    infer = ask("infer", model, *words)
    for name in ("ttft", "tpot", "latency"):
        assert ask("explain", name, model, *words)["value"] == infer[f"{name}_s"]["floor"]
    for name in ("ttft", "tpot"):
        phase = infer["phases"][{"ttft": "prefill", "tpot": "decode"}[name]]
        parts = ask("explain", name, model, *words)["parts"]
        assert [p["value"] for p in parts[:3]] == [phase["floor_s"][k] for k in ("compute", "memory", "link")]
        assert parts[3]["value"] == phase["time_s"]["serial"]
        assert len(parts[3]["parts"]) == len(phase["operators"])
    prefill = infer["phases"]["prefill"]
    launches = sum(o["serial"] * o["repeat"] for o in prefill["operators"])
    assert launches == pytest.approx(prefill["time_s"]["serial"], rel=1e-12)
    assert ask("explain", "params", model)["value"] == ask("params", model)["total"]
    assert ask("explain", "flops", model, "--isl", "300")["value"] == ask("flops", model, "--isl", "300")["total"]
    fitted = ask("fit", model, "--isl", "300", "--osl", "30")
    assert ask("explain", "memory", model, "--isl", "300", "--osl", "30")["value"] == fitted["memory"]["total"]


def test_overview() -> None:
    """Without a name: everything that can be explained."""
    shown = told("explain")
    for name in ("tpot", "machine_balance", "kv_capacity", "training_days"):
        assert name in shown


FORMULAS = {
    # Lecture: transformers, profiling and performance modelling
    "machine_balance peak=312e12 bandwidth=1.5e12": "208",
    "machine_balance peak=312TFLOP/s bandwidth=1.5TB/s": "208",
    "machine_balance peak=312e12 bandwidth=12Tb/s": "208",
    "crossover_size peak=312e12 bandwidth=1.5e12 bytes_per_element=8 matrices=4": "3328",
    "crossover_size peak=312e12 bandwidth=1.5e12 bytes-per-element=2 matrices=4": "832",
    "crossover_size peak=19.5TFLOP/s bandwidth=1.5e12 bytes_per_element=8 matrices=4": "208",
    # Transformer inference arithmetic
    "layer_stack_parameters layers=64 width=8192": "51539607552",
    "kv_bytes_per_token layers=64 kv_heads=128 head_dim=64 bytes_per_element=2": "2097152",
    "kv_capacity devices=3 memory=40GB weight_bytes=104e9 kv_bytes=2097152": "7629.39",
    "kv_capacity devices=4 memory=40GB weight_bytes=104e9 kv_bytes=2097152": "26702.9",
    "forward_flops_per_token parameters=51539607552": "1.031e11",
    "kv_flops_per_token layers=64 width=8192": "1.718e10",
    # GPT-2 sizing notebook
    "training_days parameters=124337664 tokens=300e9 devices=8 peak=312e12 utilisation=0.3": "3.46",
    "model_flops_utilisation flops=87494492160000 seconds=0.755 peak=312e12 devices=1": "0.3714",
    "checkpoint_bytes parameters=124337664 bytes_per_parameter=4 moments=2": "1.49e9",
    "six_n_d parameters=175e9 tokens=300e9": "3.15e23",
}
"""A formula with its arguments as typed, and the number that its source prints."""


@pytest.mark.parametrize(("call", "value"), FORMULAS.items(), ids=FORMULAS)
def test_published_numbers(call: str, value: str) -> None:
    """Numbers that the literature prints, to the digits that it prints."""
    words = call.split()
    document = ask("explain", *words)
    digits = len(value.split("e")[0].replace(".", "").lstrip("0"))
    assert float(f"{document['value']:.{digits}g}") == float(value)
    assert document["source"]
    for style, mark in (("text", "source"), ("markdown", "$$"), ("latex", "\\begin{align*}")):
        assert mark in told("explain", *words, "--format", style)


def test_seven_thousand_tokens() -> None:
    """16 GB beside the weights hold 7629 tokens; a batch of 4 × 2048 is out of reach by 563."""
    words = ["kv_capacity", "devices=3", "memory=40GB", "weight_bytes=104e9", "kv_bytes=2097152"]
    tokens = math.floor(ask("explain", *words)["value"])
    assert tokens == 7629
    assert 4 * 2048 - tokens == 563


# A public multi-head against multi-query attention calculator

CALCULATOR = ("--batch-size", "10", "--input-len", "1", "--output-len", "1023", "--fusion", "unfused")
SLOW = ("--compute-efficiency", "0.5", "--launch-time", "5us")


@pytest.mark.parametrize(("gpu", "ms"), [("a100-pcie-80gb", 1505.407), ("v100-pcie-16gb", 1716.656)])
def test_calculator(gpu: str, ms: float) -> None:
    """Default inputs, multi-head, on both of its cards."""
    document = ask("infer", "textbook-24x768", "--gpu", gpu, *CALCULATOR, *SLOW)
    assert round(document["latency_s"]["serial"] * 1e3, 3) == ms


def test_calculator_side_by_side() -> None:
    """Multi-query beside it: 12 operators × 24 layers × 1023 positions × 5 µs, the launch floor alone."""
    words = ("textbook-24x768", "--gpu", "a100-pcie-80gb", *CALCULATOR, *SLOW, "--variants", "num_key_value_heads=16,1")
    many, one = ask("compare", *words)["columns"]
    assert (many["name"], one["name"]) == ("num_key_value_heads=16", "num_key_value_heads=1")
    assert round(many["latency_s"]["serial"] * 1e3, 3) == 1505.407
    assert round(one["latency_s"]["serial"] * 1e3, 2) == 1473.12
    assert one["latency_s"]["serial"] == pytest.approx(12 * 24 * 1023 * 5e-6, rel=1e-12)
    assert (many["memory"]["weights"], one["memory"]["weights"]) == (
        2 * 169869312,
        2 * (10 * 16 + 2) * 24 * 768**2 // 16,
    )
    assert "(1.02×)" in told("compare", *words)


def test_compare_hardware() -> None:
    """Two devices and two models side by side, each the answer of its own question."""
    words = ("--batch-size", "4", *GENERATE)
    columns = ask("compare", "llama-2-7b", "llama-3.1-8b", "--gpu", "h100,a100", *words)["columns"]
    names = [(m, g) for m in ("llama-2-7b", "llama-3.1-8b") for g in ("h100", "a100")]
    assert [c["name"] for c in columns] == [f"{m} {g}" for m, g in names]
    for column, (model, gpu) in zip(columns, names, strict=True):
        alone = ask("infer", model, "--gpu", gpu, *words)
        assert {k: alone[k] for k in column if k != "name"} == {k: v for k, v in column.items() if k != "name"}
    head, *lines = told("compare", "llama-3.1-8b", "--gpu", "h100,a100", *words).splitlines()[1:]
    assert head.split() == ["h100", "a100"]
    assert any(line.startswith("latency floor") for line in lines)
    assert all(len(line.split("  ")) >= 3 for line in lines)


# Python beside it


def test_decode_is_the_step_of_a_generation() -> None:
    """One decode step from Python is what a generation of two tokens adds."""
    cluster = load_cluster("h100")
    two = estimate("llama-3.1-8b", Generate(prompt_len=100, output_len=2), cluster)
    step = estimate("llama-3.1-8b", Decode(context_len=100), cluster)
    assert two.tpot == step.tpot
    assert two.ttft == estimate("llama-3.1-8b", Prefill(prompt_len=100), cluster).ttft
