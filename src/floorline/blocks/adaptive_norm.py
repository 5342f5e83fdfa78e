"""Adaptive norms: scales, shifts and gates that are made of the conditioning vector, not learned one by one.

Letters: ``n`` vectors that are made of it (shift, scale and gate for each branch: six), ``v`` its width.

Source: Peebles and Xie 2022 (DiT), arXiv:2212.09748, section 3.2, "adaLN-Zero block"; one for all layers, with a table for each:
Chen et al. 2023 (PixArt-α), arXiv:2310.00426, section 2.3.
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.blocks.norm import Norm, residual
from floorline.op import Elementwise, Op, contraction, elementwise


def modulation(
    name: str,
    source: str,
    target: str,
    *,
    letters: str = "nD",
    width: str = "v",
    bias: bool = True,
    act: str = "silu",
    rows: str = "",
) -> tuple[Op, ...]:
    """Scales, shifts and gates from the conditioning vector: an activation and one matmul.

    source   conditioning vector ``[Bv]``
    target   what is made ``[BnD]``
    letters  of it without the batch
    act      the activation; "" for none
    rows     letters of several vectors for each of the batch: "r" where some tokens have a time of their own

    >>> [op.flops()[0].formula() for op in modulation("mod", "vec", "mod") if op.flops()]
    ['2·B·v·n·D']
    """
    each = f"B{rows}"
    before = (elementwise(f"{name}_act", f"{source}[{each}{width}] -> {name}_a[{each}{width}]", act),) if act else ()
    given = f"{name}_a" if act else source
    matmul = contraction(
        name, f"{given}[{each}{width}] W{name}[{width}{letters}] -> {target}[{each}{letters}]", bias=bias
    )
    return (*before, matmul)


def shared_modulation(name: str, shared: str, target: str, letters: str = "nD") -> tuple[Op, ...]:
    """What all layers share plus a table of the layer's own.

    >>> [str(t) for t in shared_modulation("mod", "all", "mod")[0].inputs]
    ['all[BnD]', 'Wmod[nD]']
    """
    return (elementwise(name, f"{shared}[B{letters}] W{name}[{letters}] -> {target}[B{letters}]", "add_table"),)


@dataclass(frozen=True)
class ModulatedNorm(Norm):
    """A norm whose result is scaled and shifted by what conditions the model; one launch where a compiler fuses it.

    by  the tensor that scales and shifts, with its letters

    >>> op = ModulatedNorm("layer_norm", weight=False, statistics=(2, 2), by="mod[BnD]").op("norm1", "x", "h")
    >>> op.function, [str(t) for t in op.inputs]
    ('modulated_layer_norm', ['x[BTD]', 'mod[BnD]'])
    """

    by: str = "mod[BnD]"

    def op(
        self, name: str, source: str, target: str, letters: str = "BTD", over: str = "D", weight: str = ""
    ) -> Elementwise:
        """The operator."""
        scale = f" W{name}[{weight or over}]" if self.weight else ""
        shift = f" W{name}.bias[{weight or over}]" if self.weight and self.bias else ""
        return elementwise(
            name,
            f"{source}[{letters}] {self.by}{scale}{shift} -> {target}[{letters}]",
            f"modulated_{self.function}",
            reduces=over,
            statistics=self.statistics,
        )


def modulated(norm: Norm, by: str = "mod[BnD]") -> ModulatedNorm:
    """A norm, then scale and shift.

    >>> from floorline.blocks.norm import PLAIN_NORM
    >>> modulated(PLAIN_NORM, "cmod[BnD]").by
    'cmod[BnD]'
    """
    return ModulatedNorm(norm.function, norm.weight, norm.bias, norm.statistics, by)


def gated(name: str, stream: str, branch: str, target: str, by: str = "mod[BnD]", letters: str = "BTD") -> Op:
    """What a branch adds to the stream, scaled by a gate that is made of the conditioning vector.

    by  the tensor that holds the gate, with its letters; "" for none: a plain sum

    >>> gated("add1", "x", "attn", "x1").function
    'gated_add'
    """
    if not by:
        return residual(name, stream, branch, target, letters)
    pattern = f"{stream}[{letters}] {branch}[{letters}] {by} -> {target}[{letters}]"
    return elementwise(name, pattern, "gated_add")
