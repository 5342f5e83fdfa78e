"""What kind of kernel a launch is, with its sizes as products of letters: what kernel models want to know of it.

A contraction with a weight is a matmul, side by side where several read the same input; contractions of activations alone are
attention where they are one launch; matmuls with a weight for each expert are, with all that routes tokens to them, an expert
layer; a walk along tokens is a scan. Everything else is element-wise: its bytes say what it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from floorline.convolution import Convolution
from floorline.layout import Placed
from floorline.letters import Product
from floorline.op import CacheWrite, Contraction, Elementwise, Lookup, Op, View
from floorline.passes import Kernel
from floorline.route import Route
from floorline.scan import Scan
from floorline.tensor import GRADIENT, WEIGHT, Tensor

EXPERTS, SLOTS = "E", "C"
TOKEN_LETTERS = "BTSOMLJXqAW"
"""Letters that count rows."""
QUERIES = "TW"
"""Letters that count the queries of attention: of one stream, or of picture and text together."""


@dataclass(frozen=True, eq=False)
class Sized:
    """A launch as a kernel model sees it, on one rank.

    kind     "matmul", "attention", "experts", "inside experts" (part of the layer that its first matmul stands for), "scan",
             "element-wise", or "joined" (element-wise work that the next launch does on its way)
    sizes    name → product; of a matmul m, n (of each matrix), k and batch; of attention those of ``efficiency.attention``
    share    of query–key pairs that is computed: a name, or ""; of element-wise work, which operator it is
    weights  that it reads, none for activations alone
    """

    kind: str
    sizes: Mapping[str, tuple[Product, ...]] = field(default_factory=dict)
    share: str = ""
    weights: tuple[Tensor, ...] = ()


def sized(kernel: Kernel, placed: Mapping[str, Placed]) -> tuple[Sized, ...]:
    """What a launch is; several, where it does several matmuls that are not side by side.

    >>> from floorline import program
    >>> from floorline.catalogue.load import load_model
    >>> from floorline.implementations import implementation
    >>> from floorline.parallel.plan import Plan
    >>> block = load_model("gpt2").stacks[1].block
    >>> [s.kind for row in program.inference(block, implementation("flash"), Plan()) for s in row.sized][:4]
    ['element-wise', 'matmul', 'attention', 'matmul']
    """
    if any(of_experts(op) for op in kernel.ops):
        return (experts(kernel, placed),)
    contractions = [op for op in kernel.ops if isinstance(op, Contraction)]
    scores = [op for op in contractions if not of_weights(op)]
    if any(isinstance(op, Scan) for op in kernel.ops) or kernel.name == "scan":
        return (Sized("scan"),)
    found = side_by_side([op for op in contractions if op not in scores], placed)
    again = [op for op in scores if op.name.endswith(".inside")]
    if again:
        found.append(backward_attention(again, scores, placed))
    elif len(scores) > 1 and all(set(QUERIES) & set(op.letters) for op in scores):
        found.append(attention(scores, placed))
    elif scores:
        found += side_by_side(scores, placed)
    if not found:
        convolved = any(isinstance(op, Convolution) for op in kernel.ops)
        found.append(Sized("scan") if convolved else element_wise(kernel, placed))
    return tuple(found)


def of_experts(op: Op) -> bool:
    """Whether an operator belongs to an expert layer: it works on the slots of experts, or routes tokens to them."""
    return isinstance(op, Route) or (EXPERTS in op.letters and SLOTS in op.letters)


def local(letters: str, step: Placed) -> Product:
    """The product of some letters on one rank."""
    return Product(1.0, letters).split(tuple(sorted(a for a, x in step.places.items() if x in letters)))


def of_weights(op: Contraction) -> bool:
    """Whether a contraction reads a weight, or makes the gradient of one."""
    return any(t.is_weight for t in op.operands) or makes_gradient(op)


def makes_gradient(op: Op) -> bool:
    """Whether an operator makes the gradient of a weight."""
    return any(t.role == GRADIENT for t in op.outputs)


def side_by_side(ops: list[Contraction], placed: Mapping[str, Placed]) -> list[Sized]:
    """Matmuls, several as one where their matrices are parts of one: columns of a weight, going forward; what it sums over, as its
    result's gradient comes back; rows of its own gradient."""
    groups: dict[tuple[str, ...], list[Contraction]] = {}
    for op in ops:
        batch, m, n, k = op.matmul()
        left, right = op.operands[:2]
        forward = ("n", left.name, batch, m, k)
        back = ("k", op.outputs[0].name, batch, m, n)
        rows = ("m", right.name, batch, n, k)
        key = rows if makes_gradient(op) else back if op.name.endswith(".dgrad") else forward
        groups.setdefault(key, []).append(op)
    found = []
    for (split, *_), together in groups.items():
        letters = dict(zip(("batch", "m", "n", "k"), together[0].matmul(), strict=True))
        step = placed[together[0].name]
        sizes: dict[str, tuple[Product, ...]] = {name: (local(text, step),) for name, text in letters.items()}
        at = ("batch", "m", "n", "k").index(split)
        sizes[split] = tuple(local(op.matmul()[at], placed[op.name]) for op in together)
        weights = tuple(t for op in together for t in (*op.operands, *op.outputs) if t.role in (WEIGHT, GRADIENT))
        found.append(Sized("matmul", sizes, together[0].visible, weights))
    return found


def attention(ops: list[Contraction], placed: Mapping[str, Placed]) -> Sized:
    """Attention as one launch: scores over keys, then values weighted by them."""
    masked = [op for op in ops if op.visible] or ops
    first, step = masked[0], placed[masked[0].name]
    batch, m, keys, _ = first.matmul()
    scores = [op for op in masked if set(keys) <= set(op.outputs[0].letters)]
    values = [op for op in masked if op not in scores]
    shared = [op for op in values if op.operands[1].name in {s.operands[1].name for s in scores}]
    sizes = {
        "sequences": (local("".join(x for x in batch if x == "B"), step),),
        "kv_heads": (local("".join(x for x in batch if x != "B"), step),),
        "group": (local("".join(x for x in m if x not in QUERIES), step),),
        "queries": (local("".join(x for x in m if x in QUERIES), step),),
        "keys": (local(first.keys or keys, step),),
        "width": tuple(local(op.matmul()[3], placed[op.name]) for op in scores),
        "value_width": tuple(local(op.matmul()[2], placed[op.name]) for op in values),
        "latent": tuple(local(op.matmul()[2], placed[op.name]) for op in shared),
    }
    return Sized("attention", sizes, first.visible)


def backward_attention(again: list[Contraction], ops: list[Contraction], placed: Mapping[str, Placed]) -> Sized:
    """The backward pass of attention in one launch, which computes scores again: sizes are those of the forward pass."""
    forward = attention(again, placed)
    letters = set(again[0].outputs[0].letters)
    chances = [op for op in ops if op not in again and set(op.outputs[0].letters) == letters]
    value_width = tuple(local(op.matmul()[3], placed[op.name]) for op in chances)
    return Sized("backward attention", {**forward.sizes, "value_width": value_width}, forward.share)


def element_wise(kernel: Kernel, placed: Mapping[str, Placed]) -> Sized:
    """Work on each element: rows of tokens, and the elements of a row of all that is made."""
    ops = [op for op in kernel.ops if not isinstance(op, View)]
    if all(isinstance(op, Elementwise) and op.linear for op in ops):
        return Sized("joined")
    made = [op for op in ops if not isinstance(op, CacheWrite)] or ops
    first = made[0]
    row = first.reduces if isinstance(first, Elementwise) and first.reduces else ""
    letters = made_of(first)
    rows = "".join(x for x in letters if (x not in row if row else x in TOKEN_LETTERS))
    columns = tuple(local("".join(x for x in made_of(op) if x not in rows), placed[op.name]) for op in made)
    return Sized("element-wise", {"rows": (local(rows, placed[first.name]),), "columns": columns}, operator(first))


def made_of(op: Op) -> str:
    """Letters of what an operator makes; of a cache, of what is new in it."""
    return op.inputs[0].letters if isinstance(op, CacheWrite) else op.outputs[0].letters


def operator(op: Op) -> str:
    """The measured operator that an element-wise one is most like."""
    if isinstance(op, Lookup):
        return "embedding"
    if not isinstance(op, Elementwise):
        return "add"
    return "rmsnorm" if op.reduces else "rope" if op.function == "rope" else "add" if op.linear else "activation"


def experts(kernel: Kernel, placed: Mapping[str, Placed]) -> Sized:
    """An expert layer: its first matmul stands for all of it."""
    matmuls = [step for step in placed.values() if isinstance(step.op, Contraction) and of_experts(step.op)]
    step = matmuls[0]
    assert isinstance(step.op, Contraction)
    if step.op.name not in [op.name for op in kernel.ops]:
        return Sized("inside experts")
    _, slots, inner, width = step.op.matmul()
    sizes = {
        "experts": (local(EXPERTS, step),),
        "pairs": (local(EXPERTS + slots, step),),
        "inner": (local(inner, step),),
        "width": (local(width, step),),
        "matrices": (Product(float(len(matmuls)), ""),),
    }
    return Sized("experts", sizes, weights=tuple(t for t in step.op.operands if t.is_weight))
