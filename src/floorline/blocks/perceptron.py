"""A perceptron of several layers: matmuls with a ReLU between them, a letter for each width."""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.errors import BadInput
from floorline.op import Op, contraction, elementwise

WIDTHS = "abcdefghijklmnopqrstuvwxyzACDEFGHIJKLMNOPQRSTUVWXYZ"
"""Letters of the widths, from the input's to the last one's; B is the batch."""


@cache
def perceptron(layers: int) -> Block:
    """So many matmuls; the input is data, which takes no gradient.

    raises BadInput for more layers than there are letters

    >>> [op.name for op in perceptron(2).ops], perceptron(2).ops[2].flops()[0].formula()
    (['linear1', 'relu1', 'linear2'], '2·B·b·c')
    """
    if not 1 <= layers < len(WIDTHS):
        raise BadInput(f"{layers} layers are too many or too few; expected 1 to {len(WIDTHS) - 1}")
    ops: list[Op] = []
    source = "x"
    for i in range(1, layers + 1):
        before, after = WIDTHS[i - 1], WIDTHS[i]
        ops.append(contraction(f"linear{i}", f"{source}[B{before}] W{i}[{before}{after}] -> z{i}[B{after}]"))
        if i < layers:
            ops.append(elementwise(f"relu{i}", f"z{i}[B{after}] -> h{i}[B{after}]", "relu"))
            source = f"h{i}"
    return block("perceptron", "", tuple(ops), f"z{layers}", data=f"x[B{WIDTHS[0]}]")
