"""A command: a function, its flags and its arguments, read by the standard library's parser.

The parser costs a tenth of what a command-line toolkit costs to import, and half of a short answer's time was that.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from floorline.errors import BadInput, near

Given = Mapping[str, Any]


@dataclass(frozen=True)
class Flag:
    """One option of a command.

    name     key under which its text arrives
    flags    what people type
    doc      help
    default  shown in the help
    switch   whether it takes no value
    """

    name: str
    flags: tuple[str, ...]
    doc: str
    default: str = ""
    switch: bool = False

    def add(self, parser: argparse.ArgumentParser) -> None:
        """Make the parser know it."""
        text = (self.doc + (f" [default: {self.default}]" if self.default else "")).replace("%", "%%")
        if self.switch:
            parser.add_argument(*self.flags, dest=self.name, help=text, action="store_true")
        else:
            parser.add_argument(*self.flags, dest=self.name, help=text, metavar="VALUE", action=Once)


class Once(argparse.Action):
    """An option that is given once: a second value would silently replace the first."""

    def __call__(
        self, parser: argparse.ArgumentParser, found: argparse.Namespace, value: object, flag: str | None = None
    ) -> None:
        """Keep the value, or complain of the second."""
        if getattr(found, self.dest) is not None:
            parser.error(f"{flag} is given twice; leave out one of the two")
        setattr(found, self.dest, value)


@dataclass(frozen=True)
class Argument:
    """A positional argument: one, one or none ("?"), or any number ("*").

    name, doc  for the help
    count      "", "?" or "*"
    """

    name: str
    doc: str
    count: str = ""

    def add(self, parser: argparse.ArgumentParser) -> None:
        """Make the parser know it."""
        how: dict[str, Any] = {"nargs": self.count} if self.count else {}
        parser.add_argument(f"_{self.name}", help=self.doc, metavar=self.name.upper(), **how)


class Parser(argparse.ArgumentParser):
    """The standard parser, whose errors are one kind line."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message}; '{self.prog} --help' lists what it takes")


@dataclass(frozen=True, eq=False)
class Command:
    """A command of the command line.

    function  called with its positional arguments and, last, the texts of the flags by name; may return an exit status
    flags     its options; of two with the same name the last counts
    argument  its positional argument, or None
    """

    function: Callable[..., int | None]
    flags: Iterable[Flag]
    argument: Argument | None = None

    def parser(self, name: str) -> Parser:
        """The parser of the command under a name."""
        what = f" {self.argument.name.upper()}{'…' if self.argument.count == '*' else ''}" if self.argument else ""
        parser = Parser(
            prog=f"floorline {name}",
            usage=f"floorline {name} [OPTIONS]{what}",
            description=self.function.__doc__,
            allow_abbrev=False,
            formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=110),
        )
        if self.argument:
            self.argument.add(parser)
        for flag in {f.name: f for f in self.flags}.values():
            flag.add(parser)
        return parser

    def run(self, name: str, tokens: Sequence[str]) -> int:
        """Parse and call.

        raises BadInput for unknown options, missing values, too many arguments
        """
        parser = self.parser(name)
        found, extra = parser.parse_known_intermixed_args(list(tokens))
        if extra:
            parser.error(self.unknown(extra))
        given = vars(found)
        positional = given.pop(f"_{self.argument.name}") if self.argument else []
        words = positional if isinstance(positional, list) else [positional]
        with np.errstate(over="raise", divide="raise"):  # a number beyond all bounds is an error, never an answer
            return self.function(*words, given) or 0

    def unknown(self, extra: Sequence[str]) -> str:
        """What to say of words that nothing takes."""
        word = next((w for w in extra if w.startswith("--")), extra[0])
        if not word.startswith("-"):
            return f"{word[:60]!r} is one argument too many"
        known = [text for f in self.flags for text in f.flags]
        return f"unknown option {word.partition('=')[0][:60]}; {near(word.partition('=')[0], known)}"
