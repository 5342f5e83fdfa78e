"""What a short question imports, and what that costs: an answer in a terminal must not wait for modules that it does not need."""

import os
import re
import subprocess
import sys
import tempfile
from functools import cache

import pytest

QUESTION = ("-m", "floorline", "params", "llama-3.1-8b")
LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
RUNS = 3
CACHE = tempfile.mkdtemp()

NEEDED = {"numpy", "floorline"}
"""Everything installed that ``params`` imports."""

NEVER = {
    "pandas",
    "pyarrow",
    "torch",
    "transformers",
    "hypothesis",
    "rich",
    "cyclopts",
    "huggingface_hub",
    "scipy",
    "pytest",
}
"""What no short question may import; all of them are dear."""

ABROAD = {"org"}
"""What the standard library looks for on other implementations and does not find (``copy`` asks for Jython's)."""

BUDGET = {"floorline": 1.0, "each": 0.2}
"""Time of floorline's own modules, all together and of any one, in units of what NumPy takes in the same process:
a slow or busy machine slows both."""


def imported(*arguments: str) -> dict[str, float]:
    """Microseconds that each module took by itself, the least of some runs; byte code is kept, as on anyone's machine."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    found: dict[str, float] = {}
    for _ in range(RUNS):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env={
                **kept,
                "PYTHONPYCACHEPREFIX": CACHE,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "OPENBLAS_NUM_THREADS": "1",
            },
        )
        once: dict[str, float] = {}
        for match in LINE.finditer(done.stderr):
            once[match[2]] = max(once.get(match[2], 0.0), float(match[1]))
        found = {name: min(time, found.get(name, time)) for name, time in once.items()}
    return found


@cache
def question() -> dict[str, float]:
    """What the question imports beyond what the interpreter does by itself."""
    always = imported("-c", "pass")
    return {name: time for name, time in imported(*QUESTION).items() if name not in always}


def packages() -> set[str]:
    """Top-level packages that are not the standard library's."""
    return {name.partition(".")[0] for name in question()} - set(sys.stdlib_module_names) - ABROAD


def test_only_what_is_needed() -> None:
    """A new import on the way to a short answer is a decision, made here."""
    assert packages() == NEEDED


@pytest.mark.parametrize("name", sorted(NEVER))
def test_nothing_dear(name: str) -> None:
    """Imported where it is used, if at all."""
    assert name not in packages()


def test_only_its_own_family() -> None:
    """A Llama does not read GPT-2's code, and no command reads another's."""
    modules = {name for name in question() if name.startswith("floorline.")}
    assert not {name for name in modules if name.endswith((".gpt2", ".textbook"))}
    commands = {
        name
        for name in modules
        if re.fullmatch(r"floorline\.cli\.(fit|infer|sweep|compare|explain|models|hardware)", name)
    }
    assert commands == set()
    assert not {"estimates", "capacity", "sweeps", "launches", "explain"} & {name.split(".")[1] for name in modules}


def test_time() -> None:
    """Floorline's own modules stay cheap beside what they stand on."""
    unit = sum(t for name, t in question().items() if name.partition(".")[0] in NEEDED - {"floorline"})
    own = {name: t for name, t in question().items() if name.partition(".")[0] == "floorline"}
    assert sum(own.values()) < BUDGET["floorline"] * unit
    assert {name: t for name, t in own.items() if t > BUDGET["each"] * unit} == {}


def test_version_needs_no_numpy() -> None:
    """The names of the package come one by one: asking for its version imports nothing else."""
    found = imported("-c", "import floorline; floorline.__version__; dir(floorline)")
    assert "floorline" in found
    assert not {"numpy", "json"} & set(found)
