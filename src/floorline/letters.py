"""Letters name dimensions. A count is a product of letters, and an operator is a pattern of tensors over letters.

Reserved across the project: ``B`` batch, ``T`` tokens in the query, ``S`` tokens attended to, ``D`` model width,
``K`` key/value heads, ``G`` query heads for each of them, ``H`` head width, ``F`` feed-forward width, ``E`` experts,
``V`` vocabulary, ``P`` positions, ``O`` positions whose logits are computed, ``k f s C`` of mixtures (experts per token, an
expert's width, the shared ones', slots of an expert), ``M`` encoder (text) tokens, ``W`` those of picture and text together,
``R`` relative buckets, ``Y`` token types, ``h I`` of states. Other letters are local to a block.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import CodeType
from typing import Any

import numpy as np

from floorline.errors import BadInput
from floorline.formulas.collectives import members_inside
from floorline.formulas.experts import experts_read
from floorline.num import Num, ceil, maximum, minimum
from floorline.specs.accelerator import UNLIMITED

MEANING = {
    "B": "batch",
    "T": "tokens in the query",
    "S": "tokens attended to",
    "D": "model width",
    "K": "key/value heads",
    "G": "query heads per key/value head",
    "H": "head width",
    "F": "feed-forward width",
    "V": "vocabulary",
    "P": "positions",
    "O": "positions with logits",
    "E": "experts",
    "k": "experts per token",
    "f": "width of an expert",
    "s": "width of the shared experts",
    "M": "tokens of the encoder, of the text beside a picture",
    "W": "tokens of picture and text together",
    "Y": "token types",
    "h": "state heads",
    "I": "inner width of a state-space layer",
}

OPERAND = re.compile(r"(/?[A-Za-z_][\w.]*)\[([A-Za-z]*)\]")


def operands(text: str) -> tuple[tuple[str, str], ...]:
    """Names and letters of whiteboard tensors.

    >>> operands("h[BTD] Wq[DKGH]")
    (('h', 'BTD'), ('Wq', 'DKGH'))
    """
    found = []
    for word in text.split():
        match = OPERAND.fullmatch(word)
        if match is None:
            raise BadInput(f"{word!r} in {text!r} is no tensor; expected a name with letters, such as h[BTD]")
        found.append((match.group(1), match.group(2)))
    return tuple(found)


def pattern(text: str) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """The two sides of an operator's pattern.

    >>> pattern("m[BTF] Wdown[FD] -> d[BTD]")[1]
    (('d', 'BTD'),)
    """
    left, arrow, right = text.partition("->")
    if not arrow:
        raise BadInput(f"{text!r} has no '->'; expected inputs -> outputs, such as 'm[BTF] Wdown[FD] -> d[BTD]'")
    return operands(left), operands(right)


def union(*words: str) -> str:
    """All letters of several words, each once, in the order of first appearance.

    >>> union("BTD", "DF")
    'BTDF'
    """
    return "".join(dict.fromkeys("".join(words)))


def without(word: str, drop: str) -> str:
    """The letters of ``word`` that are not in ``drop``.

    >>> without("BTKGS", "S")
    'BTKG'
    """
    return "".join(letter for letter in word if letter not in drop)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": minimum,
    "max": maximum,
    "ceil": np.ceil,
    "floor": np.floor,
    "experts_read": experts_read,
}
ALLOWED = (ast.Expression, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Name, ast.Load, ast.Constant, ast.Call)


@dataclass(frozen=True)
class Expression:
    """A small formula over letters and named numbers: ``min(B*T/V, 1)``.

    Used for derived letters and for the share of an operand that is touched. Allowed: + - * / ( ) min max ceil floor experts_read.

    >>> float(Expression("min(B*T/V, 1)")({"B": 2.0, "T": 8.0, "V": 64.0}))
    0.25
    """

    text: str

    def __call__(self, values: Mapping[str, Num]) -> Num:
        try:
            result: Num = eval(compiled(self.text), {"__builtins__": {}, **FUNCTIONS}, values)
        except (NameError, TypeError) as error:
            raise BadInput(f"expression {self.text!r}: {error}; known letters: {' '.join(sorted(values))}") from None
        return result


@cache
def compiled(text: str) -> CodeType:
    """The checked byte code of an expression; anything but arithmetic is refused."""
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        raise BadInput(
            f"expression {text!r} cannot be read; expected letters with + - * / min max ceil floor"
        ) from None
    for node in ast.walk(tree):
        text_constant = isinstance(node, ast.Constant) and not isinstance(node.value, (int, float))
        if text_constant or not isinstance(node, ALLOWED):
            raise BadInput(f"expression {text!r}: {type(node).__name__} is not allowed; use + - * / min max ceil floor")
    return compile(tree, "<expression>", "eval")


@dataclass(frozen=True)
class Product:
    """A count: coefficient × letters × named shares, divided among the ranks of some mesh axes.

    coefficient  [-]
    letters      each a dimension, such as "BTDF"
    shares       named numbers or expressions between 0 and 1, such as "visible"
    axes         mesh axes whose ranks divide the work or the data

    >>> Product(2.0, "BTDF").formula()
    '2·B·T·D·F'
    """

    coefficient: float
    letters: str
    shares: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()

    def formula(self) -> str:
        """The count in letters, as people write it."""
        head = [] if self.coefficient == 1.0 and (self.letters or self.shares) else [f"{self.coefficient:g}"]
        return "·".join([*head, *self.letters, *(f"({s})" if not s.isalpha() else s for s in self.shares)]) + (
            f" / ({'·'.join(self.axes)})" if self.axes else ""
        )

    def split(self, axes: tuple[str, ...]) -> Product:
        """The same count for one rank of ``axes``."""
        return replace(self, axes=axes)


class Numbers:
    """Values of letters, named shares and mesh axes, with products remembered.

    Products multiply letter by letter in the order written, then shares, then the coefficient, then divide by the axes:
    one static order, so an array gives bit for bit what its scalars give.

    values   letter or name → size
    degrees  mesh axis → ranks
    derived  letter → expression
    stored   tensor → bytes an element, for those whose format is neither their role's nor their own

    >>> Numbers({"B": 2.0, "D": 3.0}).value(Product(2.0, "BD"))
    12.0
    """

    def __init__(
        self,
        values: Mapping[str, Num],
        degrees: Mapping[str, Num] | None = None,
        derived: Mapping[str, str] | None = None,
        stored: Mapping[str, Num] | None = None,
    ) -> None:
        self.values = dict(values)
        self.degrees = dict(degrees or {})
        self.derived = dict(derived or {})
        self.stored = dict(stored or {})
        self._products: dict[str, Num] = {}
        self._ranks: dict[tuple[str, ...], Num] = {}
        self._members: dict[tuple[tuple[str, ...], float], Num] = {}
        self._shares: dict[str, Num] = {}

    def having(self, name: str, value: Num) -> Numbers:
        """The same sizes with another named share; products of letters, which it does not touch, stay remembered."""
        other = Numbers({**self.values, name: value}, self.degrees, self.derived, self.stored)
        other._products, other._ranks, other._members = self._products, self._ranks, self._members
        return other

    def renewed(self, values: Mapping[str, Num]) -> Numbers:
        """Other sizes for some letters; what is derived from them is derived anew."""
        kept = {name: value for name, value in self.values.items() if name not in self.derived}
        return Numbers({**kept, **values}, self.degrees, self.derived, self.stored)

    def letter(self, letter: str) -> Num:
        """The size of a dimension, derived where the block says so (J = N + R)."""
        if letter not in self.values and letter in self.derived:
            self.values[letter] = Expression(self.derived[letter])(self.values)
        try:
            return self.values[letter]
        except KeyError:
            known = " ".join(sorted(self.values))
            raise BadInput(f"letter {letter!r} has no value; known letters: {known}") from None

    def letters(self, word: str) -> Num:
        """The product of the dimensions in ``word``."""
        found = self._products.get(word)
        if found is None:
            found = self.letters(word[:-1]) * self.letter(word[-1]) if word else 1.0
            self._products[word] = found
        return found

    def ranks(self, axes: tuple[str, ...]) -> Num:
        """The number of ranks in the group of ``axes``; axes without a degree have one rank."""
        found = self._ranks.get(axes)
        if found is None:
            found = self.ranks(axes[:-1]) * self.degrees.get(axes[-1], 1.0) if axes else 1.0
            self._ranks[axes] = found
        return found

    def members(self, axes: tuple[str, ...], domain: Num) -> Num:
        """Ranks of the group of ``axes`` in one domain of devices, axes being placed in the order of their degrees."""
        if not isinstance(domain, float):
            return self.members_of(axes, domain)
        if (
            domain == 1.0 or domain == UNLIMITED
        ):  # a device alone, or all: what the general way gives, without its arithmetic
            return 1.0 if domain == 1.0 else self.ranks(tuple(a for a in self.degrees if a in axes))
        found = self._members.get((axes, domain))
        if found is None:
            found = self._members[axes, domain] = self.members_of(axes, domain)
        return found

    def members_of(self, axes: tuple[str, ...], domain: Num) -> Num:
        """The same, computed."""
        result: Num = 1.0
        stride: Num = 1.0
        first: Num | None = None
        for axis, ranks in self.degrees.items():
            if axis in axes:
                first = stride if first is None else first
                result = result * members_inside(domain, stride, ranks)
            stride = stride * ranks
        return result if first is None else minimum(result, ceil(domain / first))

    def share(self, text: str) -> Num:
        """A named number, or an expression over letters."""
        found = self._shares.get(text)
        if found is None:
            found = self.values[text] if text in self.values else Expression(text)({**self.values, **self.degrees})
            self._shares[text] = found
        return found

    def value(self, product: Product) -> Num:
        """The count as a number."""
        result = self._products.get(product.letters)
        if result is None:
            result = self.letters(product.letters)
        for share in product.shares:
            result = result * self.share(share)
        if product.coefficient != 1.0:
            result = product.coefficient * result
        return result / self.ranks(product.axes) if product.axes else result

    def filled(self, product: Product) -> str:
        """The count with its numbers in place of the letters, for explanations."""
        head = [] if product.coefficient == 1.0 and product.letters else [f"{product.coefficient:g}"]
        values = [*(self.letter(x) for x in product.letters), *(self.share(s) for s in product.shares)]
        text = "·".join([*head, *(f"{float(np.asarray(v).flat[0]):.10g}" for v in values)])
        return text + (f" / {float(np.asarray(self.ranks(product.axes)).flat[0]):g}" if product.axes else "")
