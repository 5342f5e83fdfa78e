"""The matmul model: laws, what its shipped calibrations miss by on shapes that they did not see, and fits of one's own."""

import tomllib
from dataclasses import astuple, fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floorline import Accelerator
from floorline.calibrate.files import HERE, load
from floorline.calibrate.matmul import device_of, fit, width_of
from floorline.calibrate.shapes import shapes
from floorline.catalogue.accelerators import load_accelerator
from floorline.efficiency.matmul import Device, Matmul, Width, matmul_time
from floorline.errors import BadInput
from floorline.kernels.table import Kernels, read
from floorline.num import Array
from terminal import ask, run, told

KERNELS = Path(__file__).parents[1] / "validation" / "kernels"
SHIPPED = {path.stem: tomllib.loads(path.read_text()) for path in sorted(HERE.glob("*.toml"))}
EACH = [(name, form) for name, entry in SHIPPED.items() for form in entry["matmul"]]
START = Matmul(*(f.metadata["start"] for f in fields(Matmul)))
H100 = Device(132.0, 989.4e12, 3.35e12, 50e6)

GOALS = {
    ("h100-sxm", "bf16"): (0.05, 0.15),
    ("h200-sxm", "bf16"): (0.05, 0.15),
    ("b200-sxm", "bf16"): (0.05, 0.15),
    ("l40s", "bf16"): (0.061, 0.18),
    ("a100-sxm-80gb", "bf16"): (0.055, 0.17),
    ("h200-sxm", "fp8"): (0.08, 0.20),
}
"""Median and 90th percentile of |ln(predicted / measured)| of shapes that were held out; others are stated, not held to one."""


def matmuls(name: str, form: str) -> Kernels:
    """The measured rows behind a shipped calibration."""
    (file,) = SHIPPED[name]["kernels"]
    kernels = read(KERNELS / file)
    words = kernels.words
    return kernels.take(np.flatnonzero((words["device"] == name) & (words["op"] == "gemm") & (words["dtype"] == form)))


@pytest.mark.parametrize(("name", "form"), EACH)
def test_shipped_calibration(name: str, form: str) -> None:
    """The file's figures are what its parameters give; the goals hold; nothing is below its floor."""
    stated, accelerator = SHIPPED[name]["matmul"][form]["residuals"], load_accelerator(name)
    found, device, width = shapes(matmuls(name, form), ("m", "n", "k")), device_of(accelerator, form), width_of(form)
    sizes = [found.sizes[c] for c in ("m", "n", "k")]
    predicted = matmul_time(load(name)[form], device, width, sizes[0], sizes[1], sizes[2], True)
    missed = np.abs(np.log(predicted / found.seconds))[found.held]
    median, tenth = float(np.median(missed)), float(np.quantile(missed, 0.9))
    assert (len(found), int(found.held.sum())) == (stated["shapes"], stated["held_out"])
    assert median == pytest.approx(stated["held_out_median"], abs=1e-3)
    assert tenth == pytest.approx(stated["held_out_p90"], abs=2e-3)
    if (name, form) in GOALS:
        assert (median, tenth) <= GOALS[name, form]
        assert tenth <= GOALS[name, form][1]
    m, n, k = sizes
    moved = width.weights * k * n + width.activations * (m * k)
    least = np.maximum(2 * m * n * k / device.peak, (moved - device.cache) / device.bandwidth)
    for rotated in (True, False):
        assert np.all(matmul_time(load(name)[form], device, width, m, n, k, rotated) >= least)


@pytest.mark.parametrize("name", SHIPPED)
def test_parameters_are_within_their_ranges(name: str) -> None:
    for model in load(name).values():
        for item, value in zip(fields(Matmul), astuple(model), strict=True):
            assert 0.999 * item.metadata["low"] <= value <= 1.001 * item.metadata["high"], item.name


SIZES = st.tuples(st.integers(1, 40_000), st.integers(1, 70_000), st.integers(64, 40_000))


@given(points=st.lists(SIZES, min_size=1, max_size=6), narrow=st.booleans(), rotated=st.booleans())
def test_array_is_many_scalars(points: list[tuple[int, int, int]], narrow: bool, rotated: bool) -> None:
    width = Width(1.0, 1.0) if narrow else Width()
    columns = [np.array(c, dtype=np.float64) for c in zip(*points, strict=True)]
    together = matmul_time(START, H100, width, columns[0], columns[1], columns[2], rotated)
    for i, (m, n, k) in enumerate(points):
        alone = matmul_time(START, H100, width, float(m), float(n), float(k), rotated)
        assert float(np.asarray(alone)) == np.asarray(together)[i]


@given(
    size=SIZES,
    factor=st.floats(1.0, 8.0),
    what=st.sampled_from(("peak", "bandwidth", "cache")),
    name=st.sampled_from([pair for pair in EACH if pair[1] == "bf16"]),
)
def test_more_is_never_slower(size: tuple[int, int, int], factor: float, what: str, name: tuple[str, str]) -> None:
    """More peak, bandwidth or cache; and more rows or columns never take less."""
    model, before = load(name[0])[name[1]], device_of(load_accelerator(name[0]), name[1])
    figures = {"peak": before.peak, "bandwidth": before.bandwidth, "cache": before.cache}
    after = Device(before.multiprocessors, **{**figures, what: figures[what] * factor}, small_tiles=before.small_tiles)
    m, n, k = map(float, size)
    old, new = (float(np.asarray(matmul_time(model, d, Width(), m, n, k))) for d in (before, after))
    assert new <= old * (1 + 1e-12)
    assert float(np.asarray(matmul_time(model, before, Width(), m + 1.0, n, k))) >= old * (1 - 1e-12)
    assert float(np.asarray(matmul_time(model, before, Width(), m, n + 1.0, k))) >= old * (1 - 1e-12)


# Fits of one's own


def made_up(count: int, dtype: str = "bf16") -> Kernels:
    """Kernels of a device that follows the model exactly, with other parameters than a fit starts from."""
    random = np.random.default_rng(7)
    spans = np.log(np.array([[1.0, 8192.0], [128.0, 16384.0], [128.0, 16384.0]]))
    sizes = np.asarray(np.round(np.exp(random.uniform(spans[:, :1], spans[:, 1:], (3, count)))), dtype=np.float64)
    m, n, k = sizes
    slower = {"launch": 1.2, "k_step": 1.2, "fill": 1.2}
    truth = Matmul(*(f.metadata["start"] * slower.get(f.name, 1.0) for f in fields(Matmul)))
    device = device_of(load_accelerator("h100-sxm"), dtype)
    seconds = np.asarray(matmul_time(truth, device, width_of(dtype), m, n, k, True))
    return table(m, n, k, seconds, dtype)


def table(m: Array, n: Array, k: Array, seconds: Array, dtype: str) -> Kernels:
    """Rows of matmuls."""
    empty = np.full(len(m), np.nan)
    numbers = dict.fromkeys(
        (
            "batch",
            "heads",
            "kv_heads",
            "head_dim",
            "seq_q",
            "seq_kv",
            "bytes",
            "gpus",
            "window",
            "tp",
            "ep",
            "node_size",
        ),
        empty,
    )
    words = {"device": "h100-sxm", "op": "gemm", "dtype": dtype, "framework": "mine", "version": "1"}
    texts = {
        name: np.full(len(m), words.get(name, "")) for name in (*words, "kernel", "kv_dtype", "routing", "network")
    }
    return Kernels(texts, {**numbers, "m": m, "n": n, "k": k, "latency_us": seconds * 1e6}, "mine.csv")


def test_a_fit_finds_the_model() -> None:
    """From times that the model itself made, within two per cent on shapes that were held out."""
    found = fit(made_up(300), load_accelerator("h100-sxm"), "bf16", rounds=12)
    assert found.missed(held=True)[0] < 0.02
    assert len(found.shapes) == 300


def test_too_few_shapes_are_refused() -> None:
    with pytest.raises(BadInput, match="expected at least 100"):
        fit(made_up(40), load_accelerator("h100-sxm"), "bf16")
    with pytest.raises(BadInput, match="0 shapes of fp8 matmuls"):
        fit(made_up(140), load_accelerator("h100-sxm"), "fp8")
    with pytest.raises(BadInput, match="number of multiprocessors is not known"):
        device_of(Accelerator(name="x", peaks={"bf16": 1e12}, memory=1e9, memory_bandwidth=1e11), "bf16")


def test_shapes_take_the_newest_version_and_the_median_engine() -> None:
    one = np.ones(4)
    kernels = table(one, one, one, np.array([9.0, 1.0, 2.0, 4.0]) * 1e-6, "bf16")
    words = {
        **kernels.words,
        "framework": np.array(["a", "a", "b", "c"]),
        "version": np.array(["0.9", "0.10", "1", "1"]),
    }
    found = shapes(Kernels(words, kernels.numbers), ("m", "n", "k"))
    assert found.seconds.tolist() == [2e-6]
    assert found.spread.tolist() == [np.log(4.0)]


def test_command(tmp_path: Path) -> None:
    """A summary by rows, JSON with the parameters, a file with units; errors of one line."""
    kernels = made_up(120)
    path = tmp_path / "mine.csv"
    head = "device,op,dtype,m,n,k,latency_us,framework,version\n"
    columns = zip(*(kernels.numbers[c] for c in ("m", "n", "k", "latency_us")), strict=True)
    path.write_text(head + "".join(f"h100-sxm,gemm,bf16,{m:g},{n:g},{k:g},{t:.9g},mine,1\n" for m, n, k, t in columns))
    document = ask("calibrate", path)
    assert document["residuals"]["held_out_median"] < 0.05
    assert set(document["parameters"]) == {f.name for f in fields(Matmul)}
    out = tmp_path / "mine.toml"
    assert "held out: median" in told("calibrate", path, "--output", out)
    assert tomllib.loads(out.read_text())["matmul"]["bf16"]["launch"].endswith(" s")
    for words, says in (
        ((path, "--dtype", "fp8"), "0 shapes of fp8"),
        ((path, "--accelerator", "zebra"), "not in the catalogue"),
        ((KERNELS / "gemm_a100_l40s.csv.xz",), "expected one of them as --accelerator"),
        ((tmp_path / "none.csv",), "cannot be read"),
    ):
        refused = run("calibrate", *words)
        assert refused.status in (2, 3)
        assert says in refused.err
    with pytest.raises(BadInput, match="has no calibration; there are"):
        load("t4")


def test_validate_scores_matmuls() -> None:
    """Expected times, intervals and errors of each matmul; everything else has none yet."""
    document = ask("validate", KERNELS / "gemm_h200.csv.xz")
    summary = {s["source"]: s for s in document["summary"]}
    bf16 = summary["h200-sxm gemm bf16"]
    assert bf16["median_error"] < 0.06  # of single engines, not of their median
    assert 0.7 < bf16["coverage"] < 0.95
    assert summary["h200-sxm gemm fp8-block128"]["median_error"] is None
    for row in document["cases"]:
        if row["expected"] is not None:
            assert row["floor"] <= row["expected"]
            assert row["low"] < row["expected"] < row["high"]
            assert row["error"] == pytest.approx(np.log(row["expected"] / row["measured"]))
