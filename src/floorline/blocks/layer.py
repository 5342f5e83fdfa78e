"""A layer: branches that read the residual stream and join it again, with norms before, after or behind.

A branch does its work through a part: anything with ``ops(source, target)``, such as Attention, FeedForward, Experts. What
differs between architectures is which parts there are and where the norms stand:

    x + attention(norm(x))          before            most decoders
    norm(x + attention(x))          behind            BERT
    x + norm(attention(x))          after             OLMo 2
    x + norm(attention(norm(x)))    before and after  Gemma 2
    x + attention(h) + mlp(h)       parallel          GPT-J, Falcon
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Protocol

from floorline.block import Block, block
from floorline.blocks.norm import Norm, dropout, residual
from floorline.op import Op


class Part(Protocol):
    """What a branch does: operators from one tensor to another, both ``[BTD]``."""

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """The operators from ``source[BTD]`` to ``target[BTD]``."""
        ...


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One detour from the residual stream.

    part    what it does
    before  norm of what it reads
    after   norm of what it adds
    behind  norm of the stream once it is added
    drop    dropout of what it adds, in training
    name    of what it makes: "attn", "ffn"
    """

    part: Part
    before: Norm | None = None
    after: Norm | None = None
    behind: Norm | None = None
    drop: bool = False
    name: str = ""


@cache
def layer(*branches: Branch, name: str = "block", inputs: str = "", outputs: str = "", caches: str = "") -> Block:
    """Branches one after the other.

    name     of the block
    inputs   further tensors that it is given, such as a position bias
    outputs  further tensors that leave it
    caches   tensors that earlier steps left in the cache

    >>> from floorline.blocks.feed_forward import FeedForward
    >>> from floorline.blocks.norm import RMS_NORM
    >>> [op.name for op in layer(Branch(part=FeedForward("silu"), before=RMS_NORM)).ops]
    ['norm1', 'up', 'act', 'down', 'add1']
    """
    stream, ops = "x", []
    for i, branch in enumerate(branches, 1):
        last = "y" if i == len(branches) else f"x{i}"
        ops += detour(branch, i, stream, last)
        stream = last
    return made(name, branches, tuple(ops), inputs, outputs, caches)


def detour(branch: Branch, number: int, stream: str, target: str) -> list[Op]:
    """One branch from the stream back to it."""
    made_name = branch.name or ("attn" if number == 1 else "ffn" if number == 2 else f"part{number}")
    ops: list[Op] = []
    source, made_by = stream, made_name
    if branch.before:
        source = "h" if number == 1 else f"h{number}"
        ops.append(branch.before.op(f"norm{number}", stream, source))
    if branch.after:
        made_by = f"{made_name}_raw"
    ops += branch.part.ops(source, made_by)
    if branch.after:
        ops.append(branch.after.op(f"norm{number}_after", made_by, made_name))
    joined = f"{target}_sum" if branch.behind else target
    if branch.drop:
        ops += [
            dropout(f"add{number}_drop", made_name, f"{made_name}_drop", kernel="drop_add"),
            residual(f"add{number}", stream, f"{made_name}_drop", joined, kernel="drop_add"),
        ]
    else:
        ops.append(residual(f"add{number}", stream, made_name, joined))
    if branch.behind:
        called = f"norm{number}_behind" if branch.before else f"norm{number}"
        ops.append(branch.behind.op(called, joined, target))
    return ops


@cache
def parallel(*branches: Branch, name: str = "block") -> Block:
    """Branches that all read the incoming stream; one norm serves all where only the first has one.

    What they add is summed before it joins the stream, so that their sums over ranks are one message.

    Source: Wang and Komatsuzaki 2021 (GPT-J); Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, section 2.

    >>> from floorline.blocks.feed_forward import FeedForward
    >>> from floorline.blocks.norm import RMS_NORM
    >>> two = Branch(part=FeedForward("gelu"), before=RMS_NORM), Branch(part=FeedForward("silu", name="b_"))
    >>> [op.name for op in parallel(*two).ops]
    ['norm1', 'up', 'act', 'down', 'b_up', 'b_act', 'b_down', 'add1', 'add2']
    """
    ops: list[Op] = []
    joins: list[Op] = []
    added, source = "", "x"
    for i, branch in enumerate(branches, 1):
        if branch.before:
            source = "h" if i == 1 else f"h{i}"
            ops.append(branch.before.op(f"norm{i}", "x", source))
        made_name = branch.name or ("attn" if i == 1 else "ffn")
        ops += branch.part.ops(source, made_name)
        if branch.drop:
            joins.append(dropout(f"add{i}_drop", made_name, f"{made_name}_drop"))
            made_name = f"{made_name}_drop"
        if added:
            joins.append(residual(f"add{i - 1}", added, made_name, f"added{i}"))
        added = f"added{i}" if added else made_name
    join = residual(f"add{len(branches)}", "x", added, "y")
    return made(name, branches, (*ops, *joins, join))


def made(
    name: str, branches: tuple[Branch, ...], ops: tuple[Op, ...], inputs: str = "", outputs: str = "", caches: str = ""
) -> Block:
    """The block of some branches, with the letters that their parts derive and what earlier steps left them in the cache."""
    derived = dict(pair for b in branches for pair in getattr(b.part, "derived", ()))
    caches = " ".join([caches, *(getattr(b.part, "caches", "") for b in branches)]).strip()
    formats = tuple(pair for b in branches for pair in getattr(b.part, "formats", ()))
    given, made_here = f"x[BTD] {inputs}".strip(), f"y {outputs}".strip()
    return block(name, given, ops, made_here, tuple(derived.items()), layer=True, caches=caches, formats=formats)
