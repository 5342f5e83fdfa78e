"""Convolution as an operator: each output element is a contraction over channels and a window."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.errors import BadInput
from floorline.letters import Product, pattern, union
from floorline.op import Op, pieces, tensors
from floorline.tensor import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Convolution(Op):
    """A convolution of any number of dimensions, such as the patches of a vision transformer.

    work  letters of its arithmetic: those of the output and of the weight, each once

    >>> patches = convolution("patch", "px[BCIJ] Wpatch[DCij] -> e[BDXY]")
    >>> patches.flops()[0].formula()
    '2·B·D·X·Y·C·i·j'
    """

    work: str

    def flops(self) -> tuple[Product, ...]:
        return (Product(2.0, self.work),)

    def backward(self, wanted: frozenset[str], saved: tuple[Tensor, ...]) -> tuple[Op, ...]:
        """As many FLOP for the gradient of the input, where it is wanted, and as many for the weight's."""
        source, weight = self.inputs[0], self.inputs[1]
        made = self.outputs[0].gradient()
        bias = tuple(t.gradient() for t in self.inputs[2:] if t.is_trained)
        dgrad = Convolution(
            name=f"{self.name}.dgrad",
            inputs=(made, weight),
            outputs=(source.gradient(),),
            work=self.work,
            kernel=pieces(self.kernel, "dgrad"),
        )
        wgrad = Convolution(
            name=f"{self.name}.wgrad",
            inputs=(made, source),
            outputs=(weight.gradient(), *bias),
            work=self.work,
            kernel=pieces(self.kernel, "wgrad"),
        )
        return (*((dgrad,) if source.name in wanted else ()), *((wgrad,) if weight.is_trained else ()))


def convolution(name: str, text: str, *, bias: bool = False, kernel: str = "") -> Convolution:
    """A convolution from its pattern: input, weight, output; letters of the input's extent stand for themselves."""
    left, right = pattern(text)
    inputs, outputs = tensors(left, {}), tensors(right, {})
    if len(inputs) != 2 or len(outputs) != 1 or not inputs[1].is_weight:
        raise BadInput(f"convolution {name!r}: {text!r} must be an input, a weight and one output")
    work = union(outputs[0].letters, inputs[1].letters)
    if bias:
        shared = "".join(x for x in inputs[1].letters if x in outputs[0].letters)
        inputs = (*inputs, Tensor.of(f"{inputs[1].name}.bias", shared))
    return Convolution(name=name, inputs=inputs, outputs=outputs, kernel=kernel, work=work)
