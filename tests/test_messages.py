"""Messages follow from layouts: which there are, and how many bytes each rank sends, against what is published.

Sources: Megatron-LM (arXiv:1909.08053, section 3), its sequence parallelism (arXiv:2205.05198, section 4.2), ZeRO
(arXiv:1910.02054, section 7), DeepSpeed Ulysses (arXiv:2309.14509, section 3), Llama 3 (arXiv:2407.21783, section 3.3.2),
"Transformer inference arithmetic" (reference R4).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from floorline import load_model, program
from floorline.implementations import implementation
from floorline.num import Num
from floorline.parallel.plan import Plan, plan
from floorline.program import Row
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.step import Step
from floorline.transformer import Stack, Transformer

FLASH = implementation("flash")
B, T = 2.0, 4096.0
BYTES = 2.0

LLAMA = load_model("llama-3.1-8b")  # D 4096, K 8, G 4, H 128, F 14336, V 128256
GPT2 = load_model({"model_type": "gpt2", "attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0})
ARTICLE = load_model(
    {"model_type": "textbook", "hidden_size": 8192, "num_hidden_layers": 64, "num_attention_heads": 128}
)


def step(model: Transformer, parallelism: Parallelism, decoding: bool = False) -> Step:
    """A training step of two sequences of 4096 tokens, or one token after as many."""
    tokens, earlier = (1.0, T - 1.0) if decoding else (T, 0.0)
    return Step(model, B, tokens, earlier, tokens, parallelism, Precision(), decoding=decoding)


class Pass:
    """The rows of one pass over one block of a model, with their numbers."""

    def __init__(self, stack: int, rows: Iterable[Row], priced: Step) -> None:
        self.rows = tuple(rows)
        self.numbers = priced.stacks[stack][1]
        self.precision = priced.precision

    def sent(self, row: Row) -> Num:
        return program.price(row, self.numbers, self.precision).sent

    def messages(self) -> list[str]:
        """Kind and tensor of each message that sends something, in order."""
        return [
            f"{row.message.kind} {row.message.inputs[0]}" for row in self.rows if row.message and np.any(self.sent(row))
        ]

    def bytes_sent(self, prefix: str = "") -> float:
        """Bytes that one rank sends, of all messages or of those of some tensors."""
        chosen = (row for row in self.rows if row.message is not None and row.name.startswith(prefix))
        return float(sum(np.asarray(self.sent(row)) for row in chosen))

    def flops(self, leave_out: str = "") -> float:
        """FLOP of one rank, perhaps without one kernel."""
        chosen = (row for row in self.rows if row.name != leave_out)
        return float(np.asarray(sum(program.price(row, self.numbers, self.precision).flops for row in chosen)))


STACKS = {"embedding": 0, "block": 1, "head": 2}


def passes(model: Transformer, block: str, **degrees: Any) -> tuple[Pass, Pass, Pass]:
    """Forward, backward and after the optimizer step."""
    priced = step(model, Parallelism(**degrees))
    index = STACKS[block] if len(model.stacks) > 1 else 0
    made = program.training(model.stacks[index].block, FLASH, priced.plan, "none", frozenset())
    ahead, back, after = (Pass(index, rows, priced) for rows in made)
    return ahead, back, after


def serving(model: Transformer, block: str, decoding: bool = False, **degrees: Any) -> Pass:
    """The forward pass of inference."""
    priced = step(model, Parallelism(**degrees), decoding)
    index = STACKS[block] if len(model.stacks) > 1 else 0
    return Pass(index, program.inference(model.stacks[index].block, FLASH, priced.plan), priced)


# Tensor parallelism


def test_tensor_parallel_layer() -> None:
    """Two all-reduces forward, two backward: Megatron's f and g."""
    ahead, back, after = passes(LLAMA, "block", tp=8)
    assert ahead.messages() == ["all_reduce attn[BTD]", "all_reduce ffn[BTD]"]
    assert back.messages() == ["all_reduce dh2[BTD]", "all_reduce dh[BTD]"]
    assert after.messages() == []
    each = 2 * 7 / 8 * B * T * 4096 * BYTES
    assert ahead.bytes_sent() == back.bytes_sent() == 2 * each


def test_tensor_parallel_layer_with_biases() -> None:
    """GPT-2: the same four; biases are split with their matmuls or added once."""
    ahead, back, _ = passes(GPT2, "block", tp=4)
    assert ahead.messages() == ["all_reduce attn[BTD]", "all_reduce ffn[BTD]"]
    assert back.messages() == ["all_reduce dh2[BTD]", "all_reduce dh[BTD]"]


def test_tensor_parallel_inference() -> None:
    for decoding in (False, True):
        assert serving(LLAMA, "block", decoding, tp=8).messages() == ["all_reduce attn[BTD]", "all_reduce ffn[BTD]"]


def test_sequence_parallel_layer() -> None:
    """All-gathers before the matmuls, reduce-scatters after; backward the same, with the norms' outputs gathered again for
    the weight gradients, and the norms' own weight gradients summed over the ranks."""
    ahead, back, _ = passes(LLAMA, "block", tp=8, sequence_parallel="yes")
    assert ahead.messages() == [
        "all_gather h[BTD]",
        "reduce_scatter attn[BTD]",
        "all_gather h2[BTD]",
        "reduce_scatter ffn[BTD]",
    ]
    assert back.messages() == [
        "all_gather dffn[BTD]",
        "all_gather h2[BTD]",
        "reduce_scatter dh2[BTD]",
        "all_gather dattn[BTD]",
        "all_gather h[BTD]",
        "reduce_scatter dh[BTD]",
        "all_reduce dWnorm1[D]",
        "all_reduce dWnorm2[D]",
    ]


def test_sequence_parallel_sends_what_tensor_parallel_does() -> None:
    """An all-reduce is a reduce-scatter and an all-gather (arXiv:2205.05198, section 4.2.2)."""
    for tp in (2, 4, 8):
        plain, split = (passes(LLAMA, "block", tp=tp, sequence_parallel=yes) for yes in ("no", "yes"))
        assert split[0].bytes_sent() == plain[0].bytes_sent() > 0
        again = split[1].bytes_sent("h.") + split[1].bytes_sent("h2.") + split[1].bytes_sent("dW")
        assert split[1].bytes_sent() - again == plain[1].bytes_sent()


@pytest.mark.parametrize("tp", [2, 3, 8, 16, 64])
def test_article_counts_four_messages_of_a_share_of_the_width(tp: int) -> None:
    """R4: (n − 1)·D/n elements each, for every layer and token."""
    sent = serving(ARTICLE, "block", decoding=True, tp=tp).bytes_sent()
    assert sent == pytest.approx(4 * (tp - 1) * 8192 / tp * B * BYTES, rel=1e-15)


def test_more_ranks_than_key_value_heads() -> None:
    """Each of 8 heads is kept by two of 16 ranks: k and v are computed twice, their gradients summed over the two."""
    ahead, back, _ = passes(LLAMA, "block", tp=16)
    whole, _, _ = passes(LLAMA, "block")
    assert ahead.messages() == ["all_reduce attn[BTD]", "all_reduce ffn[BTD]"]
    assert back.messages() == [
        "all_reduce dh2[BTD]",
        "all_reduce dkr[BTKH]",
        "all_reduce dv[BTKH]",
        "all_reduce dh[BTD]",
    ]
    assert back.bytes_sent("dkr") == back.bytes_sent("dv") == 2 * 1 / 2 * B * T * 8 / 8 * 128 * BYTES
    linear = "attention"  # the kernel of scores and values, left out: the rest is matmuls with weights
    assert f"{whole.flops(linear) / ahead.flops(linear):.2f}" == "15.41"
    assert 15.41 < whole.flops() / ahead.flops() < 16


def test_up_to_the_key_value_heads_nothing_is_done_twice() -> None:
    whole, _, _ = passes(LLAMA, "block")
    for tp in (1, 2, 4, 8):
        assert passes(LLAMA, "block", tp=tp)[0].flops() * tp == whole.flops()


# Vocabulary


def test_embedding_of_a_split_vocabulary() -> None:
    """Each rank looks up its own rows: an all-reduce, or a reduce-scatter where tokens are split afterwards."""
    ahead, back, _ = passes(LLAMA, "embedding", tp=8)
    assert ahead.messages() == ["all_reduce y[BTD]"]
    assert back.messages() == []
    ahead, back, _ = passes(LLAMA, "embedding", tp=8, sequence_parallel="yes")
    assert ahead.messages() == ["reduce_scatter y[BTD]"]
    assert back.messages() == ["all_gather dy[BTD]"]


def test_loss_over_a_split_vocabulary() -> None:
    """Logits stay split: three fp32 numbers a token are reduced, not V of them."""
    ahead, back, _ = passes(LLAMA, "head", tp=8)
    assert ahead.messages() == ["all_reduce loss.statistics[BT]"]
    assert back.messages() == ["all_reduce dh[BTD]"]
    assert ahead.bytes_sent() == 2 * 7 / 8 * 3 * B * T * 4


def test_head_of_a_split_vocabulary_sends_no_logits_in_training() -> None:
    ahead, back, _ = passes(LLAMA, "head", tp=8, sequence_parallel="yes")
    assert ahead.messages() == ["all_gather h[BTD]", "all_reduce loss.statistics[BT]"]
    assert back.messages() == ["all_gather h[BTD]", "reduce_scatter dh[BTD]", "all_reduce dWfinal_norm[D]"]


# Data parallelism and ZeRO


def layer_parameters(model: Transformer, kind: str = "") -> float:
    """Ψ of one layer, or of its tensors whose names hold a word."""
    layer = (m for m in model.parameter_count().modules if m.name.startswith("block.") and kind in m.tensor)
    return sum(float(m.parameters) / float(m.count) for m in layer)


@pytest.mark.parametrize("dp", [2, 8, 1000])
@pytest.mark.parametrize(("stage", "multiple"), [("0", 2), ("1", 2), ("2", 2), ("3", 3)])
@pytest.mark.parametrize("model", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_zero(model: Transformer, stage: str, multiple: int, dp: int) -> None:
    """Plain, ZeRO 1 and ZeRO 2 send 2Ψ, ZeRO 3 sends 3Ψ, all of it times (n − 1)/n (arXiv:1910.02054, section 7).

    Biases have no part in the backward pass: ZeRO 3 does not gather them a second time.
    """
    parts = passes(model, "block", dp=dp, zero_stage=stage)
    sent = sum(part.bytes_sent() for part in parts)
    elements = multiple * layer_parameters(model) - (layer_parameters(model, ".bias") if stage == "3" else 0.0)
    assert sent == pytest.approx((dp - 1) / dp * elements * BYTES, rel=1e-12)


def test_zero_messages() -> None:
    """Which: all-reduces of gradients; reduce-scatters and gathers of what was updated; gathers before each use."""

    def kinds(part: Pass) -> set[str]:
        return {message.split()[0] for message in part.messages()}

    tensors = {str(t) for t in LLAMA.stacks[1].block.weights()}
    for stage, expected in {
        "0": (set(), {"all_reduce"}, set()),
        "1": (set(), {"reduce_scatter"}, {"all_gather"}),
        "2": (set(), {"reduce_scatter"}, {"all_gather"}),
        "3": ({"all_gather"}, {"all_gather", "reduce_scatter"}, set()),
    }.items():
        ahead, back, after = passes(LLAMA, "block", dp=8, zero_stage=stage)
        assert (kinds(ahead), kinds(back), kinds(after)) == expected
        gathered = {m.split()[1] for m in (ahead if stage == "3" else after).messages()}
        assert gathered == (set() if stage == "0" else tensors)
        reduced = {m.split()[1].removeprefix("d") for m in back.messages() if not m.startswith("all_gather")}
        assert reduced == tensors


def test_zero_3_gathers_for_inference_too() -> None:
    assert serving(LLAMA, "block", dp=8, zero_stage="3").bytes_sent() == 7 / 8 * layer_parameters(LLAMA) * BYTES
    assert serving(LLAMA, "block", dp=8).messages() == []


# Context parallelism

KEYS = B * T * 8 * 128 * BYTES
QUERIES = B * T * 32 * 128 * BYTES


def test_context_parallel_gathers_keys_and_values() -> None:
    """Nothing but K and V, and their gradients; a ring sends the same bytes."""
    ahead, back, _ = passes(LLAMA, "block", cp=4)
    assert ahead.messages() == ["all_gather kc[BSKH]", "all_gather vc[BSKH]"]
    assert ahead.bytes_sent() == 2 * 3 / 4 * KEYS
    assert [m for m in back.messages() if "dW" not in m] == [
        "all_gather kc[BSKH]",
        "all_gather vc[BSKH]",
        "reduce_scatter dkr[BTKH]",
        "reduce_scatter dv[BTKH]",
    ]
    assert back.bytes_sent("dW") == pytest.approx(2 * 3 / 4 * layer_parameters(LLAMA) * BYTES, rel=1e-12)
    assert serving(LLAMA, "block", cp=4).messages() == ahead.messages()


def test_ulysses_exchanges_tokens_for_heads() -> None:
    """Four all-to-alls forward: of queries, keys, values and the output."""
    ahead, _, _ = passes(LLAMA, "block", cp=4, context="all-to-all")
    assert sorted(ahead.messages()) == [
        "all_to_all ctx[BTKGH]",
        "all_to_all kc[BSKH]",
        "all_to_all qr[BTKGH]",
        "all_to_all vc[BSKH]",
    ]
    assert ahead.bytes_sent() == 3 / 4 * (2 * QUERIES + 2 * KEYS) / 4


def test_decoding_with_a_split_cache() -> None:
    """One token over cached tokens on several ranks: softmax statistics and the output are reduced, never K and V."""
    found = serving(LLAMA, "block", decoding=True, cp=4)
    assert found.messages() == ["all_reduce softmax.statistics[BTKG]", "all_reduce ctx[BTKGH]"]
    assert found.bytes_sent() == 2 * 3 / 4 * B * 32 * (2 * 4 + 128 * BYTES)


# All plans


PLANS = st.fixed_dictionaries(
    {
        "tp": st.sampled_from((1, 2, 4, 8, 16, 32)),
        "dp": st.sampled_from((1, 2)),
        "cp": st.sampled_from((1, 2, 4)),
        "sequence_parallel": st.sampled_from(("no", "yes")),
        "context": st.sampled_from(("all-gather", "all-to-all")),
        "zero_stage": st.sampled_from(("0", "1", "2", "3")),
    }
)


def model_passes(model: Transformer, parallelism: Parallelism) -> Iterator[tuple[Stack, Pass]]:
    """The three training passes over every stack."""
    priced = step(model, parallelism)
    for i, stack in enumerate(model.stacks):
        for rows in program.training(stack.block, FLASH, priced.plan, "none", frozenset()):
            yield stack, Pass(i, rows, priced)


@given(kinds=PLANS)
def test_degree_one_sends_nothing(kinds: Mapping[str, Any]) -> None:
    """Arrays of ones keep their axes in the plan, and neither send nor divide anything."""
    ones = {name: np.ones(3) for name in ("tp", "dp", "cp")}
    for model in (LLAMA, GPT2):
        alone = model_passes(model, Parallelism())
        for (_, one), (_, many) in zip(alone, model_passes(model, Parallelism(**{**kinds, **ones})), strict=True):
            assert one.messages() == many.messages() == []
            flops = sum(program.price(row, many.numbers, many.precision).flops for row in many.rows)
            assert np.all(np.asarray(flops) == one.flops())


@given(kinds=PLANS)
def test_ranks_do_the_whole_and_what_replication_repeats(kinds: Mapping[str, Any]) -> None:
    """FLOP of all ranks together: the whole, and the projections to keys and values once more for each further copy."""
    tp, ranks = kinds["tp"], kinds["tp"] * kinds["dp"] * kinds["cp"]
    assume(kinds["context"] == "all-gather" or kinds["tp"] * kinds["cp"] <= 32)
    copies = max(tp / 8, 1.0)
    projections = 2 * (2 * B * T * 4096 * 8 * 128)
    whole, split = (list(model_passes(LLAMA, p)) for p in (Parallelism(), Parallelism(**kinds)))
    factors = {0: 1.0, 1: 2.0, 2: 0.0}  # projections: once forward, twice backward
    for i, ((stack, one), (_, rank)) in enumerate(zip(whole, split, strict=True)):
        repeated = factors[i % 3] * projections * (copies - 1) if stack.is_layer else 0.0
        assert rank.flops() * ranks == one.flops() + repeated


@given(kinds=PLANS)
def test_more_axes_never_change_who_sends_what_inside_one(kinds: Mapping[str, Any]) -> None:
    """With data parallelism beside it, tensor and context parallelism send the same activations, of a rank's share."""
    alone, beside = ({**kinds, "zero_stage": "0", "dp": dp} for dp in (1, 2))
    for one, two in zip(passes(LLAMA, "block", **alone)[:2], passes(LLAMA, "block", **beside)[:2], strict=True):
        assert [m for m in one.messages() if "dW" not in m] == [m for m in two.messages() if "dW" not in m]
        assert one.bytes_sent() - one.bytes_sent("dW") == 2 * (two.bytes_sent() - two.bytes_sent("dW"))


def test_a_plan_without_degrees_is_empty() -> None:
    assert plan(Parallelism()) == Plan.of(())
    assert [s.group for s in plan(Parallelism(tp=2, cp=2, dp=2)).splits] == ["tensor", "data", "data"]
