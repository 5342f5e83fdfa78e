"""A block: operators over named tensors that repeat as a layer. One with a dangling input does not construct."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from floorline.errors import BadInput
from floorline.letters import operands
from floorline.op import CacheWrite, Op
from floorline.tensor import CACHE, TOKENS, Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Operators in the order in which they run.

    name     "decoder", "embedding", "head"
    inputs   tensors from outside: the residual stream, token ids
    outputs  names that leave the block
    ops      operators; each reads inputs, weights and what earlier ones made
    derived  letters that follow from others, such as (("J", "N + R"),)
    layer    whether this is a layer (recomputation applies), not one of the ends: embedding, head, patches, pooler

    Blocks are made once by cached builders and compared by identity, so that what is derived from one is derived once.

    raises BadInput where an operator reads what nobody made, two operators share a name or an output, one name has two
    sets of letters, or an output is never made
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...]
    ops: tuple[Op, ...]
    derived: tuple[tuple[str, str], ...] = ()
    layer: bool = False

    def __post_init__(self) -> None:
        known = {t.name: t.letters for t in self.inputs}
        if len(known) < len(self.inputs):
            raise BadInput(f"block {self.name!r}: two inputs share a name; one name is one tensor")
        seen: set[str] = set()
        for op in self.ops:
            if op.name in seen:
                raise BadInput(f"block {self.name!r}: two operators are called {op.name!r}; every name must be its own")
            seen.add(op.name)
            for tensor in (*op.inputs, *op.outputs):
                if len(set(tensor.letters)) < len(tensor.letters):
                    raise BadInput(
                        f"block {self.name!r}: {tensor} of {op.name!r} has a letter twice; each dimension has its own"
                    )
            for tensor in op.inputs:
                if tensor.is_weight:
                    known.setdefault(tensor.name, tensor.letters)
                if tensor.name not in known:
                    made = ", ".join(known) or "nothing"
                    raise BadInput(
                        f"block {self.name!r}: {op.name!r} reads {tensor}, which nothing before it makes; there is: {made}"
                    )
                if known[tensor.name] != tensor.letters:
                    raise BadInput(
                        f"block {self.name!r}: {op.name!r} reads {tensor}, but {tensor.name} has letters [{known[tensor.name]}]"
                    )
            for tensor in op.outputs:
                if tensor.is_weight:
                    raise BadInput(
                        f"block {self.name!r}: {op.name!r} makes {tensor}, but names that begin with W are weights"
                    )
                if tensor.name in known:
                    raise BadInput(f"block {self.name!r}: {tensor.name!r} is made twice; one name is one tensor")
                known[tensor.name] = tensor.letters
        for name in self.outputs:
            if name not in known:
                raise BadInput(f"block {self.name!r}: nothing makes the output {name!r}")
        for name in known:
            twin = f"/d{name[1:]}" if name.startswith("/") else f"d{name}"
            if twin in known:
                raise BadInput(f"block {self.name!r}: {twin!r} is also the gradient of {name!r}; rename one of them")

    def __repr__(self) -> str:
        return f"Block({self.name!r}, {len(self.ops)} operators)"

    def weights(self) -> tuple[Tensor, ...]:
        """Distinct parameters, in the order of first use."""
        found = {t.name: t for op in self.ops for t in op.weights}
        return tuple(found.values())

    @cached_property
    def letters(self) -> frozenset[str]:
        """Every letter of its weights."""
        return frozenset("".join(t.letters for t in self.weights()))

    def caches(self) -> tuple[Tensor, ...]:
        """What the block keeps of each token for later ones: the outputs of its cache writes."""
        return tuple(t for op in self.ops if isinstance(op, CacheWrite) for t in op.outputs if t.role == CACHE)


def block(
    name: str,
    inputs: str,
    ops: tuple[Op, ...],
    outputs: str,
    derived: tuple[tuple[str, str], ...] = (),
    *,
    layer: bool = False,
    caches: str = "",
    formats: tuple[tuple[str, str], ...] = (),
    data: str = "",
) -> Block:
    """A block from whiteboard notation; inputs named "ids" hold integers, which take no gradient.

    data     further inputs that take none: latents, the text as an encoder left it, the waves of a time; 16 bits each
    caches   tensors that earlier steps left in the cache
    formats  of those whose format is not the cache's, such as (("state", "fp32"),)

    >>> from floorline.op import contraction
    >>> block("mlp", "x[BTD]", (contraction("up", "x[BTD] Wup[DF] -> u[BTF]"),), "u").weights()[0].letters
    'DF'
    """
    given = tuple(Tensor(n, w, TOKENS if n.endswith("ids") else "activations") for n, w in operands(inputs))
    given += tuple(Tensor(n, w, TOKENS, "bf16") for n, w in operands(data))
    given += tuple(Tensor(n, w, CACHE, dict(formats).get(n, "")) for n, w in operands(caches))
    written = tuple(t for op in ops if isinstance(op, CacheWrite) for t in op.outputs)
    cached = {t.name: t.format for t in (*written, *given) if t.role == CACHE}
    ids = {t.name: t.format for t in given if t.role == TOKENS}
    return Block(
        name=name,
        inputs=given,
        ops=tuple(integers(from_cache(op, cached), ids) for op in ops),
        outputs=tuple(outputs.split()),
        derived=derived,
        layer=layer,
    )


def from_cache(op: Op, cached: dict[str, str]) -> Op:
    """The operator with its inputs marked that come out of the cache: they have its format, or one of their own."""
    given = (replace(t, role=CACHE, format=cached[t.name]) if t.name in cached else t for t in op.inputs)
    return replace(op, inputs=tuple(given))


def integers(op: Op, ids: Mapping[str, str]) -> Op:
    """The operator with its inputs marked that are integers or data: no message brings them, they are wherever they are needed."""
    if not any(t.name in ids and t.role != TOKENS for t in op.inputs):
        return op
    return replace(
        op, inputs=tuple(replace(t, role=TOKENS, format=ids[t.name]) if t.name in ids else t for t in op.inputs)
    )
