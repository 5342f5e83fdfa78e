"""A transformer block that is stored once and applied in several layers, each time in front of a state-space layer.

    t = linear(mlp(norm(attention(norm([x, embedded])))))        y = x + mixer(norm(x + t))

It reads the stream beside the model's embedded input, so attention is twice as wide. The linear map and the mixer are each layer's
own; so are, in Zamba-2, low-rank additions to the shared matmuls. Where a configuration ties nothing, the library gives each layer
a copy of the block, with a list of the additions of all layers that would share it, of which the layer picks its own.

Sources: Glorioso et al. 2024 (Zamba), arXiv:2405.16712, figure 2; Zamba-2, arXiv:2411.15242, figure 2; transformers 5.23,
models/zamba/modeling_zamba.py and models/zamba2/modeling_zamba2.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from floorline.block import Block, block
from floorline.blocks.attention import Attention
from floorline.blocks.layer import Part
from floorline.blocks.norm import RMS_NORM, residual
from floorline.op import Op, contraction, elementwise, lookup, view


@dataclass(frozen=True, kw_only=True)
class SharedTransformer:
    """The block that several layers have in common.

    attention          what it does between projections and output
    activation         of its gated feed-forward
    bias               of the feed-forward's matmuls
    attention_adapter  whether queries, keys and values have a low-rank addition of each layer's own
    adapter            whether gate and up have one
    index              which of the model's shared blocks it is: its weights are called after it
    apart              whether each layer has a copy of its own after all

    Letters: A width of the stream and the embedded input together, r rank of the additions, a length of their list.

    >>> shared = SharedTransformer(attention=Attention(), activation="gelu", index=1)
    >>> shared.ops("x", "embedded", "t")[1].weights[0].name
    '/Wshared1_attention_norm'
    """

    attention: Attention
    activation: str = "gelu"
    bias: bool = False
    attention_adapter: bool = False
    adapter: bool = False
    index: int = 0
    apart: bool = False

    @property
    def inputs(self) -> str:
        """What the block is given besides the stream."""
        picks = self.apart and (self.adapter or self.attention_adapter)
        return "embedded[BTD] layer_ids[]" if picks else "embedded[BTD]"

    def ops(self, stream: str, embedded: str, target: str) -> tuple[Op, ...]:
        """From the stream and the embedded input, both ``[BTD]``, to ``target[BTD]``."""
        core = self.attention
        turned, query, key, value = core.queries_and_keys()
        return (
            view("beside", f"{stream}[BTD] {embedded}[BTD] -> both[BTA]"),
            self.shared(RMS_NORM.op("attention_norm", "both", "wide", "BTA", "A")),
            *self.projection("q", "wide", "A", "KGH", self.attention_adapter),
            *self.projection("k", "wide", "A", "KH", self.attention_adapter),
            *self.projection("v", "wide", "A", "KH", self.attention_adapter),
            *turned,
            *core.keep(key, value, ""),
            *core.core(query),
            self.shared(contraction("attention_out", "ctx[BTKGH] Wo[KGHD] -> attended[BTD]")),
            self.shared(RMS_NORM.op("feed_forward_norm", "attended", "narrow")),
            *self.projection("gate", "narrow", "D", "F", self.adapter, self.bias),
            *self.projection("up", "narrow", "D", "F", self.adapter, self.bias),
            elementwise("shared_act", "gate[BTF] up[BTF] -> activated[BTF]", f"gated_{self.activation}"),
            self.shared(contraction("down", f"activated[BTF] Wdown[FD] -> {target}[BTD]", bias=self.bias)),
        )

    def projection(
        self, name: str, source: str, old: str, new: str, adapted: bool, bias: bool = False
    ) -> tuple[Op, ...]:
        """A matmul with the shared weight, and a layer's own low-rank addition."""
        main = f"{name}_shared" if adapted else name
        op = self.shared(contraction(main, f"{source}[BT{old}] W{name}[{old}{new}] -> {main}[BT{new}]", bias=bias))
        if not adapted:
            return (op,)
        # gate and up are one matmul in the library, so they have the addition's first matrix in common
        low = "up_low" if name == "gate" else f"{name}_low"
        return (
            op,
            *(() if name == "up" else self.added(low, source, old, "r", low)),
            *self.added(f"{name}_high", low, "r", new, f"{name}_own"),
            elementwise(f"{name}_add", f"{main}[BT{new}] {name}_own[BT{new}] -> {name}[BT{new}]", "add", linear=True),
        )

    def added(self, name: str, source: str, old: str, new: str, target: str) -> tuple[Op, ...]:
        """One matmul of an addition; of a list of them, that of the layer."""
        if not self.apart:
            return (contraction(name, f"{source}[BT{old}] W{name}[{old}{new}] -> {target}[BT{new}]"),)
        return (
            lookup(f"{name}_pick", f"layer_ids[] W{name}[a{old}{new}] -> {name}_one[{old}{new}]", "a", "1/a"),
            contraction(name, f"{source}[BT{old}] {name}_one[{old}{new}] -> {target}[BT{new}]"),
        )

    def shared(self, op: Op) -> Op:
        """The operator with its weights made the whole model's, unless each layer has a copy."""
        if self.apart:
            return op
        return op.renamed({t.name: f"/Wshared{self.index}_{t.name.removeprefix('W')}" for t in op.weights})


@cache
def hybrid(transformer: SharedTransformer, mixer: Part, name: str = "hybrid") -> Block:
    """A layer in which the shared block goes before a state-space layer.

    >>> from floorline.blocks.mamba2 import Mamba2
    >>> one = hybrid(SharedTransformer(attention=Attention()), Mamba2())
    >>> [str(t) for t in one.weights() if "linear" in t.name], one.outputs
    (['Wlinear[Dd]'], ('y',))
    """
    ops = (
        *transformer.ops("x", "embedded", "fed"),
        contraction("linear", "fed[BTD] Wlinear[Dd] -> told[BTd]"),
        elementwise("add_shared", "x[BTD] told[BTd] -> x1[BTD]", "add", linear=True),
        RMS_NORM.op("norm1", "x1", "h"),
        *mixer.ops("h", "mixed"),
        residual("add1", "x", "mixed", "y"),
    )
    return block(
        name,
        f"x[BTD] {transformer.inputs}",
        ops,
        "y",
        (("d", "D"), *getattr(mixer, "derived", ())),
        layer=True,
        caches=getattr(mixer, "caches", ""),
        formats=getattr(mixer, "formats", ()),
    )
