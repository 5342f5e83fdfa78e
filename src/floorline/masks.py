"""Masks: which share of the query × key rectangle a layer's attention sees, where only visible pairs are counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from floorline.formulas.attention import around_share, chunk_share, visible_share, window_share
from floorline.num import Num, minimum, number, where

Mask: TypeAlias = Callable[[Mapping[str, Num]], Num]
"""From a stack's numbers (T, S, tokens before the step as "before", window) to the visible share."""


def causal(values: Mapping[str, Num]) -> Num:
    """Each query sees itself and everything before it."""
    return visible_share(values["T"], values["S"])


def everything(values: Mapping[str, Num]) -> Num:
    """Each query sees all: encoders, vision."""
    return 1.0


def window(values: Mapping[str, Num]) -> Num:
    """Each query sees itself and the ``window - 1`` tokens before it."""
    return window_share(values["T"], values["before"], values["window"], values["S"])


def selected(values: Mapping[str, Num]) -> Num:
    """Each query sees the ``topk`` keys that an indexer selects of those before it, or as many as there are."""
    most = values["topk"]
    return window_share(values["T"], values["before"], most, minimum(values["S"], most))


def around(values: Mapping[str, Num]) -> Num:
    """Each query sees itself and the ``window`` tokens on either side."""
    return around_share(values["T"], values["window"])


def chunk(values: Mapping[str, Num]) -> Num:
    """Each query sees what is before it in its chunk of ``window`` tokens."""
    return chunk_share(values["T"], values["before"], values["window"], values["S"])


def within_documents(mask: Mask, values: Mapping[str, Num], document_len: Num) -> Num:
    """What a mask leaves of a sequence into which documents of so many tokens are packed, none of which sees another; 0 is one
    document.

    >>> float(within_documents(causal, {"T": 4.0, "S": 4.0}, 2.0))  # twice three pairs of sixteen
    0.375
    """
    tokens, wanted = number(values["T"]), number(document_len)
    own = where(wanted > 0.0, minimum(wanted, tokens), tokens)
    return mask({**values, "T": own, "S": own}) * own / tokens
