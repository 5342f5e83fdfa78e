"""The section of the accuracy page that holds expected times and memory against measured whole runs."""

import csv
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from floorline.validation.cases import read as read_cases
from floorline.validation.report import Row, Validation, grouped, validate

HERE = Path(__file__).parent
VALIDATION = HERE.parent / "validation"
FILES = ("inference", "encoder", "training", "diffusion")
LIMIT = 0.25
"""Median of |ln(expected / measured)| above which a group of runs is outside."""

Lines = Iterable[tuple[object, ...]]
Table = Callable[[Sequence[str], Lines], str]


@dataclass(frozen=True)
class Run:
    """A measured run and what is expected of it, with what ran where."""

    row: Row
    software: str
    accelerator: str

    @property
    def slower(self) -> float:
        """ln(expected / measured) of the time that it takes: rates are turned round."""
        assert self.row.error is not None
        return -self.row.error if self.row.is_rate else self.row.error

    @property
    def inside(self) -> bool:
        """Whether the measured value is in the interval."""
        assert self.row.low is not None
        assert self.row.high is not None
        return self.row.low <= self.row.measured <= self.row.high


@cache
def validation(name: str) -> Validation:
    """A file of cases, priced."""
    return validate(VALIDATION / "cases" / f"{name}.csv")


@cache
def runs(name: str) -> tuple[Run, ...]:
    """The runs of a file that have an expected value."""
    cases = read_cases(VALIDATION / "cases" / f"{name}.csv")
    pairs = zip(cases, validation(name).rows, strict=True)
    return tuple(Run(r, c.word("engine"), c.word("accelerator")) for c, r in pairs if r.error is not None)


def titles() -> dict[str, dict[str, str]]:
    """Sources of measured runs."""
    with (VALIDATION / "sources.csv").open(encoding="utf-8", newline="") as lines:
        return {row["key"]: row for row in csv.DictReader(lines)}


def figures(found: Sequence[Run]) -> tuple[str, ...]:
    """Runs, median and 90th percentile of the error, its sign, and the share inside."""
    errors = np.array([run.slower for run in found])
    size = np.abs(errors)
    inside = np.mean([run.inside for run in found])
    parts = (f"{np.median(size):.1%}", f"{np.quantile(size, 0.9):.1%}", f"{np.median(errors):+.1%}", f"{inside:.0%}")
    return f"{len(found):,}", *parts


def questions(name: str) -> Lines:
    """A line for each kind of question of a file."""
    for found in validation(name).questions():
        errors = [f"{found[key]:.1%}" for key in ("median_error", "p90_error")]
        yield (
            *(name, found["question"], f"{found['n']:,}", *errors),
            *(f"{found['coverage']:.0%}", f"{found['median_of_sources']:.1%}", len(found["by_source"])),
        )


def by_source() -> Lines:
    """A line for each source and metric."""
    known = titles()
    for name in FILES:
        judged = (run for run in runs(name) if run.row.judged)
        for (source, metric), found in grouped(judged, lambda r: (r.row.source, r.row.metric)).items():
            yield f"[{source}]({known[source]['address']})", f"`{metric}`", *figures(found)


def not_judged() -> Lines:
    """A line for each source, metric and question that is reported and does not count."""
    for name in FILES:
        rest = (run for run in runs(name) if not run.row.judged)
        for (source, question, metric), found in grouped(
            rest, lambda r: (r.row.source, r.row.question, r.row.metric)
        ).items():
            yield source, question, f"`{metric}`", *figures(found)


def memory() -> str:
    """What is said of the memory of runs."""
    found = validation("inference").memory
    assert found is not None
    peaks = [run for run in runs("inference") if run.row.judged and run.row.metric == "peak_memory_bytes"]
    count, median, tenth, bias, inside = figures(peaks)
    missed = ", ".join(found.missed) or "none"
    return (
        f"Of {count} peaks of memory the median error is {median} (90th percentile {tenth}, bias {bias}), {inside} are inside. "
        f"Of {found.failed:,} runs that ran out of memory {found.failed - len(found.missed):,} are found (missed: {missed}); of "
        f"{found.ran:,} that did not, {len(found.called):,} are called so ({', '.join(found.called) or 'none'}). "
        "[Memory](memory.md) says what it is made of."
    )


def matches(entry: dict[str, str], key: tuple[str, ...]) -> bool:
    """Whether a sentence is about a group; what it does not name is any, and software is named from its first letter on."""
    wanted = tuple(entry.get(word, "") for word in ("source", "software", "accelerator", "metric"))
    source, software, accelerator, metric = (not want or want == has for want, has in zip(wanted, key, strict=True))
    return source and (software or key[1].startswith(wanted[1])) and accelerator and metric


def sentences(keys: Sequence[tuple[str, ...]], entries: Sequence[dict[str, str]]) -> list[int]:
    """Which entry tells of each group, the first 1.

    raises SystemExit for a group without a sentence, and for a sentence without a group
    """
    told = [next((i for i, entry in enumerate(entries, 1) if matches(entry, key)), 0) for key in keys]
    wrong = [
        f"no sentence about {' | '.join(key)}, whose runs are outside"
        for i, key in zip(told, keys, strict=True)
        if not i
    ]
    wrong += [f"no runs are outside for {entry}" for i, entry in enumerate(entries, 1) if i not in told]
    if wrong:
        raise SystemExit("docs/outside.toml: " + "\n".join(wrong))
    return told


def outside(table: Table) -> list[str]:
    """The groups of runs whose median error is above the limit, and what is missing, each sentence once."""
    entries = tomllib.loads((HERE / "outside.toml").read_text(encoding="utf-8"))["outside"]
    judged = (run for name in FILES for run in runs(name) if run.row.judged)
    groups = grouped(judged, lambda r: (r.row.source, r.software, r.accelerator, r.row.metric))
    far = {k: found for k, found in groups.items() if np.median([abs(run.slower) for run in found]) > LIMIT}
    told = sentences(list(far), entries)
    lines = [(i, *key[:3], f"`{key[3]}`", *figures(found)) for i, (key, found) in zip(told, far.items(), strict=True)]
    head = ("", "source", "software", "accelerator", "metric", *ERRORS)
    return [
        table(head, sorted(lines, key=lambda line: line[0])),
        "\n".join(f"{i}. {entry['missing']}" for i, entry in enumerate(entries, 1)),
    ]


ERRORS = ("runs", "median", "p90", "bias", "inside")


def section(table: Table) -> list[str]:
    """The paragraphs and tables."""
    return [
        "## Measured runs",
        "Whole runs that others published (`validation/cases/`), each priced with its own model, formats, plan, machine, and its "
        "engine at its version. `floorline validate validation/cases/inference.csv` makes the figures again, `--json` with every "
        "run, `--plot errors.svg` as a picture. None of them had a say in an expected time; the widths of intervals are the one "
        "thing that they had a say in ([times](times.md#intervals)). Errors are |ln(expected / measured)|; *inside* is the share "
        "of measured values in the 90 % interval; *median of sources* counts each source once, however many runs it has. A run is "
        "*judged* (the column `judged` of the files) if its source states all that decides its figure; the others are reported "
        "further down and do not count.",
        table(
            ("file", "question", "judged runs", "median", "p90", "inside", "median of sources", "sources"),
            [line for name in FILES for line in questions(name)],
        ),
        "By source and metric. Here and below *bias* is the median of ln(expected / measured) as a time, rates turned round: "
        "above zero the expected time is too long.",
        table(("source", "metric", *ERRORS), by_source()),
        memory(),
        "Reported, not counted. The time to first token of a closed loop is mostly queueing: it follows from when clients send, "
        "how many prompts an engine takes at once and in which order, and no source says so. What is expected is the wait of a "
        "steady loop ([serving](serving.md)); sources that start all clients at once measure another.",
        table(("source", "question", "metric", *ERRORS), not_judged()),
        "### Sources that stay outside",
        "Runs of one source, with one software on one accelerator, whose median error is above "
        f"{LIMIT:.0%}; below the table what is missing, or that it is not known.",
        *outside(table),
    ]
