"""The first law: f(array)[i] == f(scalar_i), bit for bit, for every formula and for whole estimates.

And what float64 gives beside it: no overflow at any size that is allowed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floorline import load_cluster, load_model
from floorline.counts import count, saved_bytes
from floorline.estimates import Estimate, estimate
from floorline.formulas.training import checkpoint_bytes, six_n_d, training_days
from floorline.specs.accelerator import Accelerator, Link
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.workload import Decode, Generate, Prefill, Train
from floorline.sweeps import sweep
from published import FORMULAS, Formula

Config = dict[str, Any]
Point = Mapping[str, float]

H100 = load_cluster("h100-sxm", devices=64)
POSITIVE = st.floats(1e-6, 1e15, allow_subnormal=False)


def same(one: object, many: object) -> bool:
    """Whether two numbers are the same bits, nan like nan."""
    return np.asarray(one, dtype=np.float64).tobytes() == np.asarray(many, dtype=np.float64).tobytes()


# Formulas


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda formula: formula.name)
@settings(max_examples=25)
@given(data=st.data())
def test_formula(formula: Formula, data: st.DataObject) -> None:
    """Any mixture of arrays and scalars among the arguments."""
    points = data.draw(st.lists(st.tuples(*(POSITIVE for _ in formula.parameters)), min_size=1, max_size=7))
    alone = data.draw(st.lists(st.booleans(), min_size=len(formula.parameters), max_size=len(formula.parameters)))
    columns = [np.array(column) for column in zip(*points, strict=True)]
    mixed = [column[0].item() if single else column for column, single in zip(columns, alone, strict=True)]
    together = np.broadcast_to(np.asarray(formula.function(*mixed)), len(points))
    for i in range(len(points)):
        scalar = formula.function(*(m if isinstance(m, float) else m[i].item() for m in mixed))
        assert np.ndim(np.asarray(scalar)) == 0
        assert same(scalar, together[i])


# Whole estimates


@st.composite
def configurations(draw: st.DrawFn) -> Config:
    """A Llama-like configuration of any shape."""
    kv_heads, group, width = draw(
        st.tuples(*(st.sampled_from((1, 2, 4, 6, 8)), st.integers(1, 8), st.integers(1, 160)))
    )
    return {
        "model_type": "llama",
        "hidden_size": kv_heads * group * width,
        "num_attention_heads": kv_heads * group,
        "num_key_value_heads": kv_heads,
        "intermediate_size": draw(st.integers(1, 40_000)),
        "num_hidden_layers": draw(st.integers(1, 130)),
        "vocab_size": draw(st.integers(1, 300_000)),
        "tie_word_embeddings": draw(st.booleans()),
        "attention_bias": draw(st.booleans()),
    }


KINDS = st.fixed_dictionaries(
    {
        "sequence_parallel": st.sampled_from(("no", "yes")),
        "context": st.sampled_from(("all-gather", "all-to-all")),
        "zero_stage": st.sampled_from(("0", "1", "2", "3")),
    }
)
ASSUMED = st.fixed_dictionaries(
    {
        "fusion": st.sampled_from(("unfused", "flash", "compulsory")),
        "attention": st.sampled_from(("full", "causal")),
        "compute_efficiency": st.floats(0.1, 1.0),
        "memory_efficiency": st.floats(0.1, 1.0),
        "launch_time": st.sampled_from((0.0, 5e-6)),
    }
)
POINT = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 5000),
        "prompt": st.integers(1, 200_000),
        "cached": st.sampled_from((0, 1, 777, 100_000)),
        "output": st.integers(1, 6),
        "tp": st.sampled_from((1, 2, 3, 4, 8, 16)),
        "dp": st.integers(1, 4),
        "cp": st.sampled_from((1, 2, 4)),
    }
).map(lambda point: {name: float(value) for name, value in point.items()})
FORMATS = st.sampled_from(("bf16", "fp8", "fp32"))


def workloads(kind: str, p: Mapping[str, Any]) -> Decode | Generate | Prefill:
    """A workload of numbers or of arrays."""
    if kind == "decode":
        return Decode(batch=p["batch"], context_len=p["prompt"])
    if kind == "generate":
        return Generate(batch=p["batch"], prompt_len=p["prompt"], output_len=p["output"], cached_len=p["cached"])
    return Prefill(batch=p["batch"], prompt_len=p["prompt"], cached_len=p["cached"], logits=kind)


def answers(e: Estimate) -> dict[str, object]:
    """Everything that an estimate says, by name."""
    found: dict[str, object] = {}
    for name, time in (("ttft", e.ttft), ("tpot", e.tpot), ("latency", e.latency)):
        if time is not None:
            found |= {f"{name}.floor": time.floor, f"{name}.serial": time.serial}
            found |= {f"{name}.{end}": getattr(time, end) for end in ("expected", "low", "high")}
    for phase in e.phases:
        parts = {"compute": phase.floor.compute, "memory": phase.floor.memory, "link": phase.floor.link}
        found |= {f"{phase.name}.{part}": value for part, value in parts.items()}
    m = e.memory
    found |= {**m.kinds, "total": m.total}
    return {**found, "tokens_per_s": e.output_tokens_per_s, "feasible": e.feasible, "rule": e.rule}


def differences(together: Estimate, alone: list[Estimate]) -> list[str]:
    """Where an estimate of arrays differs from those of its points."""
    many = {name: np.broadcast_to(np.asarray(v), len(alone)) for name, v in answers(together).items()}
    found = []
    for i, single in enumerate(alone):
        one = answers(single)
        if together.tpot is not None and single.tpot is None:  # one token: nothing is decoded
            one |= dict.fromkeys(set(many) - set(one), np.nan)
        assert set(one) == set(many)
        for name, value in one.items():
            if not same(value, many[name][i]):
                found.append(f"point {i}, {name}: alone {value!r}, in the array {many[name][i]!r}")
    return found


@settings(max_examples=150)
@given(
    config=configurations(),
    points=st.lists(POINT, min_size=1, max_size=5),
    kind=st.sampled_from(("decode", "last", "all", "generate")),
    kinds=KINDS,
    assumed=ASSUMED,
    form=FORMATS,
)
def test_estimate(config: Config, points: list[Point], kind: str, kinds: Config, assumed: Config, form: str) -> None:
    """Workloads and plans as arrays, feasible points among infeasible ones."""
    model, assumptions, precision = load_model(config), Assumptions(**assumed), Precision.of(form)

    def priced(p: Mapping[str, Any]) -> Estimate:
        plan = Parallelism(tp=p["tp"], dp=p["dp"], cp=p["cp"], **kinds)
        work = workloads(kind, p)
        return estimate(model, work, H100, parallelism=plan, precision=precision, assumptions=assumptions)

    columns = {name: np.array([p[name] for p in points]) for name in points[0]}
    assert differences(priced(columns), [priced(p) for p in points]) == []


@settings(max_examples=100)
@given(
    configs=st.lists(configurations(), min_size=2, max_size=5),
    figures=st.lists(st.tuples(*(st.floats(1e9, 1e16) for _ in range(3))), min_size=5, max_size=5),
    latency=st.sampled_from((0.0, 8e-6)),
    point=POINT,
    kind=st.sampled_from(("decode", "last", "generate")),
    assumed=ASSUMED,
)
def test_estimate_of_models_and_devices(
    configs: list[Config],
    figures: list[tuple[float, float, float]],
    latency: float,
    point: Point,
    kind: str,
    assumed: Config,
) -> None:
    """Widths, heads, layers, peaks and bandwidths as arrays: what of a configuration is a word stays the first's."""
    words = {name: value for name, value in configs[0].items() if isinstance(value, str | bool)}
    numbers = [name for name in configs[0] if name not in words]

    def priced(sizes: Mapping[str, Any], peak: Any, bandwidth: Any, wire: Any) -> Estimate:
        device = Accelerator(
            name="any",
            peaks={"bf16": peak},
            memory=80e9,
            memory_bandwidth=bandwidth,
            last_level_cache=50e6,
            sm_count=100.0,
            links=(Link("link", wire, latency),),
        )
        plan = Parallelism(tp=point["tp"], dp=point["dp"], cp=point["cp"])
        return estimate(
            {**words, **sizes},
            workloads(kind, point),
            Cluster(device, 64.0),
            parallelism=plan,
            assumptions=Assumptions(**assumed),
        )

    chosen = figures[: len(configs)]
    columns = {name: np.array([float(c[name]) for c in configs]) for name in numbers}
    together = priced(columns, *(np.array(column) for column in zip(*chosen, strict=True)))
    alone = [priced({n: c[n] for n in numbers}, *f) for c, f in zip(configs, chosen, strict=True)]
    assert differences(together, alone) == []


@settings(max_examples=40)
@given(
    config=configurations(),
    points=st.lists(POINT, min_size=1, max_size=5),
    attention=st.sampled_from(("full", "causal")),
    fusion=st.sampled_from(("unfused", "flash", "compulsory")),
    recompute=st.sampled_from(("none", "selective", "full")),
)
def test_counts(config: Config, points: list[Point], attention: str, fusion: str, recompute: str) -> None:
    """FLOP, bytes and saved activations of training."""
    model = load_model(config)

    def counted(p: Mapping[str, Any]) -> list[object]:
        work = Train(micro_batch=p["output"], global_batch=p["output"] * p["batch"], seq_len=p["prompt"])
        made = count(model, work, attention, fusion=fusion, recompute=recompute)
        kept = saved_bytes(model, work, fusion=fusion, recompute=recompute)
        return [made.flops, made.forward, made.backward, made.bytes, *kept.values()]

    columns = {name: np.array([p[name] for p in points]) for name in points[0]}
    together = [np.broadcast_to(np.asarray(v), len(points)) for v in counted(columns)]
    for i, p in enumerate(points):
        for one, many in zip(counted(p), together, strict=True):
            assert same(one, many[i])


# Sweeps


WORKLOAD, PLAN = ("batch", "prompt_len", "output_len"), ("tp", "dp", "cp")
VARIED: dict[str, list[float]] = {
    "batch": [1, 3, 64],
    "output_len": [1, 2, 5],
    "tp": [1, 3, 8],
    "dp": [1, 2],
    "cp": [1, 2],
    "hidden_size": [1024, 4096],
    "num_hidden_layers": [2, 33],
    "memory_bandwidth": [1e12, 3.35e12],
    "devices": [8, 32],
}


def single(row: Mapping[str, Any]) -> Estimate:
    """The estimate of one row of the sweep."""
    config = {**load_model("llama-3.1-8b").config, **{k: int(row[k]) for k in ("hidden_size", "num_hidden_layers")}}
    device = H100.accelerator
    figures = {
        "name": device.name,
        "peaks": device.peaks,
        "memory": device.memory,
        "usable_memory": device.usable_memory,
        "last_level_cache": device.last_level_cache,
        "links": device.links,
        "memory_bandwidth": row["memory_bandwidth"],
    }
    work = Generate(prompt_len=1000, batch=row["batch"], output_len=row["output_len"])
    plan = Parallelism(tp=row["tp"], dp=row["dp"], cp=row["cp"])
    return estimate(config, work, Cluster(Accelerator(**figures), row["devices"]), parallelism=plan)


def test_sweep_rows_are_single_estimates() -> None:
    """Every combination of nine inputs: a sample of the rows against estimates of one point, infeasible ones included."""
    made = sweep("llama-3.1-8b", Generate(prompt_len=1000), H100, VARIED)
    assert len(made) == np.prod([len(v) for v in VARIED.values()])
    reasons = set(made.columns["reason"].tolist())
    assert {"", "tp∤heads", "devices"} <= reasons
    for i in range(0, len(made), 7):
        row = {name: column[i].item() for name, column in made.columns.items()}
        alone = single(row)
        expected = {
            "ttft_floor_s": alone.ttft and alone.ttft.floor,
            "ttft_serial_s": alone.ttft and alone.ttft.serial,
            "latency_floor_s": alone.latency.floor,
            "latency_serial_s": alone.latency.serial,
            "output_tokens_per_s": alone.output_tokens_per_s,
            "weight_bytes": alone.memory.weights,
            "kv_cache_bytes": alone.memory.kv_cache,
            "activation_bytes": alone.memory.activations,
            "memory_bytes": alone.memory.total,
            "feasible": alone.feasible,
        }
        if alone.tpot is not None:
            expected |= {"tpot_floor_s": alone.tpot.floor, "tpot_serial_s": alone.tpot.serial}
        unequal = {name: (value, row[name]) for name, value in expected.items() if not same(value, row[name])}
        assert unequal == {}
        assert (row["reason"] == "") == (alone.reason == "")


def test_sweep_in_chunks_is_one_sweep() -> None:
    """A sweep that takes several chunks gives what its parts give."""
    cases: dict[str, list[float]] = {"batch": list(range(1, 301)), "context_len": list(range(1, 301, 3))}
    whole = sweep("llama-3.1-8b", Decode(context_len=1), H100, cases)
    assert len(whole) == 30_000
    for batch in (1, 164, 165, 300):
        part = sweep("llama-3.1-8b", Decode(context_len=1), H100, {**cases, "batch": [batch]})
        chosen = whole.only(whole.columns["batch"] == batch)
        for name, column in part.columns.items():
            assert column.tolist() == chosen.columns[name].tolist()


# Large numbers


def test_a_trillion_parameters_on_ten_trillion_tokens() -> None:
    """1e12 parameters × 1e13 tokens is far beyond 64-bit integers."""
    assert six_n_d(1e12, 1e13) == 6e25
    assert training_days(1e12, 1e13, 1e5, 1e15, 0.4) == 6e25 / (1e5 * 1e15 * 0.4) / 86400
    assert checkpoint_bytes(1e12, 4.0, 2.0) == 1.2e13
    model = load_model(
        {"model_type": "textbook", "hidden_size": 28672, "num_attention_heads": 224, "num_hidden_layers": 102}
    )
    parameters = int(model.parameter_count().total)
    assert parameters == 12 * 102 * 28672**2 > 10**12
    tokens = 10**9 * 10**4
    answer = count(model, Train(micro_batch=1000, global_batch=1e9, seq_len=1e4))
    exact = 6 * parameters * tokens + 3 * 4 * 102 * 28672 * 10**4 * tokens
    assert float(answer.flops) == pytest.approx(float(exact), rel=1e-12)
    assert float(answer.bytes) > 0
    assert np.isfinite(float(answer.bytes))


def test_the_largest_sizes_give_finite_times() -> None:
    """At the end of every range that is allowed: a billion sequences of a billion tokens each."""
    model = load_model(
        {"model_type": "textbook", "hidden_size": 28672, "num_attention_heads": 224, "num_hidden_layers": 102}
    )
    for work in (Prefill(batch=1e9, prompt_len=1e9), Decode(batch=1e9, context_len=1e9)):
        for fusion in ("unfused", "flash"):
            e = estimate(model, work, H100, assumptions=Assumptions(fusion=fusion))
            values = np.array([float(v) for v in answers(e).values()])  # type: ignore[arg-type]
            assert np.all(np.isfinite(values))
            assert float(e.latency.serial) > float(e.latency.floor) > 1e3
