"""Laws of the kernel models: arrays are many scalars, nothing is faster when it grows, or slower on a faster device."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floorline.calibrate.devices import device_of, width_of
from floorline.calibrate.files import Fitted, calibrated, shipped
from floorline.calibrate.fit import formats_of
from floorline.catalogue.accelerators import load_accelerator
from floorline.efficiency.attention import Attention
from floorline.efficiency.collectives import WAYS, collective_time
from floorline.efficiency.decode_attention import decode_attention_time
from floorline.efficiency.device import Device, Width
from floorline.efficiency.element_wise import OPERATORS, element_wise_time
from floorline.efficiency.engine_all_reduce import engine_all_reduce_time
from floorline.efficiency.exchange import exchange_time
from floorline.efficiency.experts import at_random, even, experts_time, grouped_matmul_time, skewed
from floorline.efficiency.matmul import matmul_time
from floorline.efficiency.prefill_attention import prefill_attention_time
from floorline.num import Num


@dataclass(frozen=True)
class Law:
    """A kind of kernel under test.

    kind   of a calibration
    time   (parameters, device, width, sizes) → seconds
    sizes  name → largest
    least  the floor [s]
    """

    kind: str
    time: Callable[[Any, Device, Width, dict[str, Num]], Num]
    sizes: dict[str, float]
    least: Callable[[Device, Width, dict[str, Num]], Num]


def attention(s: dict[str, Num], queries: Num) -> Attention:
    return Attention(s["batch"], s["kv"], s["group"], queries, s["keys"] + queries, 128.0, 128.0)


def experts(p: Any, d: Device, w: Width, s: dict[str, Num]) -> Num:
    ranks, count = 2.0, 16.0
    load = at_random(s["m"], count, 2.0, ranks)
    return experts_time(replace(p, remote=0.0), d, w.weights, load, s["m"], s["n"], s["k"], count, 2.0, ranks)


def least_attention(d: Device, w: Width, s: dict[str, Num], queries: Num) -> Num:
    a = attention(s, queries)
    flops = 4.0 * s["batch"] * s["kv"] * s["group"] * queries * a.keys * 128.0
    return np.maximum(flops / d.peak, (a.kept(w, a.keys) - d.cache) / d.bandwidth)


HEADS = {"batch": 512.0, "kv": 16.0, "group": 16.0, "keys": 60_000.0}
LAWS = (
    Law(
        "matmul",
        lambda p, d, w, s: matmul_time(p, d, w, s["m"], s["n"], s["k"]),
        {"m": 40_000.0, "n": 70_000.0, "k": 40_000.0},
        lambda d, w, s: np.maximum(
            2.0 * s["m"] * s["n"] * s["k"] / d.peak, (w.weights * s["n"] * s["k"] - d.cache) / d.bandwidth
        ),
    ),
    Law(
        "decode_attention",
        lambda p, d, w, s: decode_attention_time(p, d, w, attention(s, 1.0)),
        HEADS,
        lambda d, w, s: least_attention(d, w, s, 1.0),
    ),
    Law(
        "prefill_attention",
        lambda p, d, w, s: prefill_attention_time(p, d, w, attention(s, s["queries"])),
        {**HEADS, "queries": 20_000.0},
        lambda d, w, s: least_attention(d, w, s, s["queries"]),
    ),
    Law(
        "experts",
        experts,
        {"m": 40_000.0, "n": 20_000.0, "k": 10_000.0},
        lambda d, w, s: 6.0 * s["m"] * s["n"] * s["k"] / d.peak,
    ),
    Law(
        "grouped_matmul",
        lambda p, d, w, s: grouped_matmul_time(p, d, w.weights, even(s["m"] * 8.0, 8.0, 1.0, 1.0), s["n"], s["k"]),
        {"m": 10_000.0, "n": 20_000.0, "k": 10_000.0},
        lambda d, w, s: 16.0 * s["m"] * s["n"] * s["k"] / d.peak,
    ),
    *(
        Law(
            name,
            lambda p, d, w, s, name=name: element_wise_time(p, d, name, 2.0, s["m"], s["n"]),  # type: ignore[misc]
            {"m": 100_000.0, "n": 30_000.0},
            lambda d, w, s: 0.0,
        )
        for name in OPERATORS
    ),
    *(
        Law(
            "collectives",
            lambda p, d, w, s, kind=kind: collective_time(p, d, kind, s["bytes"], s["ranks"] + 1.0),  # type: ignore[misc]
            {"bytes": 1e10, "ranks": 7.0},
            lambda d, w, s: s["bytes"] / 2.0 / d.link,
        )
        for kind in WAYS
    ),
    Law(
        "engine_all_reduce",
        lambda p, d, w, s: engine_all_reduce_time(p, d, s["bytes"], s["ranks"] + 1.0),
        {"bytes": 1e10, "ranks": 7.0},
        lambda d, w, s: 0.0,
    ),
    *(
        Law(
            kind,
            lambda p, d, w, s, quick=quick: exchange_time(  # type: ignore[misc]
                p, d, quick, 2.0, s["m"], s["n"], s["chosen"], 64.0, s["ranks"] + 1.0
            ),
            {"m": 100_000.0, "n": 10_000.0, "chosen": 16.0, "ranks": 7.0},
            lambda d, w, s, quick=quick: (  # type: ignore[misc]
                (s["chosen"] if quick else 1.0) * s["ranks"] / (s["ranks"] + 1.0) * 2.0 * s["m"] * s["n"] / d.link
            ),
        )
        for kind in ("dispatch", "combine")
        for quick in (0.0, 1.0)
    ),
)
MODELS = [m for name in calibrated() if (c := shipped(name)) is not None for m in c.models.values()]
SHARES = st.lists(st.floats(0.0, 1.0), min_size=5, max_size=5)
FALLS = {"engine_all_reduce": 0.8, "embedding": 0.9}
"""Kinds that change kernels at a size, and by how much their time may fall there: an engine's limits, a look-up of few rows."""

SINGLE = {"matmul": "m", "decode_attention": "group", "prefill_attention": "group"}
"""Kinds whose single row, or single query of a head of keys, goes by a kernel of its own."""


def of(law: Law) -> list[Fitted]:
    return [m for m in MODELS if m.kind == law.kind]


def sizes(law: Law, shares: list[float]) -> dict[str, Num]:
    """Whole numbers between 1 and each largest, on a logarithmic scale."""
    return {name: float(round(most**share)) for (name, most), share in zip(law.sizes.items(), shares, strict=False)}


def setting(model: Fitted) -> tuple[Device, Width]:
    dtype, cache = formats_of(model.form)
    return device_of(load_accelerator(model.accelerator), dtype), width_of(dtype, cache)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.kind)
@given(data=st.data())
def test_an_array_is_many_scalars(law: Law, data: st.DataObject) -> None:
    model = data.draw(st.sampled_from(of(law)))
    points = [sizes(law, data.draw(SHARES)) for _ in range(3)]
    device, width = setting(model)
    together = law.time(model.model, device, width, {name: np.array([p[name] for p in points]) for name in law.sizes})
    for i, point in enumerate(points):
        assert float(np.asarray(law.time(model.model, device, width, point))) == np.asarray(together)[i]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.kind)
@given(data=st.data())
def test_nothing_is_faster_when_it_grows(law: Law, data: st.DataObject) -> None:
    """By one, or twice: never faster; but where software takes another kernel.

    More ranks share a buffer, which libraries may then send by a quicker protocol.
    """
    model = data.draw(st.sampled_from(of(law)))
    before, name = sizes(law, data.draw(SHARES)), data.draw(st.sampled_from(sorted({*law.sizes} - {"ranks"})))
    after = {**before, name: data.draw(st.sampled_from((before[name] + 1.0, 2.0 * before[name])))}
    device, width = setting(model)
    old, new = (float(np.asarray(law.time(model.model, device, width, s))) for s in (before, after))
    single = SINGLE.get(law.kind) == name and before[name] == 1.0
    assert new >= old * (1.0 - (0.7 if single else FALLS.get(law.kind, 0.0)) - 1e-12), (before, after)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.kind)
@given(data=st.data(), factor=st.floats(1.0, 8.0), what=st.sampled_from(("peak", "bandwidth", "link")))
def test_nothing_is_slower_on_a_faster_device(law: Law, data: st.DataObject, factor: float, what: str) -> None:
    model = data.draw(st.sampled_from(of(law)))
    point = sizes(law, data.draw(SHARES))
    device, width = setting(model)
    faster = replace(device, **{what: getattr(device, what) * factor})
    old, new = (float(np.asarray(law.time(model.model, d, width, point))) for d in (device, faster))
    assert new <= old * (1.0 + 1e-12)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.kind)
@given(data=st.data())
def test_nothing_beats_its_floor(law: Law, data: st.DataObject) -> None:
    model = data.draw(st.sampled_from(of(law)))
    point = sizes(law, data.draw(SHARES))
    device, width = setting(model)
    assert float(np.asarray(law.time(model.model, device, width, point))) >= float(law.least(device, width, point)) * (
        1 - 1e-12
    )


def test_routing_by_hand() -> None:
    """8 experts, 2 chosen, 4 tokens on one rank: 8 pairs; evenly each expert one, at random 8·(1 − 0.75⁴) = 5.47 of them hit."""
    assert (even(4.0, 8.0, 2.0, 1.0).pairs, even(4.0, 8.0, 2.0, 1.0).hit) == (8.0, 8.0)
    assert float(at_random(4.0, 8.0, 2.0, 1.0).hit) == pytest.approx(8.0 * (1.0 - 0.75**4))
    busy = skewed(64.0, 8.0, 2.0, 1.0, 1.2)
    assert float(busy.heaviest) > 64.0 * 2.0 / 8.0
    assert float(busy.hit) <= 8.0
