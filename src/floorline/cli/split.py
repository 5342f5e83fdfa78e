"""``floorline split``: a matmul, a feed-forward and attention over ranks, and the messages that each split needs."""

from __future__ import annotations

from floorline.cli.command import Command, Flag, Given
from floorline.cli.flags import whole
from floorline.cli.model import JSON
from floorline.cli.output import bold, note, print_json, scalar, table
from floorline.cli.shapes import BATCH, DTYPE, TOKENS, WIDTHS, precision, sizes
from floorline.report import envelope
from floorline.splits import SplitCount, count_splits
from floorline.units import data, flops, integer

FLAGS = (
    JSON,
    *WIDTHS,
    Flag("tokens", TOKENS.flags, TOKENS.doc, "1"),
    BATCH,
    DTYPE,
    Flag("ranks", ("--ranks", "--tp", "--tensor-parallel-size"), "how many devices share the work", "4"),
)


def split(given: Given) -> None:
    """What each of several ranks computes, holds and sends where a matrix-vector product is cut by columns or by rows, a
    feed-forward by both, attention by heads: messages follow from the cut."""
    z = sizes({**given, "tokens": given["tokens"] or "1"})
    ranks = whole(given, "ranks", 4.0, most=1e6) or 4.0
    found = count_splits(z, ranks, precision(given))
    if given["json"]:
        print_json(envelope("split", given, {"ranks": ranks, "splits": [x.to_dict() for x in found]}))
        return
    heads = f"{integer(scalar(z.heads))} heads of {scalar(z.head_dim):g}"
    matrix = f"{integer(scalar(z.hidden_size))} × {integer(scalar(z.inner))}"
    tokens = integer(scalar(z.tokens * z.batch))
    print(bold(f"each of {ranks:g} ranks: {tokens} token{'s' * (tokens != '1')}, a matrix of {matrix}, {heads}"))
    head = ["split", "message", "FLOP", "weights", "buffer", "sends"]
    print(table(head, [row(x) for x in found], left=2))
    note("messages of a ring: an all-reduce sends 2·(n − 1)/n of its buffer, a gather or a scatter half of that")


def row(x: SplitCount) -> tuple[str, ...]:
    """A split in a row."""
    kinds = ", ".join(f"{m.kind} after {m.after}" for m in x.messages) or "none"
    buffer = ", ".join(data(scalar(m.buffer)) for m in x.messages) or "–"
    return x.name, kinds, flops(scalar(x.flops)), data(scalar(x.weights)), buffer, data(scalar(x.sent))


command = Command(split, FLAGS)
