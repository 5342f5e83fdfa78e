"""What a step cannot do without: the least arithmetic, each weight and each cached byte once, messages by any algorithm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from floorline import passes, program
from floorline.block import Block
from floorline.implementations import implementation
from floorline.letters import Numbers, Product
from floorline.num import Num, largest, maximum, minimum, total
from floorline.parallel.plan import Plan
from floorline.program import Piece, Row
from floorline.tensor import CACHE, WEIGHT


@dataclass(frozen=True)
class Floor:
    """The three times of which the largest is the floor, and the amounts that they come from.

    compute, memory, link  times [s]
    flops                  the least arithmetic [FLOP]
    weights, cached        bytes that must move: weights once, cache once and what is new of it [B]
    message                the larger of what must leave a rank and what must reach it, on the level that takes longest [B]
    level                  which level that is, innermost 0 [-]
    """

    compute: Num
    memory: Num
    link: Num
    flops: Num
    weights: Num
    cached: Num
    message: Num
    level: Num

    @property
    def times(self) -> dict[str, Num]:
        """The three times by name."""
        return {"compute": self.compute, "memory": self.memory, "link": self.link}

    @property
    def seconds(self) -> Num:
        """The floor."""
        return largest((self.compute, self.memory, self.link))


@dataclass(frozen=True, eq=False)
class Least:
    """What a block cannot do without: arithmetic, weights and cache once, messages.

    after_cache  the arithmetic that no later token needs: in the last layer only positions with logits must do it
    routed       whether some weights are experts that tokens choose
    """

    flops: tuple[Product, ...]
    after_cache: tuple[Product, ...]
    weights: tuple[Piece, ...]
    cached: tuple[Piece, ...]
    messages: tuple[Row, ...]
    routed: bool


@cache
def compulsory(block: Block, cut: Plan) -> Least:
    """The least of a block. Rows that a lookup reads of the model's own table are left out: a tied head reads them anyway,
    and a floor may be low by a few rows."""
    rows = program.inference(block, implementation("compulsory"), cut)
    read = [p for row in rows for p in row.reads]
    written = [p for row in rows for p in row.writes if p.tensor.role == CACHE]
    weights = tuple(p for p in read if p.tensor.role == WEIGHT and not (p.tensor.touched and p.tensor.is_shared))
    cached = tuple(p for p in read if p.tensor.role == CACHE)
    kept = {op.name for op in passes.before_cache(block)}
    flops = [pair for row in rows for pair in row.flops]
    after = tuple(p for name, p in flops if name not in kept)
    messages = tuple(row for row in rows if row.message is not None and not row.message.routed)  # routing may need none
    routed = any("evenness" in p.tensor.touched for p in weights)
    return Least(tuple(p for _, p in flops), after, weights, (*cached, *written), messages, routed)


def arithmetic(least: Least, numbers: Numbers, few: Numbers | None, repeat: Num) -> Num:
    """The least arithmetic of a stack's layers [FLOP].

    few  numbers of the positions whose logits are asked, in the stack of the last layer: after the cache nothing else has
         to be computed there
    """
    everything = total(numbers.value(p) for p in least.flops)
    if few is None:
        return everything * repeat
    later = total(numbers.value(p) for p in least.after_cache)
    return everything * repeat - (later - minimum(total(few.value(p) for p in least.after_cache), later))


def spared(least: Least, other: Least, numbers: Numbers, few: Numbers | None, repeat: Num) -> Num:
    """What another way of computing the same saves, 0 where it takes more [FLOP]."""
    ours, theirs = (arithmetic(way, numbers, few, repeat) for way in (least, other))
    return maximum(ours - theirs, 0.0)


def count(piece: Piece, numbers: Numbers) -> Num:
    """Elements of a piece of a tensor."""
    elements = numbers.value(piece.elements)
    return elements if piece.less is None else elements - numbers.value(piece.less)
