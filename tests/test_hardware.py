"""The catalogue of accelerators and machines: figures with units and sources, no impossible machine, found by any name."""

import datetime
import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from floorline import Accelerator, load_cluster
from floorline.catalogue import accelerators, cluster_audit, clusters, engines, footprints, hardware_audit, trainers
from floorline.catalogue.architectures import architectures
from floorline.catalogue.figures import printed
from floorline.catalogue.references import references
from terminal import ask, run

DEVICES = {name: tomllib.loads((accelerators.HERE / f"{name}.toml").read_text()) for name in accelerators.names()}
MACHINES = {name: tomllib.loads((clusters.HERE / f"{name}.toml").read_text()) for name in clusters.names()}

WANTED = [
    "v100-sxm2-16gb",
    "v100-sxm2-32gb",
    "v100-pcie-16gb",
    "v100-pcie-32gb",
    "t4",
    "a10",
    "a10g",
    "a30",
    "a40",
    "a100-pcie-40gb",
    "a100-pcie-80gb",
    "a100-sxm-40gb",
    "a100-sxm-80gb",
    "a800-sxm-80gb",
    "rtx-a6000",
    "l4",
    "l20",
    "l40",
    "l40s",
    "rtx-3070",
    "rtx-3070-laptop",
    "rtx-3080",
    "rtx-3080-ti",
    "rtx-3090",
    "rtx-3090-ti",
    "rtx-4070-ti",
    "rtx-4080",
    "rtx-4090",
    "rtx-5090",
    "rtx-4000-ada",
    "rtx-5000-ada",
    "rtx-6000-ada",
    "rtx-pro-6000",
    "rtx-pro-6000-max-q",
    "jetson-agx-orin-64gb",
    "h100-pcie",
    "h100-sxm",
    "h100-nvl",
    "h100-sxm-96gb-hbm2e",
    "h800-sxm",
    "h20",
    "h200-sxm",
    "h200-nvl",
    "gh200",
    "b200-sxm",
    "b300-sxm",
    "gb200",
    "gb300",
    "mi210",
    "mi250",
    "mi250x",
    "mi250x-gcd",
    "mi300x",
    "mi325x",
    "mi350x",
    "mi355x",
    "rx-7900-xtx",
    "ryzen-ai-max-395",
    "tpu-v3",
    "tpu-v4",
    "tpu-v5e",
    "tpu-v5p",
    "tpu-v6e",
    "gaudi2",
    "gaudi3",
    "arc-b60",
    "xeon",
    "epyc",
    "trainium1",
    "trainium2",
    "inferentia2",
    "m1",
    "m1-pro",
    "m1-max",
    "m1-ultra",
    "m2",
    "m2-pro",
    "m2-max",
    "m2-ultra",
    "m3",
    "m3-pro",
    "m3-max",
    "m3-ultra",
    "m4",
    "m4-pro",
    "m4-max",
    "m5",
]


def device(name: str) -> Accelerator:
    return load_cluster(name).accelerator


def test_what_people_ask_for_is_there() -> None:
    assert set(WANTED) <= set(DEVICES)


def test_the_catalogue_passes_its_audit() -> None:
    """Units, sources, dense peaks, possible machines; every source is a reference, and every reference is used."""
    findings = hardware_audit.audit(sorted(accelerators.HERE.glob("*.toml")))
    findings += cluster_audit.audit(sorted(clusters.HERE.glob("*.toml")))
    assert [(f.device, f.figure, f.reason) for f in findings if f.wrong] == []
    used = cluster_audit.references_used() | engines.references_used() | footprints.references_used()
    used |= trainers.references_used()
    assert hardware_audit.references_not_used() - used == set()


@pytest.mark.parametrize("name", DEVICES)
def test_accelerator_file(name: str) -> None:
    """A title that begins with the vendor or says what it is, names that find it, and every figure as text with its unit."""
    entry, found = DEVICES[name], device(name)
    assert found.name == name
    assert found.title == entry["name"]
    assert found.architecture
    assert found.vendor in ("nvidia", "amd", "intel", "google", "aws", "apple")
    for alias in (name, *entry["aliases"]):
        bare = accelerators.plain(alias)
        spelt = (alias, alias.upper(), alias.replace("-", " "), f"{found.vendor} {bare}")
        assert {load_cluster(each).accelerator.name for each in spelt} == {name}
    for figure in found.figures.values():
        assert re.fullmatch(r"[\d.]+( [A-Za-z/]+)?", str(figure["value"]))


def test_names_are_unique() -> None:
    """A name is one accelerator or one machine, however it is spelt."""
    owners: dict[str, set[str]] = {}
    for name, entry in (*DEVICES.items(), *MACHINES.items()):
        for spelt in (name, *entry.get("aliases", ())):
            owners.setdefault(accelerators.plain(spelt), set()).add(name)
    assert {spelt: found for spelt, found in owners.items() if len(found) > 1} == {}
    assert not set(DEVICES) & set(MACHINES)


@pytest.mark.parametrize("name", references())
def test_reference(name: str) -> None:
    """A title, a publisher, an address, the day it was seen, and what it says."""
    reference = references()[name]
    assert set(reference) == {"title", "publisher", "address", "seen", "note"}
    assert all(reference.values())
    assert re.fullmatch(r"https?://\S+", reference["address"])
    assert datetime.date.fromisoformat(reference["seen"]).year >= 2024


# What an audit refuses

GOOD = (accelerators.HERE / "h100-sxm.toml").read_text()
BF16 = re.search(r"^bf16 = .*$", GOOD, re.MULTILINE)
BANDWIDTH = re.search(r"^memory_bandwidth = .*$", GOOD, re.MULTILINE)
assert BF16 is not None
assert BANDWIDTH is not None
ONE = next(key for key in references() if "h100" in key)
TWO = '{ stas-accelerators = "%s", ' + ONE + ' = "%s" }'

PLANTS: dict[str, tuple[str, str, str]] = {
    "wrong-unit": (BANDWIDTH[0], 'memory_bandwidth = { value = "3350 GB", sources = {} }', "has the wrong unit"),
    "bits-for-bytes-unit": (BF16[0], 'bf16 = { value = "989.4 TB/s", sources = {} }', "has the wrong unit"),
    "no-source": (BF16[0], 'bf16 = { value = "989.4 TFLOP/s" }', "no source"),
    "no-source-at-all": (BANDWIDTH[0], 'memory_bandwidth = "3350 GB/s"', "no source"),
    "unknown-source": (
        BF16[0],
        'bf16 = { value = "989.4 TFLOP/s", sources = { hearsay = "989.4 TFLOP/s" } }',
        "'hearsay' is not among the references",
    ),
    "sparse": (
        BF16[0],
        f'bf16 = {{ value = "1979 TFLOP/s", sources = {TWO % ("1979 TFLOP/s", "1979 TFLOP/s")} }}',
        "is it with sparsity?",
    ),
    "sparse-as-printed": (
        BF16[0],
        f'bf16 = {{ value = "1979 TFLOP/s", sources = {TWO % ("1979 TFLOP/s sparse", "989.4 TFLOP/s")}, note = "two" }}',
        "is the sparse figure; expected half of it",
    ),
    "sources-differ": (
        BANDWIDTH[0],
        f'memory_bandwidth = {{ value = "3350 GB/s", sources = {TWO % ("3350 GB/s", "3450 GB/s")} }}',
        "and no note says why",
    ),
    "value-is-nobodys": (
        BANDWIDTH[0],
        f'memory_bandwidth = {{ value = "3450 GB/s", sources = {TWO % ("3350 GB/s", "3350 GB/s")} }}',
        "and no note says why",
    ),
    "impossible-balance": (
        BANDWIDTH[0],
        f'memory_bandwidth = {{ value = "3.35 GB/s", sources = {TWO % ("3.35 GB/s", "3.35 GB/s")} }}',
        "the machine balance is",
    ),
    "both-directions": (
        'bandwidth = { value = "450 GB/s"',
        'bandwidth = { value = "4.5 TB/s"',
        "both directions, or bits?",
    ),
    "unknown-figure": ("[peaks]", 'colour = "3 W"\n[peaks]', "unknown figure 'colour'"),
    "no-vendor": ('vendor = "nvidia"', "", "the key 'vendor' is missing"),
    "value-is-nobodys-with-a-note": (
        BANDWIDTH[0],
        f'memory_bandwidth = {{ value = "6.7 TB/s", sources = {TWO % ("3350 GB/s", "3350 GB/s")}, note = "doubled" }}',
        "is what no source prints",
    ),
    "derived-without-a-note": (
        BANDWIDTH[0],
        f'memory_bandwidth = {{ value = "3400 GB/s", sources = {TWO % ("3350 GB/s", "3350 GB/s")}, derived = true }}',
        "derived, and no note says how",
    ),
    "pcie-in-both-directions": (
        'bandwidth = { value = "64 GB/s"',
        'bandwidth = { value = "640 GB/s"',
        "expected at most 1.3e+11, in one direction",
    ),
    "undated-price": (
        "[peaks]",
        f'price = {{ value = "2 USD/h", sources = {{ {ONE} = "2 USD/h" }} }}\n[peaks]',
        "date is",
    ),
}


@pytest.mark.parametrize("case", PLANTS)
def test_audit_refuses(case: str, tmp_path: Path) -> None:
    """Each planted mistake, by its reason, from the command line with status 4; the file as it is shipped passes."""
    old, new, says = PLANTS[case]
    assert old in GOOD
    text = GOOD if "price" not in case else re.sub(r"^price = .*\n", "", GOOD, flags=re.MULTILINE)
    path = tmp_path / "planted.toml"
    path.write_text(text.replace(old, new))
    reasons = [f.reason for f in hardware_audit.audit([path]) if f.wrong]
    assert any(says in reason for reason in reasons), reasons
    refused = run("hardware", "--audit", path)
    assert refused.status == 4
    assert says in refused.out
    assert "planted" in refused.err
    whole = tmp_path / "whole.toml"
    whole.write_text(GOOD)
    assert run("hardware", "--audit", whole).status == 0


def test_audit_of_a_consumer_card(tmp_path: Path) -> None:
    """A GeForce's rate with fp32 accumulation is half of its family's: the full rate there is refused, whoever prints it."""
    text = (accelerators.HERE / "rtx-4090.toml").read_text()
    assert run("hardware", "--audit", "rtx-4090").status == 0
    key = next(iter(references()))
    planted = re.sub(
        r"^bf16 = .*$",
        f'bf16 = {{ value = "330.3 TFLOP/s", sources = {{ {key} = "330.3 TFLOP/s" }} }}',
        text,
        flags=re.MULTILINE,
    )
    path = tmp_path / "card.toml"
    path.write_text(planted)
    assert any("is it with sparsity?" in f.reason for f in hardware_audit.audit([path]) if f.wrong)


def test_audit_of_an_own_file_with_own_references(tmp_path: Path) -> None:
    """What is not among the references stands in the file itself."""
    path = tmp_path / "mine.toml"
    sheet = 'sources = { my-sheet = "%s" } }'
    path.write_text(
        'name = "mine"\nvendor = "me"\narchitecture = "mine"\n[figures]\n'
        f'memory = {{ value = "48 GB", {sheet % "48 GB"}\nmemory_bandwidth = {{ value = "864 GB/s", {sheet % "864 GB/s"}\n'
        f'[peaks]\nbf16 = {{ value = "181 TFLOP/s", {sheet % "181 TFLOP/s"}\n'
    )
    refused = run("hardware", "--audit", path)
    assert refused.status == 4
    assert "add a table [references.my-sheet]" in refused.out
    path.write_text(path.read_text() + '[references.my-sheet]\ntitle = "My sheet"\n')
    assert run("hardware", "--audit", path).status == 0


def test_machines_side_by_side() -> None:
    """Their accelerators are compared, and their levels listed."""
    shown = run("hardware", "dgx-h100", "dgx-b200")
    assert shown.status == 0
    assert "critical batch" in shown.out
    assert "infiniband" in shown.out
    assert "b200-sxm" in run("hardware", "a100", "dgx-b200").out


def test_a_file_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    path.write_text('accelerator = "h100-sxm"\n[levels.nvlink]\nbandwidth = "450 GB/s"\n')
    assert "made of h100-sxm" in run("hardware", path).out


def test_audit_refuses_a_name_taken_twice() -> None:
    found = [f.reason for f in hardware_audit.names_taken("h100-sxm", {"aliases": ["h100", "b200", "mine"]})]
    assert found == ["the alias b200 is of b200-sxm too"]


def test_audit_command() -> None:
    """All of the catalogue, as JSON and by name."""
    summary = ask("hardware", "--audit")["summary"]
    assert summary["accelerators"] == len(DEVICES)
    assert summary["machines"] == len(MACHINES)
    assert summary["wrong"] == 0
    assert summary["figures"] > 12 * len(DEVICES)
    assert run("hardware", "--audit", "h100-sxm", "dgx-h100").status == 0
    assert run("hardware", "--audit", "zebra").status == 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1979 TFLOP/s sparse", 989.5e12),
        ("900 GB/s both directions", 450e9),
        ("989.4 TFLOP/s", 989.4e12),
        ("PCIe 4.0 x16", 32e9),
        ("PCIe 5.0 x8", 32e9),
    ],
)
def test_what_sources_print(text: str, value: float) -> None:
    assert printed(text, "FLOP/s" if "FLOP" in text else "B/s") == pytest.approx(value, rel=1e-15)


# What must hold of machines


@pytest.mark.parametrize("name", DEVICES)
def test_peaks_make_sense(name: str) -> None:
    """Narrower formats are never slower; accumulating in less is never slower."""
    found = device(name)
    peaks = {k: float(v) for k, v in found.peaks.items()}
    for wide, narrow in (("fp64", "fp32"), ("tf32", "bf16"), ("bf16", "fp8"), ("fp8", "fp4"), ("int8", "int4")):
        if wide in peaks and narrow in peaks and (name, narrow) not in SLOWER:
            assert peaks[narrow] >= 0.99 * peaks[wide]
    for form in ("fp16", "fp8"):
        assert peaks.get(f"{form}_accumulate_fp16", float("inf")) >= peaks.get(form, 0.0)
    for form in ("bf16", "fp16", "fp8", "int8", "fp4"):
        assert found.fastest(form) >= found.peak(form) > 0.0


SLOWER: set[tuple[str, str]] = set()
"""Formats that a device computes more slowly than a wider one, though it has them."""


@pytest.mark.parametrize("name", DEVICES)
def test_memory_makes_sense(name: str) -> None:
    """A program finds at most as many 2³⁰ bytes as the sheet says 10⁹, and links are slower than memory."""
    found = device(name)
    assert 0.5 * float(found.memory) <= float(found.usable) <= float(found.memory) * 1.0738
    assert 5e10 < float(found.memory_bandwidth) < 2e13
    assert float(found.last_level_cache) < 0.1 * float(found.memory)
    hosts = [link.host for link in found.links]
    assert hosts == sorted(hosts)
    assert all(1e8 < float(link.bandwidth) < float(found.memory_bandwidth) for link in found.links if not link.host)


def test_generations() -> None:
    """Each generation has more arithmetic and more bandwidth than the one before."""
    line = [device(name) for name in ("v100-sxm2-32gb", "a100-sxm-80gb", "h100-sxm", "b200-sxm")]
    for older, newer in pairwise(line):
        assert float(older.peak("fp16")) < float(newer.peak("fp16"))
        assert float(older.memory_bandwidth) < float(newer.memory_bandwidth)
        assert float(older.links[0].bandwidth) < float(newer.links[0].bandwidth)
    assert device("h100").peaks == device("h200").peaks
    assert float(device("h100").memory_bandwidth) < float(device("h200").memory_bandwidth)
    whole, die = device("mi250x"), device("mi250x-gcd")
    for form in ("fp16", "fp32", "fp64"):
        assert float(whole.peak(form)) == pytest.approx(2 * float(die.peak(form)), rel=0.01)
    assert float(whole.memory) == 2 * float(die.memory)


def test_consumer_cards_accumulate_in_fp32_at_half_the_rate() -> None:
    """GeForce halves; workstation cards of the same chips do not."""
    for name in ("rtx-3090", "rtx-4090", "rtx-5090"):
        card = device(name)
        assert float(card.fastest("fp16")) == pytest.approx(2 * float(card.peak("fp16")), rel=0.01)
    for name in ("rtx-a6000", "l40s", "a40"):
        assert device(name).fastest("bf16") == device(name).peak("bf16")


@pytest.mark.parametrize("name", MACHINES)
def test_machine_file(name: str) -> None:
    """It loads by all its names, is made of a known accelerator, and each level reaches further, no faster."""
    made = load_cluster(name)
    assert made.name == name
    assert made.accelerator.name in DEVICES
    for alias in MACHINES[name].get("aliases", ()):
        assert load_cluster(alias).name == name
    for inner, outer in pairwise(made.levels):
        assert float(inner.domain) < float(outer.domain)
        assert float(inner.bandwidth) >= float(outer.bandwidth)


def test_architectures_hold_what_nvidia_says() -> None:
    """Warps, registers and shared memory of the programming guide's table."""
    known = {name: a.occupancy for name, a in architectures().items() if a.occupancy}
    warps = {name: held.warps for name, held in known.items()}
    assert warps == {
        "volta": 64,
        "turing": 32,
        "ampere": 64,
        "ampere-ga10x": 48,
        "ampere-ga10b": 48,
        "ada": 48,
        "hopper": 64,
        "blackwell": 64,
        "blackwell-rtx": 48,
    }
    assert all(held.registers == 65536 and held.warp == 32 for held in known.values())
    assert known["hopper"].shared_memory == 228 * 1024
    named = {str(entry["architecture"]) for entry in DEVICES.values() if entry["vendor"] == "nvidia"}
    assert named <= set(known)


def test_listing() -> None:
    """All, those with a word, several side by side, one with every source."""
    everything: dict[str, Any] = ask("hardware")
    assert [h["name"] for h in everything["hardware"]] == sorted(DEVICES)
    assert [m["name"] for m in everything["machines"]] == sorted(MACHINES)
    side = run("hardware", "h100-sxm", "mi300x", "tpu-v5p").out
    assert "critical batch" in side
    assert "link balance" in side
    assert "295.3 FLOP/B" in side  # 989.4 / 3.35
    shown = run("hardware", "rtx-4090").out
    assert "fp16_accumulate_fp16" in shown
    assert "sources (as each prints it)" in shown
    machine = run("hardware", "dgx-h100").out
    assert "nvlink 450 GB/s among 8" in machine
    assert run("hardware", "h100-sxm", "zebra").status == 3
