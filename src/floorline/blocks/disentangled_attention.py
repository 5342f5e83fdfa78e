"""Disentangled attention: scores of content with content, of content with relative positions, and of positions with content.

Source: He et al. 2020 (DeBERTa), arXiv:2006.03654, section 3.1, eq. 4; positions through the content's own projections, and a
convolution beside the first layer: microsoft/DeBERTa, version 2; transformers, models/deberta_v2/modeling_deberta_v2.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from floorline.block import Block, block
from floorline.blocks.attention import Attention
from floorline.blocks.heads import stored
from floorline.blocks.norm import LAYER_NORM, Norm, dropout, residual
from floorline.convolution import convolution
from floorline.op import Op, contraction, elementwise, view

RELATIVE = "rel[RD]"
"""What each layer is given: a state for each of the R relative positions."""


@dataclass(frozen=True, kw_only=True)
class DisentangledAttention:
    """Self-attention of an encoder whose scores add up to three parts.

    relative  whether there are relative positions at all
    c2p       whether queries meet the keys of relative positions
    p2c       whether keys meet the queries of relative positions
    shared    whether positions go through the content's projections, both of them always
    dropout   of the attention weights, in training

    >>> whole = DisentangledAttention(relative=True, c2p=True, p2c=True, shared=True)
    >>> [op.name for op in whole.ops("x", "attn") if op.flops()]
    ['q', 'k', 'v', 'rel_k', 'rel_q', 'c2p', 'p2c', 'scores', 'values', 'out']
    """

    relative: bool = False
    c2p: bool = False
    p2c: bool = False
    shared: bool = False
    dropout: bool = False

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From ``source[BTD]`` to the branch ``target[BTD]``."""
        plain = Attention(bias=True, cached=False, dropout=self.dropout)
        out = contraction("out", f"ctx[BTKGH] Wo[KGHD] -> {target}[BTD]", bias=True)
        return (
            *plain.projections(source),
            *plain.keep("k", "v", "qkv"),
            *self.positions(),
            *self.parts(),
            *(self.added(op) for op in plain.core("q")),
            out,
        )

    def positions(self) -> tuple[Op, ...]:
        """Keys and queries of the relative positions, once for all sequences."""
        if not self.relative:
            return ()
        key, query = ("Wk", "Wq") if self.shared else ("Wrel_k", "Wrel_q")
        found: list[Op] = []
        if self.shared or self.c2p:
            found.append(contraction("rel_k", f"{RELATIVE} {key}[DKH] -> rk[RKH]", bias=True))
        if self.shared or self.p2c:
            found.append(contraction("rel_q", f"{RELATIVE} {query}[DKGH] -> rq[RKGH]", bias=True))
        return tuple(found)

    def parts(self) -> tuple[Op, ...]:
        """What positions add to the scores: each query with R keys, each key with R queries; then picked by distance."""
        content = contraction("c2p", "q[BTKGH] rk[RKH] -> sc[BTKGR]", kernel="attention")
        position = contraction("p2c", "kc[BSKH] rq[RKGH] -> sp[BSKGR]", kernel="attention")
        return (
            *((content,) if self.relative and self.c2p else ()),
            *((position,) if self.relative and self.p2c else ()),
        )

    def added(self, op: Op) -> Op:
        """The softmax reads all parts of the scores."""
        if op.name != "softmax":
            return op
        more = (" sc[BTKGR]" if self.relative and self.c2p else "") + (
            " sp[BSKGR]" if self.relative and self.p2c else ""
        )
        return elementwise(
            "softmax", f"s[BTKGS]{more} -> p[BTKGS]", "softmax", kernel="attention", reduces="S", statistics=(2, 1)
        )


@cache
def relative_states(norm: Norm | None, relative: bool = True) -> Block:
    """The table of relative positions, normalised where the model says so: what every layer is given.

    relative  whether there is a table; a norm without one is stored and not read

    >>> [str(t) for t in relative_states(LAYER_NORM).weights()]
    ['Wrel[RD]', 'Wrel_norm[D]', 'Wrel_norm.bias[D]']
    """
    if not relative:
        unread = (stored("Wrel_norm", "D"), stored("Wrel_norm.bias", "D")) if norm else ()
        return block("relative", "", unread, "")
    if norm is None:
        return block("relative", "", (view("table", "Wrel[RD] -> rel[RD]"),), "rel")
    ops = view("table", "Wrel[RD] -> states[RD]"), norm.op("rel_norm", "states", "rel", "RD")
    return block("relative", "", ops, "rel")


@cache
def normed(drop: bool = False) -> Block:
    """A norm of the embedded tokens, where a matmul stands between them and it.

    >>> normed().outputs
    ('y',)
    """
    first = LAYER_NORM.op("embedding_norm", "x", "z" if drop else "y")
    return block("embedding_norm", "x[BTD]", (first, *((dropout("drop", "z", "y"),) if drop else ())), "y")


@cache
def convolved(activation: str, *, drop: bool = False) -> Block:
    """A convolution over the embedded tokens that joins the first layer's output, then a norm.

    Letters: j window, o channels that leave, which are D, g channels that one of them sees (D over the groups).

    >>> convolved("tanh").ops[0].flops()[0].formula()
    '2·B·T·o·g·j'
    """
    ops: list[Op] = [convolution("conv", "embedded[BTg] Wconv[ogj] -> c[BTo]", bias=True)]
    last = "c"
    if drop:
        ops.append(dropout("conv_drop", "c", "cd", "BTo"))
        last = "cd"
    ops += [
        elementwise("conv_act", f"{last}[BTo] -> a[BTo]", activation),
        view("again", "a[BTo] -> joined[BTD]"),
        residual("conv_add", "x", "joined", "sum"),
        LAYER_NORM.op("conv_norm", "sum", "y"),
    ]
    return block("convolution", "x[BTD] embedded[BTg]", tuple(ops), "y", (("o", "D"),))
