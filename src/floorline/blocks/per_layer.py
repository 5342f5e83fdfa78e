"""Inputs of each layer: every token has a small vector for every layer, looked up and projected once, which a last branch of
the layer gates and adds.

Letters: ``v`` rows of the table, ``l`` layers, ``z`` width of one layer's vector.

Source: transformers, modeling_gemma4.py, Gemma4TextModel.project_per_layer_inputs and Gemma4TextDecoderLayer (also Gemma 3n).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from floorline.block import Block, block
from floorline.blocks.norm import Norm
from floorline.op import Op, contraction, elementwise, lookup

GIVEN = "each[BTz]"
"""What a layer with such a branch is given: the ``inputs`` of its block."""


@cache
def per_layer_inputs(norm: Norm) -> Block:
    """The vectors of all layers: rows of a table, plus a projection of the token's embedding.

    norm  of the projection, over each layer's vector

    >>> from floorline.blocks.norm import RMS_NORM
    >>> [str(t) for t in per_layer_inputs(RMS_NORM).weights()]
    ['Wper_layer[vlz]', 'Wproject[Dlz]', 'Wnorm[z]']
    """
    table = "token_ids[BT] Wper_layer[vlz] -> rows[BTlz]"
    ops: tuple[Op, ...] = (
        lookup("table", table, "v", "min(B*T/v, 1)", embeds=False),
        contraction("project", "x[BTD] Wproject[Dlz] -> p[BTlz]"),
        norm.op("norm", "p", "n", "BTlz", "z"),
        elementwise("add", "n[BTlz] rows[BTlz] -> each[BTlz]", "add", linear=True),
    )
    return block("per_layer", "x[BTD] token_ids[BT]", ops, "each")


@dataclass(frozen=True)
class PerLayerInput:
    """The branch: the stream is narrowed, activated, multiplied by the layer's vector and widened again.

    >>> [op.name for op in PerLayerInput("gelu").ops("x2", "more")]
    ['narrow', 'narrow_act', 'widen']
    """

    activation: str

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From ``source[BTD]`` to ``target[BTD]``."""
        return (
            contraction("narrow", f"{source}[BTD] Wnarrow[Dz] -> narrow[BTz]"),
            elementwise("narrow_act", f"narrow[BTz] {GIVEN} -> wide[BTz]", f"gated_{self.activation}"),
            contraction("widen", f"wide[BTz] Wwiden[zD] -> {target}[BTD]"),
        )
