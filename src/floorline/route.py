"""Route: tokens go to the experts that the router chose for them, and come back."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.letters import Product, pattern
from floorline.op import Op, pieces, tensors
from floorline.tensor import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Route(Op):
    """A permutation between tokens ``[B T …]`` and experts' slots ``[E C …]``; no arithmetic, one read and one write.

    C, tokens an expert gets, is a derived letter: B·T·k/E for balanced routing. Where tokens and experts are cut by the
    same ranks, this is where an all-to-all goes.

    >>> [str(t) for t in route("dispatch", "h[BTD] -> xe[ECD]").outputs]
    ['xe[ECD]']
    """

    def flops(self) -> tuple[Product, ...]:
        return ()

    def backward(self, wanted: frozenset[str], saved: tuple[Tensor, ...]) -> tuple[Op, ...]:
        """The same permutation the other way."""
        carried = tuple(t.gradient() for t in self.activations if t.name in wanted)
        return tuple(
            Route(
                name=f"{self.name}.d{t.name}",
                inputs=tuple(o.gradient() for o in self.outputs),
                outputs=(t,),
                kernel=pieces(self.kernel, "backward"),
            )
            for t in carried
        )


def route(name: str, text: str, *, kernel: str = "") -> Route:
    """A route from its pattern."""
    left, right = pattern(text)
    return Route(name=name, inputs=tensors(left, {}), outputs=tensors(right, {}), kernel=kernel)
