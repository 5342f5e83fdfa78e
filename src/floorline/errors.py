"""What can go wrong, with the exit status that the command line gives it.

FloorlineError            one line: what was wrong, what was expected, what to try
├── BadInput              2: a value, a key or a file that makes no sense
│   └── Infeasible        2: a plan that breaks a rule (heads that do not divide, …)
├── NotFound              3: a name that nobody knows, or a file that is not there
└── OutsideTolerance      4: a check that was asked for did not hold
"""

from __future__ import annotations

from collections.abc import Iterable


class FloorlineError(Exception):
    """Base of all errors that a user can cause; its text is one line."""

    status = 2


class BadInput(FloorlineError, ValueError):
    """A value that makes no sense: negative sizes, wrong types, unknown keys, broken files."""


class Infeasible(BadInput):
    """A plan that breaks a rule, such as tensor parallelism that does not divide the heads."""


class NoModel(BadInput):
    """No kernel model is known for something that a step does, or for the device that it runs on."""


class NotFound(FloorlineError, LookupError):
    """A model, an accelerator or a file that is not there."""

    status = 3


class OutsideTolerance(FloorlineError):
    """A check that was asked for and did not hold; what it found is printed before."""

    status = 4


def near(name: str, known: Iterable[str], count: int = 3) -> str:
    """A hint with the known names that look like ``name``, or how to list them all.

    >>> near("lama-3.1-8b", ["llama-3.1-8b", "gpt2"])
    'did you mean llama-3.1-8b?'
    """
    import difflib  # only an error needs it

    candidates = list(dict.fromkeys(known))
    found = difflib.get_close_matches(name.lower(), candidates, n=count, cutoff=0.5)
    if found:
        return "did you mean " + ", ".join(found) + "?"
    shown = ", ".join(sorted(candidates)[:6])
    return f"known names start with: {shown}" if shown else "nothing is known here"
