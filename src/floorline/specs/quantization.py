"""How quantised weights are stored: bits of an element, what its group adds, and which weights stay as they were.

A checkpoint holds matrices. A ``Format`` says what one takes; a ``Quantization`` says which matrix has which format. What
llama.cpp does, layer by layer, is in ``gguf.py`` beside this file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

from floorline.errors import BadInput
from floorline.num import Num, ceil, number, where

LINEAR, EXPERT, ROUTER, HEAD, TABLE, OTHER = "linear", "expert", "router", "head", "table", "other"
"""Kinds of weights: matrices of layers, those of experts, what chooses experts, the output head, tables that integers pick
rows from, and the rest: norms, biases, convolutions."""


@dataclass(frozen=True)
class Format:
    """What one matrix takes.

    name         for people
    bits         of an element [-]
    group        inputs and outputs that share a scale; 0 is all of them [-]
    scale_bits   of each group's scale [-]
    zero_bits    of each group's zero point [-]
    input_bits   for each input, such as the group that it is in [-]
    output_bits  for each output [-]
    matrix_bits  for each matrix: its own scale, its shape [-]
    block        inputs come in multiples of this [-]
    otherwise    what a matrix gets whose inputs do not

    >>> Format("4 bit, groups of 128", 4.0, (128.0, 1.0), 16.0, 4.0).bytes(4096.0, 4096.0)
    8716288.0
    """

    name: str
    bits: float
    group: tuple[float, float] = (0.0, 0.0)
    scale_bits: float = 0.0
    zero_bits: float = 0.0
    input_bits: float = 0.0
    output_bits: float = 0.0
    matrix_bits: float = 0.0
    block: float = 1.0
    otherwise: Format | None = None

    def bytes(self, inputs: Num, outputs: Num) -> Num:
        """Of a matrix with so many inputs and outputs [B]."""
        own = self.own_bytes(inputs, outputs)
        if self.otherwise is None:
            return own
        return where(inputs % self.block == 0.0, own, self.otherwise.bytes(inputs, outputs))

    def own_bytes(self, inputs: Num, outputs: Num) -> Num:
        """The same where the inputs are a multiple of the block."""
        along, across = self.group
        groups = (number(ceil(inputs / along)) if along else 1.0) * (number(ceil(outputs / across)) if across else 1.0)
        found = inputs * outputs * self.bits + groups * (self.scale_bits + self.zero_bits)
        return (found + inputs * self.input_bits + outputs * self.output_bits + self.matrix_bits) / 8.0

    @property
    def bytes_per_parameter(self) -> float:
        """Of a large matrix, where what comes once for a row or a matrix vanishes; one scale for a whole row does too.

        >>> Format("nf4", 4.0, (64.0, 1.0), 32.0).bytes_per_parameter
        0.5625
        """
        along, across = self.group
        shared = (self.scale_bits + self.zero_bits) / (along * across) if along and across else 0.0
        return (self.bits + shared) / 8.0


@dataclass(frozen=True)
class Weight:
    """One weight of a layer, as a checkpoint would hold it.

    module   its names within the layer, as in transformers: "self_attn.q_proj", several between bars
    kind     one of the words above
    count    matrices of this kind: one for each expert [-]
    inputs   contracted by its matmul; of a table, the width of a row; 1 for a vector [-]
    outputs  [-]
    """

    module: str
    kind: str
    count: Num
    inputs: Num
    outputs: Num

    @property
    def elements(self) -> Num:
        """Of all of them [-]."""
        return self.count * self.inputs * self.outputs


@dataclass(frozen=True)
class Place:
    """Where the layers of a stack stand, and what rules ask about their model.

    prefix   of the names of its modules, with {} for the layer's index: "model.layers.{}"
    text     whether they are layers of the text's transformer
    spans    intervals of layers, [from, to), one after the other
    total    layers of that transformer [-]
    values   the same intervals among the layers that have attention values
    valued   how many layers have them [-]
    arch     model_type
    tied     whether the head reads the token table
    shared   query heads that share one of the values [-]
    experts  routed ones of the model [-]
    """

    prefix: str = "model.layers.{}"
    text: bool = True
    spans: tuple[tuple[Num, Num], ...] = ((0.0, 1.0),)
    total: Num = 1.0
    values: tuple[tuple[Num, Num], ...] = ((0.0, 1.0),)
    valued: Num = 1.0
    arch: str = ""
    tied: bool = False
    shared: Num = 1.0
    experts: Num = 0.0


Stored = tuple[tuple[Format | None, Num], ...]
"""Formats of a weight and the number of its stack's layers that have each; None is the format of what is not quantised."""


class Storage(Protocol):
    """What decides formats: a method of a configuration, or one of llama.cpp's mixes."""

    @property
    def label(self) -> str:
        """For people."""
        ...

    @property
    def quickest(self) -> str:
        """The format in which some engine multiplies, for floors; "" for that of the activations."""
        ...

    @property
    def arithmetic(self) -> str:
        """The format in which quantised matmuls run, or "" for that of the activations."""
        ...

    def stored(self, weight: Weight, place: Place) -> Stored:
        """The formats of a weight in the layers of its stack."""
        ...


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """A method and its settings, as a configuration states them.

    method      "gptq", "awq", "fp8", …
    rules       pattern of modules → format, the first that matches counts; "" matches each
    kinds       of weights that the method touches
    skipped     patterns of modules that stay as they were
    everywhere  whether linear layers outside the text's layers are quantised too
    arithmetic  the format in which quantised matmuls run, or "" for that of the activations
    """

    method: str
    rules: tuple[tuple[str, Format], ...]
    kinds: tuple[str, ...] = (LINEAR, EXPERT)
    skipped: tuple[str, ...] = ()
    everywhere: bool = False
    arithmetic: str = ""

    @property
    def quickest(self) -> str:
        """The format in which some engine multiplies; "" for that of the activations."""
        return self.arithmetic

    @property
    def label(self) -> str:
        """For people.

        >>> Quantization(method="awq", rules=(("", Format("4 bit", 4.0)),)).label
        'awq (4 bit)'
        """
        forms = ", ".join(dict.fromkeys(f.name for _, f in self.rules))
        return forms if forms.startswith(self.method) else f"{self.method} ({forms})"

    def stored(self, weight: Weight, place: Place) -> Stored:
        """The formats of a weight: most often one for all layers, since patterns seldom name a layer."""
        if weight.kind not in self.kinds or not (self.everywhere or place.text or weight.kind == HEAD):
            return ((None, layers(place)),)
        if weight.kind == HEAD or not self.numbered:
            return ((self.format(names(weight, place, "0")), layers(place)),)
        found: dict[Format | None, Num] = {}
        for i in indices(place):
            chosen = self.format(names(weight, place, str(i)))
            found[chosen] = found.get(chosen, 0.0) + 1.0
        return tuple(found.items())

    @cached_property
    def numbered(self) -> bool:
        """Whether any pattern may name a single layer."""
        return any(re.search(r"\d", p) for p in (*self.skipped, *(p for p, _ in self.rules)))

    @cached_property
    def exact(self) -> dict[str, Format | None]:
        """Patterns that are plain names → what they say, "skipped" before all."""
        named = {p: f for p, f in reversed(self.rules) if p and is_plain(p)}
        return {**named, **dict.fromkeys(p for p in self.skipped if is_plain(p))}

    @cached_property
    def loose(self) -> tuple[tuple[str, Format | None], ...]:
        """The other patterns, those that are skipped first."""
        skipped = tuple((p, None) for p in self.skipped if not is_plain(p))
        return (*skipped, *((p, f) for p, f in self.rules if p and not is_plain(p)))

    def format(self, found: tuple[str, ...]) -> Format | None:
        """The format of a module by its full names."""
        for name in found:
            parts = runs(name)
            if any(part in self.exact for part in parts):
                kinds = [self.exact[part] for part in parts if part in self.exact]
                return None if None in kinds else kinds[0]
            for pattern, form in self.loose:
                if matches(pattern, name):
                    return form
        return next((f for p, f in self.rules if not p), None)


def layers(place: Place) -> Num:
    """How many layers a stack has."""
    result: Num = 0.0
    for start, end in place.spans:
        result = result + (end - start)
    return result


def indices(place: Place) -> Iterator[int]:
    """The indices of a stack's layers.

    raises BadInput where their number is an array
    """
    for start, end in place.spans:
        if not isinstance(start, float) or not isinstance(end, float):
            raise BadInput("layers are quantised one by one; their number is an array here: give one number of layers")
        yield from range(int(start), int(end))


def names(weight: Weight, place: Place, layer: str) -> tuple[str, ...]:
    """The full names that a weight's module has in one model or another."""
    before = "" if weight.kind in (HEAD, TABLE) else f"{place.prefix.format(layer)}."
    return tuple(f"{before}{module}" for module in weight.module.split("|"))


def is_plain(pattern: str) -> bool:
    """Whether a pattern is a name, neither a regular expression nor one with asterisks."""
    return not pattern.startswith("re:") and "*" not in pattern


@lru_cache(maxsize=10_000)
def runs(name: str) -> tuple[str, ...]:
    """All runs of whole words of a name, the longest first.

    >>> runs("mlp.gate")
    ('mlp.gate', 'mlp', 'gate')
    """
    words = name.split(".")
    spans = [(i, n) for n in range(len(words), 0, -1) for i in range(len(words) - n + 1)]
    return tuple(".".join(words[i : i + n]) for i, n in spans)


@lru_cache(maxsize=100_000)
def matches(pattern: str, name: str) -> bool:
    """Whether a pattern of a configuration means a module: as a regular expression from the start, or as whole words of its name.

    Sources: transformers, quantizers/quantizers_utils.py, should_convert_module; compressed-tensors, utils/match.py.

    >>> matches("re:.*mlp.gate$", "model.layers.1.mlp.gate"), matches("*gate", "mlp.gate_proj")
    (True, False)
    >>> matches("model.layers.*.self_attn", "model.layers.7.self_attn.q_proj")
    True
    """
    if pattern.startswith("re:"):
        return re.match(pattern[3:], name) is not None
    words = re.escape(pattern.strip(".")).replace(r"\*", ".*")
    return re.search(rf"(?:^|\.){words}(?:\.|$)", name) is not None
