"""Splits of pictures and videos: what is sent, who works on what, what a patch pipeline keeps; copies from the host."""

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import floorline
from floorline import Denoise, DenoisePlan, load_cluster
from floorline.denoising.estimate import DenoiseEstimate, estimate_denoising
from floorline.denoising.patches import stale_bytes
from floorline.errors import BadInput
from terminal import run


def value(number: Any) -> float:
    """A number that must be there."""
    assert number is not None
    return float(number)


def estimated(model: str, cluster: Any = "h100-sxm", plan: DenoisePlan | None = None, **given: Any) -> DenoiseEstimate:
    return estimate_denoising(model, Denoise(**given), cluster, plan=plan or DenoisePlan())


# Who works on what


def test_replicas_share_pictures_not_passes() -> None:
    """Two replicas of three pictures: the fuller one has two, with both of their guidance passes, as a device with two has."""
    three = estimated("sd3-medium", plan=DenoisePlan(dp=2), batch=3, passes=2)
    two = estimated("sd3-medium", batch=2, passes=2)
    assert three.step_time == two.step_time
    assert replace(three.decoding, serial=0.0) == replace(two.decoding, serial=0.0)  # type: ignore[type-var]


def test_replicas_need_pictures() -> None:
    """More replicas than pictures leave some with nothing."""
    found = estimated("sd3-medium", plan=DenoisePlan(dp=2))
    assert not found.feasible
    assert "2 replicas share a batch of 1" in found.reason


@pytest.mark.parametrize("model", ["wan2.1-t2v-14b", "pixart-alpha-xl-2-1024"])
def test_a_text_that_is_everywhere_sends_nothing(model: str) -> None:
    """Cross-attention has the text's keys and values on every rank: of all attention, the picture's alone exchanges heads, four
    tensors a layer (Jacobs et al. 2023, section 3.2)."""
    sent = [one.name for one in estimated(model, plan=DenoisePlan(ulysses=4)).launches() if "all_to_all" in one.name]
    assert len(sent) == 4
    assert not any(".x" in name for name in sent)


def test_the_devices_of_a_cluster_are_used() -> None:
    """Without a plan a picture is shared over all devices, in the way that is expected first, as the command does."""
    machine = load_cluster("h100-sxm", 8.0)
    video = Denoise(height=720, width=1280, frames=129)
    found = floorline.estimate("hunyuanvideo", video, machine)
    assert found.plan.devices == 8.0
    plans = [DenoisePlan(ulysses=u, ring=8 / u) for u in (1.0, 2.0, 4.0, 8.0)]
    others = [estimate_denoising("hunyuanvideo", video, machine, plan=plan) for plan in plans]
    assert value(found.latency.expected) <= 1.011 * min(value(e.latency.expected) for e in others if e.feasible)


def test_devices_in_an_array_need_a_plan() -> None:
    with pytest.raises(BadInput, match="no plan is given"):
        floorline.estimate("flux.1-dev", Denoise(), load_cluster("h100-sxm", np.array([1.0, 2.0])))


# A pipeline of patches


def test_the_network_carries_the_patches() -> None:
    """Over 1 Gb/s a step hands 4096 tokens of 3072 in 16 bits to the next stage: 201 ms, by hand, which no overlap hides."""
    slow = load_cluster("h100-sxm", 8.0).with_network(4.0, 125e6)
    found = estimated("flux.1-dev", slow, DenoisePlan(patches=8, warmup=0))
    assert value(found.handing) == pytest.approx(4096 * 3072 * 2 / 125e6)
    assert value(found.step_time.floor) == pytest.approx(value(found.handing))
    near = estimated("flux.1-dev", load_cluster("h100-sxm", 8.0), DenoisePlan(patches=8, warmup=0))
    assert value(near.step_time.floor) < 0.1 * value(found.step_time.floor)


@pytest.mark.parametrize("plan", [{"guidance": 2}, {"guidance": 2, "dp": 8}, {"ulysses": 2}])
def test_a_stage_keeps_its_own_keys(plan: dict[str, int]) -> None:
    """Ranks that share passes, pictures or heads keep no more than one that has one pass alone: 28/4 layers of 4096 tokens of 1152,
    keys and values, in 16 bits."""
    found = estimated("pixart-alpha-xl-2-1024", plan=DenoisePlan(patches=4, **plan), batch=plan.get("dp", 1), passes=2)
    kept = value(stale_bytes(found.step.step, found.plan))
    assert kept == 28 / 4 * 4096 * 1152 * 2 * 2


def test_a_patch_pipeline_sums_up() -> None:
    """Where a step goes adds up to the step, whole pictures while it warms up and what stages hand on included."""
    for warmup in (0, 1, 20):
        found = estimated("flux.1-dev", plan=DenoisePlan(patches=4, warmup=warmup))
        assert sum(map(float, found.kinds.values())) == pytest.approx(value(found.step_time.expected))


def test_whole_pictures_need_their_room() -> None:
    """A patch pipeline that only warms up has the activations of whole pictures."""
    video: dict[str, Any] = {"height": 720, "width": 1280, "frames": 129}
    whole = estimated("hunyuanvideo", **video)
    warming = estimated("hunyuanvideo", plan=DenoisePlan(patches=8, warmup=50), **video)
    never = estimated("hunyuanvideo", plan=DenoisePlan(patches=8, warmup=0), **video)
    assert warming.denoiser.activations == whole.denoiser.activations
    assert value(never.denoiser.activations) < 0.2 * value(whole.denoiser.activations)


def test_no_pipeline_in_an_array_is_none() -> None:
    several = estimated("flux.1-dev", plan=DenoisePlan(patches=np.array([1.0, 2.0])))
    assert np.asarray(several.latency.expected)[0] == estimated("flux.1-dev").latency.expected


# Memory and copies


def test_memory_of_arrays_equals_scalars() -> None:
    """Runs of the decoder that a length does not have take no memory there."""
    frames = [1.0, 17.0, 65.0, 129.0]
    several = estimated("hunyuanvideo", height=320, width=512, frames=np.array(frames))
    alone = [estimated("hunyuanvideo", height=320, width=512, frames=length) for length in frames]
    assert np.asarray(several.memory.total).tolist() == [value(e.memory.total) for e in alone]


def test_a_layer_is_the_largest_one() -> None:
    """FLUX's double block has 339.8 million parameters (Black Forest Labs, flux/model.py: two streams, each with modulation,
    attention and a feed-forward network four times as wide, 3072)."""
    stream = 6 * 3072 * 3073 + 3 * 3072 * 3073 + 3072 * 3073 + 4 * 3072 * 3073 + 3072 * 4 * 3072 + 3072 + 2 * 128
    assert value(estimated("flux.1-dev").denoiser.layer) == 2 * 2 * stream


def test_copies_are_hidden_at_best() -> None:
    """The floor of an offloaded run is the larger of its own and the copies', over the data sheet's link; expected times add up."""
    here = estimated("flux.1-dev", "rtx-4090", steps=28)
    moved = estimated("flux.1-dev", "rtx-4090", steps=28, offload="layers")
    assert moved.copying is not None
    assert value(moved.latency.floor) == max(value(here.latency.floor), value(moved.copying.floor))
    together = value(here.latency.expected) + value(moved.copying.expected)
    assert value(moved.latency.expected) == pytest.approx(together)
    sizes = [value(p.weights) for p in moved.memory.parts]
    assert value(moved.copying.floor) == pytest.approx((sum(sizes) + 27 * sizes[0]) / 32e9, rel=0.02)  # PCIe gen 4 x16


def test_a_step_is_computed_at_least() -> None:
    one = estimated("flux.1-dev", steps=1)
    assert estimated("flux.1-dev", steps=1, reused=0.9).denoising == one.denoising
    assert estimated("flux.1-dev", steps=10, reused=0.99).denoising == one.denoising


@pytest.mark.parametrize(
    "flags", [["--hardware", "rtx-4090"], ["--memory", "10 GB"], ["--memory", "20 GB", "--devices", "2"]]
)
def test_advice_can_be_followed(flags: list[str]) -> None:
    """What is said to fit is a command that does."""
    _, out, _ = run("denoise", "flux.1-dev", *flags)
    advised = re.findall(r"does not fit; with (.*?):", out)[0].split()
    own = flags[:-2] if "--tp" in advised else flags
    status, out, _ = run("denoise", "flux.1-dev", *own, *advised, "--check")
    assert status == 0
    assert "does not fit" not in out


# What cannot be made


@pytest.mark.parametrize(
    ("model", "given", "text"),
    [
        ("flux.1-dev", {"frames": 5}, "makes pictures, which have one frame"),
        ("dit-xl-2-256", {"text_tokens": 200}, "reads no text"),
    ],
)
def test_what_a_model_cannot_make(model: str, given: dict[str, Any], text: str) -> None:
    with pytest.raises(BadInput, match=text):
        estimated(model, **given)


@pytest.mark.parametrize("engine", ["vllm", "any", "eager", "llama.cpp"])
def test_engines_of_language_models(engine: str) -> None:
    with pytest.raises(BadInput, match="makes no pictures"):
        estimate_denoising("flux.1-dev", Denoise(), "h100-sxm", engine=engine)


def test_workloads_of_language_models() -> None:
    with pytest.raises(BadInput, match="expected Denoise"):
        floorline.estimate("flux.1-dev", floorline.Encode(seq_len=100), "h100-sxm")
    with pytest.raises(BadInput, match="expected Denoise"):
        floorline.estimate("llama-3.1-8b", floorline.Decode(context_len=100), "h100-sxm", engine="diffusers")


def test_sweeps_of_pictures_are_arrays() -> None:
    with pytest.raises(BadInput, match="estimate with arrays"):
        floorline.sweep(
            "flux.1-dev", floorline.Generate(prompt_len=10, output_len=1), "h100-sxm", {"batch": [1.0, 2.0]}
        )


def test_frames_that_are_not_made() -> None:
    """Wan's pipeline makes 4k + 1 frames: of 82 as of 81, 21 latent ones of 60 × 104, in tokens of 2 × 2."""
    tokens = [value(estimated("wan2.1-t2v-14b", height=480, width=832, frames=f).grid.tokens) for f in (81, 82, 84, 85)]
    assert tokens == [21 * 30 * 52] * 3 + [22 * 30 * 52]
    _, _, err = run("denoise", "wan2.1-t2v-14b", "--frames", "82")
    assert "makes 81 frames, not 82" in err


# Formats and money


def test_narrow_formats_are_the_denoisers() -> None:
    """Quantised matrices halve the denoiser's weights but for its norms; encoders and decoder stay as they are."""
    wide, narrow = (estimated("flux.1-dev"), estimate_denoising("flux.1-dev", Denoise(), "h100-sxm", precision="fp8"))
    assert value(narrow.denoiser.weights) == value(wide.denoiser.weights) / 2
    assert narrow.decoding == wide.decoding
    assert narrow.encoding == wide.encoding


def test_money_of_a_picture() -> None:
    """Two devices of 3.60 USD an hour are a tenth of a cent a second each."""
    status, out, _ = run("denoise", "flux.1-dev", "--ulysses", "2", "--price", "3.6", "--power", "500 W", "--json")
    assert status == 0
    answer = json.loads(out)
    seconds = answer["latency_s"]["expected"]
    assert answer["cost"]["usd_per_picture"]["expected"] == pytest.approx(2 * 0.001 * seconds)
    assert answer["cost"]["joules_per_picture"]["expected"] == pytest.approx(2 * 500.0 * seconds)
