"""Every number that R1 and R4 print comes out of a command line too; test_references.py has them from Python."""

import pytest

from terminal import Json, ask, told

# R1: a calculator of multi-head against multi-query attention

A100 = ("--hardware", "a100-pcie-80gb")
ASSUMED = ("--fusion", "unfused", "--compute-efficiency", "0.5", "--launch-time", "5us")
DEFAULT = ("--batch-size", "10", "--input-len", "1", "--output-len", "1023")
LARGE = ("--batch-size", "64", "--input-len", "1", "--output-len", "2047")
WIDE = "hidden_size=4096,num_attention_heads=32,num_hidden_layers=32"


def generation(*words: str) -> str:
    """Milliseconds of a whole generation of the calculator's model."""
    return f"{ask('infer', 'textbook-24x768', *words, *ASSUMED)['latency_s']['serial'] * 1e3:.3f}"


def test_r1_times() -> None:
    assert generation(*A100, *DEFAULT) == "1505.407"
    assert generation("--hardware", "v100-pcie-16gb", *DEFAULT) == "1716.656"
    assert generation(*A100, *DEFAULT, "--set", "attention=mqa") == "1473.120"
    assert generation(*A100, *LARGE, "--set", WIDE)[:-1] == "52601.10"
    assert (
        generation(*A100, *LARGE, "--set", f"{WIDE},attention=mqa")[:-1] == "15218.29"
    )  # the page: 15346.16, two slips


def test_r1_counts() -> None:
    many, one = (ask("params", "textbook-24x768", "--set", f"attention={kind}") for kind in ("mha", "mqa"))
    assert (many["total"], one["total"]) == (12 * 24 * 768**2, (10 * 16 + 2) * 24 * 768**2 // 16)
    assert f"{many['total'] / 1e9:.3f}" == "0.170"
    words = ("--batch-size", "10", "--max-model-len", "1024", *A100)
    kept = [
        ask("fit", "textbook-24x768", *words, "--set", f"attention={kind}")["kv_bytes"]
        for kind in ("mha", "mqa", "gqa4", "mla")
    ]
    assert f"{kept[0] / 1e9:.3f}" == "0.755"
    assert kept[1:3] == [kept[0] // 16, kept[0] // 4]
    assert kept[3] == 2 * 10 * 24 * 1024 * (4 * 48 + 24)  # a latent of four heads and a position part of half a head


def side_by_side() -> Json:
    """Both variants at the default inputs, operator by operator."""
    return ask(
        "compare", "textbook-24x768", *A100, *DEFAULT, *ASSUMED, "--variants", "attention=mha,mqa", "--operators"
    )


def test_r1_operators() -> None:
    """GFLOP, MB, time and overhead of each operator, which add up to the total."""
    found = side_by_side()["operators"]
    for name, ms in (("attention=mha", "1505.407"), ("attention=mqa", "1473.120")):
        rows = [row for phase in found[name].values() for row in phase]
        assert len(rows) == 2 * 12
        assert f"{sum(row['serial'] for row in rows) * 1e3:.3f}" == ms
        by_name = {row["name"]: row for row in found[name]["decode"]}
        heads = 16 if name.endswith("mha") else 1
        positions, n, d, layers = range(2, 1024), 16, 768, 24
        assert by_name["qkv"]["flops"] == layers * 1022 * 2 * 10 * d * d * (1 + 2 * heads / n)
        assert by_name["scores"]["flops"] == layers * sum(2 * 10 * d * i for i in positions)
        moved = sum(2 * (10 * d + 10 * i * d * heads // n + 10 * n * i) for i in positions)
        assert by_name["scores"]["bytes"] == layers * moved
        assert by_name["softmax"]["overhead"] == pytest.approx(
            layers * sum(5e-6 - 2 * 10 * n * i * 2 / 1935e9 for i in positions), rel=1e-12
        )


def test_r1_speed_up_and_why() -> None:
    shown = told("compare", "textbook-24x768", *A100, *DEFAULT, *ASSUMED, "--variants", "attention=mha,mqa")
    assert "(1.02×)" in shown
    words = ("--waterfall", "latency", "--by", "serial")
    (fall,) = ask(
        "compare", "textbook-24x768", *A100, *LARGE, *ASSUMED, "--set", WIDE, "--variants", "attention=mha,mqa", *words
    )["waterfalls"]
    steps = {x["kind"]: x for x in fall["changes"]}
    assert list(steps) == ["matmul", "attention", "element-wise"]
    assert (f"{fall['start_s'] * 1e3:.2f}", f"{fall['end_s'] * 1e3:.2f}") == ("52601.10", "15218.29")
    assert steps["attention"]["change_s"] < 0.9 * (fall["end_s"] - fall["start_s"]) < 0.0  # it is keys and values


# R4: transformer inference arithmetic

FIGURES = (
    *("--peak", "312 TFLOP/s", "--memory-bandwidth", "1.5 TB/s", "--memory", "40 GB", "--link-bandwidth", "300 GB/s"),
    *("--hardware", "a100-sxm-40gb"),
)
STEP = ("--input-len", "1", "--output-len", "2")
PLAIN = ("--set", "vocab_size=null")
"""Without the token table: 12·L·D² parameters and nothing else."""
RATES = ("peak=312TFLOP/s", "bandwidth=1.5TB/s")


def value(*words: str) -> float:
    """What a formula gives."""
    return float(ask("explain", *words)["value"])


def test_r4_parameters() -> None:
    assert ask("params", "textbook-52b", *PLAIN)["total"] == 51_539_607_552
    assert f"{ask('params', 'textbook-52b')['total']:.4g}" == "5.208e+10"
    modules = {m["name"]: m["parameters"] for m in ask("params", "textbook-52b")["modules"]}
    assert sum(modules[f"block.{name}"] for name in ("q", "k", "v", "out")) == 64 * 4 * 8192**2
    assert sum(modules[f"block.{name}"] for name in ("up", "down")) == 64 * 8 * 8192**2


def test_r4_keys_and_values() -> None:
    assert ask("fit", "textbook-52b", *FIGURES, "--max-model-len", "2048")["kv_bytes_per_token"] == 2_097_152
    launch = "launch=0"
    one = ("flops=17179869184", "bytes=17179869184")
    assert f"{value('kernel_time', *one, *RATES, launch) * 1e3:.2f}" == "11.45"
    assert f"{value('kernel_time', one[0], 'bytes=0', *RATES, launch) * 1e3:.4f}" == "0.0551"
    assert value("machine_balance", *RATES) == 208
    operators = {o["name"]: o["flops"] for o in ask("flops", "textbook-52b", "--seq-len", "1")["operators"]}
    assert f"{operators.pop('head.logits'):.0e}" == "1e+09"
    made = operators["block.k"] + operators["block.v"]
    assert made == value("kv_flops_per_token", "layers=64", "width=8192") == 17_179_869_184
    matmuls = sum(v for k, v in operators.items() if k not in ("block.scores", "block.values"))
    assert made / matmuls == pytest.approx(1 / 6, rel=1e-12)
    assert f"{matmuls:.4g}" == "1.031e+11"


@pytest.mark.parametrize(("devices", "ms"), [("1", "68.7"), ("4", "17.2")])
def test_r4_forward_pass(devices: str, ms: str) -> None:
    document = ask("infer", "textbook-52b", *PLAIN, *FIGURES, *STEP, "--tp", devices)
    assert f"{document['tpot_s']['floor'] * 1e3:.1f}" == ms
    assert document["bound"]["decode"] == "memory"


def test_r4_capacity() -> None:
    """With the article's round 104 GB, and as it is with the tables and nothing rounded."""
    words = ("memory=40GB", "weight_bytes=104e9", "kv_bytes=2097152")
    assert int(value("kv_capacity", "devices=3", *words)) == 7629
    assert round(value("kv_capacity", "devices=4", *words), -2) == 26_700
    asked = (*FIGURES, "--tp", "4", "--max-model-len", "2048", "--gpu-memory-utilization", "1")
    without = ask("fit", "textbook-52b", *asked, *PLAIN)["cache_tokens_beside_weights"]
    assert without == (4 * 40 * 10**9 - 2 * 51_539_607_552) // 2_097_152
    assert abs(ask("fit", "textbook-52b", *asked)["cache_tokens_beside_weights"] - 26_703) < 80
    assert "beside the weights alone           26 629" in told("fit", "textbook-52b", *asked)


def test_r4_messages() -> None:
    """Two all-reduces a layer: four messages of (n − 1)·D/n elements, of two bytes each."""
    document = ask("infer", "textbook-52b", *PLAIN, *FIGURES, *STEP, "--tp", "4")
    sent = sum(o["sent"] * o["repeat"] for o in document["phases"]["decode"]["operators"])
    assert sent == 64 * 4 * (3 * 8192 / 4) * 2
    staged = ask("infer", "textbook-52b", *FIGURES, *STEP, "--pp", "4")
    assert sum(o["sent"] * o["repeat"] for o in staged["phases"]["decode"]["operators"]) == 3 * 8192 * 2


def test_r4_latency() -> None:
    """Small batch 21.7 and 2.56 ms; 512 sequences 53.3 and 17.9 ms, or 16.8 ms with (n − 1)/n; 62 is one plus half the other."""
    reading = value("weight_read_time", "parameters=260e9", "bytes_per_element=2", "devices=16", RATES[1]) * 1e3
    waiting = value("message_start_time", "layers=80", "latency=8us") * 1e3
    assert (f"{reading:.1f}", f"{waiting:.2f}") == ("21.7", "2.56")
    large = ("batch=512", "parameters=260e9", "devices=16", RATES[0])
    computing = value("batch_arithmetic_time", *large) * 1e3
    message = ("batch=512", "layers=80", "width=16384", "bytes_per_element=2", "link=300GB/s")
    without, sending = (value("batch_message_time", *message, f"ranks={n}") * 1e3 for n in ("1e9", "16"))
    assert (f"{computing:.1f}", f"{without:.1f}", f"{sending:.1f}") == ("53.3", "17.9", "16.8")
    assert f"{computing + without:.1f}" == "71.2"
    assert round(computing + without / 2) == 62


def test_r4_balance() -> None:
    """208 sequences; 1040 FLOP for each byte sent, against what each of the four stages of a layer has."""
    found = ask("balance", "textbook-52b", *FIGURES, *STEP, "--tp", "4")
    assert found["machine_balance"] == found["critical_batch"] == 208
    stages = {s["name"]: s for s in found["stages"]}
    assert list(stages) == ["block.qkv", "block.out", "block.up", "block.down"]
    for name, squares in (("qkv", 3), ("out", 1), ("up", 4), ("down", 4)):
        stage = stages[f"block.{name}"]
        by_formula = value("stage_flops_per_byte", f"squares={squares}", "width=8192", "ranks=4", "bytes_per_element=2")
        assert stage["flops_per_byte"] == pytest.approx(by_formula, rel=1e-12)
        assert stage["link_balance"] == pytest.approx(1040, rel=1e-12)
        assert stage["bound"] == "compute"
    assert value("machine_balance", "peak=312TFLOP/s", "bandwidth=300GB/s") == 1040


def test_r4_times_of_a_large_batch() -> None:
    """The same by a model of 80 layers of 16384: the larger if they overlap, the sum if they do not."""
    sizes = "hidden_size=16384,num_hidden_layers=80,num_attention_heads=128,vocab_size=null"
    found = ask(
        "balance",
        "textbook-52b",
        *FIGURES,
        *STEP,
        "--tp",
        "16",
        "--node-size",
        "16",
        "--batch-size",
        "512",
        "--set",
        sizes,
    )
    step = found["step"]
    parameters = 12 * 80 * 16384**2
    matmuls = value("batch_arithmetic_time", "batch=512", f"parameters={parameters}", "devices=16", RATES[0])
    assert step["compute_s"] == pytest.approx(matmuls, rel=3e-3)  # and attention over two tokens
    sending = value(
        "batch_message_time", "batch=512", "layers=80", "width=16384", "ranks=16", "bytes_per_element=2", "link=300GB/s"
    )
    assert step["ring_s"] == pytest.approx(sending, rel=1e-12)
    assert step["overlapping_s"] == step["compute_s"]
    assert step["one_after_another_s"] == step["compute_s"] + step["ring_s"]
    assert step["link_s"] == pytest.approx(
        step["ring_s"] * 16 / 15 / 2, rel=1e-12
    )  # where the network adds: once, not twice
    assert round((step["compute_s"] + step["link_s"]) * 1e3) == 62


def test_r4_traffic_between_matmuls() -> None:
    """Softmax and passes over the width are 5 % of the time of 512 tokens at 52 B, and 31 % in a small model."""

    def share(model: str) -> float:
        words = (*FIGURES, *PLAIN, "--fusion", "unfused", "--input-len", "512", "--output-len", "1")
        rows = ask("infer", model, *words)["phases"]["prefill"]["operators"]
        times = {o["name"].removeprefix("block."): o["serial"] * o["repeat"] for o in rows}
        between = sum(t for name, t in times.items() if name.startswith(("pass", "softmax")))
        return float(between / sum(times.values()))

    assert f"{share('textbook-52b'):.0%}" == "5%"
    assert f"{share('textbook-24x768'):.0%}" == "31%"


def test_r4_against_a_benchmark() -> None:
    """13 B: 16.8 ms a token on one, 8.4 ms and about 1.3 ms of starts on two; measured 22.0: 76 %."""
    reading = [
        value("weight_read_time", "parameters=12582912000", "bytes_per_element=2", f"devices={n}", RATES[1])
        for n in (1, 2)
    ]
    assert [f"{t * 1e3:.1f}" for t in reading] == ["16.8", "8.4"]
    assert f"{value('message_start_time', 'layers=40', 'latency=8us') * 1e3:.1f}" == "1.3"
    assert round(100 * value("utilisation", "achieved=16.8", "peak=22.0")) == 76
    document = ask("infer", "textbook-13b", *FIGURES, "--input-len", "512", "--output-len", "2")
    assert 16.7e-3 < document["tpot_s"]["floor"] < 22.0e-3
