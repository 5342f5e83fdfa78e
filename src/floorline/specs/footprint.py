"""What software takes of a device beside weights, keys and values: figures and habits, each with a source. No formulas."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.num import Num
from floorline.specs.fields import check, choice, spec

MOST = 1e15


def bytes_of(doc: str) -> Num:
    """A field of bytes, none by default."""
    found: Num = spec(doc, unit="B", default=0.0, least=0.0, most=MOST, whole=False)
    return found


def elements(doc: str, unit: str = "-") -> Num:
    """A field of a count of elements or bytes, none by default."""
    found: Num = spec(doc, unit=unit, default=0.0, least=0.0, most=1e6, whole=False)
    return found


@dataclass(frozen=True, kw_only=True)
class Buffers:
    """Buffers that are made once for the largest batch and length, and stay.

    Of each token: as many elements as the width of the hidden state, of the attention and of the feed-forward times these
    numbers. The last two are shared out over tensor-parallel ranks.

    >>> Buffers(hidden=5.0).hidden
    5.0
    """

    hidden: Num = elements("elements for each token and element of the hidden state")
    attention: Num = elements("elements for each token and element of the attention's heads")
    inner: Num = elements("elements for each token and element of the feed-forward's inside")
    scores: Num = elements("bytes for each head, query and key", "B")
    mask: Num = elements("bytes for each query and key", "B")
    words: Num = elements("bytes for each sequence and word of the vocabulary", "B")
    positions: Num = elements("bytes for each position of a sequence and word of the vocabulary, once", "B")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """How an engine uses memory; the default takes nothing beside weights, cache and the largest step's tensors.

    buffers  made once for the largest batch and length, in place of the tensors that are alive at once; None: there are none

    >>> Footprint().kv_block
    1.0
    """

    context: Num = bytes_of("the driver's context: kernels of all libraries that are loaded, stacks")
    communication: Num = bytes_of("buffers of the library that sends messages, where there are several devices")
    graphs: Num = bytes_of("captured graphs")
    workspace: Num = bytes_of("the matmul library's workspace")
    step_tokens: Num = spec("tokens of the largest prefill step", default=8192, most=1e9)
    kv_block: Num = spec("tokens of a block of the cache: each sequence takes whole blocks", default=1, most=1e6)
    vocab_multiple: Num = spec("the vocabulary is filled up to a multiple of this", default=1, most=1e6)
    cache: str = choice(
        "how a cache grows: in memory that is its own, or each layer's copied into a longer tensor at every token",
        ("in place", "copied"),
        "in place",
    )
    windows: str = choice(
        "what layers with a sliding window keep: what the next token sees, or every token",
        ("cut", "whole"),
        "cut",
    )
    logits: str = choice("positions of a prompt whose logits exist at once: the last, or all", ("last", "all"), "last")
    logit_bytes: Num = spec(
        "bytes of a logit with its copies in other formats, where all positions have them",
        unit="B",
        default=2.0,
        least=0.0,
        most=64.0,
        whole=False,
    )
    dequantised: str = choice(
        "where quantised weights become 16 bits: on chip, or a whole matrix at a time in memory",
        ("on chip", "in memory"),
        "on chip",
    )
    head: str = choice(
        "what a head that reads the token table is: the table itself, or a copy", ("table", "copy"), "table"
    )
    tables: str = choice(
        "whether tensor-parallel ranks share out the token table and the head, or have all of both",
        ("shared out", "whole"),
        "shared out",
    )
    buffers: Buffers | None = None

    def __post_init__(self) -> None:
        check(self)
