"""Several streams of tokens in one block: the same operators with other letters.

A picture's tokens are T of width D; those of the text beside it are M, and may have a width of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from floorline.op import Elementwise, Op
from floorline.tensor import Tensor

TEXT = {"T": "M"}
"""From the picture's stream to the text's."""
BOTH = {"T": "W"}
"""From the picture's stream to both together."""


def relettered(ops: Iterable[Op], letters: Mapping[str, str]) -> tuple[Op, ...]:
    """Operators with other letters: what is written for one stream serves another.

    >>> from floorline.blocks.feed_forward import FeedForward
    >>> str(relettered(FeedForward("gelu").ops("h", "ffn"), {"T": "M", "D": "d"})[0].outputs[0])
    'u[BMF]'
    """
    table = str.maketrans(dict(letters))

    def tensor(t: Tensor) -> Tensor:
        return replace(t, letters=t.letters.translate(table))

    found: list[Op] = []
    for op in ops:
        changed = replace(op, inputs=tuple(map(tensor, op.inputs)), outputs=tuple(map(tensor, op.outputs)))
        if isinstance(changed, Elementwise):
            changed = replace(changed, reduces=changed.reduces.translate(table))
        found.append(changed)
    return tuple(found)
