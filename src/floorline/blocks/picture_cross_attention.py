"""Cross-attention to a text and, beside it, to a picture: two attentions whose results are added before one output projection.

Letters: M tokens of the text, ``N`` of the picture as its encoder leaves it.
Sources: Ye et al. 2023 (IP-Adapter), arXiv:2308.06721, section 3.2.2, "decoupled cross-attention"; diffusers 0.42,
models/transformers/transformer_wan.py, WanAttnProcessor, and transformer_cosmos.py, CosmosAttnProcessor2_5.
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.blocks.attention import HeadNorm
from floorline.blocks.cross_attention import CrossAttention
from floorline.blocks.streams import relettered
from floorline.op import Op, contraction, elementwise, view

PICTURE = "picture[BND]"
"""What a block is given beside the text: the states of a picture, of the model's width."""
TO_PICTURE = {"M": "N"}


@dataclass(frozen=True, kw_only=True)
class PictureCrossAttention:
    """Attention to the text's states and to the picture's.

    bias       of all projections but the last
    out_bias   of the last
    head_norm  norm of queries and keys
    width      letter of the text's width
    own_query  whether the picture has queries of its own; else both use the text's

    >>> [op.name for op in PictureCrossAttention(head_norm=None).ops("h", "cross") if op.flops()]
    ['xq', 'xk', 'xv', 'yk', 'yv', 'yscores', 'yvalues', 'xscores', 'xvalues', 'xout']
    """

    bias: bool = False
    out_bias: bool = False
    head_norm: HeadNorm | None
    width: str = "D"
    own_query: bool = False

    @property
    def text(self) -> CrossAttention:
        """The attention to the text."""
        return CrossAttention(
            bias=self.bias, out_bias=self.out_bias, cached=False, width=self.width, head_norm=self.head_norm
        )

    @property
    def memory(self) -> str:
        """What a block is given to attend to."""
        return f"{self.text.memory} {PICTURE}"

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From normalised states ``source[BTD]`` to the branch ``target[BTD]``."""
        *to_text, out = self.text.ops(source, target)
        query = "xqn" if self.head_norm else "xq"
        core = self.text.core(query)
        made = to_text[: len(to_text) - len(core)]
        return (
            *made,
            *self.to_picture(source, query),
            *core,
            elementwise("xboth", "xctx[BTKGH] yctx[BTKGH] -> both[BTKGH]", "add", linear=True),
            out.renamed({"xctx": "both"}),
        )

    def to_picture(self, source: str, query: str) -> tuple[Op, ...]:
        """Keys and values of the picture, and what the queries make of them."""
        query_text = f"{source}[BTD] Wyq[DKGH] -> yq[BTKGH]"
        queries = (contraction("yq", query_text, bias=self.bias),) if self.own_query else ()
        key: str = "yk"
        norms: tuple[Op, ...] = ()
        if self.head_norm:
            both = self.head_norm.ops("y", "yq", "yk")
            norms = (*(both[:1] if self.own_query else ()), *relettered(both[1:], {"T": "N"}))
            key, query = "ykn", "yqn" if self.own_query else query
        elif self.own_query:
            query = "yq"
        return (
            *queries,
            contraction("yk", f"{PICTURE} Wyk[DKH] -> yk[BNKH]", kernel="ykv", bias=self.bias),
            contraction("yv", f"{PICTURE} Wyv[DKH] -> yv[BNKH]", kernel="ykv", bias=self.bias),
            *norms,
            view("ysee_k", f"{key}[BNKH] -> ykc[BNKH]"),
            view("ysee_v", "yv[BNKH] -> yvc[BNKH]"),
            *relettered(CrossAttention(cached=False, name="y").core(query), TO_PICTURE),
        )
