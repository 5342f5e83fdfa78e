"""Pictures and videos from noise: laws of counts, splits, times and memory, and the command that answers for them."""

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import floorline
from floorline import Denoise, DenoisePlan, load_model, load_pipeline
from floorline.counts import count
from floorline.denoising.estimate import DenoiseEstimate, estimate_denoising
from floorline.denoising.rules import most_heads
from floorline.denoising.splits import parallelism
from floorline.errors import BadInput, NotFound
from floorline.specs.workload import Train
from terminal import run

MODELS = ("dit-xl-2-256", "pixart-alpha-xl-2-1024", "sd3-medium", "flux.1-dev", "hunyuanvideo", "latte-1", "sana-1.6b")
TOKEN_LETTERS = set("TMWS")


def value(number: Any) -> float:
    """A number that must be there."""
    assert number is not None
    return float(number)


def estimated(model: str = "flux.1-dev", devices: int = 1, **given: Any) -> DenoiseEstimate:
    plan = given.pop("plan", DenoisePlan(ulysses=devices))
    return estimate_denoising(model, Denoise(**given), "h100-sxm", plan=plan)


@pytest.mark.parametrize("model", MODELS)
@given(st.integers(1, 4), st.integers(1, 3))
def test_guidance_passes_and_batch_multiply(model: str, passes: int, batch: int) -> None:
    """Two guidance passes double the denoiser's FLOP exactly."""
    one = count(load_model(model), Denoise(height=512, width=512)).flops
    assert (
        count(load_model(model), Denoise(height=512, width=512, passes=passes, batch=batch)).flops
        == passes * batch * one
    )


@pytest.mark.parametrize("model", ["wan2.1-t2v-1.3b", "hunyuanvideo", "cogvideox-5b"])
def test_cores_of_full_attention_are_quadratic_in_frames(model: str) -> None:
    """The scores of a video with twice the latent frames: four times, but for the text beside it."""
    made = load_model(model)

    def cores(frames: int) -> float:
        work = Denoise(height=256, width=256, frames=frames, text_tokens=1)
        found = count(made, work).operators
        return sum(
            float(o.flops)
            for o in found
            if o.name.endswith("scores") and o.name.split(".")[0] not in ("refiner", "text")
        )

    ratio = cores(4 * 40 + 1) / cores(4 * 20 + 1)
    assert 3.5 < ratio < 4.1


def test_spatial_attention_is_linear_in_frames() -> None:
    """Latte's blocks over space are as many times as long as there are frames; those over time are quadratic."""
    made = load_model("latte-1")

    def of(frames: int) -> dict[str, float]:
        found = count(made, Denoise(height=256, width=256, frames=frames, text_tokens=8)).operators
        return {o.name: float(o.flops) for o in found if o.name.endswith(".scores")}

    short, long = of(8), of(16)
    ratios = sorted(long[name] / short[name] for name in short)
    assert ratios == [2.0, 4.0]


@pytest.mark.parametrize("model", ["flux.1-dev", "sd3-medium", "cogvideox-5b", "pixart-alpha-xl-2-1024"])
@pytest.mark.parametrize(
    "plan",
    [
        DenoisePlan(ulysses=2),
        DenoisePlan(ring=3),
        DenoisePlan(guidance=2),
        DenoisePlan(tp=2),
        DenoisePlan(ulysses=2, ring=2),
    ],
)
def test_the_work_of_a_split_sums_to_the_whole(model: str, plan: DenoisePlan) -> None:
    """Every operator over tokens is cut into equal parts; what has none (a time, a vector) every rank does alike."""
    made = load_model(model)
    work = Denoise(height=768, width=768, passes=2)
    whole = {o.name: o for o in count(made, work).operators}
    mine = {o.name: o for o in count(made, work, parallelism=parallelism(plan, most_heads(made))).operators}
    assert set(mine) == set(whole)
    for name, o in mine.items():
        shares = float(whole[name].flops) / float(o.flops)
        assert shares in (1.0, float(plan.devices), float(plan.ulysses * plan.ring), float(plan.tp)), name
    cores = [name for name in whole if name.endswith((".scores", ".values"))]
    for name in cores:
        assert float(whole[name].flops) == float(mine[name].flops) * float(plan.devices)


@pytest.mark.parametrize("model", ["flux.1-schnell", "pixart-alpha-xl-2-1024"])
def test_arrays_equal_scalars(model: str) -> None:
    """The first law, over the whole answer: sizes, steps, passes and degrees as arrays."""
    heights, steps, ulysses = np.array([512.0, 1024.0, 768.0]), np.array([4.0, 20.0, 1.0]), np.array([1.0, 2.0, 4.0])
    found = estimate_denoising(
        model, Denoise(height=heights, width=1024, steps=steps), "h100-sxm", plan=DenoisePlan(ulysses=ulysses)
    )
    for i, (height, count_, degree) in enumerate(zip(heights, steps, ulysses, strict=True)):
        one = estimate_denoising(
            model,
            Denoise(height=float(height), width=1024, steps=float(count_)),
            "h100-sxm",
            plan=DenoisePlan(ulysses=float(degree)),
        )
        for kind in ("floor", "serial", "expected", "low", "high"):
            many = getattr(found.latency, kind)
            assert np.asarray(many)[i] == getattr(one.latency, kind), kind
        assert np.broadcast_to(np.asarray(found.memory.total), 3)[i] == one.memory.total


def test_times_add_up() -> None:
    """The whole is text, steps and pixels; a step's kinds are its expected time; nothing is below its floor."""
    found = estimated()
    parts = found.breakdown
    assert float(found.latency.usual) == pytest.approx(sum(float(x) for x in parts.values()), rel=1e-12)
    assert sum(float(x) for x in found.kinds.values()) == pytest.approx(value(found.step_time.expected), rel=1e-12)
    t = found.latency
    assert value(t.floor) <= value(t.low) <= value(t.expected) <= value(t.high)


def test_steps_that_are_reused_take_no_time() -> None:
    whole, half = estimated(steps=20), estimated(steps=20, reused=0.5)
    assert value(half.denoising.expected) == pytest.approx(value(whole.denoising.expected) / 2.0)
    assert half.step_time.expected == pytest.approx(whole.step_time.expected)


def test_a_patch_pipeline_that_only_warms_up_is_none() -> None:
    """With as many first steps over whole pictures as there are steps, patches change nothing but memory."""
    plan = DenoisePlan(patches=4, warmup=20)
    found, none = (
        estimated("pixart-alpha-xl-2-1024", plan=plan, steps=20),
        estimated("pixart-alpha-xl-2-1024", steps=20),
    )
    assert found.denoising.expected == none.denoising.expected
    assert found.memory.parts[0].weights < none.memory.parts[0].weights / 3.0
    assert found.memory.stale > 0.0


def test_memory_savers_save() -> None:
    """Models that wait on the host take their memory with them and their way back to the device."""
    kept, moved, layered = (estimated(offload=kind) for kind in ("none", "model", "layers"))
    assert layered.memory.total < moved.memory.total < kept.memory.total
    times = [value(each.latency.expected) for each in (kept, moved, layered)]
    assert times == sorted(set(times))
    whole, tiled = estimated(height=2048, width=2048), estimated(height=2048, width=2048, tiling="yes")
    assert tiled.memory.parts[-1].activations < whole.memory.parts[-1].activations


def test_training_of_a_diffusion_transformer() -> None:
    """The same passes as language models: three times the forward FLOP, less the gradients of what is given."""
    e = floorline.estimate(
        "dit-xl-2-256",
        Train(global_batch=256, micro_batch=32),
        "a100-sxm-80gb",
        parallelism=floorline.Parallelism(dp=8),
    )
    assert e.workload.seq_len == 256.0  # 256 x 256 pixels, latents of 8, patches of 2
    forward = count(load_model("dit-xl-2-256"), Denoise()).flops
    assert 2.9 * 256 * forward < e.flops.full < 3.0 * 256 * forward
    assert value(e.step_time.floor) < value(e.step_time.expected)
    with pytest.raises(BadInput, match="height, width and frames"):
        count(load_model("dit-xl-2-256"), Train(seq_len=100))
    with pytest.raises(BadInput, match="no diffusion model"):
        count(load_model("gpt2"), Train(seq_len=100, height=256))
    with pytest.raises(BadInput, match="seq_len"):
        count(load_model("gpt2"), Train())


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (DenoisePlan(ulysses=5), "does not divide 24 heads"),
        (DenoisePlan(guidance=2), "cannot share 1 guidance passes"),
        (DenoisePlan(patches=100), "more than the 57 layers"),
    ],
)
def test_plans_that_break_a_rule(plan: DenoisePlan, text: str) -> None:
    found = estimated(plan=plan)
    assert text in found.reason
    assert np.isnan(found.latency.floor)


def test_what_is_no_diffusion_model() -> None:
    with pytest.raises(BadInput, match="no diffusion model"):
        load_pipeline("gpt2")
    with pytest.raises(NotFound):
        load_pipeline("flux.9")
    wrong: Any = floorline.Parallelism(tp=2)
    with pytest.raises(BadInput, match="DenoisePlan"):
        floorline.estimate("flux.1-dev", Denoise(), "h100-sxm", parallelism=wrong)
    with pytest.raises(BadInput, match="at least 16"):
        estimated(height=8)


def test_the_command() -> None:
    """The contract of names, and what eight cards give."""
    status, out, _ = run("denoise", "flux.1-dev", "--hardware", "h100-sxm", "--steps", "28", "--devices", "8", "--json")
    answer = json.loads(out)
    assert status == 0
    assert {"step_time_s", "latency_s", "memory", "breakdown", "schema_version"} <= set(answer)
    assert answer["parallelism"]["ulysses"] * answer["parallelism"]["ring"] == 8
    assert 1.0 < answer["speed_up"] < 8.0
    assert set(answer["latency_s"]) == {"floor", "serial", "expected", "low", "high"}


@pytest.mark.parametrize(
    ("flags", "status", "text"),
    [
        (["gpt2"], 2, "no diffusion model"),
        (["flux.1-dev", "--devices", "8", "--ulysses", "2"], 2, "product of the degrees is 2"),
        (["flux.1-dev", "--guidance", "thrice"], 2, "expected one of none, distilled, two"),
        (["flux.1-dev", "--guidance", "two", "--cfg-passes", "2"], 2, "say the same"),
        (["flux.1-dev", "--steps", "0"], 2, "whole number from 1"),
        (["flux.1-dev", "--dtype", "fp7"], 2, "--dtype"),
        (["flux.1-dev", "--engine", "comfy"], 2, "engine is 'comfy'"),
        (["flux.1-dev", "--hardware", "rtx-4090", "--check"], 1, ""),
    ],
)
def test_kind_errors(flags: list[str], status: int, text: str) -> None:
    found, _, err = run("denoise", *flags)
    assert found == status
    assert text in err
    assert "Traceback" not in err


def test_side_by_side() -> None:
    """Lists and several models stand beside one another, and three factors make all steps of each."""
    flags = ["--frames", "33,129", "--hardware", "h100-sxm"]
    status, out, _ = run("denoise", "hunyuanvideo", "wan2.1-t2v-1.3b", *flags, "--json")
    columns = json.loads(out)["columns"]
    assert status == 0
    assert [column["name"].split()[1] for column in columns] == ["frames=33", "frames=129"] * 2
    tokens = [column["tokens"]["picture"] for column in columns]
    assert tokens[1] / tokens[0] == 33 / 9
    status, out, _ = run("denoise", "hunyuanvideo", *flags)
    rows = {line[:20].strip(): line[20:] for line in out.splitlines()}
    factors = {name: [float(x) for x in re.findall(r"\(([0-9.]+)×\)", row)] for name, row in rows.items()}
    first, last = ([factors[name][i] for name in ("passes", "FLOP of a pass", "FLOP/s, all devices")] for i in (0, 1))
    assert first == [1.0, 1.0, 1.0]
    assert abs(last[0] * last[1] / last[2] / factors["all steps"][1] - 1.0) < 0.02


@pytest.mark.parametrize("model", ["dit-xl-2-256", "flux.1-dev", "wan2.1-t2v-1.3b"])
def test_training_without_context_ranks_in_an_array(model: str) -> None:
    """Context ranks of one, in an array, take what none do, bit for bit: gradients of modulations, which no token has a part of,
    go with the others."""
    machine = floorline.load_cluster("h100-sxm", 8.0)
    times = []
    alone: float | Any = 1.0
    for ranks in (alone, np.array([1.0])):
        plan = floorline.Parallelism(dp=8, cp=ranks, zero_stage="2")
        made = floorline.estimate(model, Train(micro_batch=1, global_batch=8), machine, parallelism=plan).step_time
        times.append([np.asarray(x, dtype=np.float64).reshape(-1)[0] for x in (made.floor, made.serial, made.expected)])
    assert times[0] == times[1]
