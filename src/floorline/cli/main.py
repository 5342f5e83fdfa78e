"""The command line: finds the command, and turns every error into one line and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from cyclopts import App, CycloptsError, UnusedCliTokensError

from floorline import __version__
from floorline.errors import FloorlineError, near

COMMANDS = {
    "params": "exact parameters, by module",
    "flops": "exact FLOP, by operator, forward and backward",
    "fit": "does it fit, where memory goes, and the largest batch, context and concurrency",
    "infer": "time, bound and memory of serving: prefill and decode",
    "compare": "models, variants and accelerators side by side",
    "sweep": "any numeric inputs over lists and ranges",
    "explain": "any figure: formula in letters, numbers filled in, source",
    "models": "the models of the catalogue",
    "hardware": "the accelerators of the catalogue",
}


def application() -> App:
    """All commands; each is imported when it is called."""
    app = App(
        name="floorline",
        help="How long will this transformer take, how much memory does it need, what bounds it, and why?",
        version=__version__,
        result_action="return_value",
    )
    for name, doc in COMMANDS.items():
        app.command(f"floorline.cli.{name}:command", name=name, help=doc)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    returns 0; 1 does not fit or misses a target under --check; 2 bad input; 3 not found or offline; 4 outside a tolerance
    """
    prepare_streams()
    tokens = [dashes(t) for t in (sys.argv[1:] if arguments is None else arguments)]
    if tokens and not tokens[0].startswith("-") and tokens[0] not in COMMANDS:
        hint = near(tokens[0], COMMANDS)
        return complain(f"{tokens[0][:40]!r} is no command; {hint}; the commands are {', '.join(COMMANDS)}", 2)
    try:
        result = application()(tokens, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except FloorlineError as error:
        return complain(str(error), error.status)
    except UnusedCliTokensError as error:
        extra = " ".join(error.unused_tokens or ())
        return complain(
            f"{extra[:60]!r} is one argument too many; 'floorline {command_of(tokens)}--help' lists what it takes", 2
        )
    except CycloptsError as error:
        return complain(f"{sentence(str(error))}; 'floorline {command_of(tokens)}--help' lists what it takes", 2)
    except BrokenPipeError:  # the reader has seen enough
        abandon_stdout()
        return 0
    except OSError as error:
        abandon_stdout()
        return complain(f"{error.strerror or error}; check that the disk has space and that files may be read", 2)
    except KeyboardInterrupt:
        return complain("interrupted", 130)
    except ArithmeticError:
        return complain("a number goes beyond what can be computed; expected sizes and rates of real machines", 2)
    except RecursionError:
        return complain("the input is nested too deeply; expected a flat config.json", 2)


def prepare_streams() -> None:
    """No answer fails for a character that the terminal lacks, or for a stream that is closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open for as long as the process
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def abandon_stdout() -> None:
    """Let what is still to be written go nowhere, so that the end of the process does not try again."""
    if isinstance(sys.stdout, TextIOWrapper):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def dashes(token: str) -> str:
    """A flag with ``_`` written as ``-``, its value left alone.

    >>> dashes("--batch_size=a_b")
    '--batch-size=a_b'
    """
    if not token.startswith("--"):
        return token
    name, equals, value = token.partition("=")
    return name.replace("_", "-") + equals + value


def command_of(tokens: Sequence[str]) -> str:
    """The command that was called, for a hint."""
    return f"{tokens[0]} " if tokens and tokens[0] in COMMANDS else ""


def sentence(text: str) -> str:
    """An error of the toolkit on one line."""
    return " ".join(text.replace("╭", " ").replace("│", " ").split()).removesuffix(".")


def complain(text: str, status: int) -> int:
    """One line to stderr."""
    print(f"floorline: {' '.join(text.split())}", file=sys.stderr)
    return status
