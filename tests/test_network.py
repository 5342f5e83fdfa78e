"""Messages on the levels of a cluster: what must cross each, by any algorithm, and what a hierarchical one sends."""

from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floorline import Assumptions, Cluster, Decode, Link, Parallelism, Prefill, estimate, load_cluster, load_model
from floorline.errors import BadInput, NotFound
from floorline.formulas.topology import torus_2d_distance, torus_3d_distance
from floorline.letters import Numbers
from floorline.network import Level, least_bytes, least_rate, levels, staged, staged_rate
from floorline.specs.accelerator import TOPOLOGIES, Accelerator
from terminal import ask, run

KINDS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
DEVICE = Accelerator(name="any", peaks={"bf16": 1e15}, memory=80e9, memory_bandwidth=3e12)


def two_levels(devices: float, inside: float = 8.0, topology: str = "switch") -> Cluster:
    """Boxes on a fabric."""
    box = Link("box", 400e9, domain=inside, topology=topology)
    return Cluster(DEVICE, devices, (box, Link("fabric", 50e9)))


def group(ranks: float, before: float = 1.0) -> Numbers:
    """A group with other ranks between each two of its own."""
    return Numbers({}, {"a": before, "b": ranks})


@pytest.mark.parametrize(
    ("kind", "ranks", "before", "expected"),
    [
        # a box of eight in a group of sixteen: the sum of 1 MB must come in and its own go out, an eighth by each
        ("all_reduce", 16, 1, (1e6, 1e6 / 8)),
        # shares of the other box, handed over by eight; own shares come in already added
        ("reduce_scatter", 16, 1, (15e6 / 16, 1e6 / 16)),
        ("all_gather", 16, 1, (15e6 / 16, 1e6 / 16)),
        # half of every buffer is for the other box
        ("all_to_all", 16, 1, (15e6 / 16, 0.5e6)),
        # inside one box nothing leaves
        ("all_reduce", 8, 1, (1e6, 0.0)),
        # one rank of each box: all of it leaves, and the box's own link has nothing to do
        ("all_reduce", 4, 8, (0.0, 1e6)),
        ("all_gather", 4, 8, (0.0, 0.75e6)),
        # two of each box
        ("all_reduce", 4, 4, (1e6, 0.5e6)),
        ("all_to_all", 4, 4, (0.75e6, 0.5e6)),
        ("all_reduce", 1, 1, (0.0, 0.0)),
    ],
)
def test_least_bytes(kind: str, ranks: float, before: float, expected: tuple[float, float]) -> None:
    """By hand, innermost level first."""
    ways = levels(two_levels(ranks * before))
    found = [max(least_bytes(kind, 1e6, ("b",), group(ranks, before), way)) for way in ways]
    assert found == pytest.approx(list(expected[: len(ways)]), rel=1e-12)
    assert not any(expected[len(ways) :])  # devices in one box reach no other level


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("all_reduce", (2 * 7 / 8 * 1e6, 2 * 1 / 2 * 1e6 / 8)),
        ("all_gather", (7 / 8 * 1e6, 1 / 2 * 1e6 / 8)),
        ("all_to_all", (7 / 16 * 1e6, 8 / 16 * 1e6)),
    ],
)
def test_hierarchical_bytes(kind: str, expected: tuple[float, float]) -> None:
    """Sixteen ranks in two boxes: a ring in the box, then one between boxes of an eighth each."""
    assert staged(kind, 1e6, ("b",), group(16), levels(two_levels(16))) == pytest.approx(expected, rel=1e-12)


@given(
    kind=st.sampled_from(KINDS),
    ranks=st.integers(1, 600),
    before=st.sampled_from((1, 2, 3, 4, 8, 16)),
    inside=st.sampled_from((2, 4, 8, 72)),
    topology=st.sampled_from(TOPOLOGIES),
)
def test_no_algorithm_sends_less_than_the_least(kind: str, ranks: int, before: int, inside: int, topology: str) -> None:
    """On no level more time than a hierarchical algorithm takes, whatever the placement and the topology."""
    ways = levels(two_levels(float(ranks * before), float(inside), topology))
    numbers = group(float(ranks), float(before))
    sent = staged(kind, 1e6, ("b",), numbers, ways)
    rates = [staged_rate(("b",), numbers, way) for way in ways]
    one_by_one = sum(amount / rate for rate, amount in zip(rates, sent, strict=True))
    for way in ways:
        least = max(least_bytes(kind, 1e6, ("b",), numbers, way)) / least_rate(("b",), numbers, way)
        assert least <= one_by_one * (1 + 1e-9)


def test_one_level_sends_what_a_ring_does() -> None:
    flat = levels(Cluster(DEVICE, 8.0, (Link("link", 1e9),)))
    assert staged("all_reduce", 8.0, ("b",), group(8), flat) == (14.0,)
    assert staged("all_gather", 8.0, ("b",), group(8), flat) == (7.0,)


@pytest.mark.parametrize(
    ("name", "devices", "share"),
    [
        ("mi300x", 8, 1.0),
        ("mi300x", 2, 1 / 7),
        ("v100-sxm2-32gb", 8, 1.0),
        ("v100-sxm2-32gb", 2, 1 / 3),
        ("h100-sxm", 2, 1.0),
        ("tpu-v5e", 2, 0.5),
        ("tpu-v4", 64, 1.0),
    ],
)
def test_topologies(name: str, devices: int, share: float) -> None:
    """Two devices of a full mesh have one link of seven between them; behind a switch all of them."""
    first = levels(load_cluster(name, devices))[0]
    assert first.rate == pytest.approx(float(first.link.bandwidth) * share, rel=1e-12)


def test_an_all_to_all_on_a_torus_takes_every_hop() -> None:
    """16 × 16: shares travel eight hops on average; the bound, which no folding or twisting beats, is within a tenth of it."""
    torus = levels(load_cluster("tpu-v5e", devices=256))[0]
    assert torus.link.topology == "torus-2d"
    sent, _ = least_bytes("all_to_all", 1.0, ("b",), group(256), torus)
    assert 0.9 * 8.0 < float(sent) < 8.0


@pytest.mark.parametrize(
    ("sides", "bound"),
    [
        *[((a, b), torus_2d_distance) for a in (1, 2, 3, 4, 5, 8, 16) for b in (1, 2, 3, 4, 5, 7, 16)],
        *[((a, b, c), torus_3d_distance) for a in (1, 2, 3, 4, 5) for b in (1, 2, 4, 5) for c in (1, 2, 3, 8)],
    ],
)
def test_hops_are_never_fewer(sides: tuple[int, ...], bound: Callable[[float], float]) -> None:
    """Against every torus, counted; one wire and its way round count as two."""
    places = list(product(*(range(side) for side in sides)))
    hops = [sum(min(x, side - x) for x, side in zip(place, sides, strict=True)) for place in places]
    assert float(bound(float(len(places)))) <= sum(hops) / len(hops) + 1e-12


@pytest.mark.parametrize(("size", "twist"), [((4, 4, 8), 4), ((4, 8, 8), 4)])
def test_twisted_tori(size: tuple[int, int, int], twist: int) -> None:
    """A twisted torus, whose way round one side shifts along another, has shorter ways; the bound holds."""
    a, b, c = size
    seen, edge, hops, total = {(0, 0, 0)}, [(0, 0, 0)], 0, 0
    while edge:
        new = []
        for x, y, z in edge:
            for dx, dy, dz in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)):
                shift = twist * ((x + dx) // a)
                place = ((x + dx) % a, (y + dy) % b, (z + dz + shift) % c)
                if place not in seen:
                    seen.add(place)
                    new.append(place)
        hops += 1
        total += hops * len(new)
        edge = new
    assert len(seen) == a * b * c
    assert float(torus_3d_distance(float(len(seen)))) <= total / len(seen)


# Estimates

MODEL = load_model("llama-3.1-8b")
NETWORKS = st.fixed_dictionaries(
    {
        "inner": st.floats(1e9, 1e12),
        "outer": st.floats(1e8, 1e11),
        "domain": st.sampled_from((2, 4, 8)),
        "peak": st.floats(1e13, 1e16),
        "memory": st.floats(1e11, 1e13),
    }
)


def machine(figures: Mapping[str, float], topology: str) -> Cluster:
    """Boxes of any figures."""
    device = Accelerator(name="any", peaks={"bf16": figures["peak"]}, memory=80e9, memory_bandwidth=figures["memory"])
    box = Link("box", figures["inner"], domain=float(figures["domain"]), topology=topology)
    return Cluster(device, 64.0, (box, Link("fabric", figures["outer"])))


@given(
    figures=NETWORKS,
    tp=st.sampled_from((2, 4, 8)),
    cp=st.sampled_from((1, 2)),
    work=st.sampled_from((Decode(batch=64, context_len=512), Prefill(batch=2, prompt_len=512))),
    what=st.sampled_from(("inner", "outer", "domain", "peak", "memory")),
    factor=st.sampled_from((1.0, 2.0, 8.0)),
    topology=st.sampled_from(TOPOLOGIES),
)
def test_more_is_never_slower(
    figures: dict[str, float], tp: int, cp: int, work: Decode | Prefill, what: str, factor: float, topology: str
) -> None:
    """More bandwidth on any level, more arithmetic, or a switch that joins more devices never makes a floor larger."""
    topology = "switch" if what == "domain" else topology
    plan = Parallelism(tp=tp, cp=cp)
    before = estimate(MODEL, work, machine(figures, topology), parallelism=plan).latency
    after = estimate(
        MODEL, work, machine({**figures, what: figures[what] * factor}, topology), parallelism=plan
    ).latency
    assert after.floor <= before.floor
    assert before.floor <= before.serial * (1 + 1e-9)


def test_a_box_too_small_sends_through_the_fabric() -> None:
    """Sixteen tensor-parallel ranks in boxes of eight: the fabric bounds what the box did not."""
    work, plan = Prefill(batch=8, prompt_len=2048), Parallelism(tp=16)
    narrow, wide = (
        estimate("llama-3.1-405b", work, cluster, parallelism=plan)
        for cluster in (load_cluster("dgx-h100", devices=16), load_cluster("gb200-nvl72", devices=16))
    )
    fabric, whole = narrow.phases[0].floor, wide.phases[0].floor
    assert (fabric.level, whole.level) == (1.0, 0.0)
    layer = 8 * 2048 * 16384 * 2  # bytes of the activations that two all-reduces a layer and the embedding's add up
    assert fabric.message == pytest.approx((2 * 126 + 1) * layer / 8, rel=0.01)
    assert fabric.link == pytest.approx(float(fabric.message) / 50e9, rel=1e-12)


def test_arrays_of_machines() -> None:
    """Figures of links may be arrays, as everything else."""
    rates = np.array([50e9, 400e9, 900e9])
    devices = Cluster(DEVICE, 16.0, (Link("box", rates, domain=8.0), Link("fabric", rates / 10)))
    e = estimate(MODEL, Decode(batch=512, context_len=1), devices, parallelism=Parallelism(tp=8, dp=2))
    alone = [
        estimate(
            MODEL,
            Decode(batch=512, context_len=1),
            Cluster(DEVICE, 16.0, (Link("box", rate, domain=8.0), Link("fabric", rate / 10))),
            parallelism=Parallelism(tp=8, dp=2),
        ).latency
        for rate in rates.tolist()
    ]
    assert np.asarray(e.latency.floor).tolist() == [time.floor for time in alone]
    assert np.asarray(e.latency.serial).tolist() == [time.serial for time in alone]


# Custom machines

MINE = """
name = "my cluster"
accelerator = "h100-sxm"
[levels.nvlink]
bandwidth = "450 GB/s"
domain = "8"
[levels.network]
bandwidth = "100 Gb/s"
latency = "5 us"
"""

BROKEN = {
    "no-levels": ('accelerator = "h100"\n', "[levels] is empty"),
    "unknown-device": (MINE.replace("h100-sxm", "zebra"), "'zebra' is not in the catalogue"),
    "unknown-key": (MINE + '[colour]\nx = "1"\n', "unknown key 'colour'"),
    "inside-out": (MINE.replace('domain = "8"', ""), "the one inside it inf"),
    "unit": (MINE.replace("100 Gb/s", "100 Gb"), "has the wrong unit"),
    "topology": (MINE.replace('domain = "8"', 'domain = "8"\ntopology = "star"'), "topology is 'star'"),
    "host": (MINE.replace('domain = "8"', 'domain = "8"\nhost = "yes"'), "host is 'yes'"),
    "number": (MINE.replace('"h100-sxm"', "7"), "'accelerator' is missing"),
}


def test_a_machine_of_ones_own(tmp_path: Path) -> None:
    """From a TOML file, on the command line and in Python; the same figures give the same answers as the catalogue's."""
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    document = ask("infer", "llama-3.1-70b", "--hardware", path, "--tp", "8", "--dp", "2", "--batch-size", "2")
    assert document["hardware"]["name"] == "mine"
    assert [link["domain"] for link in document["hardware"]["links"]] == [8, None]
    assert document["hardware"]["links"][1]["bandwidth"] == 12_500_000_000
    path.write_text(MINE.replace("100 Gb/s", "400 Gb/s").replace('latency = "5 us"\n', ""))
    plan = Parallelism(tp=16)
    own, shipped = (
        estimate("llama-3.1-405b", Decode(batch=4, context_len=99), load_cluster(x, devices=16), parallelism=plan)
        for x in (path, "dgx-h100")
    )
    assert own.latency == shipped.latency


def test_latency_of_a_level_counts_in_the_serial_time(tmp_path: Path) -> None:
    """Two all-reduces a layer and one more over the network, 5 µs each."""
    path = tmp_path / "mine.toml"
    times = []
    for text in (MINE, MINE.replace('latency = "5 us"\n', "")):
        path.write_text(text)
        cluster = load_cluster(path, devices=16)
        times.append(estimate(MODEL, Decode(context_len=1), cluster, parallelism=Parallelism(tp=16)).latency)
    assert times[0].serial - times[1].serial == pytest.approx((2 * 32 + 1) * 5e-6, rel=1e-6)
    assert times[0].floor == times[1].floor


@pytest.mark.parametrize("name", BROKEN)
def test_broken_machines(name: str, tmp_path: Path) -> None:
    text, says = BROKEN[name]
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises((BadInput, NotFound)):
        load_cluster(path)
    refused = run("infer", "gpt2", "--hardware", path)
    assert refused.status in (2, 3)
    assert says in refused.err


def test_levels_are_made_of_links() -> None:
    """A bare accelerator's: its own links, then the host's; where it has none, as fast as memory."""
    assert [x.name for x in load_cluster("h100-sxm").levels] == ["nvlink", "pcie"]
    assert [x.name for x in load_cluster("l40s").levels] == ["pcie"]
    assert [x.name for x in load_cluster("m2-ultra").levels] == ["memory"]
    made = Level(Link("x", 1.0), 1.0, 8.0, 8.0, 1.0)
    assert made.rate == 1.0
    assert Assumptions().message_latency == 0.0


# Nodes and networks by hand


def messages(*words: object) -> list[dict[str, object]]:
    """The levels that a command line gives."""
    found: list[dict[str, object]] = ask("infer", "llama-3.1-8b", "--tp", "8", *words)["hardware"]["links"]
    return found


def test_a_network_on_the_command_line() -> None:
    """Of each device, or of each node with its ports; nodes of another size."""
    per_device = messages("--network", "400 Gb/s")
    assert per_device == messages("--network", "8x400 Gb/s") == messages("--network", "8x400Gb/s")
    assert [link["bandwidth"] for link in per_device] == [450e9, 50e9]
    assert [link["domain"] for link in per_device] == [8, None]
    smaller = messages("--network", "4x200 Gb/s", "--node-size", "4")
    assert [link["domain"] for link in smaller] == [4, None]
    assert smaller[1]["bandwidth"] == 25e9
    assert [link["name"] for link in messages("--node-size", "4")] == ["nvlink", "pcie"]
    assert [link["name"] for link in messages("--hardware", "dgx-h100", "--network", "100 Gb/s")] == [
        "nvlink",
        "network",
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--network", "fast"), "no number with a unit"),
        (("--network", "8x"), "no number with a unit"),
        (("--network", "ax400Gb/s"), "expected such as '400 Gb/s'"),
        (("--network", "0 Gb/s"), "expected more than zero"),
        (("--network", "400 Gb"), "wrong unit"),
        (("--node-size", "0"), "--node-size is '0'"),
        (("--hardware", "l40s", "--network", "100 Gb/s"), "add --node-size"),
        (("--hardware", "l40s", "--network", "2x100 Gb/s"), "--node-size where it is not known"),
    ],
)
def test_network_errors(words: tuple[str, ...], says: str) -> None:
    refused = run("infer", "llama-3.1-8b", "--tp", "8", *words)
    assert refused.status == 2
    assert says in refused.err
    assert refused.err.count("\n") == 1


def test_networks_of_machines_with_three_levels() -> None:
    """A network replaces what is between nodes, not what is inside them; a node's size is that of its outermost own level."""
    names = {x: [level.name for level in load_cluster(x, 8).levels] for x in ("frontier", "h100-pcie-nvlink-8")}
    assert names["frontier"] == ["in-package", "xgmi", "slingshot"]
    changed = load_cluster("frontier", 8).with_network(None, 1e9).levels
    assert [level.name for level in changed] == ["in-package", "xgmi", "network"]
    smaller = load_cluster("frontier", 8).with_network(4, None).levels
    assert [(level.name, level.domain) for level in smaller[:2]] == [("in-package", 2.0), ("xgmi", 4.0)]
    inside = load_cluster("h100-pcie-nvlink-8", 8)
    before, after = (
        estimate(MODEL, Decode(batch=8, context_len=99), c, parallelism=Parallelism(tp=8)).latency
        for c in (inside, inside.with_network(None, 1e9))
    )
    assert before == after
    for name in ("frontier", "h100-pcie-nvlink-8"):  # eight ports of a node of eight, one for each
        ported = ask("infer", "llama-3.1-8b", "--tp", "8", "--hardware", name, "--network", "8x400 Gb/s")["hardware"][
            "links"
        ]
        assert ported[-1]["bandwidth"] == 50e9
    alone = load_cluster("m2-ultra", 2).with_network(None, 5e9).levels
    assert [(level.name, level.bandwidth) for level in alone] == [("network", 5e9)]


def test_a_machine_that_ends_takes_no_more() -> None:
    with pytest.raises(BadInput, match="joins 4 devices, of 8"):
        load_cluster("rtx-4090-4", devices=8)
    assert float(load_cluster("rtx-4090-4", devices=4).devices) == 4


def test_sweeps_price_the_same_network() -> None:
    """A sweep's points are infer's, whatever the network and the topology."""
    for words in (
        ("--hardware", "dgx-h100", "--tp", "16"),
        ("--hardware", "h100-sxm", "--tp", "16", "--node-size", "4", "--network", "1 Gb/s"),
        ("--hardware", "mi300x", "--tp", "2"),
    ):
        alone = ask("infer", "llama-3.1-8b", "--isl", "4096", "--osl", "2", *words)
        swept = ask("sweep", "llama-3.1-8b", "--isl", "4096", "--osl", "2", "--batch-size", "1", *words)
        (point,) = swept["points"]
        assert point["ttft_floor_s"] == alone["ttft_s"]["floor"]
        assert point["ttft_serial_s"] == alone["ttft_s"]["serial"]


def test_members_never_exceed_the_box() -> None:
    """Of axes of 10 and 2 ranks side by side a box of 16 holds 16."""
    both = Numbers({}, {"k": 10.0, "g": 2.0})
    assert both.members(("k", "g"), 16.0) == 16.0
    assert both.members(("k", "g"), 64.0) == 20.0


@pytest.mark.parametrize(
    ("figures", "says"),
    [
        ({"bandwidth": -5.0}, "bandwidth is -5"),
        ({"bandwidth": 0.0}, "bandwidth is 0"),
        ({"bandwidth": 1e9, "domain": 0.0}, "domain is 0"),
        ({"bandwidth": 1e9, "latency": -1.0}, "latency is -1"),
        ({"bandwidth": "fast"}, "expected a number"),
        ({"bandwidth": 1e9, "topology": "star"}, "topology is 'star'"),
    ],
)
def test_links_that_cannot_be(figures: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Link("x", **figures)
