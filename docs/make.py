"""Writes the generated pages: every figure of the catalogue with its sources, and what beats its floor.

python3 dev.py python docs/make.py
"""

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path

import diffusion_runs
import measured_runs
import numpy as np
import training_runs

from floorline.calibrate.files import Calibration, Fitted, calibrated, shipped
from floorline.calibrate.kinds import KINDS
from floorline.calibrate.residuals import missed
from floorline.calibrate.score import score
from floorline.capacity import WHOLE_PROMPTS
from floorline.catalogue import accelerators, clusters
from floorline.catalogue.accelerators import load_accelerator, read_toml
from floorline.catalogue.architectures import architectures
from floorline.catalogue.engines import FILE as ENGINES
from floorline.catalogue.engines import WORDS, engines
from floorline.catalogue.figures import cited
from floorline.catalogue.footprints import entries, footprints
from floorline.catalogue.references import references
from floorline.catalogue.trainers import FILE as TRAINERS
from floorline.catalogue.trainers import trainers
from floorline.kernels.floors import floor
from floorline.kernels.table import Kernels, read
from floorline.specs.engine import Engine
from floorline.specs.trainer import Trainer
from floorline.units import gib
from floorline.validation.case_memory import expected, verdicts
from floorline.validation.cases import read as read_cases

HERE = Path(__file__).parent
VALIDATION = HERE.parent / "validation"
HEAD = "<!-- made by docs/make.py; do not edit -->\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def told(sources: Mapping[str, str]) -> str:
    """Sources with what each prints, linked to the list."""
    return ", ".join(f"[{key}](references.md#{key}) {text}" for key, text in sources.items())


def rows(figures: Mapping[str, Mapping[str, object]]) -> Iterable[tuple[str, ...]]:
    """A row for each figure."""
    for name, figure in figures.items():
        note = " ".join(str(figure[key]) for key in ("date", "note") if figure.get(key))
        yield name, str(figure["value"]), told(cited(figure)), note


def hardware() -> str:
    """Every accelerator and machine with all of its figures."""
    parts = [
        HEAD + "# Accelerators and machines: every figure with its sources",
        "Peaks are dense, by matrix units where there are any, accumulated in fp32 unless the name says otherwise; bandwidths are "
        "of one device in one direction. Each source stands with the figure as it prints it: `sparse` is twice the dense rate, "
        "`both directions` twice one. `floorline hardware --audit` checks all of this page.",
    ]
    head = ("figure", "value", "sources, as each prints it", "note")
    for name in accelerators.names():
        device = accelerators.shipped(name)
        other = read_toml(accelerators.HERE / f"{name}.toml")["aliases"]
        parts += [
            f"## {name}",
            f"{device.title} ({device.architecture}). Also: {', '.join(other)}.",
            table(head, rows(device.figures)),
        ]
    for name in clusters.names():
        path = clusters.HERE / f"{name}.toml"
        data = read_toml(path)
        figures = {
            f"{link.name}.{key}": figure.to_dict()
            for link, found in clusters.read_levels(path, data)
            for key, figure in found.items()
        }
        shape = ", ".join(f"{x.name}: {x.topology}" for x in clusters.load_cluster(name).levels)
        text = f"{data['name']}, made of {data['accelerator']}; {shape}. {data.get('note', '')}".strip()
        parts += [f"## {name}", text, table(head, rows(figures))]
    parts.append("## Multiprocessors")
    held = [(a.title, a.occupancy, a.sources) for a in architectures().values() if a.occupancy]
    parts.append(
        table(
            ("architecture", "warps", "blocks", "registers", "shared memory [B]", "sources"),
            [
                (title, f"{o.warps:g}", f"{o.blocks:g}", f"{o.registers:g}", f"{o.shared_memory:g}", ", ".join(s))
                for title, o, s in held
            ],
        )
    )
    return "\n\n".join(parts) + "\n"


def sources() -> str:
    """All references."""
    parts = [HEAD + "# References of the catalogue"]
    for key, entry in sorted(references().items()):
        parts.append(
            f"## {key}\n\n{entry['title']}. {entry['publisher']}, <{entry['address']}>, seen {entry['seen']}. {entry['note']}"
        )
    return "\n\n".join(parts) + "\n"


def shares() -> Iterable[tuple[object, ...]]:
    """For each operator: measured kernels, and the floor's share of what was measured, its median and its 90th percentile, over
    all and over those whose operands are at least twice as large as the last-level cache."""
    found: dict[str, list[tuple[float, bool]]] = {}
    for path in sorted(VALIDATION.glob("kernels/*.csv.xz")):
        kernels = read(path)
        for (device, op, _, _), rows in kernels.groups("device", "op", "dtype", "kv_dtype"):
            if not accelerators.named(device):
                continue
            part, card = kernels.take(rows), accelerators.load_accelerator(device)
            least = floor(part, card)
            large = np.broadcast_to(least.work.bytes > 2.0 * card.last_level_cache, len(part))
            found.setdefault(op, []).extend(zip((least.seconds / part.seconds).tolist(), large.tolist(), strict=True))
    for op, values in sorted(found.items()):
        every = [share for share, _ in values]
        big = [share for share, is_large in values if is_large]
        row = [f"{np.median(every):.1%}", f"{np.quantile(every, 0.9):.1%}"]
        row += [f"{np.median(big):.1%}", f"{np.quantile(big, 0.9):.1%}"] if big else ["–", "–"]
        yield op, f"{len(every):,}", *row[:2], f"{len(big):,}", *row[2:]


def floors() -> str:
    """What beats its floor."""
    with (VALIDATION / "below_the_floor.csv").open(encoding="utf-8", newline="") as lines:
        beaten = list(csv.DictReader(lines))
    kernels = {
        path.name.removesuffix(".csv.xz"): len(read(path)) for path in sorted(VALIDATION.glob("kernels/*.csv.xz"))
    }
    groups = Counter((row["file"], row["what"], row["reason"]) for row in beaten)
    total = sum(kernels.values())
    parts = [
        HEAD + "# What beats its floor",
        "A floor is a time that nothing real is faster than, on the data sheet's figures. Every measured kernel and every measured "
        "run of `validation/` is held against its own (`floorline validate FILE`); those that beat it are errors in the data or in "
        "the floor, so each is looked at.",
        f"Of {total:,} measured kernels {len(beaten):,} beat their floor, {len(beaten) / total:.2%}; of the cases none, those "
        "of diffusion models among them. Measured memory sizes have no floor: they are no times.",
        table(
            ("file", "what", "rows", "of", "reason"),
            [(file, what, count, kernels[file], reason) for (file, what, reason), count in groups.items()],
        ),
        "## How far above it the others are",
        "A floor says little of small kernels: operands that the last-level cache can hold need not move, and launches, latencies "
        "and rounding to whole tiles are no part of it. Of expert layers it takes the fewest experts that routing allows, of "
        "exchanges between experts only the copies that must go to other ranks. The floor's share of the measured time, of all "
        "kernels and of those whose operands are more than twice as large as the last-level cache:",
        table(
            ("operator", "kernels", "median", "90th percentile", "large ones", "median", "90th percentile"),
            shares(),
        ),
        "## One by one",
        table(
            ("file", "row", "what", "measured [s]", "floor [s]", "floor / measured"),
            [
                tuple(row[key] for key in ("file", "row", "what", "measured", "floor", "floor_of_measured"))
                for row in beaten
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def shown(model: Fitted) -> tuple[object, ...]:
    """A row of the accuracy page."""
    missed = [f"{x:.1%}" for x in (*model.fitted, *model.missed)]
    spread = "–" if model.engine or "," not in model.versions else f"{model.spread:.1%}"
    engine = model.engine or ("median" if "," in model.versions else "")
    return model.accelerator, model.form, engine, model.versions, model.shapes, *missed, f"{model.inside:.0%}", spread


@cache
def measured(file: str) -> Kernels:
    """A file of measured kernels."""
    return read(VALIDATION / "kernels" / file)


def summary(calibration: Calibration) -> Iterable[tuple[object, ...]]:
    """Rows of the first table of the accuracy page: what all calibrations that hold for an accelerator miss by."""
    device = load_accelerator(calibration.accelerator)
    for kind in KINDS.values():
        for form in dict.fromkeys(m.form for m in calibration.models.values() if m.kind == kind.name):
            scores = (score(measured(file), device, kind, form) for file in calibration.kernels)
            for found in filter(None, scores):
                large = found.shapes.sizes.get("whole", np.full(len(found.errors), np.nan)) > SMALL
                parts = (
                    {f"{form}, above 64 KiB": large, f"{form}, up to 64 KiB": ~large}
                    if np.any(large)
                    else {form: ~large}
                )
                for name, chosen in parts.items():
                    held = found.shapes.held & chosen
                    errors, spread = np.abs(found.errors[held]), found.shapes.spread[chosen]
                    figures = (
                        np.median(errors),
                        np.quantile(errors, 0.9),
                        np.mean(found.inside[held]),
                        np.median(spread),
                    )
                    shown = [f"{x:.1%}" for x in figures]
                    yield (kind.title, calibration.accelerator, name, int(chosen.sum()), int(held.sum()), *shown)


SMALL = 65536.0
"""Bytes of a message above which its bandwidth counts more than its start [B]."""


def transfers() -> str:
    """How far calibrations carry."""
    with (VALIDATION / "transfer.csv").open(encoding="utf-8") as lines:
        found = list(csv.DictReader(lines))
    body = [
        (
            *(r["device"], r["inherits"], KINDS[r["kind"]].title, r["form"], r["shapes"]),
            *(
                f"{float(r[key]):+.1%}" if key == "bias" else f"{float(r[key]):.1%}"
                for key in ("median", "p90", "bias")
            ),
            f"{float(r['inside']):.0%}",
        )
        for r in found
    ]
    head = ("accelerator", "from its", "kernels", "format", "shapes", "median", "p90", "bias", "in the interval")
    return table(head, body)


def accuracy() -> str:
    """What the shipped calibrations miss by, on shapes that they did not see."""
    found = [m for name in calibrated() if (calibration := shipped(name)) for m in calibration.models.values()]
    parts = [
        HEAD + "# Accuracy",
        "Every kernel model is fitted to measured kernels, and to nothing else: no constant is ever fitted to whole runs. Errors "
        "are "
        "|ln(predicted / measured)| over whole shapes; one shape in five, chosen by a hash of its sizes, is held out of the fit. "
        "Where several engines measured a shape, *median* is the median over them, each in its newest version; *spread* is the "
        "slowest engine over the fastest, median over shapes: the noise floor of a prediction that knows no engine. *Inside* is "
        "the "
        "share of all shapes in their 90 % interval, which is made from the held-out ones alone. "
        "`validation/calibrate.py` makes all of it again; `floorline calibrate KERNELS.csv` does it for kernels of your own; "
        "[times](times.md) says what the models are.",
    ]
    parts += measured_runs.section(table)
    parts += training_runs.section(table)
    parts += diffusion_runs.section(table)
    totals = sorted(row for name in calibrated() if (c := shipped(name)) for row in summary(c))
    parts += [
        "## All together",
        "Each row of the measured kernels is priced as `validate` does it, by the model of its engine; both times are then medians "
        "over the engines that measured a shape. Of expert layers every engine, kernel and routing is a shape of its own.",
        table(
            ("kernels", "accelerator", "format", "shapes", "held out", "median", "p90", "in the interval", "spread"),
            totals,
        ),
    ]
    head = (
        "accelerator",
        "format",
        "engine",
        "versions",
        "shapes",
        "fitted",
        "p90",
        "held out",
        "p90",
        "inside",
        "spread",
    )
    for kind in KINDS.values():
        rows = [shown(m) for m in found if m.kind == kind.name]
        parts += [f"## {kind.title[0].upper()}{kind.title[1:]}", table(head, rows)]
    parts += [
        "## What is inherited",
        "An accelerator without measured kernels takes the models of its family, or of the nearest other architecture, through its "
        "own data sheet. Here accelerators with data are priced so, their own calibration withheld: all shapes, medians over "
        "engines.",
        transfers(),
    ]
    return "\n\n".join(parts) + "\n"


def footprint_rows() -> Iterable[tuple[str, ...]]:
    """How each engine uses memory, and what says so."""
    for name, used in footprints().items():
        sizes = (used.context, used.communication, used.graphs, used.workspace)
        step = "the whole batch" if used.step_tokens >= WHOLE_PROMPTS else f"{used.step_tokens:g}"
        habits = [
            ("blocks of the cache", used.kv_block > 1, f"{used.kv_block:g} tokens"),
            ("vocabulary", used.vocab_multiple > 1, f"a multiple of {used.vocab_multiple:g}"),
            ("cache", used.cache != "in place", "a layer's is copied at every token"),
            ("windows", used.windows != "cut", "all tokens are kept"),
            ("logits", used.logits != "last", f"of all positions, {used.logit_bytes:g} B each"),
            ("quantised weights", used.dequantised != "on chip", "a whole matrix at a time in 16 bits"),
            ("head", used.head != "table", "a copy of the token table"),
            ("tables", used.tables != "shared out", "whole on each tensor-parallel rank"),
            ("buffers", used.buffers is not None, "made once for the largest batch and length"),
        ]
        links = ", ".join(f"[{key}](references.md#{key})" for key in entries()[name]["sources"])
        said = "; ".join(f"{what}: {how}" for what, true, how in habits if true)
        yield (name, *(gib(float(size)) if size else "–" for size in sizes), step, said, links)


def engine_rows() -> Iterable[tuple[str, ...]]:
    """What is assumed of each engine where it differs from the default, and what says so."""
    plain, texts = Engine(), read_toml(ENGINES)
    for name, engine in engines().items():
        until = ".".join(str(part) for part in engine.until) or "–"
        differs = {key: getattr(engine, key) for key in WORDS if key != "title"}
        said = [f"`{key}` {texts[name][key]}" for key, value in differs.items() if value != getattr(plain, key)]
        said += [f"`{key}` {texts[name][key]}" for key in ("launch_time", "step_time") if key in texts[name]]
        links = ", ".join(f"[{key}](references.md#{key})" for key in engine.sources)
        yield f"`{name}`", engine.title, until, "; ".join(said), texts[name].get("note", ""), links


def assumed() -> str:
    """The engines of the catalogue."""
    parts = [
        HEAD + "# Engines: what is assumed of each",
        "`--engine` takes any of these names, `floorline.catalogue.engines.of_version` finds the entry of a version. What is not "
        "listed is the default, `any`: kernels of the median engine, in a captured graph. [Times](times.md#engines) says what each "
        "word changes, [memory](memory.md) how engines use memory. No figure is fitted to whole runs.",
        table(("engine", "is", "last version", "differs in", "note", "sources"), engine_rows()),
    ]
    return "\n\n".join(parts) + "\n"


def trainer_rows() -> Iterable[tuple[str, ...]]:
    """What is assumed of each training framework where it differs from the default, and what says so."""
    plain, texts = Trainer(), read_toml(TRAINERS)
    for name, trainer in trainers().items():
        words = [f.name for f in fields(Trainer) if f.name not in ("name", "title", "note", "sources")]
        said = [f"`{key}` {texts[name][key]}" for key in words if getattr(trainer, key) != getattr(plain, key)]
        links = ", ".join(f"[{key}](references.md#{key})" for key in trainer.sources)
        yield f"`{name}`", trainer.title, "; ".join(said), trainer.note, links


def assumed_in_training() -> str:
    """The training frameworks of the catalogue."""
    defaults = [
        (f"`{f.name}`", str(f.default), f.metadata["doc"])
        for f in fields(Trainer)
        if "doc" in f.metadata and f.name != "name"
    ]
    parts = [
        HEAD + "# Training frameworks: what is assumed of each",
        "`floorline train --engine` takes any of these names. What is not listed is the default below. "
        "[Training](training.md) says "
        "what each word changes. No figure is fitted to whole runs.",
        table(("framework", "is", "differs in", "note", "sources"), trainer_rows()),
        "## Defaults",
        table(("assumption", "default", "what it is"), defaults),
    ]
    return "\n\n".join(parts) + "\n"


def memory() -> str:
    """What memory is made of, by engine, and what measured runs say of it."""
    judged = [case for case in read_cases(VALIDATION / "cases" / "inference.csv") if case.word("judged") != "no"]
    runs, body = verdicts(judged, VALIDATION / "models"), []
    peaks = [(case, expected(case, VALIDATION / "models")) for case in judged if case.metric == "peak_memory_bytes"]
    for source in dict.fromkeys(case.word("source") for case, _ in peaks):
        own = [(case.value, hoped) for case, hoped in peaks if case.word("source") == source]
        errors = np.log([hoped.value / value for value, hoped in own])
        inside = [hoped.low <= value <= hoped.high for value, hoped in own]
        median, tenth = missed(errors)
        shown = (f"{median:.1%}", f"{tenth:.1%}", f"{np.median(errors):+.1%}", f"{np.mean(inside):.0%}")
        body.append((source, len(own), *shown))
    parts = [
        HEAD + "# Memory",
        "`fit` and `infer` count, for each device: **weights** (what replication, padding and copies repeat included), **KV "
        "cache** "
        "(in whole blocks, of a window what the next token sees), **activations** (the largest set of tensors alive at once in a "
        "prefill or a decode step, logits among them; or the buffers that an engine makes once), **workspace** (of the matmul "
        "library, and matrices that are brought to 16 bits), **graphs**, and the **framework** (the driver's context with all "
        "kernels that are loaded; with several devices, buffers for messages). The first three follow from the model; the others, "
        "and the habits below, are the engine's: from its source, its documentation, or somebody's measurement of an empty "
        "process. "
        "None is fitted to a measured run. An engine's name with a version stands for versions up to it.",
        "## Engines",
        table(
            ("engine", "context", "messages", "graphs", "workspace", "largest prefill step", "habits", "sources"),
            footprint_rows(),
        ),
        "## Measured",
        "Errors are |ln(expected / measured)|, of peaks as the driver counts them (FasterTransformer) or as PyTorch's "
        "allocator does "
        "(Transformers). *Inside* is the share in the interval: none to twice the activations, half to twice the context.",
        table(("source", "runs", "median", "p90", "bias", "inside"), body),
        f"Of {runs.failed} runs that ran out of memory {runs.failed - len(runs.missed)} are found; of {runs.ran} others "
        f"{len(runs.called)} are called so ({', '.join(runs.called)}: a model spread over four devices, with attention said to be "
        "unfused).",
        "What is missing: FasterTransformer's context is that of PyTorch 1.10 on the same card, the nearest that was "
        "published; its "
        "figures have no stated unit, and would be 7 % larger in GiB. Transformers 4.51 on H20 shows no prefill in its peaks (they "
        "equal weights and the cache at the end), for which no reason is known, and fp8 checkpoints of tied models look as if they "
        "held the head apart.",
    ]
    return "\n\n".join(parts) + "\n"


PAGES = {
    "engines.md": assumed,
    "trainers.md": assumed_in_training,
    "memory.md": memory,
    "accuracy.md": accuracy,
    "hardware.md": hardware,
    "references.md": sources,
    "floors.md": floors,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
        print(f"docs/{name}: {(HERE / name).stat().st_size:,} bytes", file=sys.stderr)
