"""Rooflines, occupancy and balances: the lecture's numbers (R3) and the article's (R4), in Python and on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floorline import charts, estimate, load_cluster
from floorline.catalogue.accelerators import load_accelerator
from floorline.errors import BadInput
from floorline.formulas.inference import stage_flops_per_byte
from floorline.formulas.scaling import parallel_efficiency, speed_up, weak_efficiency
from floorline.occupancy import occupancy
from floorline.rooflines import Point, Roof, Roofline, of_phase
from floorline.specs.workload import Decode, Prefill
from terminal import ask, run, told

A100 = "a100-pcie-40gb"
VALIDATION = Path(__file__).parents[1] / "validation"


# R3: kernels under the roof


def test_the_lectures_kernels_on_its_machine() -> None:
    """z = a·x + y and a matmul in double precision, n = 1000, on 19.5 TFLOP/s and 1.5 TB/s: 1/12 and 62.5 FLOP/B; the first is
    bound by memory at 125 GFLOP/s, the second by arithmetic past 208."""
    words = ("--kernel", "axpy=2e3/24e3,matmul=2e9/32e6,small=2n/1", "--dtype", "fp64", "--hardware", A100)
    assert "expected" in run("roofline", *words).err  # 2n is no number
    words = ("--kernel", "axpy=2e3/24e3,matmul=2e9/32e6", "--dtype", "fp64", "--hardware", A100)
    document = ask("roofline", *words, "--memory-bandwidth", "1.5 TB/s")
    assert document["roof"]["balance"] == pytest.approx(19.5e12 / 1.5e12)
    axpy, matmul = document["points"]
    assert axpy["intensity"] == pytest.approx(1 / 12)
    assert axpy["attainable"] == pytest.approx(1.5e12 / 12)
    assert axpy["bound"] == "memory"
    assert matmul["intensity"] == 62.5 == 1000 / 16
    assert matmul["attainable"] == 19.5e12
    assert matmul["bound"] == "compute"
    assert document["together"]["flops"] == 2e9 + 2e3


@pytest.mark.parametrize(
    ("peak", "size", "matrices", "expected"),
    [("312 TFLOP/s", 8, 4, 3328), ("312 TFLOP/s", 2, 4, 832), ("19.5 TFLOP/s", 8, 4, 208)],
)
def test_where_a_matmul_becomes_bound_by_arithmetic(peak: str, size: int, matrices: int, expected: int) -> None:
    """3328 mixes double-precision bytes with the half-precision peak; 832 and 208 stay with one. One row more or less decides."""
    words = ("bandwidth=1.5 TB/s", f"bytes_per_element={size}", f"matrices={matrices}")
    assert ask("explain", "crossover_size", f"peak={peak}", *words)["value"] == expected
    roof = Roof("a100", "any", float(peak.split()[0]) * 1e12, 1.5e12)
    for n, bound in ((expected - 1, "memory"), (expected, "compute")):
        assert roof.bound(Point("matmul", 2.0 * n**3, float(size * matrices * n**2))) == bound


def test_metrics() -> None:
    """S = t₁/tₙ, E = S/n; both as commands."""
    assert speed_up(100.0, 16.0) == 6.25
    assert parallel_efficiency(100.0, 16.0, 8.0) == 6.25 / 8
    assert weak_efficiency(100.0, 125.0) == 0.8
    assert ask("explain", "speed_up", "alone=100", "together=16")["value"] == 6.25
    assert ask("explain", "parallel_efficiency", "alone=100", "together=16", "devices=8")["value"] == 0.78125
    assert ask("explain", "time_to_solution", "batches=1000", "seconds=0.5")["value"] == 500
    assert ask("explain", "utilisation", "achieved=156TFLOP/s", "peak=312TFLOP/s")["value"] == 0.5
    assert ask("explain", "throughput", "amount=100", "seconds=0.755")["value"] == pytest.approx(132.45, rel=1e-3)


# Occupancy


@pytest.mark.parametrize(
    ("device", "threads", "registers", "shared_kib", "percent", "limit"),
    [
        # by hand from the programming guide's table: 65536 registers, warps' registers in units of 256
        ("a100-sxm-80gb", 256, 32, 0, 100.0, "warps"),
        ("a100-sxm-80gb", 256, 64, 0, 50.0, "registers"),
        ("a100-sxm-80gb", 128, 255, 0, 12.5, "registers"),
        ("a100-sxm-80gb", 128, 32, 163, 6.25, "shared memory"),
        ("a100-sxm-80gb", 32, 16, 0, 50.0, "warps"),  # 32 blocks of one warp
        ("h100-sxm", 128, 168, 0, 18.75, "registers"),
        ("h100-sxm", 384, 168, 227, 18.75, "registers"),
        ("h100-sxm", 256, 64, 48, 50.0, "registers"),
        ("rtx-4090", 256, 32, 0, 100.0, "warps"),  # 48 warps
        ("rtx-4090", 512, 64, 0, 200 / 3, "registers"),
        ("t4", 1024, 32, 0, 100.0, "warps"),
        ("v100-sxm2-32gb", 256, 32, 96, 12.5, "shared memory"),
    ],
)
def test_occupancy(device: str, threads: int, registers: int, shared_kib: int, percent: float, limit: str) -> None:
    found = occupancy(load_accelerator(device), float(threads), float(registers), shared_kib * 1024.0)
    assert float(found.occupancy) * 100 == pytest.approx(percent, rel=1e-12)
    assert str(found.limit) == limit
    words = (
        "--threads",
        threads,
        "--registers",
        registers,
        "--shared-memory",
        f"{shared_kib} KiB",
        "--hardware",
        device,
    )
    assert ask("occupancy", *words)["occupancy"] == pytest.approx(percent / 100)


def test_waves() -> None:
    """4096 blocks, four on each of 132 multiprocessors: 7.76 waves."""
    assert "7.758 waves over 132" in told("occupancy", "--registers", "64", "--blocks", "4096")


@given(
    threads=st.lists(st.integers(1, 1024), min_size=2, max_size=5),
    registers=st.integers(1, 255),
    shared=st.integers(0, 99 * 1024),
)
def test_occupancy_of_arrays(threads: list[int], registers: int, shared: int) -> None:
    """The first law, and bounds: never above one; more registers or memory never raise it."""
    device = load_accelerator("l40s")
    many = occupancy(device, np.array(threads, dtype=float), float(registers), float(shared))
    for i, one in enumerate(threads):
        alone = occupancy(device, float(one), float(registers), float(shared))
        assert alone.occupancy == many.occupancy[i]  # type: ignore[index]
        assert 0.0 <= float(alone.occupancy) <= 1.0
        if registers < 255 and shared < 99 * 1024:
            worse = occupancy(device, float(one), registers + 1.0, shared + 1.0)
            assert worse.occupancy <= alone.occupancy


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--threads", "2048"), "threads is 2048"),
        (("--threads", "0"), "expected a whole number above zero"),
        (("--registers", "256"), "registers is 256"),
        (("--shared-memory", "228 KiB"), "shared_memory is"),
        (("--shared-memory", "48 GHz"), "wrong unit"),
        (("--hardware", "mi300x"), "is not known"),
        (("--hardware", "m2-ultra"), "is not known"),
        (("--threads", "many"), "no number"),
        # 28 warps of 72·32 registers are fewer than a block's 32
        (("--threads", "1024", "--registers", "65"), "too much of its registers"),
    ],
)
def test_occupancy_errors(words: tuple[str, ...], says: str) -> None:
    refused = run("occupancy", *words)
    assert refused.status == 2
    assert says in refused.err
    assert refused.err.count("\n") == 1


# R4: critical batch and link balance


def test_balances_of_the_article() -> None:
    """312e12 over 1.5e12 is the critical batch 208; over 300e9 it is 1040 FLOP for a byte sent."""
    assert ask("explain", "machine_balance", "peak=312TFLOP/s", "bandwidth=1.5TB/s")["value"] == 208
    assert ask("explain", "machine_balance", "peak=312TFLOP/s", "bandwidth=300GB/s")["value"] == 1040
    words = ("--kernel", "x=1/1", "--hardware", "a100-sxm-40gb", "--memory-bandwidth", "1.5 TB/s")
    roof = ask("roofline", *words)["roof"]
    assert roof["balance"] == 208
    assert roof["link_balance"] == 1040


@pytest.mark.parametrize(
    ("squares", "ranks", "bound"),
    [
        (3, 4, "arithmetic"),
        (1, 4, "arithmetic"),
        (4, 4, "arithmetic"),
        (1, 9, "link"),
        (3, 16, "arithmetic"),
        (1, 16, "link"),
    ],
)
def test_stages_against_the_link(squares: int, ranks: int, bound: str) -> None:
    """The four stages of the article's layer: queries, keys and values; output; the two of the feed-forward. On four accelerators
    all are bound by arithmetic; the smallest, from nine on, by the link."""
    each = float(stage_flops_per_byte(squares, 8192.0, ranks, 2.0))
    assert ("arithmetic" if each >= 1040 else "link") == bound
    words = (f"squares={squares}", "width=8192", f"ranks={ranks}", "bytes_per_element=2")
    assert ask("explain", "stage_flops_per_byte", *words)["value"] == each == squares * 8192 / (ranks - 1)


# Of models


def test_roofline_of_a_model() -> None:
    """FLOP and bytes of the points are the step's; decode at batch 1 is bound by memory, prefill's matmuls by arithmetic."""
    cluster = load_cluster("h100-sxm")
    for work, bound in ((Prefill(prompt_len=2048), "compute"), (Decode(context_len=2048), "memory")):
        phase = estimate("llama-3.1-8b", work, cluster).phases[0]
        found = of_phase(phase)
        cost = phase.step.cost(phase.assumptions.fusion)
        whole = found.together("all")
        assert float(whole.flops) == pytest.approx(float(cost.flops), rel=1e-12)
        assert float(whole.bytes) == pytest.approx(float(cost.bytes), rel=1e-12)
        qkv = next(p for p in found.points if p.name == "block.qkv")
        assert found.roof.bound(qkv) == bound
    assert found.together("ffn", ("block.gate_up", "block.down")).flops == sum(
        float(p.flops) for p in found.points if p.name in ("block.gate_up", "block.down")
    )


def test_roofline_command(tmp_path: Path) -> None:
    """A plot, a table, the balance of messages; files; a selection."""
    shown = told("roofline", "llama-3.1-8b", "--tp", "4", "--phase", "decode", "--hardware", "a100")
    assert "FLOP for each byte sent, link balance 1040" in shown
    slow = told("roofline", "llama-3.1-8b", "--tp", "16", "--hardware", "dgx-h100", "--network", "1 Gb/s")
    assert "the link takes longer" in slow
    assert "together" in shown
    assert shown.count("·") > 60
    for kind in ("svg", "png", "json"):
        path = tmp_path / f"roof.{kind}"
        told("roofline", "gpt2", "--output", path)
        assert path.stat().st_size > 2000
    assert json.loads(path.read_text())["layer"][0]["mark"]["type"] == "line"
    assert "<svg" in (tmp_path / "roof.svg").read_text()
    picked = ask("roofline", "gpt2", "--only", "block.scores,block.values", "--fusion", "unfused")
    assert [p["name"] for p in picked["points"]] == ["block.scores", "block.values"]


def test_measured_kernels_under_the_roof(tmp_path: Path) -> None:
    """What bf16 matmuls of an H100 reached: none above the peak but for 8-bit ones with a wrong label."""
    path = VALIDATION / "kernels" / "gemm_a100_l40s.csv.xz"
    document = ask("roofline", "--kernels", path, "--hardware", "a100-sxm-80gb")
    rates = [p["rate"] for p in document["points"]]
    assert len(rates) > 3000
    assert 0.85 < max(rates) / 312e12 <= 1.0
    assert document["together"]["rate"] == pytest.approx(
        sum(p["flops"] for p in document["points"]) / sum(p["flops"] / p["rate"] for p in document["points"])
    )
    assert "reached" in told("roofline", "--kernels", path, "--hardware", "l40s", "--output", tmp_path / "x.json")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "expected one of the three"),
        (("gpt2", "--kernel", "a=1/1"), "expected one of the three"),
        (("--kernel", "a=1"), "expected NAME=FLOP/BYTES"),
        (("--kernel", "a=1/0"), "is not above zero"),
        (("--kernel", "a=1/1", "--dtype", "zebra"), "--dtype is 'zebra'"),
        (("gpt2", "--phase", "lunch"), "--phase is 'lunch'"),
        (("gpt2", "--only", "block.qvk"), "did you mean block.qkv"),
        (("gpt2", "--output", "x.gif"), "expected such as roofline.svg"),
        (("--kernels", "none.csv"), "cannot be read"),
        (("--kernels", VALIDATION / "kernels" / "moe_a100.csv.xz", "--hardware", "t4"), "no kernel of t4"),
    ],
)
def test_roofline_errors(words: tuple[object, ...], says: str) -> None:
    refused = run("roofline", *words)
    assert refused.status == 2
    assert says in refused.err
    assert refused.err.count("\n") == 1


def test_chart_of_many_points() -> None:
    """Few kernels are named in the legend, many only in tooltips; a cache's roof where it is known."""
    roof = Roof("x", "bf16", 1e15, 1e12, cache=5e12)
    few, many = (charts.roofline(Roofline(roof, tuple(Point(str(i), 1e9, 1e6) for i in range(n)))) for n in (3, 100))
    assert few["layer"][1]["encoding"]["color"]["field"] == "name"
    assert many["layer"][1]["encoding"]["color"]["field"] == "bound"
    assert {v["roof"] for v in few["layer"][0]["data"]["values"]} == {"memory", "last-level cache"}
    with pytest.raises(BadInput, match="expected such as"):
        charts.save(few, "x.pdf")
