"""``floorline params``: exact parameters, by module."""

from __future__ import annotations

from floorline.cli.command import Command, Given
from floorline.cli.model import JSON, MODEL, READ, load
from floorline.cli.output import bold, print_json, scalar, table
from floorline.quantized import weight_bytes
from floorline.report import envelope
from floorline.units import count, data, gib, integer


def params(model: str, given: Given) -> None:
    """Exact parameters of a model, by module, tied weights once."""
    made = load(model, given)
    if given["json"]:
        asked = {"model": model, "set": given["set"], "quantization": given["quantization"]}
        label = None if made.quantization is None else made.quantization.label
        stored = {"weight_bytes": weight_bytes(made), "quantization": label}
        print_json(envelope("params", asked, {**made.parameter_count().to_dict(), **stored}, model=made))
        return
    c = made.parameter_count()
    total = scalar(c.total)
    rows = [
        (
            m.name,
            m.tensor,
            integer(scalar(m.count)),
            integer(scalar(m.parameters)),
            f"{100 * scalar(m.parameters) / total:.2f} %",
        )
        for m in c.modules
    ]
    print(bold(f"{made.name}: {integer(total)} parameters ({count(total)})"))
    rest, head = integer(scalar(c.non_embedding)), integer(scalar(c.head))
    print(f"embedding {integer(scalar(c.embedding))}, the rest {rest}, of it the head {head}")
    print(f"active for each token {integer(scalar(c.active_per_token))}")
    size, form = scalar(weight_bytes(made)), made.format if made.quantization is None else made.quantization.label
    print(f"weights {gib(size)} ({data(size)}) in {form}, {size / total:.4g} bytes a parameter\n")
    print(table(["module", "tensor", "copies", "parameters", "share"], rows, left=2))


command = Command(params, (JSON, *READ), MODEL)
