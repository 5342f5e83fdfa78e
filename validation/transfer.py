"""How far a calibration carries: an accelerator's measured kernels against models of others, its own withheld. Writes transfer.csv:

    python3 dev.py python validation/transfer.py
"""

import csv
import sys
from pathlib import Path

import numpy as np
from calibrate import FILES, KERNELS

from floorline.calibrate.everything import fittable
from floorline.calibrate.kinds import KINDS
from floorline.calibrate.score import score
from floorline.catalogue.accelerators import load_accelerator
from floorline.kernels.table import read

HERE = Path(__file__).parent
HOPPER, BLACKWELL = frozenset({"h100-sxm", "h200-sxm"}), frozenset({"b200-sxm", "gb200"})
CASES = (
    ("h200-sxm", frozenset({"h200-sxm"}), "family"),
    ("h100-sxm", frozenset({"h100-sxm"}), "family"),
    ("gb200", frozenset({"gb200"}), "family"),
    ("b200-sxm", frozenset({"b200-sxm"}), "family"),
    ("h200-sxm", HOPPER, "architecture"),
    ("b200-sxm", BLACKWELL, "architecture"),
    ("l40s", frozenset({"l40s"}), "architecture"),
    ("a100-sxm-80gb", frozenset({"a100-sxm-80gb"}), "architecture"),
    ("a40", frozenset({"a40"}), "architecture"),
)
"""Accelerator, whose calibrations are withheld, and what is left to inherit from."""

if __name__ == "__main__":
    rows = []
    for name, without, how in CASES:
        device = load_accelerator(name)
        for file in FILES[name]:
            kernels = read(KERNELS / f"{file}.csv.xz")
            kernels = kernels.take(np.flatnonzero(kernels.words["device"] == name))
            for kind in KINDS.values():
                for form in dict.fromkeys(form for form, _ in fittable(kernels, name, kind)):
                    found = score(kernels, device, kind, form, without=without)
                    if found is None:
                        continue
                    median, tenth = found.missed()
                    bias = float(np.median(found.errors))
                    rows.append((name, how, kind.name, form, len(found.errors), median, tenth, bias, float(np.mean(found.inside))))
                    print(*rows[-1][:5], *(f"{x:.3f}" for x in rows[-1][5:]), file=sys.stderr, flush=True)
    with (HERE / "transfer.csv").open("w", encoding="utf-8", newline="") as out:
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow(("device", "inherits", "kind", "form", "shapes", "median", "p90", "bias", "inside"))
        lines.writerows((*row[:5], *(f"{x:.4f}" for x in row[5:])) for row in rows)
