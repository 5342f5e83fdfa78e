"""Makes the shipped calibrations from the measured kernels, all of them in some minutes:

    python3 dev.py python validation/calibrate.py [ACCELERATOR …]
"""

import sys
from pathlib import Path

import numpy as np

from floorline.calibrate.everything import every_fit
from floorline.calibrate.files import FOLDER, text
from floorline.calibrate.shapes import engines
from floorline.catalogue.accelerators import load_accelerator
from floorline.kernels.table import read

KERNELS = Path(__file__).parent / "kernels"
DATE = "2026-11-22"
ALL = ("collectives_nccl_intranode", "collectives_custom_allreduce")
EXCHANGES = ("collectives_moe_a2a", "collectives_deepep")
FILES = {
    "a100-sxm-80gb": (
        "gemm_a100_l40s", "attention_prefill_a100_l40s", "attention_decode_a100_l40s", "moe_a100", "vidur_elementwise", *ALL
    ),
    "l40s": ("gemm_a100_l40s", "attention_prefill_a100_l40s", "attention_decode_a100_l40s", *ALL),
    "h100-sxm": ("gemm_h100", "attention_prefill_h100", "attention_decode_h100", "moe_h100", "vidur_elementwise", *ALL, *EXCHANGES),
    "h200-sxm": ("gemm_h200", "attention_prefill_h200", "attention_decode_h200", "moe_h200", *ALL, *EXCHANGES),
    "b200-sxm": ("gemm_b200", "attention_prefill_b200", "attention_decode_b200", "moe_b200", *ALL, *EXCHANGES),
    "gb200": ("gemm_other", "attention_prefill_other", "attention_decode_other", *ALL, *EXCHANGES),
    "arc-b60": ("gemm_other", "attention_prefill_other", "attention_decode_other", *ALL),
    "a40": ("vidur_gemm", "vidur_elementwise"),
    "h20": ("infersim_h20_h800",),
    "h800-sxm": ("infersim_h20_h800",),
}
"""Accelerator → the files that its kernels are fitted to."""


if __name__ == "__main__":
    for name in sys.argv[1:] or FILES:
        tables = [read(KERNELS / f"{file}.csv.xz") for file in FILES[name]]
        own = [k.take(np.flatnonzero(k.words["device"] == name)) for k in tables]
        fits = []
        for kernels in own:
            for made in every_fit(kernels, load_accelerator(name)):
                fits.append(made)
                missed = "median %.3f, 90th percentile %.3f" % made.missed(held=True)
                print(name, made.kind.name, made.form, made.engine or "median", len(made.shapes), missed, file=sys.stderr, flush=True)
        content = text(name, {k.name: engines(k) for k in own}, fits, DATE)
        (FOLDER / f"{name}.toml").write_text(content, encoding="utf-8")
