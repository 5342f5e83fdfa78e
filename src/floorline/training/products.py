"""What optimizers that multiply matrices take for it, beside the traffic of their states: Muon and SOAP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from floorline.block import Block
from floorline.blocks.stage import STAGE
from floorline.expected import Expectation
from floorline.letters import Product
from floorline.num import Num, maximum, minimum
from floorline.op import Contraction
from floorline.specs.parallelism import Parallelism
from floorline.step import Step
from floorline.training.holdings import local_weights
from floorline.training.pricing import Pricing, scaled
from floorline.training.stages import Stage
from floorline.training.work import Tally

Sizes = tuple[Num, Num, Num, float]
"""m, n and k of a product, and how often it is made."""

ITERATIONS = 5.0
"""By which Muon makes an update orthogonal (kellerjordan.github.io/posts/muon)."""


def muon_products(rows: Num, columns: Num) -> tuple[Sizes, ...]:
    """Products of Muon's update of a matrix X: in each iteration X·Xᵀ, that by itself, and that by X; the smaller side first.

    Source: Jordan et al. 2024, Muon (kellerjordan.github.io/posts/muon): at most 6·n·m² FLOP an iteration, as
    ``formulas.optimizer.newton_schulz_flops`` has it.

    >>> bool(sum(2 * m * n * k * times for m, n, k, times in muon_products(1024, 1024)) == 5 * 6 * 1024**3)
    True
    """
    a, b = minimum(rows, columns), maximum(rows, columns)
    return (a, a, b, ITERATIONS), (a, a, a, ITERATIONS), (a, b, a, ITERATIONS)


def soap_products(rows: Num, columns: Num) -> tuple[Sizes, ...]:
    """Products of SOAP's update of a matrix: its gradient and its momentum into the basis of each side, the update back out of
    it, and the gradient's products with itself; new bases, made once in a number of steps, are left out.

    Source: nikhilvyas/SOAP, soap.py: project, thrice, and update_preconditioner.

    >>> sum(2 * m * n * k * times for m, n, k, times in soap_products(2, 3)) == 8 * 2 * 3 * (2 + 3)
    True
    """
    return (
        (rows, columns, rows, 3.0),
        (rows, columns, columns, 3.0),
        (rows, rows, columns, 1.0),
        (columns, columns, rows, 1.0),
    )


PRODUCTS: Mapping[str, tuple[Callable[[Num, Num], tuple[Sizes, ...]], str]] = {
    "muon": (muon_products, "bf16"),
    "soap": (soap_products, "fp32"),
}
"""Optimizer → its products for one matrix of a layer, and their format. Embedding, head and vectors are AdamW's."""


def matrices(block: Block) -> Iterator[tuple[str, str, str, str]]:
    """Weights of a block that are matrices: name, and letters of how many there are, of columns, and of rows.

    >>> from floorline.catalogue.load import load_model
    >>> [name for name, _, columns, rows in matrices(load_model("gpt2").stacks[1].block) if (columns, rows) == ("F", "D")]
    ['Wup']
    """
    for op in block.ops:
        if isinstance(op, Contraction) and op.trained:
            batch, _, columns, rows = op.matmul()
            yield op.trained[0].name, batch, columns, rows


def multiplying(step: Step, optimizer: str, stage: Stage, plan: Parallelism, price: Pricing) -> Expectation:
    """Products of the update of a stage's layers on one rank: each matrix whole, by one of the ranks that have parts of it.

    Source: Liu et al. 2025 (Muon is scalable for LLM training), arXiv:2502.16982, section 2.3, Distributed Muon.
    """
    tally, layers = Tally(), step.model.layers()
    if optimizer not in PRODUCTS:
        return tally.whole
    products, format = PRODUCTS[optimizer]
    for stack, numbers in step.stacks:
        if stack.block is STAGE or not stack.is_layer:
            continue
        shapes = {name: rest for name, *rest in matrices(stack.block)}
        for t, axes, shared in local_weights(stack.block, step.cut(stack)):
            if t.name not in shapes or t.frozen:
                continue
            batch, columns, rows = (numbers.letters(word) for word in shapes[t.name])
            ranks = numbers.ranks(shared) if shared and plan.zero_stage != "0" else 1.0
            here = numbers.value(Product(1.0, t.letters, axes=axes)) / numbers.value(Product(1.0, t.letters)) / ranks
            many = batch * here * stack.stored / layers * stage.layers
            for m, n, k, times in products(rows, columns):
                tally.add("optimizer", scaled(price.product(m, n, k, format), many * times))
    return tally.whole
