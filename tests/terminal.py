"""Runs the command line inside the test's own process, and keeps what it printed."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

from floorline.cli.main import main

Json = dict[str, Any]


class Printed(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str


def run(*arguments: object) -> Printed:
    """A command line, whatever its exit status."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main([str(a) for a in arguments])
    return Printed(status, out.getvalue(), err.getvalue())


def told(*arguments: object) -> str:
    """What a command that succeeds prints to stdout."""
    printed = run(*arguments)
    assert printed.status == 0, printed.err
    return printed.out


def ask(*arguments: object) -> Json:
    """The JSON of a command that succeeds."""
    found: Json = json.loads(told(*arguments, "--json"))
    return found
