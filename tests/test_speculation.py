"""Speculative decoding: limits and laws, by hand; nothing here is measured."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floorline import Decode, Generate, Parallelism, Prefill, estimate, load_model
from floorline.cli.main import main
from floorline.errors import BadInput
from floorline.formulas.speculation import round_tokens, token_time
from floorline.prediction_heads import with_prediction_heads
from floorline.speculation import Speculation, speculate

LARGE, SMALL = "llama-3.1-70b", "llama-3.2-1b"
PLAN = Parallelism(tp=8)


@pytest.mark.parametrize(("acceptance", "drafted", "tokens"), [(0.0, 5.0, 1.0), (0.6, 2.0, 1.96), (1.0, 7.0, 8.0)])
def test_tokens_of_a_round(acceptance: float, drafted: float, tokens: float) -> None:
    """1 + α + α² + …, summed by hand."""
    assert round_tokens(acceptance, drafted) == pytest.approx(tokens, rel=1e-9)


@given(st.floats(0.0, 1.0), st.integers(1, 32))
def test_a_round_yields_one_token_at_least_and_all_at_most(acceptance: float, drafted: int) -> None:
    found = float(round_tokens(acceptance, float(drafted)))
    assert 1.0 - 1e-9 <= found <= drafted + 1.0 + 1e-9
    summed = float(np.sum(acceptance ** np.arange(drafted + 1.0)))
    assert found == pytest.approx(summed, rel=1e-6)


def test_many_are_each() -> None:
    """Arrays of acceptances and lengths are many single ones, to the bit."""
    chances, ahead = np.array([0.0, 0.3, 1.0]), np.array([[1.0], [4.0]])
    many = np.asarray(token_time(1e-3, 1e-2, ahead, round_tokens(chances, ahead)))
    for i, drafted in enumerate(ahead[:, 0]):
        for j, chance in enumerate(chances):
            assert many[i, j] == token_time(1e-3, 1e-2, drafted, round_tokens(chance, drafted))


def test_made_of_its_passes() -> None:
    """Four drafts and a check of five tokens at the middle of the generation: 1000 + 50 tokens."""
    e = estimate(LARGE, Generate(prompt_len=1000, output_len=100), "h100-sxm", parallelism=PLAN)
    found = speculate(e, load_model(SMALL), Speculation(num_speculative_tokens=4, acceptance=0.8))
    draft = estimate(SMALL, Decode(context_len=1050), "h100-sxm", parallelism=PLAN).tpot
    check = estimate(LARGE, Prefill(prompt_len=5, cached_len=1050, logits="all"), "h100-sxm", parallelism=PLAN).ttft
    assert draft is not None
    assert check is not None
    assert found.tpot.floor == pytest.approx(
        (4 * draft.floor + check.floor) / 3.3616
    )  # 1 + 0.8 + 0.64 + 0.512 + 0.4096
    assert found.weights == pytest.approx(load_model(SMALL).parameter_count().total * 2 / 8, rel=0.01)


def test_large_batches_gain_nothing() -> None:
    """Once arithmetic bounds the check, five tokens cost as much as five steps."""
    how = Speculation(num_speculative_tokens=4, acceptance=0.8)
    gains = []
    for batch in (1.0, 64.0, 1024.0):
        e = estimate(LARGE, Generate(batch=batch, prompt_len=500, output_len=100), "h100-sxm", parallelism=PLAN)
        found = speculate(e, load_model(SMALL), how).speedup
        assert found is not None
        gains.append(float(found))
    assert gains[0] > 2.0
    assert gains[0] > gains[1] > gains[2]
    assert gains[2] < 1.2


def test_heads_of_the_model() -> None:
    """A head drafts for less than a tenth of a step, and takes the weights that the model's own module has."""
    model = load_model("deepseek-v3")
    e = estimate(model, Generate(prompt_len=500, output_len=100), "h200-sxm", parallelism=PLAN)
    found = speculate(e, None, Speculation(num_speculative_tokens=1, acceptance=0.85))
    assert found.tokens == pytest.approx(1.85)
    assert 0.0 < found.draft.floor < found.usual.floor / 10
    whole = with_prediction_heads(model).parameter_count().total - model.parameter_count().total
    assert 0.0 < found.weights < whole * 2 / 4


def test_only_generations() -> None:
    e = estimate(SMALL, Generate(prompt_len=500, output_len=1), "h100-sxm")
    with pytest.raises(BadInput, match="--output-len"):
        speculate(e, None, Speculation())


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--tp", "8", "--draft-model", SMALL, "--num-speculative-tokens", "4", "--acceptance", "0.8"]
    assert main(["infer", LARGE, *flags, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["speculation"]
    assert found["tokens_per_round"] == pytest.approx(3.3616)
    assert found["drafter"] == SMALL
    assert main(["infer", LARGE, *flags]) == 0
    assert "3.36 tokens a round" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--acceptance", "0.5"), "without a drafter"),
        (("--draft-model", "heads"), "no multi-token-prediction heads"),
        (("--draft-model", SMALL, "--acceptance", "1.5"), "--acceptance is 1.5"),
        (("--draft-model", SMALL, "--max-concurrency", "4"), "leave out --max-concurrency"),
    ],
)
def test_errors(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["infer", "llama-3.1-8b", *words]) == 2
    assert said in capsys.readouterr().err
