"""Makes the shipped calibrations from the measured kernels, all of them in some minutes:

    python3 dev.py python validation/calibrate.py
"""

import sys
from pathlib import Path

from floorline.calibrate.files import HERE as TARGET
from floorline.calibrate.files import text
from floorline.calibrate.matmul import fit
from floorline.calibrate.shapes import engines
from floorline.catalogue.accelerators import load_accelerator
from floorline.kernels.table import read

KERNELS = Path(__file__).parent / "kernels"
DATE = "2026-11-22"
WHAT = {
    "a100-sxm-80gb": ("gemm_a100_l40s", ("bf16",)),
    "l40s": ("gemm_a100_l40s", ("bf16", "fp8")),
    "h100-sxm": ("gemm_h100", ("bf16", "fp8")),
    "h200-sxm": ("gemm_h200", ("bf16", "fp8")),
    "b200-sxm": ("gemm_b200", ("bf16", "fp8", "nvfp4")),
}
"""Accelerator → its file of matmuls, and the formats that it has."""

if __name__ == "__main__":
    for name, (file, forms) in WHAT.items():
        kernels = read(KERNELS / f"{file}.csv.xz")
        own = kernels.take((kernels.words["device"] == name).nonzero()[0])
        fits = {form: fit(own, load_accelerator(name), form) for form in forms}
        (TARGET / f"{name}.toml").write_text(text(name, {f"{file}.csv.xz": engines(own)}, fits, DATE), encoding="utf-8")
        for form, made in fits.items():
            print(name, form, "held out: median %.3f, 90th percentile %.3f" % made.missed(held=True), file=sys.stderr)
