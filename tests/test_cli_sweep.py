"""Sweeps from the command line: lists and ranges, formats that agree, points that are single answers, best and Pareto."""

import csv
import io
import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from floorline import Decode, Generate, load_cluster, load_model, sweep
from terminal import Json, ask, run, told

Row = dict[str, Any]

SHORT = ("--isl", "64", "--osl", "4")
TIMES = ("ttft_floor_s", "ttft_serial_s", "tpot_floor_s", "tpot_serial_s", "latency_floor_s", "latency_serial_s")


def points(*words: object) -> list[Row]:
    """The rows of a sweep."""
    found: list[Row] = ask("sweep", *words)["points"]
    return found


def column(name: str, *words: object) -> list[float]:
    """One column of a sweep."""
    return [row[name] for row in points(*words)]


# Inputs


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2,4", [1, 2, 4]),
        ("8, 1,2", [8, 1, 2]),
        ("2:5", [2, 3, 4, 5]),
        ("128:512:128", [128, 256, 384, 512]),
        ("1:10:4", [1, 5, 9]),
        ("3:3", [3]),
        ("2**0..2**4", [1, 2, 4, 8, 16]),
        ("10**0..10**2", [1, 10, 100]),
        ("1,4:6,2**5..2**6,1k,1K", [1, 4, 5, 6, 32, 64, 1000, 1024]),
        ("1e1:3e1:1e1", [10, 20, 30]),
    ],
)
def test_lists_and_ranges(text: str, values: list[float]) -> None:
    """Lists, ranges whose end is included, powers, and all of them joined; in the order given."""
    assert column("batch", "gpt2", "--batch-size", text, *SHORT) == values


def test_every_combination() -> None:
    """The last input varies fastest, whatever kind of input it is."""
    words = ("--batch-size", "1,3", "--tp", "1,2", "--vary", "num_hidden_layers=4,8;memory_bandwidth=1e12,2e12")
    rows = points("llama-3.1-8b", *words, *SHORT)
    names = ("batch", "tp", "num_hidden_layers", "memory_bandwidth")
    assert sorted(tuple(row[n] for n in names) for row in rows) == sorted(product((1, 3), (1, 2), (4, 8), (1e12, 2e12)))
    assert len({tuple(row[n] for n in names) for row in rows}) == 16


def test_hardware_figures() -> None:
    """Figures of the hardware vary with their units, or in SI through ``--vary``; more bandwidth is never slower."""
    times = points("llama-3.1-8b", "--memory-bandwidth", "1 TB/s,2000 GB/s,4 TB/s", *SHORT)
    plain = points("llama-3.1-8b", "--vary", "memory_bandwidth=1e12,2e12,4e12", *SHORT)
    assert times == plain
    assert [row["memory_bandwidth"] for row in times] == [1e12, 2e12, 4e12]
    assert sorted((row["tpot_floor_s"] for row in times), reverse=True) == [row["tpot_floor_s"] for row in times]
    for name, text in (
        ("peak", "100 TFLOP/s,1 PFLOP/s"),
        ("memory", "20 GB,80 GB"),
        ("link_bandwidth", "1 GB/s,8 Gb/s"),
    ):
        rows = points("llama-3.1-8b", f"--{name.replace('_', '-')}", text, "--tp", "2", *SHORT)
        alone = [ask("infer", "llama-3.1-8b", f"--{name}", each, "--tp", "2", *SHORT) for each in text.split(",")]
        assert [row["latency_floor_s"] for row in rows] == [one["latency_s"]["floor"] for one in alone]


def test_assumptions_vary() -> None:
    """A user's own factors vary too, on the serial time alone."""
    for flag, values in (("compute-efficiency", "0.5,1"), ("memory-efficiency", "0.5,1"), ("launch-time", "5us,0s")):
        slow, fast = points("gpt2", f"--{flag}", values, "--batch-size", "64", "--isl", "512", "--osl", "4")
        assert slow["latency_floor_s"] == fast["latency_floor_s"]
        assert slow["latency_serial_s"] > fast["latency_serial_s"]


def test_decode() -> None:
    """One step at growing contexts."""
    rows = points("llama-3.1-8b", "--context-len", "0,1000,100000", "--batch-size", "8")
    assert [row["context_len"] for row in rows] == [0, 1000, 100000]
    assert "ttft_floor_s" not in rows[0]
    assert rows[0]["tpot_floor_s"] < rows[1]["tpot_floor_s"] < rows[2]["tpot_floor_s"]
    assert points("llama-3.1-8b", "--workload", "decode", "--context-len", "1000", "--batch-size", "8")[0] == {
        k: v for k, v in rows[1].items() if k != "context_len"
    }


# Points


def alone(row: Row, *words: object) -> Json:
    """The single answer to a point's question."""
    flags = {"batch": "--batch-size", "prompt_len": "--isl", "output_len": "--osl", "tp": "--tp", "dp": "--dp"}
    own = [x for name, flag in flags.items() if name in row for x in (flag, repr(row[name]))]
    return ask("infer", *words, *own)


@pytest.mark.parametrize(
    "words",
    [
        ("llama-3.1-8b", "--batch-size", "1,7", "--isl", "10,1000", "--osl", "1,2,33", "--tp", "1,8"),
        ("gpt2", "--batch-size", "3,4", "--isl", "5,1000", "--osl", "2,24", "--dp", "1,2", "--gpu", "v100"),
    ],
    ids=["llama", "gpt2"],
)
def test_points_are_single_answers(words: tuple[str, ...]) -> None:
    """Each point is, bit for bit, what ``infer`` says of it alone."""
    fixed = [x for flag in ("--gpu",) if flag in words for x in (flag, words[words.index(flag) + 1])]
    rows = points(*words)
    assert len(rows) == 16 + 8 * (words[0] == "llama-3.1-8b")
    for row in rows:
        one = alone(row, words[0], *fixed)
        for name in ("ttft", "tpot", "latency"):
            for kind in ("floor", "serial"):
                single = one[f"{name}_s"]
                expected = None if single is None else single[kind]
                assert row[f"{name}_{kind}_s"] == expected, (row, name, kind)
        assert row["output_tokens_per_s"] == one["output_tokens_per_s"]["ceiling"]
        assert row["memory_bytes"] == one["memory"]["total"]
        assert row["weight_bytes"] == one["memory"]["weights"]
        assert row["kv_cache_bytes"] == one["memory"]["kv_cache"]
        assert row["feasible"]
        assert row["reason"] == ""


def test_points_in_python() -> None:
    """The command's points are the library's columns."""
    vary = {"batch": [1.0, 8.0], "tp": [1.0, 2.0]}
    found = sweep("llama-3.1-8b", Generate(prompt_len=64, output_len=4), load_cluster("h100", devices=8), vary)
    rows = points("llama-3.1-8b", "--batch-size", "1,8", "--tp", "1,2", *SHORT)
    assert [json.loads(json.dumps(row)) for row in found.rows()] == rows
    assert found.varied == ("batch", "tp")
    assert len(found.to_pandas()) == 4
    assert "<table>" in found._repr_html_()


def test_infeasible_points() -> None:
    """A combination that breaks a rule has empty times and a reason; its neighbours are unharmed."""
    words = ("llama-3.1-8b", "--tp", "1,3,8,64", "--batch-size", "1,2", *SHORT)
    rows = points(*words)
    for row in rows:
        broken = row["tp"] in (3, 64)
        assert row["feasible"] is not broken
        assert row["reason"] == ("tp∤heads" if broken else "")
        assert all((row[name] is None) == broken for name in (*TIMES, "output_tokens_per_s"))
        assert not (broken and row["fits"])
    whole = points("llama-3.1-8b", "--tp", "1,8", "--batch-size", "1,2", *SHORT)
    assert sorted((r for r in rows if r["feasible"]), key=str) == sorted(whole, key=str)
    table = list(csv.DictReader(io.StringIO(told("sweep", *words, "--format", "csv"))))
    assert [row["tpot_floor_s"] == "" for row in table] == [row["tpot_floor_s"] is None for row in rows]
    assert "–" in told("sweep", *words)


def test_learned_positions() -> None:
    """GPT-2 ends at 1024 positions, on its own and in the middle of a sweep."""
    rows = points("gpt2", "--isl", "1000,1020,1024", "--osl", "4")
    assert [row["reason"] for row in rows] == ["", "", "positions"]
    assert rows[2]["latency_floor_s"] is None


def test_devices() -> None:
    """With devices given, plans that take more are infeasible."""
    rows = points("llama-3.1-8b", "--devices", "1,2,8", "--tp", "2", *SHORT)
    assert [(row["devices"], row["reason"]) for row in rows] == [(1, "devices"), (2, ""), (8, "")]


# Formats


def parsed(text: str) -> Any:
    """A cell of CSV as the value that it was."""
    if text in ("True", "False"):
        return text == "True"
    try:
        return float(text)
    except ValueError:
        return text or None


def same(one: Any, other: Any) -> bool:
    """Whether two cells are the same value; an empty one is empty, however its format writes that."""
    empty = [x is None or x == "" or (isinstance(x, float) and math.isnan(x)) for x in (one, other)]
    return all(empty) or (not any(empty) and bool(one == other))


def test_formats_agree(tmp_path: Path) -> None:
    """CSV, JSON lines, JSON and Parquet hold the same points, to the last bit; on stdout and in a file."""
    words = ("sweep", "llama-3.1-8b", "--tp", "1,2,3", "--batch-size", "1:9:4", *SHORT)
    document = ask(*words)["points"]
    read: dict[str, list[Row]] = {}
    for style in ("csv", "jsonl", "json", "parquet", "table"):
        path = tmp_path / f"points.{style}"
        assert told(*words, "--format", style, "--output", path) == ""
        if style != "parquet":
            assert (
                path.read_text(encoding="utf-8") == told(*words, "--format", style).replace("\r\n", "\n")
                or style == "json"
            )
        if style == "csv":
            with path.open(encoding="utf-8", newline="") as file:
                read[style] = [{k: parsed(v) for k, v in row.items()} for row in csv.DictReader(file)]
        elif style == "jsonl":
            read[style] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        elif style == "json":
            read[style] = json.loads(path.read_text(encoding="utf-8"))["points"]
        elif style == "parquet":
            read[style] = pyarrow.parquet.read_table(path).to_pylist()
    assert len(document) == 9
    for style, rows in read.items():
        assert len(rows) == 9
        for row, expected in zip(rows, document, strict=True):
            assert list(row) == list(expected), style
            assert all(same(row[name], expected[name]) for name in expected), (style, row, expected)
    assert read["jsonl"] == read["json"] == document


def test_json_lines_are_lines() -> None:
    """One object a line, no envelope, whole numbers as integers."""
    lines = told("sweep", "gpt2", "--batch-size", "1:5", *SHORT, "--format", "jsonl").splitlines()
    assert [json.loads(line)["batch"] for line in lines] == [1, 2, 3, 4, 5]
    assert all('"batch": ' in line and ".0," not in line.split("ttft")[0] for line in lines)


def test_limit() -> None:
    """A table shows its first rows and says how many there are; a file has them all."""
    words = ("sweep", "gpt2", "--batch-size", "1:100", *SHORT)
    for more, rows, remark in (((), 40, "40 of 100 points"), (("--limit", "3"), 3, "3 of 100 points")):
        printed = run(*words, *more)
        assert len(printed.out.splitlines()) == rows + 1
        assert printed.err.strip() == remark
    assert run(*words, "--limit", "100").err.strip() == "100 points"
    assert len(told(*words, "--limit", "3", "--format", "csv").splitlines()) == 101


# Best


PLANS = ("llama-3.1-70b", "--batch-size", "1,4,16,64", "--tp", "1,2,4,8,3", "--isl", "512", "--osl", "8")


def usable(rows: list[Row]) -> list[Row]:
    """Points that break no rule and fit."""
    return [row for row in rows if row["feasible"] and row["fits"]]


@pytest.mark.parametrize("name", ["tpot_floor_s", "latency_serial_s", "memory_bytes", "output_tokens_per_s", "tp"])
def test_best(name: str) -> None:
    """The one point that fits and is least, or most for a rate; the first of equals."""
    every = usable(points(*PLANS))
    sign = -1.0 if name.endswith("_per_s") else 1.0
    assert 0 < len(every) < 20
    assert points(*PLANS, "--best", name) == [min(every, key=lambda row: sign * row[name])]


@pytest.mark.parametrize(
    "names",
    [
        ("tpot_floor_s", "output_tokens_per_s"),
        ("latency_floor_s", "tp"),
        ("tpot_serial_s", "output_tokens_per_s", "tp"),
        ("memory_bytes",),
    ],
    ids=",".join,
)
def test_pareto(names: tuple[str, ...]) -> None:
    """By brute force: points that no other equals or beats everywhere and beats somewhere."""
    every = usable(points(*PLANS))

    def score(row: Row) -> tuple[float, ...]:
        return tuple(-row[n] if n.endswith("_per_s") else row[n] for n in names)

    def beaten(row: Row) -> bool:
        return any(
            score(other) != score(row) and all(a <= b for a, b in zip(score(other), score(row), strict=True))
            for other in every
        )

    expected = {score(row) for row in every if not beaten(row)}
    front = points(*PLANS, "--pareto", ",".join(names))
    assert {score(row) for row in front} == expected
    assert len(front) == len(expected)


def test_best_of_nothing() -> None:
    """Where nothing fits there is no best point, and that is no error."""
    words = ("llama-3.1-405b", "--batch-size", "1,2", *SHORT)
    assert points(*words, "--best", "tpot_floor_s") == []
    assert points(*words, "--pareto", "tpot_floor_s,output_tokens_per_s") == []
    assert len(points(*words)) == 2


def test_best_on_the_front() -> None:
    """Best of a Pareto front is the best of all."""
    best = points(*PLANS, "--best", "tpot_floor_s")
    assert points(*PLANS, "--pareto", "tpot_floor_s,output_tokens_per_s", "--best", "tpot_floor_s") == best


# Many


def test_many_points() -> None:
    """Chunks join without a seam: a point in the third chunk is the same as alone."""
    rows = sweep(
        load_model("llama-3.1-70b"),
        Decode(batch=1, context_len=1),
        load_cluster("h100", devices=8),
        {"batch": [float(b) for b in range(1, 201)], "context_len": [float(c) for c in range(1, 201)]},
    )
    assert len(rows) == 40_000
    for index in (0, 16_383, 16_384, 39_999):
        found = dict(next(iter(rows.only([index]).rows())))
        one = sweep(
            load_model("llama-3.1-70b"),
            Decode(batch=1, context_len=1),
            load_cluster("h100", devices=8),
            {"batch": [found["batch"]], "context_len": [found["context_len"]]},
        )
        assert next(iter(one.rows())) == found


def test_devices_that_the_other_degrees_leave_are_data_parallel() -> None:
    """With --devices each point takes all of them: a batch of 8 on 8 devices at tp 1, 2 and 4 is 1, 2 and 4 on a rank."""
    rows = points("llama-3.1-8b", "--devices", "8", "--tp", "1,2,4", "--batch-size", "8", *SHORT)
    alone = [ask("infer", "llama-3.1-8b", "--devices", "8", "--tp", tp, "--batch-size", "8", *SHORT) for tp in "124"]
    assert all(row["feasible"] for row in rows)
    assert [row["latency_floor_s"] for row in rows] == [one["latency_s"]["floor"] for one in alone]
    assert [row["kv_cache_bytes"] for row in rows] == [one["memory"]["kv_cache"] for one in alone]
