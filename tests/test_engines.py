"""Engines of the catalogue: which entry stands for a version, that every measured run finds its own, and that all have sources."""

import csv
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floorline.catalogue.engines import engines, load_engine, of_version, references_used
from floorline.catalogue.footprints import footprint_of
from floorline.catalogue.references import references
from floorline.errors import BadInput
from floorline.specs.engine import LAUNCHES, Engine
from floorline.validation.case_plan import engine_of, version_of
from floorline.validation.cases import Case, read
from terminal import run

CASES = Path(__file__).parents[1] / "validation" / "cases"
FILES = ("inference", "encoder")

RUNS = {
    "FasterTransformer": "fastertransformer",
    "FasterTransformer (C++)": "fastertransformer",
    "HF Transformers (no FA2)": "transformers",
    "HF Transformers 4.38.2 + FA2": "transformers-4.38",
    "HF Transformers 4.46.0 + FA2": "transformers-4.46",
    "HF Transformers 4.51.3 + FA2": "transformers",
    "Megatron-LM (PyTorch 2022)": "eager",
    "PyTorch 1.13 eager": "eager-1.13",
    "PyTorch 2.1 eager": "eager",
    "PyTorch TorchScript": "torchscript",
    "SGLang 0.4.6.post1": "sglang",
    "TensorFlow XLA": "xla",
    "TensorRT-LLM": "trtllm",
    "TensorRT-LLM v0.5.0": "trtllm-0.7",
    "TensorRT-LLM v0.6.1": "trtllm-0.7",
    "TensorRT-LLM v0.7.1": "trtllm-0.7",
    "TensorRT-LLM v0.8.0": "trtllm-0.9",
    "TensorRT-LLM v0.9.0": "trtllm-0.9",
    "TensorRT-LLM v0.10.0": "trtllm-0.17",
    "TensorRT-LLM v0.17": "trtllm-0.17",
    "TensorRT-LLM v0.17.0.post1": "trtllm-0.17",
    "TensorRT-LLM v0.18": "trtllm",
    "TensorRT-LLM 1.0.0rc3": "trtllm",
    "gpt-fast": "gpt-fast",
    "lmdeploy TurboMind v0.2.0": "lmdeploy",
    "vLLM": "vllm",
    "vLLM v0.4.2": "vllm-0.7",
    "vLLM 0.6.6.post1": "vllm-0.7",
    "vLLM 0.7.3 ROCm 6.3.1 (rocm/vllm-dev)": "vllm-0.7",
    "vLLM 0.8.5 ROCm 6.3.1 (rocm/vllm-dev)": "vllm",
    "vLLM 0.10.0 ROCm 6.4.1 (rocm/vllm-dev)": "vllm",
    "a program of one's own 0.3": "any",
}
"""How measured runs name their software → the entry whose "up to" it is within, read off the titles of the catalogue."""


@pytest.mark.parametrize("said", RUNS)
def test_versions_of_runs(said: str) -> None:
    """The oldest entry that is not older than the run; the newest for no version; the median engine for software nobody knows."""
    assert engine_of(Case({"engine": said})).name == RUNS[said]


@pytest.mark.parametrize("file", FILES)
def test_every_run_has_an_engine(file: str) -> None:
    """No measured run is priced as the median engine for want of its own; a launch that it names is one, and is taken."""
    for case in read(CASES / f"{file}.csv"):
        engine = engine_of(case)
        assert engine.name != "any", case.word("engine")
        if case.word("launch"):
            assert engine.launch == case.word("launch") in LAUNCHES


def test_what_a_run_says_beside_its_engine() -> None:
    """Its launches, and how many sequences run at once, stand over the catalogue's."""
    plain = engine_of(Case({"engine": "vLLM 0.12.0"}))
    said = engine_of(
        Case({"engine": "vLLM 0.12.0", "launch": "eager", "note": "x; at most 96 sequences at once; at y"})
    )
    assert (plain.launch, plain.max_num_seqs) == ("graph", 1024.0)
    assert (said.launch, said.max_num_seqs) == ("eager", 96.0)


def test_version_words() -> None:
    """The first number with a dot, whatever is before and behind it; a year or a name is none."""
    found = {
        "HF Transformers 4.38.2 + FA2": (4, 38, 2),
        "TensorRT-LLM v0.17": (0, 17),
        "TensorRT-LLM 1.0.0rc3": (1, 0, 0),
        "SGLang 0.4.6.post1": (0, 4, 6),
        "vLLM 0.9.0.1 ROCm 6.4.1 (rocm/vllm-dev)": (0, 9, 0, 1),
        "Megatron-LM (PyTorch 2022)": (),
        "SGLang glm5-hopper": (),
        "": (),
    }
    assert {text: version_of(Case({"engine": text})) for text in found} == found


VERSIONED = sorted({e.name.rpartition("-")[0] for e in engines().values() if e.until})
VERSIONS = st.tuples(st.integers(0, 6), st.integers(0, 60), st.integers(0, 9))


@given(name=st.sampled_from(VERSIONED), one=VERSIONS, other=VERSIONS)
def test_newer_versions_have_newer_entries(name: str, one: tuple[int, ...], other: tuple[int, ...]) -> None:
    """Entries follow one another as versions do, and each holds up to and with all releases of the version that it names."""
    older, newer = sorted((one, other))
    ends = [of_version(name, version).until or (999,) for version in (older, newer)]
    assert ends[0] <= ends[1]
    assert older[: len(ends[0])] <= ends[0]
    assert of_version(name, ()) == load_engine(name) == of_version(name, (999, 0))


@pytest.mark.parametrize("name", sorted(engines()))
def test_each_entry(name: str) -> None:
    """Its name says up to which version it holds, its memory is that of the version, and host work is given where no graph starts
    the kernels."""
    engine = engines()[name]
    assert load_engine(name.upper()) is engine
    assert load_engine(engine) is engine
    assert engine.name == name
    base, _, until = name.rpartition("-")
    if engine.until:
        assert until == ".".join(map(str, engine.until))
        assert base in engines()
        assert of_version(base, engine.until).name == name
        assert engine.footprint == footprint_of(name) == footprint_of(base, engine.until)
    assert (engine.launch == "graph") or engine.launch_time > 0.0
    assert set(engine.sources) <= set(references())
    assert engine.sources or name == "any"


def test_sources_of_engines_can_be_looked_up() -> None:
    """Each has a title and a place."""
    for key in references_used():
        entry = references()[key]
        assert entry["title"], key
        assert re.match(r"https?://", entry["address"]), key


@pytest.mark.parametrize("name", ["vlm", "tensorrt", "", " vllm", "vllm\n0.7", "Orca" * 30])
def test_unknown_names(name: str) -> None:
    """One line that names what is known; an empty name is the median engine."""
    if not name:
        assert load_engine(name) == load_engine(None) == engines()["any"]
        return
    with pytest.raises(BadInput) as error:
        load_engine(name)
    (line,) = str(error.value).splitlines()
    assert all(known in line for known in engines())
    printed = run("infer", "gpt2", "--hardware", "l4", f"--engine={name}")
    assert (printed.status, printed.out) == (2, "")
    assert "there are: any, vllm" in printed.err


def test_defaults_are_the_median_engine() -> None:
    """An engine of which nothing is said adds nothing of its own."""
    plain = Engine()
    assert (plain.name, plain.launch, plain.launch_time, plain.step_time) == ("any", "graph", 0.0, 0.0)
    assert engines()["any"].launch == plain.launch


def test_runs_of_the_table_are_in_the_files() -> None:
    """Software of most measured runs is in the table above, under its own text."""
    named = [
        row["engine"]
        for file in FILES
        for row in csv.DictReader(
            line for line in (CASES / f"{file}.csv").read_text(encoding="utf-8").splitlines() if line[:1] != "#"
        )
    ]
    assert sum(text in RUNS for text in named) > 0.6 * len(named)
