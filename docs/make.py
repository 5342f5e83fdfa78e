"""Writes the generated pages: every figure of the catalogue with its sources, and what beats its floor.

python3 dev.py python docs/make.py
"""

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from floorline.catalogue import accelerators, clusters
from floorline.catalogue.accelerators import read_toml
from floorline.catalogue.architectures import architectures
from floorline.catalogue.figures import cited
from floorline.catalogue.references import references
from floorline.kernels.floors import floor
from floorline.kernels.table import read

HERE = Path(__file__).parent
CALIBRATIONS = accelerators.HERE.parent / "calibrations"
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
        f"Of {total:,} measured kernels {len(beaten):,} beat their floor, {len(beaten) / total:.2%}; of the cases none. The cases "
        "of diffusion models have no floor yet, nor have measured memory sizes, which are no times.",
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


def accuracy() -> str:
    """What the shipped calibrations miss by, on shapes that they did not see."""
    rows = []
    for path in sorted(CALIBRATIONS.glob("*.toml")):
        entry = read_toml(path)
        engines = ", ".join(entry["kernels"].values())
        for form, fitted in entry["matmul"].items():
            r = fitted["residuals"]
            missed = [f"{r[key]:.1%}" for key in ("fitted_median", "fitted_p90", "held_out_median", "held_out_p90")]
            rows.append((path.stem, form, r["shapes"], r["held_out"], *missed, f"{r['spread_median']:.1%}", engines))
    parts = [
        HEAD + "# Accuracy of the shipped calibrations",
        "Dense matmuls: |ln(predicted / measured)| over whole shapes; one in five is held out of the fit, chosen by a hash of its "
        "sizes. A shape's time is the median over engines, each in its newest version; the spread of the engines (the slowest over "
        "the fastest, median over shapes) is the noise floor. Columns: medians and 90th percentiles. Nothing is fitted to whole "
        "runs. `validation/calibrate.py` makes all "
        "of it again; `floorline calibrate KERNELS.csv` does it for kernels of your own.",
        table(
            (
                "accelerator",
                "format",
                "shapes",
                "held out",
                "fitted",
                "p90",
                "held out",
                "p90",
                "spread",
                "engines",
            ),
            rows,
        ),
        "The model is `efficiency/matmul.py`: tiles in waves over the multiprocessors, parts of a split k, a least time of a step "
        "along k, traffic against the last-level cache, a clock that sags in long kernels, and for narrow formats the launch that "
        "quantises the inputs. It is not used in estimates yet.",
    ]
    return "\n\n".join(parts) + "\n"


PAGES = {"accuracy.md": accuracy, "hardware.md": hardware, "references.md": sources, "floors.md": floors}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
        print(f"docs/{name}: {(HERE / name).stat().st_size:,} bytes", file=sys.stderr)
