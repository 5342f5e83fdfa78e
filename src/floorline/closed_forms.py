"""Closed forms, worked out from products of letters: ``8·s·D² + 4·s²·D`` is what the operators of attention add up to.

A product is a monomial. Letters that together are one thing get its name (heads times their width are D), equal monomials add.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from floorline.letters import Product

Term: TypeAlias = tuple[float, tuple[str, ...]]
"""A monomial: its factor and its symbols."""
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Rule:
    """Letters that are given another name wherever all of them are in a monomial.

    letters  of the block
    symbols  what stands for them, none where they are one
    times    factor that comes with it: F is 4·D
    """

    letters: tuple[str, ...]
    symbols: tuple[str, ...]
    times: float = 1.0


def rule(letters: str, symbols: str, times: float = 1.0) -> Rule:
    """A rule between words of single letters; an apostrophe belongs to the letter before it.

    >>> rule("KGH", "D").symbols, rule("KH", "D'").symbols
    (('D',), ("D'",))
    """
    found: list[str] = []
    for x in symbols:
        if x == "'":
            found[-1] += x
        else:
            found.append(x)
    return Rule(tuple(letters), tuple(found), times)


def closed_form(products: Iterable[Product], rules: Sequence[Rule]) -> str:
    """The sum of some products in few letters.

    >>> made = (Product(2.0, "BTDKGH"), Product(2.0, "BTDKH"), Product(2.0, "BTKGHS", ("visible",)))
    >>> closed_form(made, (rule("B", ""), rule("T", "s"), rule("S", "s"), rule("KGH", "D"), rule("KH", "D")))
    '4·s·D² + 2·s²·D'
    """
    return added(named(product, rules) for product in products)


def added(terms: Iterable[Term]) -> str:
    """Monomials as a sum, equal ones together.

    >>> added([(2.0, ("s", "D")), (2.0, ("s", "D"))])
    '4·s·D'
    """
    found: dict[tuple[str, ...], float] = {}
    for times, symbols in terms:
        found[symbols] = found.get(symbols, 0.0) + times
    return " + ".join(written(times, symbols) for symbols, times in found.items()) or "0"


def named(product: Product, rules: Sequence[Rule]) -> Term:
    """A product's factor and its symbols: tokens first, then other counts of them, then widths."""
    letters, times = list(product.letters), product.coefficient
    for each in rules:
        while all(letters.count(x) >= each.letters.count(x) for x in each.letters):
            for x in each.letters:
                letters.remove(x)
            letters += each.symbols
            times = times * each.times
            if set(each.letters) <= set(each.symbols):
                break
    return times, tuple(sorted(letters, key=lambda x: (x[0].isupper(), x != "s", x)))


def written(times: float, symbols: Sequence[str]) -> str:
    """A monomial with its powers.

    >>> written(4.0, ("s", "s", "D"))
    '4·s²·D'
    """
    powers: Mapping[str, int] = {x: symbols.count(x) for x in symbols}
    parts = [x + (str(n).translate(SUPERSCRIPTS) if n > 1 else "") for x, n in powers.items()]
    head = [] if times == 1.0 and parts else [f"{times:g}"]
    return "·".join([*head, *parts])
