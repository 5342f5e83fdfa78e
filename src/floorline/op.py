"""Operators: what a block is made of. Each kind is final and says three things about itself:

``flops()``     products of letters that count its floating-point operations (a multiply-add is two)
``backward()``  the operators that carry gradients back through it
its tensors     inputs and outputs by name, from which traffic, saved activations and messages follow

A matmul is a contraction over named tensors, ``"m[BTF] Wdown[FD] -> ffn[BTD]"``: letters that appear on the left only
are summed over. Elementwise work, norms and softmax count no FLOP (the convention of PyTorch's counter); their cost is
traffic.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace

from floorline.errors import BadInput
from floorline.letters import Product, pattern, union, without
from floorline.tensor import CACHE, Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Op(ABC):
    """Base of all operators (abstract; every kind below is final).

    name     unique in its block: "q", "scores", "norm1"
    inputs   tensors read, weights among them
    outputs  tensors made
    kernel   label of a group that may be one launch ("attention", "qkv"), or "" for a launch of its own
    phase    "train" for what only training does (dropout, the loss), or "" for always
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    kernel: str = ""
    phase: str = ""

    @abstractmethod
    def flops(self) -> tuple[Product, ...]:
        """Floating-point operations, as products of letters."""

    @abstractmethod
    def backward(self, wanted: frozenset[str], saved: tuple[Tensor, ...]) -> tuple[Op, ...]:
        """Operators that make the gradients of the inputs named in ``wanted`` (weights are always wanted, frozen ones never)."""

    @property
    def letters(self) -> str:
        """Every letter of the operator: its iteration space."""
        return union(*(t.letters for t in self.inputs), *(t.letters for t in self.outputs))

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """The parameters it reads."""
        return tuple(t for t in self.inputs if t.is_weight)

    @property
    def trained(self) -> tuple[Tensor, ...]:
        """The parameters that have a gradient."""
        return tuple(t for t in self.inputs if t.is_trained)

    @property
    def activations(self) -> tuple[Tensor, ...]:
        """What it reads besides parameters."""
        return tuple(t for t in self.inputs if not t.is_weight)

    def reads(self, tensor: Tensor) -> Product:
        """Elements of an input that are read: all, or the declared share that is touched."""
        return Product(1.0, tensor.letters, (tensor.touched,) if tensor.touched else ())

    def writes(self, tensor: Tensor) -> Product:
        """Elements of an output that are written: a cache receives the new tokens only."""
        letters = self.inputs[0].letters if tensor.role == CACHE and isinstance(self, CacheWrite) else tensor.letters
        return Product(1.0, letters)

    def renamed(self, names: dict[str, str]) -> Op:
        """The same operator reading other tensors, where ``names`` replaces some of its inputs."""
        return replace(self, inputs=tuple(replace(t, name=names.get(t.name, t.name)) for t in self.inputs))


def pieces(label: str, part: str) -> str:
    """The kernel label of a part of the backward pass: "qkv" becomes "qkv.dgrad"; no label stays none."""
    return f"{label}.{part}" if label else ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Contraction(Op):
    """A sum of products: matmuls with weights, attention scores, weighted values.

    visible  the named share of query-key pairs that is computed: "visible" (1 for full attention), "selected" where an
             indexer picks keys, "" for all
    keys     the letter that counts keys instead of S where each query has some of them only

    >>> contraction("down", "m[BTF] Wdown[FD] -> ffn[BTD]").flops()[0].formula()
    '2·B·T·F·D'
    """

    visible: str = ""
    keys: str = ""

    def flops(self) -> tuple[Product, ...]:
        letters = self.letters.replace("S", self.keys) if self.keys else self.letters
        return (Product(2.0, letters, (self.visible,) if self.visible else ()),)

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """The factors of the product, without the bias."""
        return tuple(t for t in self.inputs if not t.name.endswith(".bias"))

    def matmul(self) -> tuple[str, str, str, str]:
        """Letters of (batch, m, n, k): shared by all, from the left only, from the right only, summed over.

        >>> contraction("k", "h[BTD] Wk[DKH] -> k[BTKH]").matmul()
        ('', 'BT', 'KH', 'D')
        """
        left, right = self.operands[0].letters, self.operands[1].letters
        out = self.outputs[0].letters
        return (
            "".join(x for x in out if x in left and x in right),
            "".join(x for x in out if x in left and x not in right),
            "".join(x for x in out if x in right and x not in left),
            without(union(left, right), out),
        )

    def backward(self, wanted: frozenset[str], saved: tuple[Tensor, ...]) -> tuple[Op, ...]:
        made = self.outputs[0].gradient()
        bias = tuple(t.gradient() for t in self.trained if t.name.endswith(".bias"))
        both = not any(t.is_weight for t in self.operands)
        found: list[Op] = []
        for operand in self.operands:
            if operand.frozen or not (operand.is_weight or operand.name in wanted):
                continue
            others = tuple(t for t in self.operands if t is not operand)
            part = "backward" if both else "wgrad" if operand.is_weight else "dgrad"
            found.append(
                Contraction(
                    name=f"{self.name}.d{operand.name}" if both else f"{self.name}.{part}",
                    inputs=(made, *others),
                    outputs=(replace(operand, touched="").gradient(), *(bias if operand.is_weight else ())),
                    kernel=pieces(self.kernel, part),
                    visible=self.visible,
                    keys=self.keys,
                )
            )
        return tuple(found)


@dataclass(frozen=True, kw_only=True, eq=False)
class Elementwise(Op):
    """Work on each element, or along a row: activations, norms, softmax, residual additions, dropout, the loss.

    function    what is computed ("layer_norm", "softmax", "gelu_new", …): the key of what an implementation saves
    reduces     letters of a row that is reduced: D for a norm, S for softmax, V for the loss
    statistics  numbers a row that the reduction makes, forward and backward (softmax: maximum and sum, then one)
    linear      whether gradients pass unchanged (an addition), and sums over ranks may wait
    scales      the input that the others only scale ("ye"): its sums over ranks may wait too
    """

    function: str
    reduces: str = ""
    statistics: tuple[int, int] = (0, 0)
    linear: bool = False
    scales: str = ""

    def flops(self) -> tuple[Product, ...]:
        return ()

    @property
    def row(self) -> str:
        """Letters of one number for each row."""
        return without(self.outputs[0].letters, self.reduces)

    def backward(self, wanted: frozenset[str], saved: tuple[Tensor, ...]) -> tuple[Op, ...]:
        made = tuple(t.gradient() for t in self.outputs)
        carried = tuple(t for t in self.activations if t.name in wanted)
        if self.linear:
            return tuple(
                View(
                    name=f"{self.name}.d{t.name}",
                    inputs=made,
                    outputs=(t.gradient(),),
                    kernel=pieces(self.kernel, "backward"),
                )
                for t in carried
            )
        gradients = tuple(t.gradient() for t in (*carried, *self.trained))
        if not gradients:
            return ()
        scale = tuple(t for t in self.weights if not t.name.endswith(".bias"))
        return (
            Elementwise(
                name=f"{self.name}.backward",
                inputs=(*made, *saved, *scale),
                outputs=gradients,
                function=f"{self.function}.backward",
                reduces=self.reduces,
                statistics=(self.statistics[1], 0),
                kernel=pieces(self.kernel, "backward"),
            ),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Lookup(Op):
    """Rows of a table picked by integers: token and position embeddings. No FLOP; its backward scatters.

    index   the letter of the table's rows, summed over as a contraction with one-hot rows would
    embeds  whether parameter counts call its table an embedding, as transformers does
    """

    index: str
    embeds: bool = True

    def flops(self) -> tuple[Product, ...]:
        return ()

    def backward(self, wanted: frozenset[str], saved: tuple[Tensor, ...]) -> tuple[Op, ...]:
        table = self.weights[0]
        if table.frozen:
            return ()
        return (
            Elementwise(
                name=f"{self.name}.wgrad",
                inputs=(self.outputs[0].gradient(), *self.activations),
                outputs=(replace(table, touched="").gradient(),),
                function="scatter",
                linear=True,
            ),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class View(Op):
    """Another look at the same bytes: split, reshape, broadcast. Nothing is read or written."""

    def flops(self) -> tuple[Product, ...]:
        return ()

    def backward(self, wanted: frozenset[str], saved: tuple[Tensor, ...]) -> tuple[Op, ...]:
        return tuple(
            View(
                name=f"{self.name}.d{t.name}",
                inputs=tuple(o.gradient() for o in self.outputs),
                outputs=(t.gradient(),),
                kernel=pieces(self.kernel, "backward"),
            )
            for t in self.activations
            if t.name in wanted
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class CacheWrite(Op):
    """New keys or values join those of earlier tokens: ``k[BTKH] -> kc[BSKH]``. The KV cache is exactly these.

    The new tokens are written, the whole is what attention reads; in training nothing came before, S is T, and the
    cache is only another name.
    """

    def flops(self) -> tuple[Product, ...]:
        return ()

    def backward(self, wanted: frozenset[str], saved: tuple[Tensor, ...]) -> tuple[Op, ...]:
        if self.inputs[0].name not in wanted:
            return ()
        return (
            View(
                name=f"{self.name}.backward",
                inputs=(self.outputs[0].gradient(),),
                outputs=(self.inputs[0].gradient(),),
                kernel=pieces(self.kernel, "backward"),
            ),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Collective(Op):
    """A message between ranks, inserted where a tensor's layout changes; never written in a block.

    kind     all_reduce, all_gather, reduce_scatter, all_to_all, or stage_send between pipeline stages
    axes     mesh axes of the group
    message  elements of the buffer of one rank: reduced, gathered (the whole), scattered (the whole) or exchanged
    """

    kind: str
    axes: tuple[str, ...]
    message: Product

    @property
    def routed(self) -> bool:
        """Whether it brings tokens to the ranks of their experts, or back."""
        return self.kind == "all_to_all" and {"E", "C"} <= set(self.message.letters)

    def flops(self) -> tuple[Product, ...]:
        return ()

    def backward(self, wanted: frozenset[str], saved: tuple[Tensor, ...]) -> tuple[Op, ...]:
        raise BadInput("collectives are inserted after the backward pass is derived, not before")


def tensors(side: Iterable[tuple[str, str]], touched: dict[str, str]) -> tuple[Tensor, ...]:
    """Tensors of one side of a pattern."""
    return tuple(Tensor.of(name, letters, touched=touched.get(name, "")) for name, letters in side)


def contraction(
    name: str,
    text: str,
    *,
    kernel: str = "",
    bias: bool | str = False,
    visible: bool | str = False,
    keys: str = "",
    touched: dict[str, str] | None = None,
) -> Contraction:
    """A contraction from its pattern; ``bias`` adds one over the letters that the output shares with the weight, called
    after the weight or as it says.

    >>> [str(t) for t in contraction("q", "h[BTD] Wq[DKGH] -> q[BTKGH]", bias=True).inputs]
    ['h[BTD]', 'Wq[DKGH]', 'Wq.bias[KGH]']
    """
    left, right = pattern(text)
    inputs, outputs = tensors(left, touched or {}), tensors(right, {})
    if len(inputs) < 2 or len(outputs) != 1 or without(outputs[0].letters, union(*(t.letters for t in inputs))):
        raise BadInput(
            f"contraction {name!r}: {text!r} must have two factors or more, and one output made of their letters"
        )
    if bias:
        weight = next(t for t in inputs if t.is_weight)
        shared = "".join(x for x in weight.letters if x in outputs[0].letters)
        called = bias if isinstance(bias, str) else f"{weight.name}.bias"
        inputs = (*inputs, Tensor.of(called, shared, touched=weight.touched))
    share = visible if isinstance(visible, str) else "visible" if visible else ""
    return Contraction(name=name, inputs=inputs, outputs=outputs, kernel=kernel, visible=share, keys=keys)


def elementwise(
    name: str,
    text: str,
    function: str = "",
    *,
    kernel: str = "",
    phase: str = "",
    reduces: str = "",
    statistics: tuple[int, int] = (0, 0),
    linear: bool = False,
    scales: str = "",
) -> Elementwise:
    """An elementwise operator from its pattern: ``elementwise("act", "up[BTF] -> act[BTF]", "gelu")``."""
    left, right = pattern(text)
    return Elementwise(
        name=name,
        inputs=tensors(left, {}),
        outputs=tensors(right, {}),
        kernel=kernel,
        phase=phase,
        function=function or name,
        reduces=reduces,
        statistics=statistics,
        linear=linear,
        scales=scales,
    )


def lookup(name: str, text: str, index: str, touched: str, *, embeds: bool = True) -> Lookup:
    """Rows of a table: ``lookup("tokens", "ids[BT] /We[VD] -> x[BTD]", "V", touched="min(B*T/V, 1)")``."""
    left, right = pattern(text)
    inputs = tuple(
        Tensor.of(n, w, touched=touched) if n.lstrip("/").startswith("W") else Tensor(n, w, "tokens") for n, w in left
    )
    return Lookup(name=name, inputs=inputs, outputs=tensors(right, {}), index=index, embeds=embeds)


def cache_write(name: str, text: str, *, kernel: str = "", format: str = "") -> CacheWrite:
    """New keys or values join the cache: ``cache_write("cache_k", "k[BTKH] -> kc[BSKH]")``; a state is replaced.

    format  of what is kept, where it is not the cache's ("fp32" states)
    """
    left, right = pattern(text)
    kept = tuple(Tensor(n, w, CACHE, format) for n, w in right)
    return CacheWrite(name=name, inputs=tensors(left, {}), outputs=kept, kernel=kernel)


def view(name: str, text: str, *, kernel: str = "") -> View:
    """Another look at the same bytes."""
    left, right = pattern(text)
    return View(name=name, inputs=tensors(left, {}), outputs=tensors(right, {}), kernel=kernel)
