"""``floorline backward``: forward and backward matmuls of a perceptron."""

from __future__ import annotations

from floorline.cli.command import Command, Flag, Given
from floorline.cli.flags import numbers, whole
from floorline.cli.model import JSON
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.errors import BadInput
from floorline.num import total
from floorline.perceptrons import PASSES, OperatorPasses, Part, count_perceptron
from floorline.report import envelope
from floorline.units import flops, integer

FLAGS = (
    JSON,
    Flag("widths", ("--widths", "--layers"), "of the data, of each layer inside, of the result", "784,512,512,10"),
    Flag("batch", ("--batch-size",), "rows of the data", "64"),
)


def backward(given: Given) -> None:
    """Operator by operator, the matmul of the forward pass and those of the backward pass (the gradient of the input, the gradient
    of the weight) of a perceptron with ReLU between its layers: shapes, FLOP, and backward over forward."""
    text = given["widths"] or FLAGS[1].default
    widths, batch = numbers("--widths", text), whole(given, "batch", 64.0) or 64.0
    if any(w != int(w) or not 1.0 <= w <= 1e9 for w in widths):
        raise BadInput(f"--widths is {text[:40]!r}; expected whole numbers from 1 to 1e+09, such as 784,512,512,10")
    found = count_perceptron(widths, batch)
    if given["json"]:
        print_json(envelope("backward", given, found.to_dict()))
        return
    print(bold(f"perceptron {' × '.join(integer(w) for w in widths)}, batch {integer(batch)}"))
    head = ["operator", *(title for what in PASSES for title in (what, "FLOP")), "backward : forward"]
    rows = [row(op) for op in found.operators]
    sums = [cell for what in PASSES for cell in ("", flops(scalar(total(op.flops(what) for op in found.operators))))]
    rows.append(("together", *sums, f"{scalar(found.ratio):.4g}"))
    print(table(head, rows))
    note("[rows, summed] · [summed, columns]; ReLU and its gradient count no FLOP; data takes no gradient")


def row(op: OperatorPasses) -> tuple[str, ...]:
    """An operator in a row."""
    cells = [cell for what in PASSES for cell in shown(op.part(what))]
    return op.name, *cells, "–" if op.ratio is None else f"{scalar(op.ratio):.4g}"


def shown(part: Part | None) -> tuple[str, str]:
    """A pass of an operator: its shapes and its FLOP."""
    if part is None:
        return "–", "–"
    if part.shape is None:
        return f"{integer(scalar(part.written))} elements", "0 FLOP"
    m, k, n = (f"{scalar(x):.0f}" for x in part.shape)
    return f"[{m}, {k}] · [{k}, {n}]", flops(scalar(part.flops))


command = Command(backward, FLAGS)
