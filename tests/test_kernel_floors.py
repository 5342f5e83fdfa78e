"""Floors of measured kernels and runs: what beats them is listed, one by one; nothing else does."""

import csv
import runpy
from pathlib import Path

import numpy as np
import pytest

from floorline import load_cluster
from floorline.errors import BadInput
from floorline.kernels.floors import floor
from floorline.kernels.formats import FORMATS, kernel_format
from floorline.kernels.table import COLUMNS, Kernels, read
from floorline.kernels.work import WORK
from floorline.specs.accelerator import Accelerator
from floorline.validation.report import Row, validate
from terminal import ask, run

VALIDATION = Path(__file__).parents[1] / "validation"
KERNELS = sorted(VALIDATION.glob("kernels/*.csv.xz"))
CASES = sorted(VALIDATION.glob("cases/*.csv"))
SCRIPT = runpy.run_path(str(VALIDATION / "below_the_floor.py"))
LISTED = {
    (row["file"], row["row"])
    for row in csv.DictReader((VALIDATION / "below_the_floor.csv").read_text(encoding="utf-8").splitlines())
}
UNPRICED = {"unnamed"}
"""Devices of the kernels that no catalogue can have."""


def test_what_beats_its_floor_is_listed() -> None:
    """The list is what is computed, no more and no less; each has a reason; below half a per cent, and no case."""
    beaten: list[tuple[str, Row]] = list(SCRIPT["beaten"]())
    assert {(name, row.case) for name, row in beaten} == LISTED
    assert (VALIDATION / "below_the_floor.csv").read_text() == SCRIPT["text"](beaten)
    rows = sum(len(read(path)) for path in KERNELS)
    assert rows > 269_000
    assert len(LISTED) < 0.005 * rows
    assert not {name for name, _ in LISTED} & {path.stem for path in CASES}


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name.removesuffix(".csv.xz"))
def test_every_kernel_has_a_floor(path: Path) -> None:
    """All but those of a cluster without a name."""
    kernels = read(path)
    for (device, op, dtype, _), rows in kernels.groups("device", "op", "dtype", "kv_dtype"):
        assert op in WORK
        assert dtype in FORMATS or not dtype
        if device not in UNPRICED:
            found = floor(kernels.take(rows), load_cluster(device).accelerator)
            assert np.all(found.seconds >= 0.0)
            assert not np.any(np.isnan(found.seconds))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_every_timed_case_has_a_floor(path: Path) -> None:
    """All times and rates but those of runs that do not say how much they did."""
    found = validate(path, VALIDATION / "models")
    reasons = {row.reason for row in found.rows if not row.is_priced}
    allowed = ("is no time and no rate of work", "global_batch is ''")
    assert all(any(text in reason for text in allowed) for reason in reasons)
    priced = sum(row.floor is not None for row in found.rows)
    assert priced == {"diffusion": 184, "encoder": 338, "inference": 1501, "training": 766}[path.stem]
    assert found.beaten == ()


# Floors by hand

H100 = Accelerator(
    name="h100",
    peaks={"bf16": 1e15, "fp8": 2e15},
    memory=80e9,
    memory_bandwidth=4e12,
    last_level_cache=50e6,
    links=load_cluster("h100-sxm").accelerator.links,
)


def one(**cells: float | str) -> Kernels:
    """A single row."""
    words = {name: np.asarray([cells.get(name, "")]) for name in COLUMNS if isinstance(cells.get(name, ""), str)}
    for name in ("device", "op", "dtype", "framework", "version", "kernel", "kv_dtype", "routing", "network"):
        words.setdefault(name, np.asarray([""]))
    numbers = {
        name: np.asarray([float(cells.get(name, np.nan))])
        for name in COLUMNS
        if name not in ("device", "op", "dtype", "framework", "version", "kernel", "kv_dtype", "routing", "network")
    }
    return Kernels(words, {**numbers, "latency_us": np.asarray([1.0])})


@pytest.mark.parametrize(
    ("cells", "compute", "memory", "link"),
    [
        # 2·4096³ at 1 PFLOP/s; three matrices of 33.6 MB less the cache at 4 TB/s
        ({"op": "gemm", "dtype": "bf16", "m": 4096, "n": 4096, "k": 4096}, 2 * 4096**3 / 1e15, 50.663296e6 / 4e12, 0),
        ({"op": "gemm", "dtype": "fp8", "m": 8192, "n": 8192, "k": 8192}, 2 * 8192**3 / 2e15, 151.326592e6 / 4e12, 0),
        # 1 GiB of keys and values, 2·(16·8192·8·128)·2 B, and 4·b·h·d·s FLOP
        (
            {
                "op": "attention_decode",
                "batch": 16,
                "heads": 32,
                "kv_heads": 8,
                "head_dim": 128,
                "seq_q": 1,
                "seq_kv": 8192,
            },
            4 * 16 * 32 * 128 * 8192 / 1e15,
            (2 * 16 * 8192 * 8 * 128 * 2 + 2 * 2 * 16 * 32 * 128 - 50e6) / 4e12,
            0,
        ),
        # half the square and half a token's row more
        (
            {
                "op": "attention_prefill",
                "batch": 1,
                "heads": 8,
                "kv_heads": 8,
                "head_dim": 128,
                "seq_q": 4096,
                "seq_kv": 4096,
            },
            4 * 8 * 128 * (4096 * 4097 / 2) / 1e15,
            0,
            0,
        ),
        # a window of 1024 tokens: nobody sees more
        (
            {
                "op": "attention_decode",
                "batch": 64,
                "heads": 32,
                "kv_heads": 8,
                "head_dim": 128,
                "seq_q": 1,
                "seq_kv": 8192,
                "window": 1024,
            },
            4 * 64 * 32 * 128 * 1024 / 1e15,
            (2 * 64 * 1024 * 8 * 128 * 2 + 2 * 2 * 64 * 32 * 128 - 50e6) / 4e12,
            0,
        ),
        # every rank of eight must send its whole buffer; a gather's receive seven eighths
        ({"op": "all_reduce", "bytes": 450e6, "gpus": 8}, 0, 0, 1e-3),
        ({"op": "all_gather", "bytes": 450e6, "gpus": 8}, 0, 0, 7e-3 / 8),
        ({"op": "all_to_all", "bytes": 450e6, "gpus": 2}, 0, 0, 0.5e-3),
        ({"op": "send_recv", "bytes": 450e6, "gpus": 2}, 0, 0, 1e-3),
        # two boxes: what leaves one goes over its eight host links
        ({"op": "all_reduce", "bytes": 64e9, "gpus": 16, "node_size": 8}, 0, 0, 64 / 8 / 64),
        ({"op": "all_to_all", "bytes": 64e9, "gpus": 16, "node_size": 8}, 0, 0, 0.5),
    ],
    ids=lambda value: value["op"] if isinstance(value, dict) else "",
)
def test_floor_by_hand(cells: dict[str, float | str], compute: float, memory: float, link: float) -> None:
    found = floor(one(**cells), H100)
    assert found.compute[0] == pytest.approx(compute, rel=1e-12)
    assert found.memory[0] == pytest.approx(memory, rel=1e-12)
    assert found.link[0] == pytest.approx(link, rel=1e-12)
    assert found.seconds[0] == max(found.compute[0], found.memory[0], found.link[0])


# Errors

BROKEN = {
    "no-such-column": ("device,op,latency_us,colour\na,gemm,1,red\n", "unknown column 'colour'"),
    "missing": ("device,op\na,gemm\n", "the column 'latency_us' is missing"),
    "short": ("device,op,latency_us\na,gemm\n", "row 1 has 2 cells"),
    "text": ("device,op,latency_us\na,gemm,fast\n", "column 'latency_us'"),
    "zero": ("device,op,latency_us\na,gemm,0\n", "latency_us is '0'"),
    "huge": ("device,op,m,latency_us\na,gemm,1,1\na,gemm,1e300,1\n", "row 2: m is '1e300'"),
    "negative": ("device,op,window,latency_us\na,gemm,,1\na,gemm,-1,1\n", "row 2: window is '-1'"),
    "no-devices": ("device,op,gpus,latency_us\na,all_reduce,0,1\n", "row 1: gpus is '0'"),
    "empty": ("# nothing\n", "holds no row"),
    "case-missing": ("case,source\na,b\n", "the column 'kind' is missing"),
    "case-short": ("case,source,kind,model,accelerator,metric,value\na,b\n", "row 1 has 2 cells"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(name: str, tmp_path: Path) -> None:
    text, says = BROKEN[name]
    path = tmp_path / "measured.csv"
    path.write_text(text)
    with pytest.raises(BadInput, match=says.replace("(", r"\(")):
        validate(path)
    refused = run("validate", path)
    assert refused.status == 2
    assert says in refused.err


def test_nothing_is_dropped(tmp_path: Path) -> None:
    """What cannot be priced stays, with its reason."""
    path = tmp_path / "measured.csv"
    path.write_text(
        "device,op,dtype,m,n,k,latency_us\nh100-sxm,gemm,bf16,1,1,1,5\nzebra,gemm,bf16,1,1,1,5\nh100,gemm,bf16,1,,1,5\n"
    )
    answer = ask("validate", path)
    assert [row["case"] for row in answer["cases"]] == ["1", "2", "3"]
    assert [bool(row["reason"]) for row in answer["cases"]] == [False, True, True]
    assert "zebra" in answer["cases"][1]["reason"]
    assert answer["priced"] == 1
    path.write_text("case,source,kind,model,accelerator,metric,value\na,b,inference,gpt2,h100-sxm,tpot_s,\n")
    assert "value is ''" in ask("validate", path)["cases"][0]["reason"]


def test_odd_cases_keep_the_others(tmp_path: Path) -> None:
    """One senseless cell is one reason, in its own row; a byte-order mark and quotes are read over."""
    head = '"case",source,kind,model,accelerator,devices,weights,load,batch,input_len,output_len,layers_override,metric,value\n'
    good = "llama-3.1-8b,h100-sxm,1,bf16,static,1,1024,128,,tpot_s,0.006"
    odd = {
        "nan": good.replace("0.006", "nan"),
        "negative": good.replace("0.006", "-1"),
        "zero": good.replace("0.006", "0"),
        "devices": good.replace(",1,bf16", ",1e400,bf16"),
        "half": good.replace(",,tpot", ",1.5,tpot"),
        "model": good.replace("llama-3.1-8b", "lama"),
        "two-layers": good.replace(",,tpot", ",2,tpot"),
        "good": good,
    }
    path = tmp_path / "cases.csv"
    path.write_text(
        "\ufeff" + head + "".join(f"{name},me,inference,{row}\n" for name, row in odd.items()), encoding="utf-8"
    )
    rows = {row["case"]: row for row in ask("validate", path)["cases"]}
    assert [name for name, row in rows.items() if not row["reason"]] == ["two-layers", "good"]
    assert rows["two-layers"]["floor"] < rows["good"]["floor"] / 5
    path.write_text(head + "a,me,inference," + good + "\n" + "a,me,inference," + good + "\n")
    assert "is there twice" in run("validate", path).err


def test_a_run_that_is_too_fast_is_found(tmp_path: Path) -> None:
    """Of a planted case and a planted kernel, by name, in the summary too."""
    head = "case,source,kind,model,accelerator,devices,weights,load,batch,input_len,output_len,metric,value\n"
    rows = "".join(
        f"{name},me,inference,llama-3.1-8b,h100-sxm,1,bf16,static,1,1024,128,{metric},{value}\n"
        for name, metric, value in (
            ("slow", "tpot_s", 0.006),
            ("fast", "tpot_s", 0.004),
            ("rate", "output_tokens_per_s", 999),
        )
    )
    path = tmp_path / "cases.csv"
    path.write_text(head + rows)
    answer = ask("validate", path)
    assert answer["beats_floor"] == ["fast", "rate"]
    assert [s["beats_floor"] for s in answer["summary"]] == [["fast"], ["rate"]]
    assert "beats its floor: fast" in run("validate", path).out
    assert answer["cases"][0]["floor"] == pytest.approx(4.51e-3, rel=0.01)


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name: str) -> None:
    form = kernel_format(name)
    assert form.result <= form.activations <= 4.0
    assert form.weights <= form.activations
