"""Kinds of kernels that have a model: which operators of a table they price, what tells their shapes apart, and their time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from floorline.calibrate.search import USUAL, Weights
from floorline.efficiency.attention import Attention
from floorline.efficiency.collectives import Collectives, collective_time
from floorline.efficiency.decode_attention import DecodeAttention, decode_attention_time
from floorline.efficiency.device import Device, Width
from floorline.efficiency.element_wise import OPERATORS, ElementWise, element_wise_time
from floorline.efficiency.engine_all_reduce import EngineAllReduce, engine_all_reduce_time
from floorline.efficiency.exchange import Exchange, exchange_time
from floorline.efficiency.experts import Experts, Grouped, even, experts_time, grouped_matmul_time, routed
from floorline.efficiency.matmul import LIBRARIES as MATMUL_LIBRARIES
from floorline.efficiency.matmul import Matmul, matmul_time
from floorline.efficiency.prefill_attention import PrefillAttention, prefill_attention_time
from floorline.kernels.columns import COLLECTIVES, with_names
from floorline.kernels.table import Kernels
from floorline.kernels.work import pairs, stated
from floorline.num import Array, Num

Columns = Mapping[str, Array]


@dataclass(frozen=True)
class Kind:
    """A kind of kernel.

    name     "matmul"
    title    for people
    ops      operators of a table of kernels
    columns  that tell shapes apart
    model    the parameters' class
    time     (parameters, device, width, columns) → seconds of measured rows
    apart    words of a table that tell its software apart
    fewest   shapes that a fit needs [-]
    starts   of its search [-]
    variants of a format: words of the parameters among which a fit takes the best
    weights  of the median, 90th percentile and mean of errors in what its fits are judged by
    hints    parameters from which further searches start
    inside   whether it holds inside a node alone
    median   whether the median over all software is fitted too: not where each measures other shapes
    """

    name: str
    title: str
    ops: tuple[str, ...]
    columns: tuple[str, ...]
    model: type[Any]
    time: Callable[[Any, Device, Width, Columns], Num]
    apart: tuple[str, ...] = ("framework",)
    fewest: int = 100
    starts: int = 1
    variants: Callable[[str], tuple[Mapping[str, str], ...]] = lambda form: ({},)
    weights: Weights = USUAL
    hints: tuple[Mapping[str, float], ...] = ()
    inside: bool = False
    median: bool = True

    def software(self, kernels: Kernels) -> list[str]:
        """The software of each row: engine, and kernel where an engine has several."""
        return ["/".join(words) for words in zip(*(map(str, kernels.words[name]) for name in self.apart), strict=True)]


def matmul(p: Matmul, device: Device, width: Width, c: Columns) -> Num:
    """Matmuls, measured over rotating copies of their weights."""
    return matmul_time(p, device, width, c["m"] * stated(c["batch"], 1.0), c["n"], c["k"], True)


def libraries(form: str) -> tuple[Mapping[str, str], ...]:
    """Libraries that may have a format's matmuls: those that pick a tile by rows alone have 8-bit floats only."""
    return tuple({"library": name} for name in MATMUL_LIBRARIES if form == "fp8" or not name.startswith("rows"))


def attention_of(c: Columns) -> Attention:
    """Sizes of measured attention."""
    width = c["head_dim"]
    return Attention(
        sequences=c["batch"],
        kv_heads=c["kv_heads"],
        group=c["heads"] / c["kv_heads"],
        queries=c["seq_q"],
        keys=c["seq_kv"],
        width=width,
        value_width=stated(c["value_width"], width),
        visible=np.asarray(pairs(c)) / (c["seq_q"] * c["seq_kv"]),
    )


def latent_of(c: Columns) -> Attention:
    """Sizes of measured latent attention while decoding: every head reads the one latent."""
    one = np.ones_like(c["heads"])
    latent, rotary = c["kv_heads"], c["head_dim"]
    return Attention(c["batch"], one, c["heads"], c["seq_q"], c["seq_kv"], latent + rotary, latent, one, latent)


def prefill(p: PrefillAttention, device: Device, width: Width, c: Columns) -> Num:
    """Prefill attention."""
    return prefill_attention_time(p, device, width, attention_of(c), True)


def decode(p: DecodeAttention, device: Device, width: Width, c: Columns) -> Num:
    """Decode attention."""
    return decode_attention_time(p, device, width, attention_of(c), True)


def experts(p: Experts, device: Device, width: Width, c: Columns) -> Num:
    """Expert layers, measured on the fullest rank."""
    m, k, count, chosen = c["m"], c["k"], c["experts"], c["heads"]
    inner, ranks = c["n"] / stated(c["tp"], 1.0), c["ranks"]
    load = routed(m, count, chosen, ranks, c["skew"])
    return experts_time(p, device, width.weights, load, m, inner, k, count, chosen, ranks)


def grouped(p: Grouped, device: Device, width: Width, c: Columns) -> Num:
    """A matmul for each of some groups of rows, or of tokens that are routed to some of them."""
    one = np.ones_like(c["m"])
    tokens = even(c["m"], c["batch"], stated(c["heads"], 1.0), one)
    rows = even(c["m"] * c["batch"], c["batch"], one, one)
    times = (grouped_matmul_time(p, device, width.weights, load, c["n"], c["k"]) for load in (rows, tokens))
    return np.where(np.isnan(c["heads"]), *times)


def element_wise(name: str) -> Callable[[ElementWise, Device, Width, Columns], Num]:
    """One element-wise operator."""

    def time(p: ElementWise, device: Device, width: Width, c: Columns) -> Num:
        return element_wise_time(p, device, name, float(width.activations), c["m"], c["row"])

    return time


def collectives(p: Collectives, device: Device, width: Width, c: Columns) -> Num:
    """The library's collectives among the devices of a node, all kinds by one set of parameters."""
    del width
    found: Num = np.full_like(c["whole"], np.nan)
    for i, name in enumerate(COLLECTIVES):
        found = np.where(c["collective"] == i, collective_time(p, device, name, c["whole"], c["gpus"]), found)
    return found


def engine_all_reduce(p: EngineAllReduce, device: Device, width: Width, c: Columns) -> Num:
    """An engine's own all-reduce."""
    del width
    return engine_all_reduce_time(p, device, c["bytes"], c["gpus"])


def dispatched(p: Exchange, device: Device, width: Width, c: Columns) -> Num:
    """Tokens to the ranks of their experts, in the format of the experts' inputs."""
    return exchange_time(p, device, c["quick"], width.activations, c["m"], c["k"], c["n"], c["batch"], c["gpus"])


def combined(p: Exchange, device: Device, width: Width, c: Columns) -> Num:
    """What experts made, back to the ranks of its tokens: 16 bits whatever the format of their inputs."""
    return exchange_time(p, device, c["quick"], width.result, c["m"], c["k"], c["n"], c["batch"], c["gpus"])


STEADY: Weights = (0.5, 0.3, 1.0)
"""For kinds of many parameters and few shapes: the mean is less at the mercy of single shapes than the median."""

HEADS = ("batch", "heads", "kv_heads", "head_dim", "seq_q", "seq_kv", "window", "causal", "value_width")
LAYER = ("m", "n", "k", "batch", "heads", "tp", "ep", "skew", "experts", "ranks")
KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "matmul",
            "dense matmul",
            ("gemm",),
            ("m", "n", "k", "batch"),
            Matmul,
            matmul,
            starts=8,
            variants=libraries,
            weights=STEADY,
        ),
        Kind(
            "prefill_attention",
            "attention, prefill",
            ("attention_prefill",),
            HEADS,
            PrefillAttention,
            prefill,
            starts=3,
        ),
        Kind("decode_attention", "attention, decode", ("attention_decode",), HEADS, DecodeAttention, decode, starts=4),
        Kind(
            "experts",
            "expert layer",
            ("moe",),
            LAYER,
            Experts,
            experts,
            ("framework", "kernel"),
            starts=2,
            hints=(
                {"remote": 0.7},
                {"large_from": 2.0},
                {"remote": 0.7, "large_from": 2.0, "untuned": 0.5},
                {"untuned": 1.4, "reread": 200.0},
            ),
            median=False,
        ),
        Kind(
            "grouped_matmul",
            "grouped matmul",
            ("grouped_gemm",),
            ("m", "n", "k", "batch", "heads"),
            Grouped,
            grouped,
            fewest=60,
            starts=4,
        ),
        *(
            Kind(name, f"element-wise, {name}", (name,), ("m", "row"), ElementWise, element_wise(name), (), 40, 5)
            for name in OPERATORS
        ),
        Kind(
            "collectives",
            "collective",
            COLLECTIVES,
            ("whole", "gpus", "collective"),
            Collectives,
            collectives,
            (),
            100,
            8,
            inside=True,
        ),
        Kind(
            "engine_all_reduce",
            "an engine's all-reduce",
            ("all_reduce",),
            ("bytes", "gpus"),
            EngineAllReduce,
            engine_all_reduce,
            ("framework", "kernel"),
            40,
            8,
            inside=True,
        ),
        *(
            Kind(
                name,
                f"expert parallel, {name}",
                (f"moe_{name}",),
                ("m", "n", "k", "batch", "gpus", "quick"),
                Exchange,
                time,
                ("framework", "kernel"),
                40,
                4,
                inside=True,
                median=False,
            )
            for name, time in (("dispatch", dispatched), ("combine", combined))
        ),
    )
}
"""By name."""

DISPATCHED = {("vllm", "fp8-block128")}
"""Engine and format of matmuls that were measured with the host starting each, 57 to 290 us apart: they tell of the host, so the
median over engines leaves them out."""

LIBRARIES = ("nccl", "oneccl", "rccl", "torch.distributed/NCCL", "")
"""Software whose all-reduce is the library's."""


def kind_of(op: str, framework: str) -> Kind | None:
    """The kind of a measured kernel; None where it has no model."""
    if op == "all_reduce" and framework not in LIBRARIES:
        return KINDS["engine_all_reduce"]
    return next((kind for kind in KINDS.values() if op in kind.ops), None)


def rows_of_kind(kernels: Kernels, kind: Kind) -> np.ndarray[Any, Any]:
    """Which rows of a table are of a kind: of collectives, those inside a node."""
    node = stated(kernels.numbers["node_size"], np.inf)
    chosen = np.zeros(len(kernels), dtype=bool)
    for pair, rows in kernels.groups("op", "framework"):
        chosen[rows] = kind_of(*pair) is kind
    if not kind.inside:
        return chosen
    return chosen & ~(kernels.numbers["gpus"] > node) & (with_names(kernels)["nodes"] <= 1.0)
