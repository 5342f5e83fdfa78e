"""How fast the answers are: a cold start, one estimate, a million plans. Asserted is three times what is aimed at."""

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from floorline import Decode, Generate, Parallelism, estimate, load_cluster, load_model, sweep

COLD_START, ONE_ESTIMATE, MILLION = 0.3, 1e-3, 1.0
EXPECTED, EXPECTED_A_SECOND = 3e-3, 50_000
"""Targets in seconds; and expected times a second, as arrays."""

SLACK = 3.0
"""What a busy machine may add to a target before the benchmark fails."""

STARTS, POINTS, CHUNK = 10, 1_000_000, 16_384


def processor_time(work: Callable[[], object]) -> float:
    """Seconds of processor that the children of this process spend on some work, user and system."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    work()
    return spent() - before


def start() -> None:
    """One cold start of the command line, its linear algebra on one thread."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment = {**kept, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "floorline", "params", "llama-3.1-8b"]
    subprocess.run(command, env=environment, check=True, timeout=60, stdout=subprocess.DEVNULL)


def measured(benchmark: BenchmarkFixture, work: Callable[[], float], target: float, rounds: int) -> float:
    """The median of the seconds that some work says it took, kept beside its target in the benchmark's record."""
    work()  # compiled files on disk and caches warm, as they are the second time that anybody asks
    times: list[float] = []
    benchmark.pedantic(lambda: times.append(work()), rounds=rounds)  # type: ignore[no-untyped-call]
    median = statistics.median(times)
    benchmark.extra_info |= {"median [s]": median, "target [s]": target}
    print(f"\n{benchmark.name}: {median:.4g} s, median of {rounds}; target {target:g} s")
    return median


def timed(work: Callable[[], object]) -> float:
    """Seconds that some work takes on the wall."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def test_cold_start(benchmark: BenchmarkFixture) -> None:
    """``floorline params llama-3.1-8b`` from nothing; processor time, since wall time says how busy the machine is."""
    assert measured(benchmark, lambda: processor_time(start), COLD_START, STARTS) < SLACK * COLD_START


WORKLOADS: dict[str, Any] = {
    "decode": Decode(batch=8, context_len=4096),
    "generate": Generate(batch=8, prompt_len=1024, output_len=128),
}


@pytest.mark.parametrize("name", WORKLOADS)
def test_one_estimate(benchmark: BenchmarkFixture, name: str) -> None:
    """One plan, everything else warm: what a page or a loop in a notebook waits for."""
    model, cluster, plan = load_model("llama-3.1-70b"), load_cluster("h100", devices=8), Parallelism(tp=8)
    work = WORKLOADS[name]

    def once() -> float:
        return timed(lambda: estimate(model, work, cluster, parallelism=plan).whole("floor_s"))

    assert measured(benchmark, once, ONE_ESTIMATE, 500) < SLACK * ONE_ESTIMATE


def test_one_expected_time(benchmark: BenchmarkFixture) -> None:
    """One calibrated decode step of a 70-billion model, with its interval."""
    model, cluster, plan = load_model("llama-3.1-70b"), load_cluster("h100", devices=8), Parallelism(tp=8)

    def once() -> float:
        return timed(lambda: estimate(model, WORKLOADS["decode"], cluster, parallelism=plan).tpot)

    assert measured(benchmark, once, EXPECTED, 200) < SLACK * EXPECTED


def test_many_expected_times(benchmark: BenchmarkFixture) -> None:
    """The same of half as many plans as a second should price, as arrays of some 16 000."""
    model, cluster, plan = load_model("llama-3.1-70b"), load_cluster("h100", devices=8), Parallelism(tp=8)
    count = EXPECTED_A_SECOND // 2
    batch, context = np.arange(count) % 256 + 1.0, np.arange(count) * 5.0 % 32_000 + 128.0

    def all_of_them() -> None:
        for begin in range(0, count, CHUNK):
            piece = slice(begin, begin + CHUNK)
            work = Decode(batch=batch[piece], context_len=context[piece])
            assert estimate(model, work, cluster, parallelism=plan).whole("expected_s") is not None

    assert measured(benchmark, lambda: timed(all_of_them), 0.5, 3) < SLACK * 0.5


def axes() -> dict[str, list[float]]:
    """Batch × context × tensor parallel: a million decode plans of a 70-billion model."""
    batches = [float(b) for b in range(1, 251)]
    contexts = [float(c) for c in range(128, 128 * 1001, 128)]
    return {"batch": batches, "context_len": contexts, "tp": [1.0, 2.0, 4.0, 8.0]}


def test_million_estimates(benchmark: BenchmarkFixture) -> None:
    """Floors alone: arrays of some 16 000 plans at a time through ``estimate``."""
    model, cluster = load_model("llama-3.1-70b"), load_cluster("h100", devices=8)
    batch, context, tp = (column.reshape(-1) for column in np.meshgrid(*axes().values(), indexing="ij"))
    assert len(batch) == POINTS

    def floors() -> None:
        least = np.inf
        for begin in range(0, POINTS, CHUNK):
            piece = slice(begin, begin + CHUNK)
            work = Decode(batch=batch[piece], context_len=context[piece])
            found = estimate(model, work, cluster, parallelism=Parallelism(tp=tp[piece]))
            least = min(least, float(np.min(found.whole("floor_s"))))
        assert 1e-3 < least < 1e-2

    assert measured(benchmark, lambda: timed(floors), MILLION, 5) < SLACK * MILLION


def test_million_points(benchmark: BenchmarkFixture) -> None:
    """The same through ``sweep``: every column, memory and what fits among them."""
    model, cluster = load_model("llama-3.1-70b"), load_cluster("h100", devices=8)

    def points() -> None:
        found = sweep(model, Decode(batch=1, context_len=1), cluster, axes())
        assert len(found) == POINTS
        assert bool(np.all(found.columns["feasible"]))

    assert measured(benchmark, lambda: timed(points), MILLION, 3) < SLACK * MILLION
