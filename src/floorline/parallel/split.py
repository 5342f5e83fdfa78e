"""One way of cutting the work: which letters a group of mesh axes divides, and where."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.num import Num

Letters = tuple[tuple[str, tuple[str, ...]], ...]
"""Pairs of a letter and the axes that divide it; the first letter that an operator has takes an axis. Of several letters
("CE") all must be there, and the last is divided."""


@dataclass(frozen=True)
class Split:
    """A parallelism as a map from letters to axes, static; degrees are numbers and live elsewhere.

    group      whose messages go together ("tensor", "data")
    letters    what an operator that has one of them is cut by
    otherwise  what an operator that has none of them is cut by (sequence parallel norms)
    kernels    kernel label → what its operators are cut by instead (Ulysses attention)
    home       mesh axes over which weights are stored in equal flat shares (ZeRO 3)
    gradients  mesh axes over which reduced gradients are shared out (ZeRO 1 to 3)
    routes     what a route between tokens and experts is cut by instead
    instead    axes of another split that are the same ranks under other names: what this one cuts, that one does not, and what
               is a term of a sum on all of its own axes is one on those
    uncut      letters that every rank has whole: an operator with one of them is cut by ``letters`` in any kernel (a picture's
               queries stay where they are, since the text's keys and values are everywhere)
    """

    group: str
    axes: tuple[str, ...]
    letters: Letters
    otherwise: Letters = ()
    kernels: tuple[tuple[str, Letters], ...] = ()
    home: tuple[str, ...] = ()
    gradients: tuple[str, ...] = ()
    routes: Letters = ()
    instead: tuple[str, ...] = ()
    uncut: str = ""

    def places(self, letters: str, kernel: str) -> dict[str, str]:
        """Axis → letter, for an operator with these letters in this kernel."""
        rules = self.letters if set(self.uncut) & set(letters) else dict(self.kernels).get(kernel, self.letters)
        return chosen(rules, letters) or chosen(self.otherwise, letters)


@dataclass(frozen=True)
class Extra:
    """A parallelism of one's own: a split and the ranks of its axes; a plan takes any number of them.

    >>> Extra(Split("vocabulary", ("vp",), (("V", ("vp",)),)), {"vp": 4.0}).devices
    4.0
    """

    split: Split
    ranks: dict[str, Num]

    @property
    def devices(self) -> Num:
        """The product of its ranks."""
        result: Num = 1.0
        for ranks in self.ranks.values():
            result = result * ranks
        return result


def chosen(rules: Letters, letters: str) -> dict[str, str]:
    """Axis → the first of its letters that is there."""
    found: dict[str, str] = {}
    for needed, axes in rules:
        if set(needed) <= set(letters):
            for axis in axes:
                found.setdefault(axis, needed[-1])
    return found
