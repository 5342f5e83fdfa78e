"""Writes below_the_floor.csv: every measured kernel and case that beats its floor, one by one, with the reason.

    python3 dev.py python validation/below_the_floor.py

A row without a reason here is an error in the floor until it is looked at: the script fails.
"""

import csv
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from floorline.errors import FloorlineError
from floorline.validation.report import Row, validate

HERE = Path(__file__).parent
TARGET = HERE / "below_the_floor.csv"
HEAD = ("file", "row", "what", "measured", "floor", "floor_of_measured", "reason")

REASONS = {
    ("attention_decode_a100_l40s", "a100-sxm-80gb attention_decode bf16"): (
        "bad data: TensorRT-LLM 1.0.0 would read keys and values at up to 3.3 TB/s, the memory's rate is 2.04; other engines take about "
        "twice as long for the same shapes, so sequences probably shared keys and values"
    ),
    ("vidur_elementwise", "a100-sxm-80gb rope fp16"): (
        "bad data: the width is the whole model's, though the rank holds only its heads (tensor parallelism in the kernel's name)"
    ),
    ("vidur_elementwise", "a40 rope fp16"): (
        "bad data: the width is the whole model's, though the rank holds only its heads (tensor parallelism in the kernel's name)"
    ),
    ("vidur_elementwise", "h100-sxm rope fp16"): (
        "bad data: the width is the whole model's, though the rank holds only its heads (tensor parallelism in the kernel's name)"
    ),
    ("gemm_h100", "h100-sxm gemm int8-weight-only"): (
        "label: stated as int8 weights with 16-bit arithmetic, but faster than the 16-bit peak: the kernel computes in 8 bits"
    ),
    ("frontier_attention", "a100-sxm-80gb attention_prefill bf16"): (
        "bad data: 800 to 1024 tokens of 16 heads in 5 us would be up to 760 TFLOP/s, the peak is 312; the same tokens with half the "
        "heads take 49 us"
    ),
    ("vidur_network", "a100-pcie-80gb send_recv fp16"): (
        "bad data: 341 GB/s over a bridge of 300 GB/s in one direction; the same figures stand under another card"
    ),
    ("vidur_network", "h100-pcie send_recv fp16"): (
        "bad data: 341 GB/s over a bridge of 300 GB/s in one direction; the same figures stand under another card"
    ),
}
"""Why rows of a file and a source beat their floor."""


def beaten() -> Iterator[tuple[str, Row]]:
    """Every row that beats its floor, with its file."""
    for path in sorted(HERE.glob("kernels/*.csv.xz")):
        for row in validate(path).beaten:
            yield path.name.removesuffix(".csv.xz"), row
    for path in sorted(HERE.glob("cases/*.csv")):
        for row in validate(path, HERE / "models").beaten:
            yield path.stem, row


def lines(rows: Iterable[tuple[str, Row]]) -> list[tuple[str, ...]]:
    """The table of some rows.

    raises FloorlineError for a row that nobody has looked at
    """
    found = []
    for name, row in rows:
        reason = REASONS.get((name, row.source))
        if reason is None:
            raise FloorlineError(f"{name} row {row.case} ({row.source}) beats its floor and has no reason")
        assert row.floor is not None
        assert row.share is not None
        found.append((name, row.case, row.source, f"{row.measured:.6g}", f"{row.floor:.6g}", f"{row.share:.3f}", reason))
    return found


def text(rows: Iterable[tuple[str, Row]]) -> str:
    """The file of some rows."""
    from io import StringIO

    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows(lines(rows))
    return out.getvalue()


if __name__ == "__main__":
    TARGET.write_text(text(beaten()), encoding="utf-8")
    print(f"{TARGET}: {len(TARGET.read_text().splitlines()) - 1} rows", file=sys.stderr)
