"""What the host adds to kernels: operators of a framework counted by hand, launches that it starts, and what hides behind kernels.

The golden counts are of the public modeling files of Hugging Face Transformers 4.38 to 4.46, one operator of PyTorch each, while
one token is decoded with its scaled-dot-product attention. Views start nothing, nor do conversions to the format that a tensor has.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floorline import Decode, Engine, Parallelism, Prefill, estimate, load_cluster, load_model
from floorline.catalogue.engines import load_engine
from floorline.expected import Expectation
from floorline.formulas.sampling import radix_sort_time
from floorline.host import EIGHT_BITS, FOUR_BITS, cache_copy_time, hidden_time, host_time, starts
from floorline.huggingface.quantization import METHODS
from floorline.implementations.operations import started
from floorline.op import contraction, elementwise
from floorline.specs.precision import Precision
from floorline.step import Step
from floorline.transformer import Transformer

H100 = load_cluster("h100-sxm")
NORM = ("to float", "square", "mean", "add epsilon", "reciprocal square root", "scale", "to bf16", "times the weight")
ROTARY = ("times cosine", "negate half", "concatenate halves", "times sine", "add")
NEW_GELU = ("half", "cube", "times 0.044715", "add", "times the root", "hyperbolic tangent", "add one", "multiply")

QWEN2 = (
    *(f"input_layernorm: {name}" for name in NORM),
    *("q_proj", "k_proj", "v_proj"),
    *(f"{which}: {name}" for which in ("query", "key") for name in ROTARY),
    *("append to keys", "append to values"),
    *("repeat keys for each query head", "repeat values for each query head"),
    "scaled_dot_product_attention",
    "o_proj",
    "residual after attention",
    *(f"post_attention_layernorm: {name}" for name in NORM),
    *("gate_proj", "up_proj", "SiLU", "gate times up", "down_proj"),
    "residual after the feed-forward",
)
"""A layer of modeling_qwen2.py, in order."""

GPT2 = (
    *("ln_1", "attn.c_attn"),
    *("append to keys", "append to values"),
    *("scaled_dot_product_attention", "attn.c_proj", "residual after attention", "ln_2", "mlp.c_fc"),
    *(f"NewGELUActivation: {name}" for name in NEW_GELU),
    *("mlp.c_proj", "residual after the feed-forward"),
)
"""A layer of modeling_gpt2.py, in order; c_attn makes queries, keys and values at once, and splitting them is a view."""


def decoding(model: Transformer, batch: float = 1.0, earlier: float = 100.0) -> Step:
    """One token after others."""
    return Step(model, batch, 1.0, earlier, decoding=True, precision=Precision.of("bf16"))


def operators(model: Transformer, engine: str) -> list[float]:
    """Operators that the host starts for one run of each stack."""
    step, software = decoding(model), load_engine(engine)
    return [
        float(sum(float(starts(row, numbers, software)) for row in step.program(stack, "flash")))
        for stack, numbers in step.numbers()
    ]


def expectation(model: Transformer | str, engine: Engine | str, batch: int = 1, context: int = 100) -> Expectation:
    """What a decode step on an H100 is expected to take."""
    found = estimate(model, Decode(batch=batch, context_len=context), H100, engine=engine).phases[0].expectation
    assert found is not None
    return found


# Operators by hand


def test_a_layer_of_qwen2_by_hand() -> None:
    """42 up to 4.46: seven linear, twice eight of a norm, ten of rotary positions, two that append to the cache, two that repeat
    heads, the activation and its product, two sums, attention."""
    assert len(QWEN2) == 7 + 2 * 8 + 10 + 2 + 2 + 2 + 2 + 1 == 42
    _, layer, _ = operators(load_model("qwen2.5-7b"), "transformers-4.46")
    assert layer == len(QWEN2)


def test_a_layer_of_qwen2_whose_attention_shares_heads_by_hand() -> None:
    """The two that repeat heads are gone where attention itself takes grouped queries."""
    _, layer, _ = operators(load_model("qwen2.5-7b"), "transformers")
    assert layer == len([name for name in QWEN2 if "repeat" not in name]) == 40


def test_a_layer_of_gpt2_by_hand() -> None:
    """19, its activation written out in eight; c_attn counts as three, since projections are taken as stored apart."""
    assert len(GPT2) == 19
    _, layer, _ = operators(load_model("gpt2"), "transformers")
    assert layer == len(GPT2) + 2


def test_ends_of_a_model_by_hand() -> None:
    """A table's lookup; the last norm and the head. GPT-2 looks up positions too and adds them."""
    qwen, gpt = (operators(load_model(name), "transformers") for name in ("qwen2.5-7b", "gpt2"))
    assert (qwen[0], qwen[-1]) == (1.0, len(NORM) + 1.0)
    assert (gpt[0], gpt[-1]) == (3.0, 2.0)


def test_each_operator_by_hand() -> None:
    """A norm of modeling_qwen2.py, one tensor's rotation, a gate, the activations, views."""
    found = {
        "rms_norm": float(len(NORM)),
        "rope": float(len(ROTARY)),
        "gelu_new": float(len(NEW_GELU)),
        "gated_silu": 2.0,
        "layer_norm": 1.0,
        "gelu": 1.0,
        "add": 1.0,
        "pass": 0.0,
    }
    for function, many in found.items():
        (one,) = started([elementwise("it", "x[BTD] -> y[BTD]", function)], fused=False)
        assert one.coefficient == many, function


def test_attention_is_one_where_it_is_fused() -> None:
    """Scores, softmax and values are three operators, or one."""
    scores = contraction("scores", "q[BTH] k[BSH] -> s[BTS]")
    softmax = elementwise("softmax", "s[BTS] -> p[BTS]", "softmax", reduces="S")
    values = contraction("values", "p[BTS] v[BSH] -> o[BTH]")
    for fused, many in ((True, 1.0), (False, 3.0)):
        assert sum(p.coefficient for p in started((scores, softmax, values), fused)) == many


def test_experts_are_looped_over() -> None:
    """Ten operators for each of eight experts of modeling_mixtral.py's loop, whichever are chosen."""
    step, software = decoding(load_model("mixtral-8x7b")), load_engine("transformers")
    stack, numbers = next((s, n) for s, n in step.numbers() if s.is_layer)
    (loop,) = (row for row in step.program(stack, "flash") if row.name == "dispatch")
    assert starts(loop, numbers, software) == 80.0


@pytest.mark.parametrize(("bits", "factor"), [(4, FOUR_BITS), (8, EIGHT_BITS)])
def test_quantised_matmuls_start_more(bits: int, factor: float) -> None:
    """Clearing, widening and narrowing beside each product; nothing else starts more."""
    model = load_model("llama-3.1-8b")
    narrow = replace(model, quantization=METHODS["gptq"]({"bits": bits, "group_size": 128}, model.name))
    plain, less = (
        {
            row.name: float(starts(row, numbers, load_engine("transformers")))
            for stack, numbers in decoding(m).numbers()
            for row in decoding(m).program(stack, "flash")
            if stack.is_layer
        }
        for m in (model, narrow)
    )
    for name, many in plain.items():
        assert less[name] == pytest.approx(many * (factor if name in ("qkv", "out", "gate_up", "down") else 1.0)), name


# Starting them


def test_eager_grows_linearly_with_layers() -> None:
    """At batch 1 of a small model the host is all: every layer takes its operators times 18 us, the ends theirs."""
    config = dict(load_model("qwen2.5-0.5b").config)
    whole = {}
    for layers in (6, 12, 24):
        model = load_model({**config, "num_hidden_layers": layers, "max_window_layers": layers, "layer_types": None})
        found = expectation(model, "eager")
        whole[layers] = float(found.seconds)
        first, layer, last = operators(model, "eager")
        assert found.seconds == pytest.approx(18e-6 * (first + layers * layer + last))
        assert found.kernels < 0.2 * found.seconds
    assert whole[24] - whole[12] == pytest.approx(2 * (whole[12] - whole[6]))


@pytest.mark.parametrize("engine", ["any", "vllm", "sglang", "trtllm", "gpt-fast", "vllm-0.7"])
def test_captured_graphs_start_nothing(engine: str) -> None:
    """What is left is the engine's own time for a step."""
    found = expectation("qwen2.5-0.5b", engine)
    assert found.host == load_engine(engine).step_time
    assert found.hidden == 0.0


def test_contexts_beyond_a_graph() -> None:
    """vLLM up to 0.7 captures 8192 tokens: one more starts each kernel from the host, 18 us each."""
    inside, beyond = (expectation("qwen2.5-0.5b", "vllm-0.7", context=n) for n in (8191, 8192))
    assert inside.host == 480e-6
    started_kernels = sum(float(share.launches) for share in beyond.kinds.values())
    assert beyond.host == pytest.approx(480e-6 + max(18e-6 * started_kernels - float(beyond.kernels), 0.0))
    assert beyond.host > inside.host


@given(
    started_kernels=st.floats(0, 5000),
    kernels=st.floats(0, 0.1),
    each=st.floats(0, 1e-4),
    own=st.floats(0, 1e-2),
    launch=st.sampled_from(("graph", "compiled", "eager")),
    ahead=st.sampled_from(("yes", "no")),
    context=st.floats(1, 20_000),
)
def test_what_hides_is_below_both(
    started_kernels: float, kernels: float, each: float, own: float, launch: str, ahead: str, context: float
) -> None:
    """A host that runs ahead hides its starts behind the kernels, or they hide behind it: a step takes the longer, never less than
    either, never more than both; one that waits adds all of its starts; a graph has none."""
    engine = Engine(launch=launch, launch_time=each, step_time=own, runs_ahead=ahead, graph_len=8192)
    step = decoding(load_model("gpt2"), earlier=context)
    host, hidden = (
        float(f(step, started_kernels, *rest, engine))
        for f, rest in ((host_time, (kernels,)), (hidden_time, (kernels,)))
    )
    starting, captured = started_kernels * each, launch == "graph" and context + 1 <= 8192
    whole = kernels + host - own
    assert 0.0 <= hidden <= min(starting, kernels)
    if captured:
        assert (host, hidden) == (own, 0.0)
    elif ahead == "no":
        assert hidden == 0.0
        assert whole == pytest.approx(kernels + starting)
    else:
        assert whole == pytest.approx(max(kernels, starting))
        assert whole + hidden == pytest.approx(kernels + starting)


@given(
    batch=st.integers(1, 256), context=st.integers(1, 8000), name=st.sampled_from(("eager", "compiled", "trtllm-0.9"))
)
def test_hidden_time_widens_only_upwards(batch: int, context: int, name: str) -> None:
    """Starts that may not overlap after all make a step longer, never shorter."""
    found = expectation("qwen2.5-0.5b", name, batch, context)
    bare = replace(found, hidden=0.0)
    assert found.half("below") == bare.half("below")
    assert found.half("above") >= bare.half("above")
    assert float(found.hidden) <= min(float(found.kernels), float(found.kernels) + float(found.host))


def test_arrays_equal_their_points() -> None:
    """Batches and contexts at once are each of them, bit for bit, within a graph and beyond."""
    for name in ("eager", "transformers-4.38", "vllm-0.7", "fastertransformer", "torchscript"):
        batches, contexts = np.array([1.0, 7.0, 64.0]), np.array([10.0, 8191.0, 8192.0])
        work = Decode(batch=batches[:, None], context_len=contexts)
        many = estimate("qwen2.5-0.5b", work, H100, engine=name).phases[0].expectation
        assert many is not None
        for i, batch in enumerate(batches):
            for j, context in enumerate(contexts):
                one = expectation("qwen2.5-0.5b", name, int(batch), int(context))
                for kind in ("seconds", "host", "hidden"):
                    assert np.broadcast_to(getattr(many, kind), (3, 3))[i, j] == getattr(one, kind), (name, kind)


@pytest.mark.parametrize("name", ["eager", "compiled", "vllm"])
def test_degrees_of_one_start_nothing(name: str) -> None:
    """A plan whose degrees are arrays has messages that send nothing where they are one: no host starts them, and every time is
    that of the point alone, bit for bit."""
    degrees, work = np.array([1.0, 2.0]), Decode(batch=4, context_len=10)
    machine = load_cluster("h100-sxm", devices=16)
    for model in ("qwen2.5-0.5b", "mixtral-8x7b"):
        for axis in ("tp", "dp", "pp", "cp"):
            plans: list[dict[str, Any]] = [{axis: degrees}, *({axis: float(degree)} for degree in degrees)]
            many, *each = (
                estimate(model, work, machine, parallelism=Parallelism(**plan), engine=name).phases[0] for plan in plans
            )
            for i, one in enumerate(each):
                for kind in ("expected", "low", "high"):
                    found, alone = getattr(many.time, kind), getattr(one.time, kind)
                    assert np.broadcast_to(found, (2,))[i] == alone, (model, axis, i, kind)


# Copies and sampling


def test_copying_a_cache_by_hand() -> None:
    """All 100 earlier tokens are read and written: 2 · 8 sequences · 100 tokens · 24 layers · keys and values · 2 heads of 64 · 2
    bytes, at 3.35 TB/s."""
    step = decoding(load_model("qwen2.5-0.5b"), batch=8.0)
    by_hand = 2 * 8 * 100 * 24 * 2 * 2 * 64 * 2 / H100.accelerator.memory_bandwidth
    assert cache_copy_time(step, H100) == pytest.approx(by_hand)
    prompt = replace(step, tokens=50.0, earlier=0.0, decoding=False)
    assert cache_copy_time(prompt, H100) == 0.0


def test_sorting_a_vocabulary_by_hand() -> None:
    """32 bits by 6 are six passes, of two cycles for each of GPT-2's 50 257 words at an A100's 1.41 GHz: 428 us, whatever the
    batch; an engine that takes the likeliest word sorts nothing, nor does a pass over a whole input."""
    assert radix_sort_time(50257.0, 32.0, 6.0, 2.0, 1.41e9) == pytest.approx(6 * 2 * 50257 / 1.41e9)
    sorts = Engine(sampling="sort")
    for batch in (1, 64):
        found = (
            estimate("gpt2", Decode(batch=batch, context_len=9), "a100-sxm-80gb", engine=sorts).phases[0].expectation
        )
        assert found is not None
        assert found.kinds["sampling"].seconds == pytest.approx(6 * 2 * 50257 / 1.41e9)
    assert "sampling" not in expectation("gpt2", Engine()).kinds
    every = estimate("gpt2", Prefill(prompt_len=9, logits="all"), "a100-sxm-80gb", engine=sorts).phases[0].expectation
    assert every is not None
    assert "sampling" not in every.kinds


@given(
    items=st.floats(1, 1e6), bits=st.sampled_from((8.0, 16.0, 32.0)), digit=st.floats(1, 8), clock=st.floats(1e9, 3e9)
)
def test_sorting_is_linear_in_items(items: float, bits: float, digit: float, clock: float) -> None:
    """Twice the words take twice as long, twice the clock half; whole passes only."""
    one = radix_sort_time(items, bits, digit, 2.0, clock)
    assert radix_sort_time(2 * items, bits, digit, 2.0, clock) == pytest.approx(2 * one)
    assert radix_sort_time(items, bits, digit, 2.0, 2 * clock) == pytest.approx(one / 2)
    passes = one * clock / (2.0 * items)
    assert passes == pytest.approx(np.ceil(bits / digit))
