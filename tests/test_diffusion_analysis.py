"""Parts of video transformers counted by hand: closed forms, traffic, crossings, the backward pass and splits, from Python and from
the command line. Expected numbers are those of an article on transformers, diffusion transformers and the backward pass."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floorline import ModuleSizes, count_modules, count_perceptron, count_splits, crossing
from floorline.closed_forms import closed_form
from floorline.errors import BadInput
from floorline.module_counts import MODULES, ModuleCount, computed_tokens, numbers_of, products_of, rules_of
from terminal import told

S, D, N, T, P, M, C, U = 16384, 1536, 24, 16, 1024, 300, 4096, 64
"""Tokens, width, heads, frames, tokens of a frame and of a text, its width, tokens of a window: the sizes where nothing is said."""

FLOPS = {
    "feed-forward": (16 * S * D * D, "16·s·D²"),
    "full self-attention": (8 * S * D * D + 4 * S * S * D, "8·s·D² + 4·s²·D"),
    "cross-attention": (4 * S * D * D + 4 * M * C * D + 4 * S * M * D, "4·s·D² + 4·c·m·D + 4·s·m·D"),
    "spatial self-attention": (8 * S * D * D + 4 * T * P * P * D, "8·s·D² + 4·s·p·D"),
    "spatial cross-attention": (4 * S * D * D + 4 * M * C * D + 4 * S * M * D, "4·s·D² + 4·c·m·D + 4·s·m·D"),
    "temporal self-attention": (8 * S * D * D + 4 * P * T * T * D, "8·s·D² + 4·s·f·D"),
    "linear attention": (8 * S * D * D + 4 * S * D * (D // N) + 2 * S * D, "8·s·D² + 4·s·D·H + 2·s·D"),
    "windowed attention": (8 * S * D * D + 4 * S * U * D, "8·s·D² + 4·s·u·D"),
}
SQUARES = {"full": S, "spatial": P, "temporal": T, "windowed": U}
"""Keys that each token meets."""


def one(name: str, fusion: str = "unfused", **sizes: Any) -> ModuleCount:
    """A part."""
    (found,) = count_modules(ModuleSizes(**sizes), fusion, only=(name,))
    return found


# FLOP


@pytest.mark.parametrize("name", MODULES)
def test_closed_forms(name: str) -> None:
    """The operators add up to the number, and their letters to the form."""
    expected, form = FLOPS[name]
    for fusion in ("unfused", "flash"):
        whole = one(name, fusion).whole
        assert (whole.flops, whole.formula) == (expected, form)


def test_forms_have_the_numbers_that_they_say() -> None:
    """A form in letters gives, with the letters' sizes, what was counted."""
    z = ModuleSizes(frames=5, height=6, width=7, hidden_size=192, window_frames=5, window_height=3, window_width=7)
    sizes = {"s": 210, "f": 5, "p": 42, "u": 105, "m": 300, "c": 4096, "D": 192, "H": 64, "N": 3}
    for name in MODULES:
        form = closed_form(products_of(name, z), rules_of(name, z))
        text = form.replace("²", "**2").replace("·", "*")
        assert eval(text, sizes) == sum(numbers_of(name, z).value(p) for p in products_of(name, z))


def test_feed_forward_of_any_widths() -> None:
    """in_d, mid_d, out_d: 2·s·mid·(in + out); with a gate 2·s·mid·(2·in + out)."""
    words: dict[str, Any] = {"hidden_size": 640, "intermediate_size": 1000, "out_size": 96, "frames": 3}
    s = 3 * P
    assert one("feed-forward", **words).whole.flops == 2 * s * 1000 * (640 + 96)
    assert one("feed-forward", **words, gated="yes").whole.flops == 2 * s * 1000 * (2 * 640 + 96)
    assert one("feed-forward", **words).whole.formula == "2·s·D·F + 2·s·o·F"


def test_key_value_heads() -> None:
    """With fewer of them the projections of keys and values are narrower, scores and values as before."""
    many, few = (one("full self-attention", num_heads=24, num_kv_heads=k).whole for k in (24, 6))
    assert many.flops - few.flops == 2 * 2 * S * D * (D - D // 4)
    assert few.formula == "4·s·D² + 4·s·D·D' + 4·s²·D"


# Traffic, in elements


@pytest.mark.parametrize(("kind", "keys"), SQUARES.items(), ids=SQUARES)
def test_traffic_of_self_attention(kind: str, keys: int) -> None:
    """Unfused, scores are written, read, and written and read again as weights; in one launch they never leave it."""
    name = "windowed attention" if kind == "windowed" else f"{kind} self-attention"
    unfused, flash = one(name).whole, one(name, "flash").whole
    assert unfused.inputs == unfused.written == 5 * S * D + 2 * S * keys * N
    assert flash.inputs == flash.written == 5 * S * D
    assert unfused.weights == flash.weights == 4 * D * D
    assert unfused.bytes == 2 * unfused.elements


def test_traffic_of_cross_attention() -> None:
    unfused, flash = (one("cross-attention", fusion).whole for fusion in ("unfused", "flash"))
    assert flash.inputs == 3 * S * D + 2 * M * C + 2 * M * D  # the text is read for its keys and again for its values
    assert flash.written == 3 * S * D + 2 * M * D
    assert flash.weights == 2 * D * D + 2 * C * D
    assert unfused.elements - flash.elements == 4 * S * M * N


def test_traffic_of_the_feed_forward() -> None:
    """Each matmul reads its input and its weight and writes its result, the activation reads and writes in between."""
    launches = {x.name: x for x in one("feed-forward").launches}
    assert (launches["up"].inputs, launches["up"].weights, launches["up"].written) == (S * D, 4 * D * D, 4 * S * D)
    assert (launches["act"].inputs, launches["act"].written) == (4 * S * D, 4 * S * D)
    assert (launches["down"].inputs, launches["down"].weights, launches["down"].written) == (
        4 * S * D,
        4 * D * D,
        S * D,
    )


@pytest.mark.parametrize("name", MODULES)
def test_launches_add_up(name: str) -> None:
    for fusion in ("unfused", "flash"):
        found = one(name, fusion)
        for key in ("flops", "inputs", "weights", "written", "bytes"):
            assert getattr(found.whole, key) == sum(getattr(x, key) for x in found.launches)


# Laws

SIDE, WIDTHS = st.integers(1, 40), st.sampled_from((64, 192, 256, 1536))


@settings(max_examples=60)
@given(frames=st.integers(2, 64), height=SIDE, width=st.integers(2, 40), hidden=WIDTHS, batch=st.integers(1, 3))
def test_space_and_time_never_exceed_full_attention(
    frames: int, height: int, width: int, hidden: int, batch: int
) -> None:
    """Scores and values: s·(p + f) pairs and not s·p·f, for two frames of two tokens or more."""
    z = ModuleSizes(frames=frames, height=height, width=width, hidden_size=hidden, batch=batch)
    full, space, time = count_modules(
        z, only=("full self-attention", "spatial self-attention", "temporal self-attention")
    )
    assert space.core + time.core <= full.core


@settings(max_examples=40)
@given(frames=SIDE, height=SIDE, width=SIDE, times=st.integers(1, 8), hidden=WIDTHS)
def test_growth_with_frames(frames: int, height: int, width: int, times: int, hidden: int) -> None:
    """Attention in space is linear in the frames, scores and values of all tokens and those in time are quadratic."""
    few, many = (
        {
            m.name: m
            for m in count_modules(ModuleSizes(frames=f, height=height, width=width, hidden_size=hidden, text_tokens=7))
        }
        for f in (frames, frames * times)
    )
    for name in ("spatial self-attention", "feed-forward", "linear attention"):
        assert many[name].whole.flops == times * few[name].whole.flops
    for name in ("spatial self-attention", "cross-attention", "spatial cross-attention"):
        assert many[name].core == times * few[name].core
    for name in ("full self-attention", "temporal self-attention"):
        assert many[name].core == times**2 * few[name].core


@settings(max_examples=40)
@given(frames=SIDE, height=SIDE, width=SIDE, hidden=WIDTHS)
def test_windows_are_the_others_at_their_ends(frames: int, height: int, width: int, hidden: int) -> None:
    """A window of everything, of a frame, of a position along time: full, spatial and temporal attention."""
    ends = {
        "full self-attention": (frames, height, width),
        "spatial self-attention": (1, height, width),
        "temporal self-attention": (frames, 1, 1),
    }
    for name, (f, h, w) in ends.items():
        z = ModuleSizes(
            **{"frames": frames, "height": height, "width": width, "hidden_size": hidden},  # type: ignore[arg-type]
            **{"window_frames": f, "window_height": h, "window_width": w},  # type: ignore[arg-type]
        )
        for fusion in ("unfused", "flash"):
            other, windowed = count_modules(z, fusion, only=(name, "windowed attention"))
            for key in ("flops", "inputs", "weights", "written", "bytes"):
                assert getattr(other.whole, key) == getattr(windowed.whole, key)


def test_windows_fill_up_what_they_do_not_divide() -> None:
    """Sides of 30 and 45 in windows of 8: 4 × 6 of them."""
    found = one("windowed attention", frames=1, height=30, width=45).whole
    s = 4 * 6 * 64
    assert found.flops == 8 * s * D * D + 4 * s * 64 * D
    assert found.formula == "8·s'·D² + 4·s'·u·D"  # s' = s: a form has the number that it says


@settings(max_examples=40)
@given(frames=SIDE, height=SIDE, width=SIDE, window=st.tuples(*[st.integers(1, 12)] * 3))
def test_windows_compute_no_less_than_there_is(
    frames: int, height: int, width: int, window: tuple[int, int, int]
) -> None:
    """Filled up to whole windows, and by less than one along each side; what is computed is in the form by its own letter."""
    wide = dict(zip(("window_frames", "window_height", "window_width"), window, strict=True))
    z = ModuleSizes(frames=frames, height=height, width=width, hidden_size=64, **wide)  # type: ignore[arg-type]
    computed = float(computed_tokens("windowed attention", z))
    assert frames * height * width <= computed
    assert computed < (frames + window[0]) * (height + window[1]) * (width + window[2])
    (found,) = count_modules(z, only=("windowed attention",))
    assert ("s'" in found.whole.formula) == (computed > frames * height * width)
    assert found.whole.flops == 8 * computed * 64**2 + 4 * computed * float(np.prod(window)) * 64
    assert computed_tokens("full self-attention", z) == frames * height * width


def test_arrays_are_their_scalars() -> None:
    """Bit for bit, whatever varies."""
    frames, widths, batches = [1, 3, 17], [128, 640, 1536], [1, 2, 5]
    for fusion in ("unfused", "flash"):
        together = count_modules(ModuleSizes(frames=frames, hidden_size=widths, batch=batches), fusion)  # type: ignore[arg-type]
        for i, (f, d, b) in enumerate(zip(frames, widths, batches, strict=True)):
            for many, alone in zip(
                together, count_modules(ModuleSizes(frames=f, hidden_size=d, batch=b), fusion), strict=True
            ):
                for key in ("flops", "inputs", "weights", "written", "bytes"):
                    values = np.broadcast_to(getattr(many.whole, key), 3)
                    assert float(values[i]) == float(getattr(alone.whole, key))
                assert float(np.broadcast_to(many.core, 3)[i]) == float(alone.core)
    meeting = crossing(ModuleSizes(hidden_size=np.array([128.0, 640.0, 1536.0])))
    assert [float(x) for x in meeting.at] == [float(crossing(ModuleSizes(hidden_size=d)).at) for d in widths]  # type: ignore[union-attr]


# Crossings


def test_attention_overtakes_the_feed_forward() -> None:
    """D = 1536 and F = 4·D: both are equal at s = 2·D = 3072, to the last FLOP."""
    found = crossing(ModuleSizes(hidden_size=1536))
    assert found.at == 3072
    assert (found.first.formula, found.second.formula) == ("8·s·D² + 4·s²·D", "16·s·D²")
    for s in (1024.0, 3071.0, 3072.0, 3073.0, 8192.0):
        attention, feed_forward = found.flops(s)
        assert (attention, feed_forward) == (8 * s * 1536**2 + 4 * s**2 * 1536, 16 * s * 1536**2)
        assert (attention > feed_forward, attention == feed_forward) == (s > 3072, s == 3072)


@settings(max_examples=50)
@given(heads=st.integers(1, 64), wide=st.sampled_from((32, 64, 128)), inner=st.integers(1, 40000), gated=st.booleans())
def test_crossing_over_tokens(heads: int, wide: int, inner: int, gated: bool) -> None:
    """On either side of the crossing the other one has more."""
    d = heads * wide
    z = ModuleSizes(hidden_size=d, num_heads=heads, intermediate_size=inner, gated="yes" if gated else "no")
    found = crossing(z)
    assert float(found.at) == pytest.approx(((3 if gated else 2) * inner - 4 * d) / 2, rel=1e-12)
    below = max(1.0, float(np.floor(found.at)))
    for s in (below, below + 1.0):
        attention, feed_forward = found.flops(s)
        assert (attention > feed_forward) == (s > found.at)


@pytest.mark.parametrize(("height", "width", "hidden"), [(32, 32, 1536), (30, 45, 3072), (2, 1, 64), (8, 8, 1152)])
def test_crossing_over_frames(height: int, width: int, hidden: int) -> None:
    """4·s²·D against 8·s·D² + 4·s·(p + f)·D: from (2·D + p)/(p − 1) frames on two attentions are less work than one."""
    p = height * width
    found = crossing(ModuleSizes(hidden_size=hidden, height=height, width=width), "frames")
    assert float(found.at) == pytest.approx((2 * hidden + p) / (p - 1), rel=1e-12)
    below = max(1.0, float(np.floor(found.at)))
    for frames in (below, below + 1.0):
        full, apart = found.flops(frames)
        assert (full > apart) == (frames > found.at)


def test_frames_of_one_token_never_cross() -> None:
    """Then attention in time is attention to all, and the one in space is too much."""
    found = crossing(ModuleSizes(hidden_size=64, height=1, width=1), "frames")
    assert np.isinf(found.at)
    full, apart = found.flops(100.0)
    assert full < apart
    assert "they never meet: space and time" in told("crossover", "--over", "frames", "--frame", "1x1")


# The backward pass


def test_three_layers() -> None:
    """Each layer inside has two matmuls backward for one forward; the first has no gradient of its input."""
    found = count_perceptron((784, 512, 256, 10), 64)
    operators = {op.name: op for op in found.operators}
    assert list(operators) == ["linear1", "relu1", "linear2", "relu2", "linear3"]
    forward = {"linear1": (64, 784, 512), "linear2": (64, 512, 256), "linear3": (64, 256, 10)}
    for name, (m, k, n) in forward.items():
        op = operators[name]
        shapes = {p.what: p.shape for p in op.parts}
        assert shapes["forward"] == (m, k, n)
        assert shapes["weight gradient"] == (k, m, n)
        assert shapes.get("input gradient") == (None if name == "linear1" else (m, n, k))
        assert all(p.flops == 2 * m * k * n for p in op.parts)
        assert op.ratio == (1 if name == "linear1" else 2)
    assert [operators[f"relu{i}"].ratio for i in (1, 2)] == [None, None]
    amounts = [2 * m * k * n for m, k, n in forward.values()]
    assert found.forward == sum(amounts)
    assert found.backward == 2 * sum(amounts) - amounts[0]


@settings(max_examples=40)
@given(widths=st.lists(st.integers(1, 5000), min_size=2, max_size=9), batch=st.integers(1, 1000))
def test_any_perceptron(widths: list[int], batch: int) -> None:
    found = count_perceptron(widths, batch)
    amounts = [2 * batch * k * n for k, n in pairwise(widths)]
    assert found.forward == sum(amounts)
    assert found.backward == 2 * sum(amounts) - amounts[0]


def test_equal_widths() -> None:
    """n layers: 2 − 1/n; three are 5 : 3."""
    for n in (1, 2, 3, 10, 50):
        assert float(count_perceptron((64,) * (n + 1), 8).ratio) == pytest.approx(2 - 1 / n, rel=1e-15)
    with pytest.raises(BadInput, match="51 layers are too many"):
        count_perceptron((64,) * 52)


def test_arrays_of_batches() -> None:
    together = count_perceptron((784, 512, 10), np.array([1.0, 64.0]))
    assert [float(x) for x in np.asarray(together.backward)] == [
        float(count_perceptron((784, 512, 10), b).backward) for b in (1, 64)
    ]


# Splits


def test_splits() -> None:
    """Columns leave shares, rows leave partial sums that an all-reduce finishes, heads need nothing before they are joined."""
    z = ModuleSizes(hidden_size=8192, num_heads=128, intermediate_size=4096, frames=1, height=1, width=1)
    found = {x.name: [(m.kind, m.after, m.buffer, m.sent) for m in x.messages] for x in count_splits(z, 4)}
    f, d = 2 * 4096, 2 * 8192
    assert found == {
        "by columns, result left in shares": [],
        "by columns, whole result": [("all_gather", "product", f, 3 / 4 * f)],
        "by rows, whole result": [("all_reduce", "product", f, 2 * 3 / 4 * f)],
        "by rows, result left in shares": [("reduce_scatter", "product", f, 3 / 4 * f)],
        "columns, then rows (feed-forward)": [("all_reduce", "down", d, 2 * 3 / 4 * d)],
        "heads, up to their values": [],
        "heads, with the output projection by rows": [("all_reduce", "out", d, 2 * 3 / 4 * d)],
    }


@settings(max_examples=40)
@given(ranks=st.sampled_from((1, 2, 4, 8)), tokens=st.integers(1, 500), kv=st.sampled_from((8, 16)))
def test_ranks_share_the_work(ranks: int, tokens: int, kv: int) -> None:
    """Each rank has its share of the arithmetic and of the weights; one rank sends nothing."""
    z = ModuleSizes(hidden_size=1024, num_heads=16, num_kv_heads=kv, frames=1, height=1, width=tokens)
    for alone, shared in zip(count_splits(z, 1), count_splits(z, ranks), strict=True):
        assert shared.flops * ranks == alone.flops
        assert shared.weights * ranks == alone.weights
        assert alone.sent == 0
        assert (shared.sent > 0) == (ranks > 1 and bool(shared.messages))
