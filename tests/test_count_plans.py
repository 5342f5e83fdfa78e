"""Counts of one rank of a plan, through the public door."""

from __future__ import annotations

import pytest

from floorline import Decode, Parallelism, Prefill, Train, count
from floorline.cli.main import main

TRAIN = Train(micro_batch=1, global_batch=8, seq_len=512)


def layer_messages(**plan: object) -> list[tuple[str, str]]:
    """Pass and name of every message of a layer of a training step."""
    found = count("llama-3.1-8b", TRAIN, fusion="flash", parallelism=Parallelism(**plan))  # type: ignore[arg-type]
    return [(m.part, m.name.removeprefix("block.")) for m in found.messages if m.name.startswith("block.")]


def test_tensor_parallel_sends_two_all_reduces_each_way() -> None:
    ahead = [("forward", "attn.all_reduce"), ("forward", "ffn.all_reduce")]
    back = [("backward", "dh2.all_reduce"), ("backward", "dh.all_reduce")]
    assert layer_messages(tp=8) == ahead + back


def test_sequence_parallel_pairs_gathers_and_scatters_and_gathers_again_for_weight_gradients() -> None:
    names = layer_messages(tp=8, sequence_parallel=True)
    assert [n for part, n in names if part == "forward"] == [
        "h.all_gather", "attn.reduce_scatter", "h2.all_gather", "ffn.reduce_scatter",
    ]  # fmt: skip
    assert [n for part, n in names if part == "backward"] == [
        "dffn.all_gather", "h2.all_gather", "dh2.reduce_scatter", "dattn.all_gather", "h.all_gather", "dh.reduce_scatter",
        "dWnorm1.all_reduce", "dWnorm2.all_reduce",
    ]  # fmt: skip


def test_one_rank_sends_nothing() -> None:
    assert count("gpt2", TRAIN).messages == ()
    assert count("gpt2", Prefill(prompt_len=100)).messages == ()


@pytest.mark.parametrize("degrees", [{"tp": 8}, {"dp": 4}, {"tp": 2, "dp": 2}, {"cp": 4}])
def test_work_of_all_ranks_is_the_whole(degrees: dict[str, int]) -> None:
    """No key/value head is repeated here, so nothing is done twice."""
    plan = Parallelism(**degrees)  # type: ignore[arg-type]
    whole = count("llama-3.1-8b", Train(micro_batch=1, global_batch=8, seq_len=512))
    rank = count("llama-3.1-8b", TRAIN, parallelism=plan)
    assert rank.flops * plan.devices == whole.flops


def test_zero_sends_what_its_paper_says() -> None:
    """Stages 0 to 2 send twice the parameters, stage 3 three times, each less a rank's own share (arXiv:1910.02054)."""
    parameters, table = 8030261248.0, 128256 * 4096.0  # a lookup's backward pass does not read its table again
    for stage, elements in ((0, 2 * parameters), (1, 2 * parameters), (2, 2 * parameters), (3, 3 * parameters - table)):
        plan = Parallelism(dp=8, zero_stage=stage)  # type: ignore[arg-type]
        found = count("llama-3.1-8b", Train(micro_batch=1, global_batch=8, seq_len=512), parallelism=plan)
        sent = sum(float(m.sent * m.repeat) for m in found.messages)
        assert sent == pytest.approx(2 * elements * 7 / 8, rel=1e-12)


def test_gradients_are_sent_once_and_activations_for_each_micro_batch() -> None:
    found = count(
        "llama-3.1-8b", Train(micro_batch=1, global_batch=8, seq_len=512), parallelism=Parallelism(tp=2, dp=2)
    )
    times = {m.name: m.repeat for m in found.messages if m.name.startswith("block.")}
    assert times["block.attn.all_reduce"] == 32 * 4
    assert times["block.dWq.all_reduce"] == 32


def test_decode_messages_by_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flops", "llama-3.1-8b", "--seq-len", "1", "--cached-len", "1000", "--tp", "8"]) == 0
    printed = capsys.readouterr().out
    assert "block.attn.all_reduce" in printed
    assert count("llama-3.1-8b", Decode(context_len=1000), parallelism=Parallelism(tp=8)).messages[0].ranks == 8
