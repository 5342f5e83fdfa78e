"""Corners where a simple reading of the code would be wrong."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from floorline import passes, program
from floorline.capacity import fit
from floorline.catalogue.clusters import load_cluster
from floorline.catalogue.load import load_model
from floorline.errors import BadInput
from floorline.estimates import estimate
from floorline.implementations import ALL
from floorline.letters import Expression
from floorline.num import Num
from floorline.parallel.plan import Plan
from floorline.specs.accelerator import Accelerator
from floorline.specs.cluster import Cluster
from floorline.specs.parallelism import Parallelism
from floorline.specs.workload import Generate, Prefill
from floorline.step import Step
from floorline.sweeps import sweep
from test_messages import LLAMA
from test_messages import passes as both_passes

H100 = load_cluster("h100-sxm", devices=64)


def test_public_functions_survive_each_other() -> None:
    code = "import floorline; floorline.sweep; assert callable(floorline.fit), floorline.fit"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_fit_of_arrays() -> None:
    batch, length = np.array([1.0, 5000.0]), np.array([1.0, 131072.0])
    plan = Parallelism(tp=8)

    def fitted(b: Num, n: Num) -> list[object]:
        f = fit("llama-3.1-70b", H100, batch=b, length=n, parallelism=plan, suggest=False)
        return [
            f.memory.total,
            f.margin,
            f.fits,
            f.kv_bytes,
            f.kv_per_token,
            f.max_batch,
            f.max_context,
            f.max_concurrency,
        ]

    many = [np.broadcast_to(np.asarray(v), 2) for v in fitted(batch, length)]
    for i in range(2):
        alone = [float(np.asarray(x)) for x in fitted(float(batch[i]), float(length[i]))]
        assert alone == [float(m[i]) for m in many]


def test_rows_of_flash_with_full_recompute() -> None:
    st, num = Step(LLAMA, 1.0, 512.0, 0.0, 512.0).stacks[1]
    ops = passes.backward(st.block, ALL["flash"], "full")
    assert len({o.name for o in ops}) == len(ops)
    rows = program.training(st.block, ALL["flash"], Plan.of(()), "full", frozenset())[1]
    assert sum(num.value(f) for r in rows for _, f in r.flops) == sum(num.value(f) for o in ops for f in o.flops())


def test_ulysses_backward_is_four_exchanges() -> None:
    _, back, _ = both_passes(LLAMA, "block", cp=4, context="all-to-all")
    assert sorted(m for m in back.messages() if "dW" not in m) == [
        "all_to_all dctx[BTKGH]",
        "all_to_all dkr[BTKH]",
        "all_to_all dqr[BTKGH]",
        "all_to_all dv[BTKH]",
    ]


def test_max_context_is_the_largest() -> None:
    m = load_model("llama-3.2-1b")
    h = Cluster(Accelerator(name="any", peaks={"bf16": 1e15}, memory=3653625963.0, memory_bandwidth=3e12), 1)
    f = fit(m, h, batch=4, length=100, suggest=False)
    assert not fit(m, h, batch=4, length=4098, suggest=False).fits or f.max_context >= 4098, f.max_context


def test_best_skips_what_has_no_score() -> None:
    s = sweep("gpt2", Generate(prompt_len=900), H100, {"output_len": [1, 2]})
    assert s.best("tpot_floor_s").columns["output_len"].tolist() == [2.0]


def test_bound_of_a_point_that_decodes_nothing() -> None:
    s = sweep("gpt2", Generate(prompt_len=1), H100, {"output_len": [1, 2]})
    assert s.columns["bound"][0] == str(estimate("gpt2", Generate(prompt_len=1, output_len=1), H100).phases[-1].bound)


@pytest.mark.parametrize("text", ["open('x')", "Q*2", "1+'a'", "min(B"])
def test_expressions_are_refused_kindly(text: str) -> None:
    with pytest.raises(BadInput):
        Expression(text)({"B": 1.0})


def test_ulysses_rule_of_key_value_heads() -> None:
    c = {
        "model_type": "llama",
        "hidden_size": 1536,
        "num_attention_heads": 24,
        "num_key_value_heads": 6,
        "intermediate_size": 4096,
        "num_hidden_layers": 4,
        "vocab_size": 1000,
    }
    assert estimate(c, Prefill(prompt_len=4096), H100, parallelism=Parallelism(cp=4, context="all-to-all")).reason
