"""``floorline hardware``: the catalogue of accelerators and of machines made of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from floorline.catalogue import accelerators, clusters
from floorline.catalogue.accelerators import named, plain, shipped
from floorline.catalogue.figures import cited
from floorline.cli.command import Argument, Command, Flag, Given
from floorline.cli.model import JSON
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.errors import BadInput, NotFound, OutsideTolerance, near
from floorline.formulas.roofline import machine_balance
from floorline.report import envelope
from floorline.specs.accelerator import Accelerator
from floorline.specs.cluster import Cluster
from floorline.units import DECIMAL, gib, scaled

AUDIT = Flag(
    "audit",
    ("--audit",),
    "check units, sources, sparse peaks and impossible machines, of the catalogue or of your own TOML files; exit status 4 "
    "where something is wrong",
    switch=True,
)
COMPARE = Flag("compare", ("--compare",), "all accelerators that are named, side by side", switch=True)
MOST = 8


def hardware(*arguments: object) -> None:
    """Accelerators and machines of the catalogue: all, those whose name contains a word, one with every figure and its source,
    or several side by side."""
    *given_words, given = arguments
    words = [str(word) for word in given_words]
    assert isinstance(given, Mapping)
    if given["audit"]:
        show_audit(words, given)
        return
    found, machines = matching(words)
    if not found and not machines:
        known = [*accelerators.names(), *accelerators.aliases(), *clusters.names(), *clusters.aliases()]
        raise NotFound(f"no accelerator contains {words[0][:60]!r}; {near(plain(words[0]), known)}")
    exact = len(words) == 1 and len(found) + len(machines) == 1
    if given["json"]:
        rows = [{**Cluster(d).to_dict(), "figures": d.figures} for d in found]
        cited = sources_of(found)
        made = [c.to_dict() for c in machines]
        asked = words[0] if len(words) == 1 else words or None
        print_json(envelope("hardware", {"search": asked}, {"hardware": rows, "machines": made, "references": cited}))
    elif exact and machines:
        show_machine(machines[0])
    elif exact:
        show(found[0])
    elif given["compare"] or len(words) > 1:
        compare([*found, *(c.accelerator for c in machines if c.accelerator.name not in {d.name for d in found})])
        show_all([], machines)
    else:
        show_all(found, machines)
    if exact and found and not given["json"]:
        others = [name for name in searched(words[0])[0] if name != found[0].name]
        note(
            f"also: {', '.join(others)}"
            if others
            else "title and address of each source: docs/references.md, or --json"
        )


def matching(words: list[str]) -> tuple[list[Accelerator], list[Cluster]]:
    """What some words name: for each the one of that name, a TOML file's, or all that the word is part of.

    raises NotFound for a word, among several, that is part of nothing
    """
    if not words:
        return [shipped(n) for n in accelerators.names()], [clusters.load_cluster(n) for n in clusters.names()]
    found: dict[str, Accelerator] = {}
    machines: dict[str, Cluster] = {}
    for word in words:
        if named(word) or clusters.find(word) or word.endswith(".toml"):
            made = clusters.load_cluster(word)
            if made.name:
                machines[made.name] = made
            else:
                found[made.accelerator.name] = made.accelerator
        else:
            names, others = searched(word)
            found.update({n: shipped(n) for n in names})
            machines.update({n: clusters.load_cluster(n) for n in others})
            if len(words) > 1 and not (names or others):
                raise NotFound(f"no accelerator contains {word[:60]!r}; {near(plain(word), accelerators.names())}")
    return list(found.values()), list(machines.values())


def sources_of(found: list[Accelerator]) -> dict[str, dict[str, str]]:
    """The references that the figures of some accelerators rest on."""
    from floorline.catalogue.references import references

    keys = {key for d in found for figure in d.figures.values() for key in cited(figure)}
    return {key: references()[key] for key in sorted(keys) if key in references()}


def searched(word: str) -> tuple[list[str], list[str]]:
    """Accelerators and machines that a word is part of: of a name, another name, or a vendor."""
    inside = plain(word)
    other = {name for alias, name in (*accelerators.aliases().items(), *clusters.aliases().items()) if inside in alias}
    names = [n for n in accelerators.names() if inside in n or n in other or shipped(n).vendor == inside]
    return names, [n for n in clusters.names() if inside in n or n in other]


def show_all(found: list[Accelerator], machines: list[Cluster]) -> None:
    """A line for each."""
    if found:
        print(table(["name", "bf16/fp16", "memory", "bandwidth", "link, one way"], [line(d) for d in found]))
    if machines:
        rows = [(c.name, c.accelerator.name, " > ".join(level(c, i) for i in range(len(c.levels)))) for c in machines]
        print(("\n" if found else "") + table(["machine", "made of", "each device to others, one way"], rows, left=3))


def line(d: Accelerator) -> tuple[str, ...]:
    """One accelerator in a row."""
    rate = scaled(scalar(d.peak("bf16")), DECIMAL, "FLOP/s")
    link = scaled(scalar(d.links[0].bandwidth), DECIMAL, "B/s") + f" {d.links[0].name}" if d.links else "–"
    return d.name, rate, gib(scalar(d.usable)), scaled(scalar(d.memory_bandwidth), DECIMAL, "B/s"), link


def level(c: Cluster, index: int) -> str:
    """One level of a machine in a few words."""
    link = c.levels[index]
    reach = scalar(link.domain)
    among = f" among {reach:g}" if reach != float("inf") else ""
    how = f" ({link.topology})" if link.topology != "switch" else ""
    return f"{link.name} {scaled(scalar(link.bandwidth), DECIMAL, 'B/s')}{among}{how}"


def show(d: Accelerator) -> None:
    """Every figure of one accelerator with its sources."""
    print(bold(f"{d.name}: {d.title}"))
    rows = []
    for name, figure in d.figures.items():
        told = ", ".join(f"{key} ({text})" for key, text in cited(figure).items())
        rows.append(
            (name, str(figure["value"]), told, " ".join(str(figure[k]) for k in ("date", "note") if figure.get(k)))
        )
    print(table(["figure", "value", "sources (as each prints it)", "note"], rows, left=4))


def show_machine(c: Cluster) -> None:
    """A machine, level by level."""
    print(bold(f"{c.name}: {c.title}"))
    print(f"made of {c.accelerator.name}, {c.accelerator.title}")
    for index in range(len(c.levels)):
        print(f"  {level(c, index)}")


def compare(found: list[Accelerator]) -> None:
    """Figures side by side, with the factor against the first.

    raises BadInput for more columns than anyone reads
    """
    if len(found) > MOST:
        raise BadInput(f"{len(found)} columns are too many to read; expected at most {MOST}: name them")
    forms = [form for form in accelerators.FORMATS if any(form in d.peaks for d in found)]
    rows: list[tuple[str, list[float | None], str]] = [
        *((form, [scalar(d.peaks[form]) if form in d.peaks else None for d in found], "FLOP/s") for form in forms),
        ("memory", [scalar(d.usable) for d in found], "GiB"),
        ("memory bandwidth", [scalar(d.memory_bandwidth) for d in found], "B/s"),
        ("last-level cache", [scalar(d.last_level_cache) or None for d in found], "MiB"),
        ("link, one way", [scalar(d.links[0].bandwidth) if d.links else None for d in found], "B/s"),
        ("power limit", [None if d.tdp is None else scalar(d.tdp) for d in found], "W"),
        ("price", [None if d.price is None else scalar(d.price) for d in found], "USD/h"),
        (
            "critical batch (16 bit)",
            [scalar(machine_balance(d.peak("bf16"), d.memory_bandwidth)) for d in found],
            "FLOP/B",
        ),
        (
            "link balance (16 bit)",
            [scalar(machine_balance(d.peak("bf16"), d.links[0].bandwidth)) if d.links else None for d in found],
            "FLOP/B",
        ),
    ]
    print(bold("side by side; the factor is against the first column"))
    print(table(["", *(d.name for d in found)], [(name, *cells(values, unit)) for name, values, unit in rows]))
    note("peaks are dense; critical batch: tokens whose arithmetic takes as long as reading 16-bit weights once")


def cells(values: list[float | None], unit: str) -> list[str]:
    """A row's values, each with its factor against the first."""
    first = values[0]
    return [
        "–" if v is None else amount(v, unit) + (f" ({v / first:.2f}×)" if first and i else "")
        for i, v in enumerate(values)
    ]


def amount(value: float, unit: str) -> str:
    """A value for people: memory in 2³⁰ or 2²⁰ bytes, all else in decimal steps."""
    binary = {"GiB": 2.0**30, "MiB": 2.0**20}
    return f"{value / binary[unit]:.4g} {unit}" if unit in binary else scaled(value, DECIMAL, unit)


def show_audit(words: list[str], given: Given) -> None:
    """What an audit of the catalogue, of some of its accelerators, or of own files finds.

    raises OutsideTolerance where something is wrong
    """
    from floorline.catalogue import cluster_audit, engines, footprints, hardware_audit, trainers

    paths, machines = to_audit(words)
    findings = [*hardware_audit.audit(paths), *cluster_audit.audit(machines)]
    if not words:
        used = cluster_audit.references_used() | engines.references_used() | footprints.references_used()
        used |= trainers.references_used()
        idle = sorted(hardware_audit.references_not_used() - used)
        findings += [hardware_audit.Finding("references", key, "no figure rests on it") for key in idle]
    wrong = [f for f in findings if f.wrong]
    figures = sum(len(hardware_audit.figures(path)) for path in paths)
    summary = {"accelerators": len(paths), "machines": len(machines), "figures": figures, "wrong": len(wrong)}
    if given["json"]:
        asked = {"search": words or None, "audit": True}
        print_json(envelope("hardware", asked, {"findings": findings, "summary": summary}))
    else:
        told = [(f.device, f.figure, "refused" if f.wrong else "remark", f.reason) for f in findings]
        print(table(["accelerator", "figure", "", "why"], told, left=4) if told else "nothing to say")
        note(f"{len(paths)} accelerators and {len(machines)} machines, {len(wrong)} findings refused")
    if wrong:
        first = wrong[0]
        raise OutsideTolerance(
            f"{len(wrong)} findings are refused, the first for {first.device} {first.figure}: {first.reason}"
        )


def to_audit(words: list[str]) -> tuple[list[Path], list[Path]]:
    """Files of accelerators and of machines that some words name.

    raises NotFound for a word that names none
    """
    if not words:
        return sorted(accelerators.HERE.glob("*.toml")), sorted(clusters.HERE.glob("*.toml"))
    devices: list[Path] = []
    machines: list[Path] = []
    for word in words:
        own = accelerators.file(word) if word.endswith(".toml") else None
        if own is not None:
            (machines if "accelerator" in accelerators.read_toml(own) else devices).append(own)
        elif named(word):
            devices.append(accelerators.HERE / f"{named(word)}.toml")
        elif clusters.find(word):
            machines.append(clusters.HERE / f"{clusters.find(word)}.toml")
        else:
            raise NotFound(f"no accelerator is called {word[:60]!r}; {near(plain(word), accelerators.names())}")
    return devices, machines


command = Command(hardware, (JSON, AUDIT, COMPARE), Argument("search", "names, words in them, or TOML files", "*"))
