"""What serving costs, why one configuration is slower than another, and where bounds change."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floorline import Accelerator, Cluster, Decode, Generate, Parallelism, estimate, load_cluster, load_model
from floorline.balances import balance
from floorline.costs import Cost, Rates, cost
from floorline.errors import BadInput
from floorline.huggingface.attention_variants import with_attention
from floorline.num import Num, number
from floorline.side_by_side import operators
from floorline.waterfalls import standing, waterfall
from terminal import ask, run, told
from test_laws import MODELS, PLANS, cluster

SHORT = ("--isl", "100", "--osl", "20")
FIGURES = {"peak": 1e15, "memory_bandwidth": 3e12, "link": 4e11, "cache": 0.0}

# Cost


def test_money_adds_up_to_what_the_devices_cost() -> None:
    """Input and output tokens together cost the devices for as long as the batch takes, over their utilisation."""
    work, rates = Generate(batch=32, prompt_len=1000, output_len=200), Rates(price=2.5, power=600.0, utilisation=0.4)
    e = estimate("llama-3.1-70b", work, "h100-sxm", parallelism=Parallelism(tp=4, dp=2))
    found = cost(e, rates)
    for kind in ("floor", "serial", "expected", "low", "high"):
        seconds = getattr(e.latency, kind)
        money = getattr(found.input_usd, kind) * 32 * 1000 + getattr(found.output_usd, kind) * 32 * 200
        assert money / 1e6 == pytest.approx(8 * 2.5 / 3600 * seconds / 0.4, rel=1e-12)
        energy = getattr(found.input_j, kind) * 32 * 1000 + getattr(found.output_j, kind) * 32 * 200
        assert energy == pytest.approx(8 * 600.0 * seconds, rel=1e-12)


def test_rates_are_the_catalogue_s_unless_given() -> None:
    words = ("infer", "llama-3.1-8b", "--hardware", "h100-sxm", *SHORT)
    usual, own = (
        ask(*words)["cost"],
        ask(*words, "--price", "1.345 USD/h", "--power", "350W", "--utilization", "0.5")["cost"],
    )
    assert (usual["price_usd_per_device_hour"], usual["price_source"]) == (2.69, "catalogue, 2026-05")
    assert (usual["power_w_per_device"], usual["power_source"]) == (700, "power limit")
    assert (own["price_source"], own["power_source"]) == ("given", "given")
    for key in ("input", "output"):  # half the price for half of the time
        assert own[f"usd_per_million_{key}_tokens"] == usual[f"usd_per_million_{key}_tokens"]
        assert own[f"joules_per_{key}_token"]["floor"] == usual[f"joules_per_{key}_token"]["floor"] / 2
    shown = told(*words)
    assert "2.69 USD/h a device (catalogue, 2026-05), used 100%" in shown
    assert "at most" in shown.splitlines()[-1]


def test_what_nobody_knows_is_left_out() -> None:
    device = Accelerator(name="mine", peaks={"bf16": 1e15}, memory=80e9, memory_bandwidth=3e12)
    found = cost(estimate("gpt2", Generate(batch=1, prompt_len=9, output_len=9), Cluster(device)))
    assert found.output_usd is None
    assert found.to_dict()["joules_per_output_token"] is None
    device = Accelerator(name="mine", peaks={"bf16": 1e15}, memory=80e9, memory_bandwidth=3e12, price=1.0)
    made = cost(estimate("gpt2", Generate(batch=1, prompt_len=9, output_len=1), Cluster(device))).output_usd
    assert made is not None
    assert made.floor == 0.0


# Side by side


def names(*words: str) -> list[str]:
    """The columns of a comparison."""
    return [column["name"] for column in ask("compare", "llama-3.1-8b", *SHORT, *words)["columns"]]


def test_any_flag_may_hold_a_list() -> None:
    assert names("--tp", "1,2,4") == ["tp=1", "tp=2", "tp=4"]
    assert names("--dtype", "bf16,fp8", "--hardware", "h100,l40s") == ["h100 bf16", "h100 fp8", "l40s bf16", "l40s fp8"]
    assert names("--engine", "vllm,trtllm") == ["vllm", "trtllm"]
    assert names("--plans", "tp4,tp2pp2") == ["tp4", "tp2pp2"]
    alone = ask("infer", "llama-3.1-8b", *SHORT, "--tp", "2", "--pp", "2")
    beside = ask("compare", "llama-3.1-8b", *SHORT, "--plans", "tp4,tp2xpp2")["columns"][1]
    assert {k: alone[k] for k in ("ttft_s", "tpot_s", "cost")} == {k: beside[k] for k in ("ttft_s", "tpot_s", "cost")}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--plans", "tp4,quick"), "--plans has 'quick'; expected such as tp4"),
        (("--plans", "tp4,tp2pp2", "--tp", "2"), "--plans has tp, which a flag of its own gives too"),
        (("--tp", "1,2,4,8", "--batch-size", "1,2,4"), "12 columns are too many"),
        (("--variants", "attention=mha,flash"), "attention is 'flash'; expected mha, gqa8"),
        (("--variants", "attention=gqa"), "attention is 'gqa'; expected mha, gqa8"),
        (("--waterfall", "tpot"), "--waterfall goes from the first column to the others"),
        (("--waterfall", "speed", "--tp", "1,2"), "--waterfall is 'speed'; expected one of latency, ttft, tpot"),
        (("--waterfall", "tpot", "--tp", "1,2", "--by", "hope"), "--by is 'hope'; expected one of expected, serial"),
        (("--tp", "1,2", "--output", "x.json"), "--by and --output are of a waterfall"),
        (("--price", "cheap"), "--price: 'cheap' is no number with a unit; expected for example '2.99 USD/h'"),
        (("--price", "3 EUR/h"), "wrong unit; expected USD/h"),
        (("--utilisation", "1.5"), "--utilisation is 1.5; expected a number"),
    ],
)
def test_what_cannot_be_compared(words: tuple[str, ...], says: str) -> None:
    refused = run("compare", "llama-3.1-8b", *SHORT, *words)
    assert refused.status == 2
    assert says in refused.err
    assert refused.err.count("\n") == 1


def test_kinds_of_attention() -> None:
    """One model as multi-head, grouped, multi-query and latent: what its cache keeps of a token, and nothing else changed."""
    words = ("--max-model-len", "4096", "--batch-size", "1")
    kept = {
        kind: ask("fit", "llama-2-7b", *words, "--set", f"attention={kind}")["kv_bytes_per_token"]
        for kind in ("mha", "gqa8", "mqa", "mla", "mla256")
    }
    assert kept["mha"] == 2 * 2 * 32 * 32 * 128
    assert (kept["gqa8"], kept["mqa"]) == (kept["mha"] // 4, kept["mha"] // 32)
    assert kept["mla"] == 2 * 32 * (512 + 64)  # 2.25 groups, as DeepSeek-V2's paper puts it
    assert kept["mla"] / kept["mqa"] == 2.25
    assert kept["mla256"] == 2 * 32 * (256 + 64)
    for kind in ("mha", "mqa", "mla"):
        made = {
            m["name"].split(".")[1]: m["parameters"]
            for m in ask("params", "llama-2-7b", "--set", f"attention={kind}")["modules"]
        }
        assert made["gate"] == made["up"] == made["down"] == 32 * 4096 * 11008
        assert made["out"] == 32 * 4096 * 4096
    assert ask("params", "llama-2-7b", "--set", "attention=mha") | {"inputs": 0} == ask("params", "llama-2-7b") | {
        "inputs": 0
    }


@pytest.mark.parametrize(("name", "word"), [("gpt2", "mqa"), ("deepseek-v2-lite", "gqa4"), ("gemma-2-2b", "mla")])
def test_attention_that_cannot_change(name: str, word: str) -> None:
    with pytest.raises(BadInput, match=r"expected|stand in"):
        with_attention(load_model(name).config, word, name)


# Operators and waterfalls


@given(model=MODELS, plan=PLANS, batch=st.integers(1, 64), prompt=st.integers(1, 300), output=st.integers(1, 5))
def test_operators_add_up(model: object, plan: Parallelism, batch: int, prompt: int, output: int) -> None:
    """All runs of all operators are the serial time of the phase, its FLOP, bytes and messages; overhead is a part of the time."""
    e = estimate(model, Generate(batch=batch, prompt_len=prompt, output_len=output), cluster(FIGURES), parallelism=plan)
    if e.reason:
        return
    for phase in e.phases:
        many = 1.0 if phase.count is None else float(phase.count)
        found = operators(phase)
        assert sum(float(x.serial) for x in found) == pytest.approx(float(phase.serial_s) * many, rel=1e-12)
        assert all(0.0 <= x.overhead <= x.serial * (1.0 + 1e-12) for x in found)
        if phase.count is None:
            total = phase.step.micro.cost("flash").times(phase.step.stretch)
            assert sum(float(x.flops) for x in found) == pytest.approx(float(total.flops), rel=1e-12)
            assert sum(float(x.sent) for x in found) == pytest.approx(float(total.sent), rel=1e-12)


PAIRS = {
    "cards": (("llama-3.1-8b", "a100-sxm-80gb", 1, None), ("llama-3.1-8b", "l40s", 1, None)),
    "plans": (("llama-3.1-70b", "h100-sxm", 4, None), ("llama-3.1-70b", "h100-sxm", 8, None)),
    "engines": (("llama-3.1-8b", "h100-sxm", 1, "eager"), ("llama-3.1-8b", "h100-sxm", 1, None)),
    "experts": (("mixtral-8x7b", "h100-sxm", 4, None), ("llama-2-70b", "h100-sxm", 4, None)),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("what", ["latency", "ttft", "tpot"])
@pytest.mark.parametrize("by", ["expected", "serial"])
def test_a_waterfall_adds_up(pair: tuple[tuple[str, str, int, str | None], ...], what: str, by: str) -> None:
    """It begins at one time, ends at the other to the bit, each bar beginning where the last one ends; what each kind takes adds
    up to the times."""
    both = [
        estimate(
            name, Generate(batch=8, prompt_len=500, output_len=30), gpu, parallelism=Parallelism(tp=tp), engine=engine
        )
        for name, gpu, tp, engine in pair
    ]
    fall = waterfall(("one", both[0]), ("two", both[1]), what, by)
    start, end = (float(getattr(getattr(e, what), by)) for e in both)
    assert (fall.start, fall.end) == (start, end)
    assert (fall.changes[0].begins, fall.changes[-1].ends) == (start, end)
    for one, next_one in zip(fall.changes, fall.changes[1:], strict=False):
        assert one.ends == next_one.begins
    assert sum(x.before for x in fall.changes) == pytest.approx(start, rel=1e-12)
    assert sum(x.after for x in fall.changes) == pytest.approx(end, rel=1e-12)
    for x in fall.changes:
        assert x.change == pytest.approx(x.after - x.before, rel=1e-9, abs=1e-12 * max(start, end))


def test_rounding_is_in_the_largest_step() -> None:
    bars = standing(1.0, 1.4, [0.1, 0.25, 0.05])
    assert bars[0] == (1.0, 1.1)
    assert bars[-1] == (1.4 - 0.05, 1.4)
    assert standing(1.0, 1.0, [0.0]) == [(1.0, 1.0)]


def test_a_waterfall_on_the_command_line(tmp_path: Path) -> None:
    words = ("compare", "llama-3.1-70b", *SHORT, "--plans", "tp4,tp2pp2,tp8", "--waterfall", "tpot")
    falls = ask(*words)["waterfalls"]
    assert [(f["from"], f["to"]) for f in falls] == [("tp4", "tp2pp2"), ("tp4", "tp8")]
    shown = told(*words)
    assert "expected tpot, from tp4 to tp2pp2" in shown
    assert "messages" in shown
    two = ("compare", "llama-3.1-70b", *SHORT, "--plans", "tp4,tp8", "--waterfall", "tpot")
    path = tmp_path / "why.json"
    assert run(*two, "--output", path).status == 0
    chart = json.loads(path.read_text())
    (fall,) = ask(*two)["waterfalls"]
    values = chart["data"]["values"]
    assert [v["step"] for v in values] == ["tp4", *(x["kind"] for x in fall["changes"]), "tp8"]
    assert values[-1]["ends"] == fall["end_s"]
    assert values[-2]["ends"] == fall["end_s"]
    assert {v["what"] for v in values} <= {"time", "longer", "shorter"}
    assert run(*words, "--output", path).status == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["why-1.json", "why-2.json", "why.json"]


def test_no_way_where_there_is_no_time() -> None:
    """Without kernel models the way is of the serial time; a prompt alone has no time per output token."""
    tpu = load_cluster("tpu-v5e")
    one, two = (estimate("gpt2", Generate(batch=b, prompt_len=9, output_len=3), tpu) for b in (1, 2))
    assert waterfall(("1", one), ("2", two)).by == "serial"
    with pytest.raises(BadInput, match="has no expected latency"):
        waterfall(("1", one), ("2", two), by="expected")
    alone = estimate("gpt2", Generate(batch=1, prompt_len=9, output_len=1), tpu)
    with pytest.raises(BadInput, match="has no serial tpot"):
        waterfall(("1", alone), ("2", alone), "tpot")


# Balance


def critical(model: str, gpu: str, tp: float = 1.0, pp: float = 1.0) -> float | None:
    """The critical batch of the weights alone."""
    parallelism = Parallelism(tp=tp, pp=pp)
    machine = load_cluster(gpu, devices=parallelism.devices)
    return balance(estimate(model, Decode(context_len=100), machine, parallelism=parallelism).phases[0]).critical_batch


def test_critical_batches() -> None:
    """Of dense models the machine balance, whatever cuts them; of experts more, as fewer tokens go to each; of stages as many
    times as they work at the same time; of narrower weights less, where the arithmetic stays as wide."""
    assert critical("llama-3.1-8b", "h100-sxm") == 296  # 295.3 FLOP for each byte
    assert critical("llama-3.1-70b", "h100-sxm", tp=8) == 296
    assert critical("llama-3.1-8b", "h100-sxm", pp=2) == 591
    experts = critical("mixtral-8x7b", "h100-sxm")
    assert experts is not None
    assert 3 * 296 < experts < 8 / 2 * 296
    narrow = ask("balance", "llama-3.1-8b", *SHORT, "--weight-dtype", "fp8")
    assert narrow["critical_batch"] == 148
    both = ask("balance", "llama-3.1-8b", *SHORT, "--dtype", "fp8")
    assert both["machine_balance"] == pytest.approx(2 * 295.3, rel=1e-3)


def test_stages_of_a_layer() -> None:
    """None on one device; four of a plain layer, whether its sums are gathered at once or in parts; experts together."""
    assert ask("balance", "llama-3.1-8b", *SHORT)["stages"] == []
    plain, parts = (
        ask("balance", "llama-3.1-8b", *SHORT, "--tp", "4", *more)["stages"] for more in ((), ("--sequence-parallel",))
    )
    assert [s["name"] for s in plain] == [f"block.{name}" for name in ("qkv", "out", "gate_up", "down")]
    assert {(s["name"], s["flops"], s["sent"]) for s in parts} == {(s["name"], s["flops"], s["sent"]) for s in plain}
    assert plain[2]["flops_per_byte"] == pytest.approx(2 * plain[3]["flops_per_byte"])
    slow = ask("balance", "llama-3.1-8b", *SHORT, "--tp", "4", "--link-bandwidth", "32 GB/s")["stages"]
    assert {s["bound"] for s in slow} == {"link"}
    routed = ask("balance", "deepseek-v3", *SHORT, "--tp", "8", "--devices", "16", "--ep", "16", "--hardware", "h200")[
        "stages"
    ]
    assert any("expert" in s["name"] for s in routed)


def test_balance_needs_decoding() -> None:
    refused = run("balance", "llama-3.1-8b", "--output-len", "1")
    assert refused.status == 2
    assert "expected --output-len above 1" in refused.err
    assert "none: each sequence brings more traffic than arithmetic" in told(
        "balance", "llama-3.1-8b", "--input-len", "8000"
    )


def test_tokens_that_fit() -> None:
    """The capacity of the cache: as many tokens as its bytes have room for beside all else, or beside the weights alone, over all
    replicas; a token takes 2 · 32 layers · 8 heads · 128 · 2 bytes = 131 072."""
    alone, twice = (ask("fit", "llama-3.1-8b", "--max-model-len", "4096", "--dp", dp) for dp in ("1", "2"))
    for found, replicas in ((alone, 1), (twice, 2)):
        held = found["memory"]
        for name, beside in (
            ("cache_tokens", held["total"] - held["kv_cache"]),
            ("cache_tokens_beside_weights", held["weights"]),
        ):
            assert found[name] == pytest.approx(replicas * (found["budget"] - beside) / 131072, abs=1.0), name
    assert twice["cache_tokens_beside_weights"] - 2 * alone["cache_tokens_beside_weights"] in (0, 1)
    assert alone["cache_tokens"] < alone["cache_tokens_beside_weights"]


# The first law


def test_costs_of_many_are_costs_of_each() -> None:
    """To the bit, whatever varies."""
    prices, batches, outputs = number([1.0, 2.0, 3.0]), number([1, 8, 64]), number([1, 5, 20])

    def of(price: Num, batch: Num, output: Num) -> Cost:
        work = Generate(batch=batch, prompt_len=100, output_len=output)
        return cost(estimate("llama-3.1-8b", work, "h100-sxm"), Rates(price=price))

    many = of(prices, batches, outputs).to_dict()
    for i, point in enumerate(zip(np.asarray(prices), np.asarray(batches), np.asarray(outputs), strict=True)):
        one = of(*(float(x) for x in point)).to_dict()
        for key in (
            "usd_per_million_input_tokens",
            "usd_per_million_output_tokens",
            "joules_per_input_token",
            "joules_per_output_token",
        ):
            assert {name: values[i] for name, values in many[key].items()} == one[key]


def test_what_an_encoder_reads_is_paid_as_input() -> None:
    found = ask("infer", "t5-base", "--source-len", "99", "--output-len", "9", "--price", "3.6", "--hardware", "h100")
    money = found["cost"]["usd_per_million_input_tokens"]["floor"]
    assert money == pytest.approx(1e6 * found["ttft_s"]["floor"] * 3.6 / 3600 / 100, rel=1e-12)
