"""Speculative decoding: a small model, or a model's own prediction heads, drafts tokens that one pass then checks.

A round drafts γ tokens one after another, each a decode step of the drafter; the check is priced as what it is, a pass of the model
over γ + 1 tokens of each sequence, with all of their logits. So a check costs hardly more than a step while weights bound both, and
as much as γ + 1 steps once arithmetic does: large batches gain nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from floorline.errors import BadInput
from floorline.estimates import Estimate, estimate
from floorline.formulas.speculation import round_tokens, token_time
from floorline.num import Num, all_true, maximum
from floorline.phases import Time
from floorline.prediction_heads import announced, with_prediction_heads
from floorline.result import Result
from floorline.specs.fields import check, spec
from floorline.specs.workload import Decode, Generate, Prefill, Serve
from floorline.transformer import Transformer


@dataclass(frozen=True, kw_only=True)
class Speculation:
    """How tokens are drafted.

    >>> Speculation(num_speculative_tokens=4, acceptance=0.8).acceptance
    0.8
    """

    num_speculative_tokens: Num = spec("tokens drafted in a round of speculative decoding", default=3, most=256)
    acceptance: Num = spec(
        "chance that a drafted token is accepted; the draft and the text decide it: measure yours",
        default=0.7,
        least=0.0,
        most=1.0,
        whole=False,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, eq=False)
class Speculated(Result):
    """What speculative decoding makes of a generation.

    how      tokens of a round, and the chance that one is accepted
    drafter  the small model's name, or "prediction heads"
    tokens   that a round yields on average [-]
    draft    one step of the drafter
    check    one pass over the drafted tokens
    tpot     mean time of a token
    weights, kv_cache  what the drafter adds to each device [B]
    usual    the same without speculation
    """

    how: Speculation
    drafter: str
    tokens: Num
    draft: Time
    check: Time
    tpot: Time
    weights: Num
    kv_cache: Num
    usual: Time

    @property
    def speedup(self) -> Num | None:
        """Time of a token without speculation over that with it, both expected; None where nothing is expected."""
        if self.usual.expected is None or self.tpot.expected is None:
            return None
        return self.usual.expected / self.tpot.expected

    def answer(self) -> Mapping[str, Any]:
        """Everything that it is made of."""
        return {
            "drafter": self.drafter,
            "num_speculative_tokens": self.how.num_speculative_tokens,
            "acceptance": self.how.acceptance,
            "tokens_per_round": self.tokens,
            "draft_step_s": self.draft,
            "check_s": self.check,
            "tpot_s": self.tpot,
            "memory": {"weights": self.weights, "kv_cache": self.kv_cache},
            "speedup": self.speedup,
        }


def speculate(e: Estimate, drafter: Transformer | None, how: Speculation) -> Speculated:
    """Speculative decoding of a generation.

    e        of a Generate workload with more than one token
    drafter  the small model, on the same devices; None: the model's own multi-token-prediction heads
    how      tokens of a round, and the chance that one is accepted
    raises   BadInput for other workloads, or heads that the model does not have

    >>> import floorline
    >>> work = floorline.Generate(batch=1, prompt_len=1000, output_len=100)
    >>> e = floorline.estimate("llama-3.1-70b", work, "h100-sxm", parallelism=floorline.Parallelism(tp=8))
    >>> found = speculate(e, floorline.load_model("llama-3.2-1b"), Speculation(num_speculative_tokens=4, acceptance=0.8))
    >>> bool(found.tpot.floor < found.usual.floor)  # weights are read once for 3.4 tokens
    True
    """
    if isinstance(e.workload, Serve):
        raise BadInput("speculative decoding is priced for static batches; leave out --max-concurrency, or the drafter")
    if not isinstance(e.workload, Generate) or e.tpot is None:
        raise BadInput(
            "speculative decoding needs a generation of more than one token; give --output-len of two or more"
        )
    if drafter is not None:
        own, other = (float(np.min(np.asarray(m.sizes.get("V", 0.0)))) for m in (e.model, drafter))
        if abs(own - other) > PADDING * own:
            raise BadInput(
                f"{drafter.name} has {other:.0f} words and {e.model.name} {own:.0f}; expected a drafter of the same family"
            )
    w = e.workload
    middle = w.cached_len + w.prompt_len + np.floor(w.output_len / 2.0)
    drafted = how.num_speculative_tokens
    checked = again(e, e.model, Prefill(batch=w.batch, prompt_len=drafted + 1.0, cached_len=middle, logits="all"))
    single = Decode(batch=w.batch, context_len=middle)
    if drafter is None:
        more, fewer = again(e, with_prediction_heads(e.model), single), again(e, e.model, single)
        added = [getattr(more.memory, kind) - getattr(fewer.memory, kind) for kind in ("weights", "kv_cache")]
        draft = each_of(more.phases[0].time, fewer.phases[0].time, announced(e.model.config))
    else:
        small = again(e, drafter, single)
        added, draft = [small.memory.weights, small.memory.kv_cache], small.phases[0].time
    tokens = round_tokens(how.acceptance, drafted)
    name = "prediction heads" if drafter is None else drafter.name
    check = checked.phases[0].time
    tpot = Time.made(lambda first, second: token_time(first, second, drafted, tokens), draft, check)
    weights, kv_cache = added
    return Speculated(how, name, tokens, draft, check, tpot, weights, kv_cache, e.tpot)


PADDING = 0.01
"""By how much tables of one vocabulary differ, since models pad them to different multiples."""


def again(e: Estimate, model: Transformer, workload: Prefill | Decode) -> Estimate:
    """One pass of a model on the same devices.

    raises BadInput where the plan breaks a rule for it
    """
    found = estimate(
        model,
        workload,
        e.cluster,
        parallelism=e.parallelism,
        precision=e.precision,
        assumptions=e.assumptions,
        engine=e.engine,
    )
    if not all_true(found.feasible):
        raise BadInput(f"{model.name} cannot draft under this plan: {found.reason or 'it breaks a rule'}")
    return found


def each_of(more: Time, fewer: Time, heads: float) -> Time:
    """The time of one of several heads: of a pass with them less that of one without. Of floors the difference is no more than the
    floor of what was added."""
    return Time.made(lambda first, second: maximum(first - second, 0.0) / heads, more, fewer)
