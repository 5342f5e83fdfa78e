"""Docs that run: every console block prints what it says today, every Python block runs.

``FLOORLINE_WRITE_DOCS=1 pytest tests/test_docs.py`` writes today's output into the blocks; read the difference before
it is committed.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from pathlib import Path

import pytest

from floorline.cli.main import main

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
CONSOLE = re.compile(r"```console\n(.*?)```", re.S)
PYTHON = re.compile(r"```python\n(.*?)```(?:\s*```text\n(.*?)```)?", re.S)


def printed(line: str) -> str:
    """What a command line prints to stdout; a pipe into head, tail, cut and grep is followed too."""
    command, *filters = line.removeprefix("$ ").replace("python3 dev.py run", "floorline").split(" | ")
    name, *arguments = shlex.split(command)
    assert name == "floorline", line
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    assert status in (0, 1), err.getvalue()
    lines = out.getvalue().splitlines()
    for step in filters:
        tool, *options = shlex.split(step)
        if tool == "tail":
            lines = lines[-int(options[-1]) :]
        elif tool == "head":
            lines = lines[: int(options[-1])]
        elif tool == "cut":
            first, _, last = options[-1].removeprefix("-c").partition("-")
            lines = [x[int(first) - 1 : int(last)] for x in lines]
        else:
            assert tool == "grep", line
            lines = [x for x in lines if re.search(options[-1], x)]
    return "\n".join(x.rstrip() for x in lines)


def today(block: str) -> str:
    """A console block with what its commands print now."""
    commands = [line for line in block.splitlines() if line.startswith("$ ")]
    return "\n".join(f"{c}\n{printed(c)}" for c in commands) + "\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_console_blocks_print_what_they_say(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    new = CONSOLE.sub(lambda m: f"```console\n{today(m.group(1))}```", text)
    if os.environ.get("FLOORLINE_WRITE_DOCS") == "1":
        page.write_text(new, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == new


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_blocks_run_and_print_what_they_say(page: Path) -> None:
    names: dict[str, object] = {}
    for code, expected in PYTHON.findall(page.read_text(encoding="utf-8")):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, str(page), "exec"), names)
        assert out.getvalue() == expected


def test_the_readme_leads_with_a_real_question() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first = CONSOLE.search(text)
    assert first is not None
    assert "time per output token" in first.group(1)
    assert text.index("?") < first.start()
