"""llama.cpp's types of blocks, and its mixes: which weight has which type in a file that is called Q4_K_M.

Sources: https://github.com/ggml-org/llama.cpp, ggml/src/ggml-common.h (bytes of a block) and src/llama-quant.cpp
(``llama_tensor_get_type_impl``: what a mix chooses; ``tensor_type_fallback``: what rows that no block divides become).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np

from floorline.num import number
from floorline.specs.quantization import EXPERT, HEAD, OTHER, ROUTER, TABLE, Format, Place, Stored, Weight, layers

BLOCKS: dict[str, tuple[int, int]] = {
    "f32": (1, 4),
    "f16": (1, 2),
    "bf16": (1, 2),
    "q4_0": (32, 18),
    "q4_1": (32, 20),
    "q5_0": (32, 22),
    "q5_1": (32, 24),
    "q8_0": (32, 34),
    "q2_K": (256, 84),
    "q3_K": (256, 110),
    "q4_K": (256, 144),
    "q5_K": (256, 176),
    "q6_K": (256, 210),
    "q8_K": (256, 292),
    "iq1_s": (256, 50),
    "iq1_m": (256, 56),
    "iq2_xxs": (256, 66),
    "iq2_xs": (256, 74),
    "iq2_s": (256, 82),
    "iq3_xxs": (256, 98),
    "iq3_s": (256, 110),
    "iq4_nl": (32, 18),
    "iq4_xs": (256, 136),
    "tq1_0": (256, 54),
    "tq2_0": (256, 66),
    "mxfp4": (32, 17),
    "nvfp4": (64, 36),
}
"""Type → elements and bytes of a block."""

FALLBACK = {
    **dict.fromkeys(("iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s", "iq4_xs"), "iq4_nl"),
    **dict.fromkeys(("q2_K", "q3_K", "tq1_0", "tq2_0"), "q4_0"),
    "q4_K": "q5_0",
    "q5_K": "q5_1",
    "q6_K": "q8_0",
}
"""Type → what rows get that are no multiple of its block; where that does not fit either, f16."""

BASE = {
    **{name: name.lower() for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F16", "BF16", "F32", "TQ1_0", "TQ2_0")},
    **{name: name.lower() for name in ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS")},
    **{"IQ2_S": "iq2_xs", "IQ2_M": "iq2_s", "IQ3_XS": "iq3_s", "IQ3_M": "iq3_s", "MXFP4_MOE": "q8_0"},
    **{name: f"q{name[1]}_K" for name in ("Q2_K", "Q2_K_S", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M")},
    **{name: f"q{name[1]}_K" for name in ("Q5_K_S", "Q5_K_M", "Q6_K")},
}
"""Mix → type of most of its weights."""

TINY = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M")
WIDER = ("IQ2_S", "IQ2_M")
PARTS = {
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "in_proj_qkv": "fused",
    "o_proj": "out",
    "gate_proj": "gate",
    "up_proj": "up",
    "down_proj": "down",
}
"""Last word of a module's name → what the rules call it."""
FUSED = {"phi3", "gpt2", "gpt_neox", "falcon", "mpt", "bloom", "gpt_bigcode", "dbrx"}
"""Model types whose queries, keys and values are one matrix in llama.cpp."""

Rule = tuple[tuple[str, str], ...]
"""Conditions and types, the first that holds counts."""

ALWAYS = "always"
VALUE: dict[str, Rule] = {
    "Q2_K": (("shared by 4", "q4_K"), (ALWAYS, "q3_K")),
    "Q2_K_S": (("shared by 4", "q4_K"),),
    "IQ3_XXS": (("shared by 4", "q4_K"), ("plain", "iq3_s")),
    "IQ3_XS": (("shared by 4", "q4_K"),),
    "IQ3_S": (("shared by 4", "q4_K"),),
    "IQ3_M": ((ALWAYS, "q4_K"),),
    "Q3_K_M": (("first two", "q5_K"), (ALWAYS, "q4_K")),
    "Q3_K_L": ((ALWAYS, "q5_K"),),
    "IQ4_NL": (("shared by 4", "q5_K"),),
    "IQ4_XS": (("shared by 4", "q5_K"),),
    "Q4_K_M": (("more bits", "q6_K"),),
    "Q5_K_M": (("more bits", "q6_K"),),
    "Q4_K_S": (("first four", "q5_K"),),
}
FUSED_VALUE: dict[str, Rule] = {
    **dict.fromkeys(("Q3_K_M", "Q3_K_L", "IQ3_M"), ((ALWAYS, "q4_K"),)),
    "Q4_K_M": ((ALWAYS, "q5_K"),),
    "Q5_K_M": ((ALWAYS, "q6_K"),),
}
DOWN: dict[str, Rule] = {
    "Q2_K": ((ALWAYS, "q3_K"),),
    "Q2_K_S": (("first eighth", "q4_K"),),
    "IQ3_XXS": (("first eighth, plain", "q4_K"), ("plain", "q3_K")),
    "Q3_K_M": (("first sixteenth", "q5_K"), ("not falcon", "q4_K"), ("more bits", "q4_K")),
    "IQ3_M": (("first eighth", "q4_K"), ("more bits, 8 experts", "q4_K")),
    "Q3_K_L": (("falcon", "q4_K"), (ALWAYS, "q5_K")),
    "Q4_K_M": (("first sixteenth, falcon", "q6_K"), ("more bits, falcon", "q5_K"), ("more bits", "q6_K")),
    "IQ4_NL": (("first eighth, plain", "q5_K"),),
    "IQ4_XS": (("first eighth, plain", "q5_K"),),
    "Q5_K_M": (("more bits", "q6_K"),),
    "Q4_K_S": (("first eighth, not falcon", "q5_K"),),
    "Q4_0": (("first eighth, imatrix", "q4_1"),),
    "Q5_0": (("first eighth, imatrix", "q5_1"),),
}
OUT: dict[str, Rule] = {
    **dict.fromkeys(("IQ3_XS", "Q3_K_S", "IQ4_NL", "Q4_K_S", "Q4_K_M", "IQ3_S", "IQ4_XS"), (("8 experts", "q5_K"),)),
    "Q2_K": (("8 experts", "q5_K"), ("not falcon", "q3_K")),
    "IQ3_XXS": (("8 experts", "q5_K"), ("not falcon", "iq3_s")),
    "Q3_K_M": (("8 experts", "q5_K"), ("not falcon", "q4_K")),
    "Q3_K_L": (("falcon", "q4_K"), ("not 8 experts", "q5_K")),
    "IQ3_M": (("8 experts", "q5_K"), ("not falcon", "q4_K")),
}
QUERY: dict[str, Rule] = {"IQ3_XS": ((ALWAYS, "iq3_xxs"),), "IQ3_XXS": ((ALWAYS, "iq2_s"),)}
MIDDLE: dict[str, Rule] = {"IQ3_XS": (("middle", "iq3_xxs"),)}
RULES = {"value": VALUE, "fused": FUSED_VALUE, "down": DOWN, "out": OUT, "query": QUERY, "key": QUERY}
RULES.update(gate=MIDDLE, up=MIDDLE)


@dataclass(frozen=True)
class Layer:
    """One layer, as the rules see it.

    index    from 0 [-]
    of       layers [-]
    heads    query heads that share one of the values [-]
    experts  [-]
    falcon   whether the model is a Falcon
    imatrix  whether an importance matrix guided the quantisation
    """

    index: int
    of: int
    heads: float
    experts: float
    falcon: bool
    imatrix: bool

    def holds(self, conditions: str) -> bool:
        """Whether all of some conditions hold, given between commas."""
        return all(CONDITIONS[c](self) for c in conditions.split(", "))


CONDITIONS: dict[str, Callable[[Layer], bool]] = {
    ALWAYS: lambda x: True,
    "shared by 4": lambda x: x.heads >= 4,
    "plain": lambda x: not x.imatrix,
    "imatrix": lambda x: x.imatrix,
    "falcon": lambda x: x.falcon,
    "not falcon": lambda x: not x.falcon,
    "8 experts": lambda x: x.experts == 8,
    "not 8 experts": lambda x: x.experts != 8,
    "first two": lambda x: x.index < 2,
    "first four": lambda x: x.index < 4,
    "first eighth": lambda x: x.index < x.of // 8,
    "first sixteenth": lambda x: x.index < x.of // 16,
    "middle": lambda x: x.of // 8 <= x.index < 7 * x.of // 8,
    "more bits": lambda x: more_bits(x.index, x.of),
}


def more_bits(index: int, of: int) -> bool:
    """The first and the last eighth of the layers, and each third between.

    >>> [i for i in range(32) if more_bits(i, 32)]
    [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]
    """
    return index < of // 8 or index >= 7 * of // 8 or (index - of // 8) % 3 == 2


def tiny(mix: str, part: str, x: Layer) -> str:
    """The type of a weight in a mix of two bits or fewer."""
    wider = mix in WIDER
    if part in ("value", "fused"):
        return "q4_K" if x.heads >= 4 or x.experts >= 4 else "iq3_s" if wider else "q2_K"
    if part == "key" and x.experts == 8:
        return "q4_K"
    if part == "down" and x.index < x.of // 8:
        return "iq3_s" if wider else "q2_K"
    if part == "out":
        short = "iq2_xxs" if mix.startswith("IQ1") else "iq3_s" if wider else BASE[mix]
        return "q5_K" if x.experts == 8 else short
    return BASE[mix]


def chosen(mix: str, part: str, x: Layer) -> str:
    """The type that a mix gives a part of a layer.

    >>> [chosen("Q4_K_M", "down", Layer(i, 32, 4.0, 0.0, False, False)) for i in (3, 4)]
    ['q6_K', 'q4_K']
    """
    if mix in TINY:
        return tiny(mix, part, x)
    rule = RULES.get(part, {}).get(mix, ())
    found = next((kind for conditions, kind in rule if x.holds(conditions)), BASE[mix])
    if part == "value" and x.of == 80 and x.heads > 1 and found in ("q3_K", "q4_K"):
        found = "q5_K"  # in models of the shape of Llama-2-70B values are few
    if part in ("value", "key") and x.experts == 8 and BASE[mix] not in ("f16", "bf16", "f32", "q8_0"):
        found = "q8_0"
    return found


@cache
def block_format(kind: str) -> Format:
    """A type of blocks as a format of matrices.

    >>> block_format("q4_K").bits, block_format("q4_K").otherwise.name
    (4.5, 'q5_0')
    """
    size, held = BLOCKS[kind]
    other = FALLBACK.get(kind, "f16" if size > 1 else "")
    return Format(kind, 8.0 * held / size, block=float(size), otherwise=block_format(other) if other else None)


@dataclass(frozen=True)
class Mix:
    """A file's name for what is in it.

    name     "Q4_K_M"
    imatrix  whether an importance matrix guided it, which moves a few layers
    ends     type of the token table and the head, where a publisher keeps them wider; "" for the mix's own

    >>> Mix("Q4_K_M").label
    'gguf Q4_K_M'
    """

    name: str
    imatrix: bool = False
    ends: str = ""
    arithmetic: str = ""

    @property
    def quickest(self) -> str:
        """The format in which some engine multiplies: llama.cpp makes 8-bit integers of what meets its blocks (mmq.cuh)."""
        return "int8"

    @property
    def label(self) -> str:
        """For people."""
        return f"gguf {self.name}{f' with {self.ends} ends' if self.ends else ''}"

    def stored(self, weight: Weight, place: Place) -> Stored:
        """The types of a weight in the layers of its stack."""
        every = layers(place)
        if weight.kind in (OTHER, ROUTER):
            return ((block_format("f32"), every),)
        if BASE[self.name] in ("f16", "bf16", "f32"):
            return ((block_format(BASE[self.name]), every),)
        if weight.kind in (HEAD, TABLE):
            return ((self.end(weight.kind == HEAD or place.tied, place.arch), every),)
        if self.name == "MXFP4_MOE":
            return ((block_format("mxfp4" if weight.kind == EXPERT else "q8_0"), every),)
        part = PARTS.get(weight.module.partition("|")[0].rpartition(".")[2], "")
        if part in ("query", "key", "value") and place.arch in FUSED:
            part = "fused"
        return self.counted(part, place)

    def end(self, output: bool, arch: str) -> Format:
        """The type of the token table, or of what makes logits."""
        base = BASE[self.name]
        if self.ends:
            return block_format(self.ends)
        if output:
            wide = arch == "falcon" or base == "q8_0"
            kind = "q8_0" if wide else "q5_K" if self.name in (*TINY, "IQ3_XXS") else "q6_K"
            return block_format("q8_0") if wide else replace(block_format(kind), otherwise=block_format("q8_0"))
        if self.name in WIDER or self.name == "IQ3_XXS":
            return block_format("iq3_s")
        return block_format("q2_K" if self.name in TINY else "q4_K" if base in ("tq1_0", "tq2_0") else base)

    def counted(self, part: str, place: Place) -> Stored:
        """How many of a stack's layers have each type; where numbers are arrays, point by point."""
        spans, of = (place.values, place.valued) if part == "value" else (place.spans, place.total)
        numbers = (*(x for span in spans for x in span), of, place.shared, place.experts)
        if not any(np.ndim(x) for x in numbers):
            once = count_once(self, part, place.arch, tuple(float(x) for x in numbers))
            return tuple((block_format(kind), count) for kind, count in once)
        columns = np.broadcast_arrays(*numbers)
        points = [
            dict(count_once(self, part, place.arch, tuple(map(float, point))))
            for point in zip(*map(np.ravel, columns), strict=True)
        ]
        kinds = dict.fromkeys(kind for point in points for kind in point)
        shape = columns[0].shape
        return tuple(
            (block_format(kind), number(np.array([p.get(kind, 0.0) for p in points]).reshape(shape))) for kind in kinds
        )


@lru_cache(maxsize=4096)
def count_once(made: Mix, part: str, arch: str, numbers: tuple[float, ...]) -> tuple[tuple[str, float], ...]:
    """Types and the number of layers that have each, where all numbers are plain."""
    *ends, of, shared, experts = numbers
    found: dict[str, float] = {}
    for start, end in zip(ends[::2], ends[1::2], strict=True):
        for i in range(int(start), int(end)):
            kind = chosen(made.name, part, Layer(i, int(of), shared, experts, arch == "falcon", made.imatrix))
            found[kind] = found.get(kind, 0.0) + 1.0
    return tuple(found.items())


WIDE_ENDS = {"Q2_K_L": "Q2_K", "Q3_K_XL": "Q3_K_L", "Q4_K_L": "Q4_K_M", "Q5_K_L": "Q5_K_M", "Q6_K_L": "Q6_K"}
"""Names of files whose token table and head are q8_0 → the mix of the rest. Source: the model cards of
https://huggingface.co/bartowski ("Uses Q8_0 for embed and output weights")."""
SHORT = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "MXFP4": "MXFP4_MOE"}
"""Other names of mixes. Source: https://github.com/ggml-org/llama.cpp, tools/quantize/quantize.cpp."""


def mix(name: str, *, imatrix: bool | None = None) -> Mix | None:
    """A mix by its name in any case, or None where there is none.

    imatrix  whether an importance matrix guided it; default: where one is required, at three bits and fewer

    >>> mix("q4_k_m").name, mix("Q6_K_L").ends, mix("gptq")
    ('Q4_K_M', 'q8_0', None)
    """
    upper = name.upper()
    upper = SHORT.get(upper, upper)
    base = WIDE_ENDS.get(upper, upper)
    if base not in BASE:
        return None
    guided = base in (*TINY, "IQ3_XXS") if imatrix is None else imatrix
    return Mix(base, guided, "q8_0" if upper in WIDE_ENDS else "")
