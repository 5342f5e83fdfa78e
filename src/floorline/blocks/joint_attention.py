"""Joint attention of MM-DiT: a picture's tokens and a text's have weights of their own and attend to each other as one sequence.

Letters: T tokens of the picture, M of the text, W = T + M as queries, S = T + M as keys.
Source: Esser et al. 2024 (Stable Diffusion 3), arXiv:2403.03206, section 4 and figure 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.streams import BOTH, TEXT, relettered
from floorline.op import Op, contraction, elementwise, view

JOINT = (("W", "T + M"), ("S", "S + M"))
"""What a stack of such blocks binds its letters to."""


@dataclass(frozen=True, kw_only=True)
class JointAttention:
    """Attention over two streams.

    bias       of queries, keys and values of the picture
    text_bias  of those of the text
    out_bias   of the output projections
    head_norm  norm of queries and keys of either stream
    text_norm  that of the text's, where it differs; None for none
    rotary     what is turned: "" nothing, "picture", "both"
    text_out   whether the text's stream goes on
    letters    of the text's stream, where its width has another letter than the picture's

    >>> [op.name for op in JointAttention().ops("h", "attn", "ch", "cattn")][:6]
    ['q', 'k', 'v', 'cq', 'ck', 'cv']
    """

    bias: bool = True
    text_bias: bool = True
    out_bias: bool = True
    text_out_bias: bool = True
    head_norm: HeadNorm | None = None
    text_norm: HeadNorm | None = None
    rotary: str = ""
    text_out: bool = True
    letters: Mapping[str, str] = field(default_factory=lambda: TEXT, hash=False)

    def ops(self, source: str, target: str, text_source: str, text_target: str) -> tuple[Op, ...]:
        """From two normalised streams, ``source[BTD]`` and ``text_source[BMD]``, to what joins them."""
        own = Attention(bias=self.bias, cached=False, head_norm=self.head_norm, rotary=self.rotary == "picture")
        text = Attention(bias=self.text_bias, cached=False, head_norm=self.text_norm, name="c")
        made, query, key, value = own.queries_and_keys()
        text_made, text_query, text_key, text_value = text.queries_and_keys()
        queries, ops = "jq", []
        ops += [*own.projections(source), *relettered(text.projections(text_source), self.letters)]
        ops += [*made, *relettered(text_made, self.letters)]
        keys = "jk" if self.rotary == "both" else "kc"
        ops += [
            view("join_q", f"{query}[BTKGH] {text_query}[BMKGH] -> jq[BWKGH]"),
            view("join_k", f"{key}[BTKH] {text_key}[BMKH] -> {keys}[BSKH]"),
            view("join_v", f"{value}[BTKH] {text_value}[BMKH] -> vc[BSKH]"),
        ]
        if self.rotary == "both":
            ops += [
                elementwise("rope_q", "jq[BWKGH] -> jqr[BWKGH]", "rope", kernel="rope"),
                elementwise("rope_k", "jk[BSKH] -> kc[BSKH]", "rope", kernel="rope"),
            ]
            queries = "jqr"
        ops += relettered(Attention(cached=False).core(queries), BOTH)
        ops.append(view("part", "ctx[BWKGH] -> pctx[BTKGH]"))
        ops.append(contraction("out", f"pctx[BTKGH] Wo[KGHD] -> {target}[BTD]", bias=self.out_bias))
        if self.text_out:
            wide = self.letters.get("D", "D")
            ops.append(view("part_text", "ctx[BWKGH] -> cctx[BMKGH]"))
            text_out = f"cctx[BMKGH] Wco[KGH{wide}] -> {text_target}[BM{wide}]"
            ops.append(contraction("cout", text_out, bias=self.text_out_bias))
        return tuple(ops)
