#!/usr/bin/env python3
"""Sets up this checkout and runs its commands; needs Python 3.11 or newer and nothing else.

    python3 dev.py run ARGS...      runs the program: floorline ARGS...
    python3 dev.py test [ARGS...]   runs the full test: lint, types, import layers, then pytest ARGS...
    python3 dev.py lint             runs the full test without pytest
    python3 dev.py bench [ARGS...]  runs the benchmarks: pytest bench ARGS...
    python3 dev.py python ARGS...   runs Python inside the project environment
    python3 dev.py clean            removes the environment and every cache

The environment is .venv. Notes go to stderr; stdout and the exit status are the program's own.
"""

from __future__ import annotations  # this file must parse on Python 3.8, to say there what is wrong

# `run` passes through here every time: what only a set-up needs is imported where it is used.
import hashlib
import os
import sys
from importlib.util import find_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, NoReturn

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
STAMP = os.path.join(VENV, "floorline-stamp")
DEVNULL = -3  # subprocess.DEVNULL
OLDEST = (3, 11)
VERBS = ("run", "test", "lint", "bench", "python", "clean")
CHECKS = {
    "ruff check": ["-m", "ruff", "check", "."],
    "ruff format": ["-m", "ruff", "format", "--check", "."],
    "mypy": ["-m", "mypy"],
    "import layers": ["-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-logo"],
}
WORKERS = ("-n", "auto", "--dist", "loadfile")  # a process for each core; a file's tests share what they have computed
PIP = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes")


def note(text: str) -> None:
    """Prints one line of progress on stderr."""
    print("dev.py: " + text, file=sys.stderr, flush=True)


def fail(wrong: str, remedy: str, status: int = 1) -> NoReturn:
    """Ends with one line on stderr: what was wrong, what to try."""
    note(f"{wrong}; {remedy}")
    raise SystemExit(status)


def call(*command: str, **options: Any) -> int:
    """A command's exit status; it runs in the checkout unless told otherwise."""
    import subprocess

    return subprocess.call(command, **{"cwd": ROOT, **options})


def setup(*command: str) -> int:
    """The exit status of one step of the set-up; what it prints goes to stderr."""
    return call(*command, stdin=DEVNULL, stdout=sys.stderr)


def become(*command: str) -> NoReturn:
    """Hands over to a command, which takes this process's place, streams and exit status."""
    if os.name == "nt":
        raise SystemExit(call(*command, cwd=None))
    os.execv(command[0], command)


def use_newer_python() -> NoReturn:
    """Starts again under a newer Python from PATH, as this one is too old."""
    from shutil import which

    probe = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    for found in map(which, ("python3.13", "python3.12", "python3.11", "python3.14", "python3")):
        if found and call(found, "-c", probe, stderr=DEVNULL) == 0:
            become(found, os.path.abspath(__file__), *sys.argv[1:])
    fail("Python {}.{} is older than 3.11".format(*sys.version_info), "install a newer one")


def key(kind: str) -> str:
    """The stamp's line once the requirements of this kind are installed for this Python."""
    with open(os.path.join(ROOT, "requirements", f"{kind}.txt"), "rb") as file:
        return "{} {}.{} {}\n".format(kind, *sys.version_info[:2], hashlib.sha256(file.read()).hexdigest())


def ready(kind: str) -> bool:
    """Whether the environment is whole and holds the requirements of this kind as they are now."""
    if not (os.path.exists(STAMP) and os.path.exists(PYTHON)):
        return False
    with open(STAMP) as file:
        return key(kind) in file.readlines()


def stamp(*kinds: str) -> None:
    """Notes that the environment is whole and holds the requirements of these kinds; of none: not whole."""
    os.makedirs(VENV, exist_ok=True)
    with open(STAMP, "w") as file:
        file.writelines(map(key, kinds))


def locked() -> IO[str]:
    """The checkout's lock, held until closed: commands started at once make one environment between them."""
    file = open(os.path.join(ROOT, ".dev.lock"), "w")  # noqa: SIM115 - the caller closes it
    if sys.platform != "win32":
        from fcntl import LOCK_EX, flock

        flock(file, LOCK_EX)
    return file


def make_environment() -> None:
    """Makes .venv anew, empty but for pip and the way to src."""
    from pathlib import Path

    if not find_spec("venv") or not find_spec("ensurepip"):
        fail("this Python lacks its venv or ensurepip module", "try: apt install python3-venv")
    note("making .venv")
    if setup(sys.executable, "-m", "venv", "--clear", VENV):
        fail("could not make .venv", "try another Python")
    for site in Path(VENV).glob("[Ll]ib/**/site-packages"):
        (site / "floorline-src.pth").write_text(os.path.relpath(os.path.join(ROOT, "src"), site) + "\n")


def prepare(kind: str) -> None:
    """Makes .venv hold the requirements of a kind: anew where its stamp is missing (interrupted) or stale.

    The test requirements hold the run requirements, so they are added to what `run` made.
    """
    if ready(kind):
        return
    with locked():
        if ready(kind):
            return
        grow = kind == "test" and ready("run")
        stamp()
        if not grow:
            make_environment()
        note(f"installing requirements/{kind}.txt")
        if setup(PYTHON, "-m", "pip", "install", *PIP, "-r", f"requirements/{kind}.txt") == 0:
            return stamp(*{"run", kind})
        if grow:  # pip installs nothing where it cannot have all, so what `run` needs is still whole
            stamp("run")
        fail(f"pip could not install requirements/{kind}.txt", "check the network and try again")


def run_steps(steps: dict[str, list[str]]) -> int:
    """Runs every step, whether or not one fails, and names the failed ones; 0 where all passed."""
    failed = []
    for name, arguments in steps.items():
        note(name)
        if call(PYTHON, *arguments):
            failed.append(name)
    if failed:
        note("FAILED: " + ", ".join(failed))
    return 1 if failed else 0


def clean() -> int:
    """Removes the environment, the caches and the compiled files."""
    from pathlib import Path
    from shutil import rmtree

    with locked():
        patterns = (".venv", ".*_cache", ".hypothesis", ".benchmarks", "[bst]*/**/__pycache__")
        for path in [path for pattern in patterns for path in Path(ROOT).glob(pattern)]:
            rmtree(path, ignore_errors=True)
    return 0


def main(arguments: list[str]) -> int:
    """Runs one verb; returns its exit status or hands over to it."""
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if verb in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    if verb not in VERBS:
        fail(f"unknown verb {verb!r}" if verb else "no verb given", "use one of " + ", ".join(VERBS), 2)
    if sys.version_info < OLDEST:
        use_newer_python()
    if verb == "clean":
        return clean()
    prepare("run" if verb in ("run", "python") else "test")
    if verb in ("run", "python"):  # -P: files in the folder where the user stands are not modules
        become(PYTHON, *(["-P", "-m", "floorline"] if verb == "run" else []), *rest)
    if verb == "bench":
        return run_steps({"benchmarks": ["-m", "pytest", "bench", "--benchmark-only", *rest]})
    return run_steps(CHECKS if verb == "lint" else {**CHECKS, "pytest": ["-m", "pytest", *WORKERS, *rest]})


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except OSError as error:
        fail(str(error), "check that this checkout may be written to")
