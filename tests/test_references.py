"""The published references: each expected number is the one that the reference prints, and slips are stated as such.

R1  a calculator of multi-head against multi-query attention       R2  an article on diffusion transformers
R3  a lecture on performance modelling                             R4  "Transformer inference arithmetic"
R5  a sizing notebook of GPT-2
"""

import pytest

from floorline import load_model
from floorline.capacity import Fit, fit
from floorline.counts import count
from floorline.estimates import estimate
from floorline.formulas.collectives import ring_all_reduce_bytes
from floorline.formulas.inference import (
    forward_flops_per_token,
    kv_bytes_per_token,
    kv_capacity,
    kv_flops_per_token,
    kv_weight_bytes,
    layer_stack_parameters,
)
from floorline.formulas.kernels import (
    axpy_bytes,
    axpy_flops,
    matmul_bytes,
    matmul_flops,
    square_matmul_intensity,
)
from floorline.formulas.roofline import (
    arithmetic_intensity,
    attainable,
    crossover_size,
    machine_balance,
)
from floorline.formulas.training import (
    checkpoint_bytes,
    model_flops_utilisation,
    palm_flops_per_token,
    training_days,
)
from floorline.specs.accelerator import Accelerator, Link
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.parallelism import Parallelism
from floorline.specs.workload import Decode, Generate, Prefill, Train
from floorline.transformer import Transformer


def device(name: str, peak: float, bandwidth: float, memory: float = 80e9, link: float = 300e9) -> Accelerator:
    """An accelerator with the round figures of a reference."""
    return Accelerator(
        name=name,
        peaks={"bf16": peak},
        memory=memory,
        memory_bandwidth=bandwidth,
        links=(Link("nvlink", link),),
    )


def textbook(width: int, layers: int, heads: int, **more: int) -> Transformer:
    """The model of articles: 12·L·D² parameters."""
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    return load_model({"model_type": "textbook", **sizes, **more})


# R1: multi-head against multi-query attention

A100_R1, V100_R1 = device("a100", 312e12, 1935e9), device("v100", 112e12, 900e9)
LAUNCH, EFFICIENCY = 5e-6, 0.5


def generation_ms(accelerator: Accelerator, model: Transformer, batch: int, positions: int) -> float:
    """The calculator's total: a generation from the first position to the last, unfused, one launch after the other."""
    assumptions = Assumptions(compute_efficiency=EFFICIENCY, launch_time=LAUNCH, fusion="unfused")
    work = Generate(batch=batch, prompt_len=1, output_len=positions)
    return 1e3 * float(estimate(model, work, Cluster(accelerator), assumptions=assumptions).latency.serial)


def layer_kernels(b: int, d: int, n: int, i: int, multi_query: bool, slips: bool) -> list[tuple[float, float]]:
    """FLOP and bytes of the twelve launches of a layer at position i, as the page writes them, with or without its slips:
    its multi-query projection leaves the query weights out of the bytes, and its weighted values read the scores as if
    they had H columns a position instead of N."""
    h, kv = d // n, (1 / n if multi_query else 1.0)
    width = d * (1 + 2 * kv)
    weights = d * (width - d if multi_query and slips else width)
    columns = h if multi_query and slips else n
    return [
        (2 * b * d * width, 2 * (b * d + weights + b * width)),
        (2 * b * d * i, 2 * (b * d + b * i * d * kv + b * n * i)),
        (0.0, 2 * (b * n * i) * 2),
        (2 * b * d * i, 2 * (b * columns * i + b * i * d * kv + b * d)),
        (2 * b * d * d, 2 * (2 * b * d + d * d)),
        *[(2 * b * d * 4 * d, 2 * (b * d + 4 * d * d + 4 * b * d))] * 2,
        *[(0.0, 2 * (2 * b * d))] * 5,
    ]


def page_ms(
    accelerator: Accelerator, b: int, d: int, n: int, layers: int, positions: int, multi_query: bool, slips: bool
) -> float:
    """The page's own sum."""
    peak, bandwidth = float(accelerator.peaks["bf16"]) * EFFICIENCY, float(accelerator.memory_bandwidth)
    return (
        1e3
        * layers
        * sum(
            max(flops / peak, moved / bandwidth, LAUNCH)
            for i in range(1, positions + 1)
            for flops, moved in layer_kernels(b, d, n, i, multi_query, slips)
        )
    )


DEFAULT, LARGE = {"width": 768, "layers": 24, "heads": 16}, {"width": 4096, "layers": 32, "heads": 32}


@pytest.mark.parametrize(
    ("accelerator", "sizes", "batch", "positions", "expected"),
    [
        (A100_R1, DEFAULT, 10, 1023, "1505.407"),
        (V100_R1, DEFAULT, 10, 1023, "1716.656"),
        (A100_R1, LARGE, 64, 2047, "52601.10"),
    ],
    ids=["default-a100", "default-v100", "large-a100"],
)
def test_r1_multi_head(
    accelerator: Accelerator, sizes: dict[str, int], batch: int, positions: int, expected: str
) -> None:
    digits = len(expected.partition(".")[2])
    ours = generation_ms(accelerator, textbook(**sizes), batch, positions)
    assert f"{ours:.{digits}f}" == expected
    page = page_ms(accelerator, batch, sizes["width"], sizes["heads"], sizes["layers"], positions, False, True)
    assert ours == pytest.approx(page, rel=1e-12)


def test_r1_multi_query_is_all_launches() -> None:
    """At the defaults every launch takes its least time: 12 · 24 · 1023 · 5 µs."""
    ours = generation_ms(A100_R1, textbook(**DEFAULT, num_key_value_heads=1), 10, 1023)
    assert f"{ours:.2f}" == "1473.12"
    assert ours == pytest.approx(12 * 24 * 1023 * LAUNCH * 1e3, rel=1e-12)


def test_r1_multi_query_away_from_the_launch_floor() -> None:
    """The page prints 15 346.16 ms, with two slips in its bytes; without them the sum is ours, 15 218.29 ms."""
    ours = generation_ms(A100_R1, textbook(**LARGE, num_key_value_heads=1), 64, 2047)
    sizes = (64, 4096, 32, 32, 2047)
    assert f"{page_ms(A100_R1, *sizes, True, True):.2f}" == "15346.16"
    assert ours == pytest.approx(page_ms(A100_R1, *sizes, True, False), rel=1e-12)
    assert f"{ours:.2f}" == "15218.29"


def test_r1_launch_floor_share() -> None:
    """The first golden is 98 % launch floor."""
    assert round(100 * 1473.12 / 1505.407) == 98


@pytest.mark.parametrize("heads", [16, 1], ids=["multi-head", "multi-query"])
def test_r1_counts(heads: int) -> None:
    """Parameters and cache, and FLOP and bytes of a step by the page's own table."""
    model = textbook(**DEFAULT, num_key_value_heads=heads)
    parameters = model.parameter_count().total
    multi_query = heads == 1
    assert parameters == (10 + 2 / 16 if multi_query else 12) * 24 * 768**2
    held = fit(model, Cluster(A100_R1), batch=10, length=1024, suggest=False)
    assert held.kv_bytes == 2 * 2 * 10 * 24 * 768 * 1024 / (16 if multi_query else 1)
    if not multi_query:
        assert f"{float(parameters) / 1e9:.3f}" == "0.170"
        assert f"{float(held.kv_bytes) / 1e9:.3f}" == "0.755"
    for i in (1, 2, 500, 1023):
        step = count(model, Decode(batch=10, context_len=i - 1), fusion="unfused")
        launches = layer_kernels(10, 768, 16, i, multi_query, slips=False)
        assert step.flops == 24 * sum(flops for flops, _ in launches)
        assert step.bytes == 24 * sum(moved for _, moved in launches)


# R2: transformers, diffusion transformers and the backward pass


def test_r2_attention_overtakes_the_feed_forward_block() -> None:
    """8·s·D² + 4·s²·D against 16·s·D²: equal at s = 2·D, 3072 tokens for D = 1536."""
    model = textbook(1536, 1, 24)
    for s in (1024, 3072, 8192):
        parts = {o.name: float(o.flops) for o in count(model, Prefill(prompt_len=s)).operators}
        attention = sum(parts[f"block.{op}"] for op in ("q", "k", "v", "scores", "values", "out"))
        feed_forward = parts["block.up"] + parts["block.down"]
        assert attention == 8 * s * 1536**2 + 4 * s**2 * 1536
        assert feed_forward == 16 * s * 1536**2
        assert (attention > feed_forward, attention == feed_forward) == (s > 3072, s == 3072)


def test_r2_capacity() -> None:
    """52e9 parameters are 104 GB; four cards of 40 GB leave 56 GB, three 16 GB: the article's own 16 GB is three cards."""
    weights = 2 * 52e9
    assert weights == 104e9
    assert (4 * 40e9 - weights, 3 * 40e9 - weights) == (56e9, 16e9)
    assert round(float(kv_capacity(3.0, 40e9, weights, 2e6))) == 8000


# R3: lecture


def test_r3_small_kernels() -> None:
    n = 1000.0
    assert axpy_flops(n) == 2 * n
    assert axpy_bytes(n, 8.0) == 24 * n
    assert arithmetic_intensity(axpy_flops(n), axpy_bytes(n, 8.0)) == pytest.approx(1 / 12, rel=1e-15)
    assert matmul_flops(n, n, n) == 2 * n**3
    assert matmul_bytes(n, n, n, 8.0, 2.0) == 32 * n**2
    assert matmul_bytes(n, n, n, 8.0, 1.0) == 24 * n**2
    assert square_matmul_intensity(n, 8.0, 4.0) == n / 16
    assert square_matmul_intensity(n, 8.0, 3.0) == pytest.approx(n / 12, rel=1e-15)
    both = arithmetic_intensity(matmul_flops(n, n, n), matmul_bytes(n, n, n, 8.0, 2.0))
    assert both == square_matmul_intensity(n, 8.0, 4.0)


def test_r3_crossover() -> None:
    """3328 mixes double-precision bytes with the half-precision peak; 208 and 832 each stay with one precision."""
    half, double, bandwidth = 312e12, 19.5e12, 1.5e12
    assert machine_balance(half, bandwidth) == 208
    assert crossover_size(half, bandwidth, 8.0, 4.0) == 3328
    assert crossover_size(double, bandwidth, 8.0, 4.0) == 208
    assert crossover_size(half, bandwidth, 2.0, 4.0) == 832
    assert attainable(3328 / 16, half, bandwidth) == half
    assert attainable(3327 / 16, half, bandwidth) < half
    assert attainable(1 / 12, half, bandwidth) == bandwidth / 12


def test_r3_keys_and_values_have_intensity_one() -> None:
    """2·D² FLOP over 2·D² bytes, for each of K and V."""
    assert arithmetic_intensity(kv_flops_per_token(1.0, 4096.0), kv_weight_bytes(1.0, 4096.0, 2.0)) == 1


# R4: transformer inference arithmetic

A100_R4 = device("a100", 312e12, 1.5e12, memory=40e9)
L, D, N, H, V = 64.0, 8192.0, 128.0, 64.0, 2.0**16
ARTICLE = textbook(8192, 64, 128)


def article_fit(devices: float) -> Fit:
    """The article's model on some cards of 40 GB, all of their memory usable."""
    plan = Parallelism(tp=devices)
    cluster = Cluster(A100_R4, devices)
    return fit(ARTICLE, cluster, length=2048, parallelism=plan, gpu_memory_utilization=1.0, suggest=False)


def test_r4_parameters() -> None:
    plain, whole = (m.parameter_count() for m in (ARTICLE, textbook(8192, 64, 128, vocab_size=2**16)))
    assert plain.total == layer_stack_parameters(L, D) == 12 * 64 * 8192**2
    assert f"{float(plain.total):.4g}" == "5.154e+10"
    assert f"{float(whole.total):.4g}" == "5.208e+10"
    attention = sum(
        float(m.parameters) for m in plain.modules if m.name in ("block.q", "block.k", "block.v", "block.out")
    )
    assert attention == 4 * 64 * 8192**2
    assert float(plain.total) - attention == 8 * 64 * 8192**2


def test_r4_keys_and_values() -> None:
    """2 097 152 bytes and 1.718e10 FLOP a token; 11.45 ms to read the weights for it, 0.0551 ms of arithmetic: 208."""
    assert kv_bytes_per_token(L, N, H, 2.0) == article_fit(4.0).kv_per_token == 2_097_152
    step = count(ARTICLE, Decode(context_len=0))
    made = sum(float(o.flops) for o in step.operators if o.name in ("block.k", "block.v"))
    assert made == kv_flops_per_token(L, D)
    assert f"{made:.4g}" == "1.718e+10"
    read, arithmetic = float(kv_weight_bytes(L, D, 2.0)) / 1.5e12, made / 312e12
    assert f"{read * 1e3:.2f}" == "11.45"
    assert f"{arithmetic * 1e3:.4f}" == "0.0551"
    assert read / arithmetic == pytest.approx(208, rel=1e-12)
    assert machine_balance(312e12, 1.5e12) == 208
    matmuls = float(step.flops) - sum(
        float(o.flops) for o in step.operators if o.name in ("block.scores", "block.values")
    )
    assert made / matmuls == pytest.approx(1 / 6, rel=1e-12)


def test_r4_one_forward_pass() -> None:
    """2·12·L·D² bytes: 68.7 ms on one accelerator, 17.2 ms on four; 208 tokens cost what one does."""
    for devices, expected in ((1.0, "68.7"), (4.0, "17.2")):
        e = estimate(ARTICLE, Decode(context_len=0), Cluster(A100_R4, devices), parallelism=Parallelism(tp=devices))
        assert e.tpot is not None
        assert str(e.phases[0].bound) == "memory"
        assert f"{float(e.tpot.floor) * 1e3:.1f}" == expected
    flops = float(forward_flops_per_token(layer_stack_parameters(L, D)))
    assert 208 * flops / 312e12 == pytest.approx(2 * 12 * 64 * 8192**2 / 1.5e12, rel=1e-12)


def test_r4_flops_per_token() -> None:
    """1.031e11, and about 1e9 more for the logits."""
    assert f"{float(forward_flops_per_token(layer_stack_parameters(L, D))):.4g}" == "1.031e+11"
    parts = {
        o.name: float(o.flops)
        for o in count(textbook(8192, 64, 128, vocab_size=2**16), Decode(context_len=0)).operators
    }
    matmuls = sum(value for name, value in parts.items() if name not in ("block.scores", "block.values", "head.logits"))
    assert matmuls == forward_flops_per_token(layer_stack_parameters(L, D))
    assert f"{parts['head.logits']:.0e}" == "1e+09"


def test_r4_capacity() -> None:
    """Three cards leave 16 GB and 7629 tokens, so a batch of 4 sequences of 2048 is out of reach by 563; four 26 700."""
    three, four = (int(kv_capacity(n, 40e9, 104e9, 2_097_152.0)) for n in (3.0, 4.0))
    assert (three, 4 * 2048 - three) == (7629, 563)
    assert round(four, -2) == 26_700
    assert four >= 4 * 2048
    assert float(article_fit(4.0).memory.weights) * 4 == 2 * 12 * 64 * 8192**2


def test_r4_latency_of_260_billion_parameters() -> None:
    """Sixteen A100s, L = 80, D = 16384: small batch 21.7 ms and 2.56 ms, batch 512 53.3 ms and 17.9 ms."""
    parameters, devices, layers, width, batch = 260e9, 16.0, 80.0, 16384.0, 512.0
    peak, bandwidth, link = 312e12, 1.5e12, 300e9
    reading = 2 * parameters / (devices * bandwidth)
    waiting = 4 * layers * 8e-6
    assert f"{reading * 1e3:.1f}" == "21.7"
    assert f"{waiting * 1e3:.2f}" == "2.56"
    assert f"{max(reading, waiting) * 1e3:.1f}" == "21.7"
    assert f"{(reading + waiting) * 1e3:.1f}" == "24.2"
    computing = batch * float(forward_flops_per_token(parameters)) / (devices * peak)
    sent = 2 * layers * float(ring_all_reduce_bytes(2 * batch * width, devices))
    without_n = sent * devices / (devices - 1)
    assert f"{computing * 1e3:.1f}" == "53.3"
    assert without_n == batch * 2 * 4 * layers * width
    assert f"{without_n / link * 1e3:.1f}" == "17.9"
    assert f"{sent / link * 1e3:.1f}" == "16.8"
    assert round((computing + without_n / link / 2) * 1e3) == 62


def test_r4_messages_of_the_same_model() -> None:
    """The bytes of an estimate with tensor parallelism are the article's four messages of (n − 1)·D/n elements."""
    model = textbook(16384, 80, 128)
    e = estimate(model, Decode(batch=512, context_len=0), Cluster(A100_R4, 16.0), parallelism=Parallelism(tp=16))
    sent = e.phases[0].step.cost("flash").sent
    assert sent == 80 * 4 * (15 * 16384 / 16) * 512 * 2


def test_r4_link_balance() -> None:
    """312e12 over 300e9: 1040 FLOP for each byte sent."""
    assert machine_balance(312e12, 300e9) == 1040


def test_r4_against_a_benchmark() -> None:
    """13 B in FasterTransformer: 16.8 ms on one A100, 8.4 ms and about 1.3 ms of messages on two; measured 22.0: 76 %."""
    model = textbook(5120, 40, 40)
    reading = 2 * float(model.parameter_count().total) / 1.5e12
    assert f"{reading * 1e3:.1f}" == "16.8"
    assert f"{reading / 2 * 1e3:.1f}" == "8.4"
    assert f"{4 * 40 * 8e-6 * 1e3:.1f}" == "1.3"
    assert round(100 * reading * 1e3 / 22.0) == 76
    e = estimate(model, Decode(context_len=512), Cluster(A100_R4))
    assert reading < float(e.latency.floor) < 22.0e-3


# R5: sizing GPT-2

NANO = load_model({"model_type": "gpt2", "bias": False})
A100_R5 = 312e12


def test_r5_parameters() -> None:
    answer = NANO.parameter_count()
    parts = {m.name: float(m.parameters) for m in answer.modules}
    layer = {name: value / 12 for name, value in parts.items() if name.startswith("block.")}
    assert answer.total == 124_337_664
    assert answer.embedding == 39_383_808
    assert parts["embedding.positions"] == 786_432
    assert parts["embedding.tokens"] == 38_597_376
    assert sum(layer.values()) == 7_079_424
    assert sum(layer[f"block.{name}"] for name in ("norm1", "q", "k", "v", "out")) == 2_360_064
    assert sum(layer[f"block.{name}"] for name in ("norm2", "up", "down")) == 4_719_360
    assert parts["head.final_norm"] == 768
    assert answer.head == 0
    assert load_model("gpt2").parameter_count().total == 124_439_808


def test_r5_checkpoint() -> None:
    """1.49 GB in fp32 with two moments; the file has 3.38 % more; 3.73 % of 40 GB."""
    size = float(checkpoint_bytes(NANO.parameter_count().total, 4.0, 2.0))
    assert f"{size / 1e9:.2f}" == "1.49"
    assert f"{1_542_470_366 / size:.2%}" == "103.38%"
    assert f"{size / 40e9:.2%}" == "3.73%"


FORWARD = {
    "q k v": 3_623_878_656,
    "scores": 1_610_612_736,
    "values": 1_610_612_736,
    "out": 1_207_959_552,
    "up": 4_831_838_208,
    "down": 4_831_838_208,
}


def test_r5_flops() -> None:
    """Forward by operator, backward twice that, and the sum."""
    answer = count(NANO, Train(seq_len=1024))
    ahead = [o for o in answer.operators if o.part == "forward"]
    once = {o.name.removeprefix("block."): float(o.flops) / float(o.repeat) for o in ahead}
    assert {names: sum(once[n] for n in names.split()) for names in FORWARD} == FORWARD
    assert sum(FORWARD.values()) == 17_716_740_096
    assert once["head.logits"] == 79_047_426_048
    assert answer.forward == 291_648_307_200
    assert answer.backward == 2 * 291_648_307_200
    assert answer.flops == 874_944_921_600
    assert answer.attention == "full"
    assert count(NANO, Prefill(prompt_len=1024, logits="all")).flops == 291_648_307_200


def test_r5_palm() -> None:
    """6·P′ + 12·L·N·H·T, positions left out: 875 062 886 400 for the sequence, 1.0001 of the count."""
    parameters = float(NANO.parameter_count().total) - 786_432
    assert parameters == 123_551_232
    sequence = float(palm_flops_per_token(parameters, 12.0, 12.0, 64.0, 1024.0)) * 1024
    assert sequence == 875_062_886_400
    assert f"{sequence / 874_944_921_600:.4f}" == "1.0001"


def test_r5_utilisation_and_days() -> None:
    """100 sequences in 0.755 s: 37.14 %; 300e9 tokens on eight A100s at 30 %: 3.46 days."""
    flops = 100 * float(count(NANO, Train(seq_len=1024)).flops)
    assert f"{float(model_flops_utilisation(flops, 0.755, A100_R5, 1.0)):.2%}" == "37.14%"
    assert f"{float(training_days(NANO.parameter_count().total, 300e9, 8.0, A100_R5, 0.3)):.2f}" == "3.46"
