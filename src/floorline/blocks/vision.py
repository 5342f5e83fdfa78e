"""What a vision transformer has besides layers: from pixels to tokens, and what is made of the tokens at the end.

Further letters: ``c`` channels, ``u`` ``w`` height and width of a picture, ``i`` ``j`` those of a patch, ``a`` frames of a
patch, ``N`` patches, ``r`` register tokens, ``L`` labels, ``p`` width of what is compared or pooled.

Sources: Dosovitskiy et al. 2020 (ViT), arXiv:2010.11929, section 3.1; Touvron et al. 2020 (DeiT, distillation token),
arXiv:2012.12877, section 4; Darcet et al. 2023 (registers), arXiv:2309.16588, section 3; Touvron et al. 2021 (CaiT, layer
scale), arXiv:2103.17239, section 2; Radford et al. 2021 (CLIP), arXiv:2103.00020, figure 3; Zhai et al. 2021 (attention
pooling), arXiv:2106.04560, section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from floorline.block import Block, block
from floorline.blocks.norm import Norm, dropout, residual
from floorline.convolution import convolution
from floorline.op import Elementwise, Op, contraction, elementwise, lookup, view
from floorline.tensor import TOKENS, Tensor


@dataclass(frozen=True)
class LayerScale(Norm):
    """A learned factor for each element of what a branch adds; it stands where a norm may stand.

    >>> [str(t) for t in LAYER_SCALE.op("norm1_after", "attn_raw", "attn").inputs]
    ['attn_raw[BTD]', 'Wnorm1_after[D]']
    """

    def op(
        self, name: str, source: str, target: str, letters: str = "BTD", over: str = "D", weight: str = ""
    ) -> Elementwise:
        """The operator; no row is reduced."""
        scale = weight or over
        return elementwise(name, f"{source}[{letters}] W{name}[{scale}] -> {target}[{letters}]", self.function)


LAYER_SCALE = LayerScale("layer_scale")
PIXELS = Tensor("px", "Bcuw", TOKENS, format="bf16")
"""A picture; like token ids it takes no gradient."""


@cache
def patches(
    *,
    bias: bool = True,
    extra: tuple[str, ...] = (),
    positions: str = "PD",
    embeds: bool = True,
    norm: Norm | None = None,
    drop: bool = False,
    frames: bool = False,
    name: str = "embedding",
) -> Block:
    """Each patch of a picture becomes a token by a convolution whose stride is its window (or, the same, a matmul).

    bias       of the convolution
    extra      learned tokens that join the patches: ("Wclass[D]",); a mask token, which only training puts in, is there too
    positions  letters of the table of positions, "" for none
    embeds     whether parameter counts call that table an embedding
    norm       of the sum
    frames     whether a patch spans a frames of a video

    >>> vit = patches(extra=("Wclass[D]",))
    >>> [str(t) for t in vit.weights()], vit.ops[0].flops()[0].formula()
    (['Wpatch[Dcij]', 'Wpatch.bias[D]', 'Wclass[D]', 'Wp[PD]'], '2·B·N·D·c·i·j')
    """
    window = "caij" if frames else "cij"
    patch = convolution("patch", f"px[Bcuw] Wpatch[D{window}] -> e[BND]", bias=bias)
    ops: list[Op] = [replace(patch, inputs=(PIXELS, *patch.inputs[1:]))]
    given, last = "px[Bcuw]", "j"
    joined = " ".join(("e[BND]", *extra, "-> j[BTD]"))
    ops.append(elementwise("join", joined, "pass") if extra else view("join", joined))
    if positions:
        given += " position_ids[T]"
        ops.append(lookup("positions", f"position_ids[T] Wp[{positions}] -> r[TD]", "P", "min(T/P, 1)", embeds=embeds))
        ops.append(elementwise("add", "j[BTD] r[TD] -> sum[BTD]", "add", linear=True))
        last = "sum"
    if norm:
        ops.append(norm.op("embedding_norm", last, "normed"))
        last = "normed"
    if drop:
        ops.append(dropout("drop", last, "dropped"))
        last = "dropped"
    made = block(name, given, tuple(ops), last)
    return replace(made, inputs=(PIXELS, *made.inputs[1:]))


@cache
def pooled(
    *,
    norm: Norm | None = None,
    projected: str = "p",
    bias: bool = True,
    activation: str = "",
    heads: int = 1,
    name: str = "pooler",
    target: str = "pooled",
) -> Block:
    """One vector of each picture (or text) is normalised, projected and activated: a pooler, a classifier, an embedding.

    projected  letter of what the matmul makes, "" for no matmul
    heads      how many such matmuls stand side by side (DeiT: one for each of its two tokens)

    >>> pooled(projected="L", name="classifier").ops[0].flops()[0].formula()
    '2·B·d·L'
    """
    ops: list[Op] = []
    source, out = "t[Bd]", f"{target}[B{projected}]"
    if norm:
        ops.append(norm.op("pooled_norm", "t", "n" if projected else target, "Bd", "d"))
        source = "n[Bd]"
    for k in range(heads if projected else 0):
        made = f"z{k}[B{projected}]" if activation or heads > 1 else out
        ops.append(contraction(f"project{k or ''}", f"{source} Wproject{k or ''}[d{projected}] -> {made}", bias=bias))
    if activation:
        ops.append(elementwise("act", f"z0[B{projected}] -> {out}", activation))
    elif heads > 1:
        parts = " ".join(f"z{k}[B{projected}]" for k in range(heads))
        ops.append(elementwise("mean", f"{parts} -> {out}", "add", linear=True))
    return block(name, "t[Bd]", tuple(ops), target if ops else "t")


@cache
def attention_pooler(norm: Norm, activation: str, name: str = "pooler", target: str = "pooled") -> Block:
    """One learned query attends to all tokens; a feed-forward network behind it.

    Source: transformers, modeling_siglip.py, SiglipMultiheadAttentionPoolingHead.

    >>> attention_pooler(Norm("layer_norm", bias=True), "gelu").ops[2].flops()[0].formula()
    '2·B·T·D·K·H'
    """
    ops = (
        elementwise("probe", "Wprobe[D] -> query[BD]", "pass"),
        contraction("q", "query[BD] Wq[DKH] -> q[BKH]", bias=True),
        contraction("k", "x[BTD] Wk[DKH] -> k[BTKH]", bias=True, kernel="qkv"),
        contraction("v", "x[BTD] Wv[DKH] -> v[BTKH]", bias=True, kernel="qkv"),
        contraction("scores", "q[BKH] k[BTKH] -> s[BKT]", kernel="attention"),
        elementwise("softmax", "s[BKT] -> a[BKT]", "softmax", kernel="attention", reduces="T", statistics=(2, 1)),
        contraction("values", "a[BKT] v[BTKH] -> ctx[BKH]", kernel="attention"),
        contraction("out", "ctx[BKH] Wo[KHD] -> pool[BD]", bias=True),
        norm.op("norm", "pool", "n", "BD", "D"),
        contraction("up", "n[BD] Wup[DF] -> u[BF]", bias=True),
        elementwise("act", "u[BF] -> m[BF]", activation),
        contraction("down", "m[BF] Wdown[FD] -> ffn[BD]", bias=True),
        residual("add", "pool", "ffn", target, "BD"),
    )
    return block(name, "x[BTD]", ops, target)


@cache
def contrast(*, bias: bool = False) -> Block:
    """Each text's vector times each picture's, all against all, scaled by a learned number (and shifted by another).

    >>> contrast().ops[0].flops()[0].formula(), contrast().derived
    ('2·B·p·A', (('A', 'B'),))
    """
    shift = " Wlogit_bias[]" if bias else ""
    ops = (
        contraction("compare", "text[Bp] image[Ap] -> z[BA]"),
        elementwise("scale", f"z[BA] Wlogit_scale[]{shift} -> logits[BA]", "scale"),
    )
    return block("contrast", "text[Bp] image[Ap]", ops, "logits", derived=(("A", "B"),))


@cache
def decoder(name: str = "decoder") -> Block:
    """Every token of a patch becomes its pixels again, by a convolution of one: masked image modelling (SimMIM).

    Source: Xie et al. 2021, arXiv:2111.09886, section 3.2; transformers, modeling_vit.py, ViTForMaskedImageModeling.

    >>> decoder().ops[0].flops()[0].formula()
    '2·B·N·D·o'
    """
    return block(name, "x[BND]", (contraction("pixels", "x[BND] Wpixels[Do] -> px[BNo]", bias=True),), "px")
