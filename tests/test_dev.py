"""The checkout's own tools: dev.py, the locked requirements and the rules of the code."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = ("run", "test")


def locked(kind: str) -> dict[str, str]:
    """Each requirement of a lock, `name==version ; marker`, with the hashes that follow it."""
    text = (ROOT / "requirements" / f"{kind}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {requirement.strip(): hashes for requirement, _, hashes in (x.partition(" --hash") for x in lines)}


def wanted(kind: str) -> list[str]:
    """The requirements that requirements/<kind>.in names itself."""
    lines = (ROOT / "requirements" / f"{kind}.in").read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-"))]


@pytest.fixture
def dev(tmp_path: Path) -> ModuleType:
    """dev.py as a module, over an empty checkout, with a set-up that does nothing and keeps a log."""
    spec = importlib.util.spec_from_file_location("dev", ROOT / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    (tmp_path / "requirements").mkdir()
    for kind in LOCKS:
        (tmp_path / "requirements" / f"{kind}.txt").write_text(f"{kind}==1\n")
    venv = tmp_path / ".venv"
    vars(module).update(ROOT=tmp_path, VENV=venv, STAMP=venv / "stamp", PYTHON=venv / "python")

    def setup(*arguments: object) -> int:
        """Stands for venv and pip: notes which of them was called, and pip fails where told to."""
        if "venv" in arguments:
            venv.mkdir(exist_ok=True)
            module.PYTHON.touch()
            module.log.append("venv")
        else:
            module.log.append(Path(str(arguments[-1])).stem)
        return int(module.log[-1] == module.broken)

    module.__dict__.update(setup=setup, log=[], broken=None)
    return module


def prepared(dev: ModuleType, *kinds: str) -> list[str]:
    """The set-up steps that these preparations take."""
    dev.log.clear()
    for kind in kinds:
        dev.prepare(kind)
    return list(dev.log)


def run_dev(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, ROOT / "dev.py", *arguments], capture_output=True, text=True, check=False)


def test_dev_parses_on_old_pythons() -> None:
    """It must get as far as saying that it needs a newer one."""
    ast.parse((ROOT / "dev.py").read_text(), feature_version=(3, 8))


def test_dev_needs_the_standard_library_alone() -> None:
    tree = ast.parse((ROOT / "dev.py").read_text())
    imports = {x.name for node in ast.walk(tree) if isinstance(node, ast.Import) for x in node.names}
    imports |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imports} <= sys.stdlib_module_names


@pytest.mark.parametrize("arguments", [["nope"], ["--nope"], []])
def test_unknown_verb_is_one_line_and_status_2(arguments: list[str]) -> None:
    result = run_dev(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "use one of run, test" in result.stderr


def test_help_names_every_verb(dev: ModuleType) -> None:
    result = run_dev("--help")
    assert result.returncode == 0
    assert result.stderr == ""
    for verb in dev.VERBS:
        assert f"dev.py {verb}" in result.stdout


def test_old_python_is_one_line(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit) as end:
        dev.use_newer_python()
    assert end.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_second_set_up_does_nothing(dev: ModuleType) -> None:
    assert prepared(dev, "run") == ["venv", "run"]
    assert prepared(dev, "run") == []


def test_tests_grow_what_run_made(dev: ModuleType) -> None:
    assert prepared(dev, "run", "test", "run", "test") == ["venv", "run", "test"]


def test_test_requirements_serve_run(dev: ModuleType) -> None:
    assert prepared(dev, "test", "run") == ["venv", "test"]


@pytest.mark.parametrize("kind", LOCKS)
def test_changed_requirements_are_installed(dev: ModuleType, kind: str) -> None:
    prepared(dev, kind)
    (dev.ROOT / "requirements" / f"{kind}.txt").write_text("other==2\n")
    assert prepared(dev, kind, kind)[-1:] == [kind]


def test_other_python_makes_it_anew(dev: ModuleType) -> None:
    prepared(dev, "run")
    dev.STAMP.write_text(re.sub(r"\d+\.\d+", "3.999", dev.STAMP.read_text()))
    assert prepared(dev, "run") == ["venv", "run"]


@pytest.mark.parametrize("lost", ["STAMP", "PYTHON"])
def test_half_made_environment_is_made_anew(dev: ModuleType, lost: str) -> None:
    prepared(dev, "run")
    getattr(dev, lost).unlink()
    assert prepared(dev, "run") == ["venv", "run"]


@pytest.mark.parametrize(("broken", "again"), [("venv", ["venv", "run"]), ("run", ["venv", "run"])])
def test_failed_set_up_is_one_line_and_tried_again(
    dev: ModuleType, capsys: pytest.CaptureFixture[str], broken: str, again: list[str]
) -> None:
    vars(dev)["broken"] = broken
    with pytest.raises(SystemExit) as end:
        dev.prepare("run")
    assert end.value.code == 1
    assert "could not" in capsys.readouterr().err.splitlines()[-1]
    vars(dev)["broken"] = None
    assert prepared(dev, "run") == again


def test_failed_growth_leaves_run_ready(dev: ModuleType) -> None:
    prepared(dev, "run")
    vars(dev)["broken"] = "test"
    with pytest.raises(SystemExit):
        dev.prepare("test")
    assert prepared(dev, "run") == []


def test_steps_all_run_and_failures_are_named(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev, "PYTHON", sys.executable)
    steps = {"one": ["-c", "raise SystemExit(3)"], "two": ["-c", ""], "three": ["-c", "raise SystemExit(1)"]}
    assert dev.run_steps(steps) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "dev.py: FAILED: one, three"
    assert dev.run_steps({"two": steps["two"]}) == 0


@pytest.mark.parametrize("kind", LOCKS)
def test_locks_are_hashed_and_name_no_host(kind: str) -> None:
    assert "://" not in (ROOT / "requirements" / f"{kind}.txt").read_text()
    assert "://" not in (ROOT / "requirements" / f"{kind}.in").read_text()
    assert locked(kind)
    for requirement, hashes in locked(kind).items():
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*( ; .+)?", requirement)
        assert re.fullmatch(r"=sha256:[0-9a-f]{64}( +--hash=sha256:[0-9a-f]{64})*", re.sub(r"\s+", " ", hashes))


@pytest.mark.parametrize("kind", LOCKS)
def test_locks_hold_what_is_wanted(kind: str) -> None:
    names = {requirement.partition("==")[0] for requirement in locked(kind)}
    assert {re.split("[<>=~ ]", line)[0] for line in wanted(kind)} <= names


def test_test_lock_agrees_with_run_lock() -> None:
    run, test = locked("run"), locked("test")
    assert {requirement: test.get(requirement) for requirement in run} == run


def test_package_wants_what_run_wants() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [requirement.partition(">")[0] for requirement in project["optional-dependencies"]["charts"]]
    assert sorted([*project["dependencies"], *extras]) == sorted(wanted("run"))


def test_formulas_use_no_power() -> None:
    """Python's `**` and NumPy's differ in the last bit; ruff bans `math` there and cannot ban `**`."""
    for path in (ROOT / "src/floorline/formulas").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        operations = [node for node in nodes if isinstance(node, ast.BinOp | ast.AugAssign)]
        lines = [node.lineno for node in operations if isinstance(node.op, ast.Pow)]
        assert not lines, f"{path.name}: use floorline.num.power on lines {lines}"


def test_files_and_functions_stay_short() -> None:
    """No source file over 400 lines, no function over 60."""
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, path.name
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        long = [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 60]
        assert not long, f"{path.name}: {long}"
