"""The command line: finds the command, and turns every error into one line and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from floorline import __version__
from floorline.cli.command import Command
from floorline.errors import BadInput, FloorlineError, near

COMMANDS = {
    "params": "exact parameters, by module",
    "flops": "exact FLOP, by operator, forward and backward",
    "fit": "does it fit, where memory goes, and the largest batch, context and concurrency",
    "infer": "time, bound and memory of serving: prefill and decode",
    "train": "time, utilisation and memory of training; days and cost of a run",
    "denoise": "pictures and videos from noise: time, where it goes, memory, what several devices give",
    "plans": "every plan of training on so many devices, the fastest that fit first",
    "compare": "models, variants and accelerators side by side",
    "balance": "the batch from which decoding is bound by arithmetic; arithmetic against messages",
    "sweep": "any numeric inputs over lists and ranges",
    "scale": "strong and weak scaling of training over numbers of devices",
    "mfu": "utilisation of a measured training run, under each convention",
    "roofline": "operators and kernels under the machine's roof",
    "modules": "parts of a video transformer: FLOP and traffic, counted by hand's rules",
    "crossover": "where attention overtakes the feed-forward, full attention that in space and time",
    "backward": "the backward pass of a perceptron, matmul by matmul",
    "split": "a matmul, a feed-forward and heads over ranks, and what each split sends",
    "occupancy": "blocks and warps of a kernel on a multiprocessor",
    "validate": "measured kernels and whole runs against their floors",
    "calibrate": "a model of matmuls, fitted to measured kernels",
    "explain": "any figure: formula in letters, numbers filled in, source",
    "models": "the models of the catalogue",
    "hardware": "the accelerators of the catalogue",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    returns 0; 1 does not fit or misses a target under --check; 2 bad input; 3 not found or offline; 4 outside a tolerance
    """
    prepare_streams()
    tokens = [dashes(t) for t in (sys.argv[1:] if arguments is None else arguments)]
    try:
        result = run(tokens)
        sys.stdout.flush()
        return result
    except FloorlineError as error:
        return complain(str(error), error.status)
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


def run(tokens: Sequence[str]) -> int:
    """Find the command and run it; without one, say which there are.

    raises BadInput for a command that there is not
    """
    name, *rest = tokens or ["--help"]
    if name in ("--help", "-h"):
        print(overview())
        return 0
    if name == "--version":
        print(__version__)
        return 0
    if name not in COMMANDS:
        hint = near(name, COMMANDS)
        raise BadInput(f"{name[:40]!r} is no command; {hint}; the commands are {', '.join(COMMANDS)}")
    command: Command = import_module(f"floorline.cli.{name}").command
    try:
        return command.run(name, rest)
    except SystemExit as leaving:  # --help has been printed
        return int(leaving.code or 0)


def overview() -> str:
    """What there is, for ``--help``."""
    lines = [f"  {name:<10}{doc}" for name, doc in COMMANDS.items()]
    return "\n".join(
        (
            "Usage: floorline COMMAND",
            "",
            "How long will this transformer take, how much memory does it need, what bounds it, and why?",
            "",
            "Commands:",
            *lines,
            "",
            "  --help, -h  what a command takes: floorline COMMAND --help",
            "  --version   the version",
        )
    )


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


def complain(text: str, status: int) -> int:
    """One line to stderr."""
    print(f"floorline: {' '.join(text.split())}", file=sys.stderr)
    return status
