"""What ranks send when one matmul, two after each other, or attention is cut over them: by columns, by rows, by heads.

The messages are those that the walk over layouts finds: nobody writes here which split needs which.
Source of the splits: Shoeybi et al. 2019 (Megatron-LM), arXiv:1909.08053, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from floorline import program
from floorline.block import Block, block
from floorline.blocks.parts import feed_forward, self_attention
from floorline.errors import BadInput
from floorline.implementations import implementation
from floorline.letters import Numbers
from floorline.num import Num, all_true, floor, number, total
from floorline.op import contraction
from floorline.parallel.plan import Plan
from floorline.parallel.split import Letters, Split
from floorline.result import Result
from floorline.specs.module_sizes import ModuleSizes, one
from floorline.specs.precision import Precision

AXIS = "r"
PRODUCT = block("product", "x[BD]", (contraction("product", "x[BD] W[DF] -> y[BF]", kernel="product"),), "y")
"""A matrix–vector product for each of B vectors."""


def heads_alone() -> Block:
    """Attention up to its heads' values, without the projection that joins them."""
    *ops, _ = self_attention().ops
    return block("heads", "x[BTD]", tuple(ops), "ctx")


HEADS = Split("split", (AXIS,), (("K", (AXIS,)),))


def cut(letter: str, around: str = "") -> Split:
    """The work is cut by one letter; what is between is whole, or cut by another."""
    between: Letters = ((around, (AXIS,)),) if around else ()
    return Split("split", (AXIS,), between, kernels=(("product", ((letter, (AXIS,)),)),))


SPLITS: dict[str, tuple[Block, Split]] = {
    "by columns, result left in shares": (PRODUCT, cut("F", "F")),
    "by columns, whole result": (PRODUCT, cut("F")),
    "by rows, whole result": (PRODUCT, cut("D")),
    "by rows, result left in shares": (PRODUCT, cut("D", "F")),
    "columns, then rows (feed-forward)": (feed_forward(False), Split("split", (AXIS,), (("F", (AXIS,)),))),
    "heads, up to their values": (heads_alone(), HEADS),
    "heads, with the output projection by rows": (self_attention(), HEADS),
}
"""Name → what is cut, and by what."""


@dataclass(frozen=True)
class Sent(Result):
    """A message.

    kind    all_reduce, all_gather or reduce_scatter
    after   the operator that it comes after
    buffer  [B]
    sent    by each rank, in a ring [B]
    """

    kind: str
    after: str
    buffer: Num
    sent: Num


@dataclass(frozen=True)
class SplitCount(Result):
    """What one rank does.

    name      of the split
    flops     [FLOP]
    weights   bytes of its weights [B]
    messages  that it takes part in; none where nothing is sent
    """

    name: str
    flops: Num
    weights: Num
    messages: tuple[Sent, ...]

    @property
    def sent(self) -> Num:
        """By this rank, all together [B]."""
        return total(m.sent for m in self.messages)

    def answer(self) -> Mapping[str, Any]:
        """The amounts."""
        amounts = {"name": self.name, "flops": self.flops, "weight_bytes": self.weights, "sent": self.sent}
        return {**amounts, "messages": self.messages}


def count_splits(sizes: ModuleSizes, ranks: Num, precision: Precision | None = None) -> tuple[SplitCount, ...]:
    """Each split of a matmul (D × F), of a feed-forward and of attention over some ranks.

    sizes   widths and heads; tokens as they are
    raises  BadInput for ranks that do not divide the widths or the key/value heads

    Example: a row split leaves partial sums of the whole result on each of four ranks, so 2·(n − 1)/n of D = 8192 elements of
    two bytes are sent (Chen 2022, "Transformer inference arithmetic", section model parallelism).

    >>> one = ModuleSizes(hidden_size=8192, num_heads=128, intermediate_size=8192, frames=1, height=1, width=1)
    >>> [(m.kind, m.sent) for m in count_splits(one, 4.0)[2].messages]
    [('all_reduce', 24576.0)]
    """
    n = number(ranks)
    for name, size in (
        ("hidden_size", sizes.hidden_size),
        ("intermediate_size", sizes.inner),
        ("heads", sizes.kv_heads),
    ):
        if not all_true(floor(size / n) * n == size):
            raise BadInput(f"{one(n)} ranks do not divide {name} = {one(size)}; expected a divisor of it")
    formats = precision or Precision()
    heads = {"K": sizes.kv_heads, "G": sizes.group, "H": sizes.head_dim}
    widths = {"D": sizes.hidden_size, "F": sizes.inner, "o": sizes.hidden_size}
    # a matmul alone takes all tokens as its batch
    tokens = {"B": sizes.batch, "T": sizes.tokens, "S": sizes.tokens, "visible": 1.0}
    found = []
    for name, (work, split) in SPLITS.items():
        own = {**tokens, "B": sizes.batch * sizes.tokens} if work is PRODUCT else tokens
        found.append(counted(name, work, split, Numbers({**own, **widths, **heads}, {AXIS: n}), formats))
    return tuple(found)


def counted(name: str, work: Block, split: Split, numbers: Numbers, precision: Precision) -> SplitCount:
    """One split."""
    rows = program.inference(work, implementation("flash"), Plan.of((split,)))
    flops, weights, messages, last = [], [], [], ""
    for row in rows:
        if row.message is not None:
            buffer, _ = program.message_size(row.message, numbers, precision)
            messages.append(Sent(row.message.kind, last, buffer, program.price(row, numbers, precision).sent))
            continue
        last = row.name
        flops += [numbers.value(product) for _, product in row.flops]
        pieces = [p for p in row.reads if p.tensor.is_weight]
        weights += [numbers.value(p.elements) * program.element_bytes(p.tensor, numbers, precision) for p in pieces]
    return SplitCount(name, total(flops), total(weights), tuple(messages))
