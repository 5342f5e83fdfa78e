"""Numbers that a table of kernels holds in words: in the kernel's name, its routing, its operator."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from floorline.kernels.table import Kernels
from floorline.kernels.work import stated
from floorline.num import Array

VALUE_WIDTH = re.compile(r"v_head_dim=(\d+)")
EACH = re.compile(r"tokens_per_expert=(\d+)")
SKEW = re.compile(r"power_law_([\d.]+)")
RANKS = re.compile(r"tp=(\d+)")
NODES = re.compile(r"nodes=(\d+)")

COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv")
"""Kinds of collectives; their index is the column "collective"."""

ROTATED = {"Llama-2-7b-hf": 4096.0 + 4096.0, "Llama-2-70b-hf": 8192.0 + 1024.0, "Meta-Llama-3-8B": 4096.0 + 1024.0}
"""Width of queries and keys together, of the models whose rotary embedding was measured; the column n does not have it."""

LIMITED, FEW_EXPERTS = "min_latency", 8.0
"""A kernel whose benchmark's gate keeps four of eight groups of experts: balanced rows fall on half of them, and with so
few experts all on the same two, which is nothing to learn from."""

SHARES = "oneccl"
"""A library whose benchmark counts a rank's share of an all-gather, where nccl-tests counts what is gathered."""


QUICK = re.compile(r"_ll\b|-LL|generation|low_latency")
"""Kernels that send a copy of a token to each expert, rather than to each rank."""


def with_names(kernels: Kernels) -> Mapping[str, Array]:
    """The numbers, and those that words hold.

    causal       1 unless the kernel's name says that attention is not
    value_width  of attention's values, nan where the name has none
    m            where the tokens that enter are not stated, from the tokens of each expert
    skew         exponent of the power law that routing follows, 0 for balanced
    collective   index in ``COLLECTIVES``, nan for others
    experts, ranks  of an expert layer, as its benchmark uses them
    nodes        of a collective, 1 where the name has none
    whole        bytes of a collective's whole buffer
    quick        1 where an exchange of tokens is a low-latency kernel's, else 0
    row          elements of a row of an element-wise operator
    """
    names = [str(name) for name in kernels.words["kernel"]]
    numbers = kernels.numbers
    each = in_names(EACH, names) * numbers["batch"] / stated(numbers["heads"], 1.0)
    ops = [str(op) for op in kernels.words["op"]]
    shared = (kernels.words["framework"] == SHARES) & (kernels.words["op"] == "all_gather")
    return {
        **numbers,
        "m": np.where(np.isnan(numbers["m"]), each, numbers["m"]),
        "causal": np.asarray([0.0 if "not causal" in name else 1.0 for name in names]),
        "value_width": in_names(VALUE_WIDTH, names),
        "skew": stated(in_names(SKEW, [str(word) for word in kernels.words["routing"]]), 0.0),
        "collective": np.asarray([float(COLLECTIVES.index(op)) if op in COLLECTIVES else np.nan for op in ops]),
        **gated(kernels),
        "nodes": stated(in_names(NODES, names), 1.0),
        "whole": numbers["bytes"] * np.where(shared, numbers["gpus"], 1.0),
        "quick": np.asarray([1.0 if QUICK.search(name) else 0.0 for name in names]),
        "row": np.where(kernels.words["op"] == "rope", rotated(names), numbers["n"]),
    }


def gated(kernels: Kernels) -> dict[str, Array]:
    """Experts among which tokens of an expert layer choose, and ranks that share them."""
    limited = np.asarray([LIMITED in str(name) for name in kernels.words["kernel"]], dtype=bool)
    half = limited & (kernels.words["routing"] == "balanced")
    count, ranks = kernels.numbers["batch"], stated(kernels.numbers["ep"], 1.0)
    few = limited & (count <= FEW_EXPERTS)
    return {
        "experts": np.where(few, np.nan, np.where(half, count / 2.0, count)),
        "ranks": np.where(half, np.maximum(ranks / 2.0, 1.0), ranks),
    }


def rotated(names: list[str]) -> Array:
    """Width of a rank's queries and keys of measured models, nan for others."""
    ranks = stated(in_names(RANKS, names), 1.0)
    parts = [set(name.split("/")) & set(ROTATED) for name in names]
    return np.asarray([ROTATED[next(iter(found))] if found else np.nan for found in parts]) / ranks


def in_names(pattern: re.Pattern[str], names: list[str]) -> Array:
    """A number that some names hold, nan where they do not."""
    found = [pattern.search(name) for name in names]
    return np.asarray([float(m[1]) if m else np.nan for m in found])
