"""Scan: a recurrence along the tokens that carries a state, and the contractions that it does at each of them."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.letters import Product, pattern
from floorline.op import Op, pieces, tensors
from floorline.tensor import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan(Op):
    """A state-space or recurrent layer's walk along T.

    What it computes is an implementation's choice: a recurrence token by token, or chunks of matmuls. Its FLOP are those
    of the contractions that the algorithm does, declared as their letters; elementwise updates count none.

    contractions  letters of each, such as "BThPN" for the read-out of a state of P × N per head h
    algorithm     "recurrent", "chunked", …: which published algorithm the contractions are of

    >>> readout = scan("ssm", "x[BThP] state[BhPN] -> y[BThP]", ("BThPN",), "recurrent")
    >>> readout.flops()[0].formula()
    '2·B·T·h·P·N'
    """

    contractions: tuple[str, ...]
    algorithm: str

    def flops(self) -> tuple[Product, ...]:
        return tuple(Product(2.0, letters) for letters in self.contractions)

    def backward(self, wanted: frozenset[str], saved: tuple[Tensor, ...]) -> tuple[Op, ...]:
        """The reverse walk: two contractions for each of the forward's, one for each of its factors."""
        carried = tuple(t.gradient() for t in self.activations if t.name in wanted)
        gradients = (*carried, *(t.gradient() for t in self.trained))
        if not gradients:
            return ()
        return (
            Scan(
                name=f"{self.name}.backward",
                inputs=(*(t.gradient() for t in self.outputs), *saved, *self.weights),
                outputs=gradients,
                contractions=self.contractions * 2,
                algorithm=self.algorithm,
                kernel=pieces(self.kernel, "backward"),
            ),
        )


def scan(name: str, text: str, contractions: tuple[str, ...], algorithm: str, *, kernel: str = "") -> Scan:
    """A scan from its pattern and the letters of its contractions."""
    left, right = pattern(text)
    return Scan(
        name=name,
        inputs=tensors(left, {}),
        outputs=tensors(right, {}),
        contractions=contractions,
        algorithm=algorithm,
        kernel=kernel,
    )
