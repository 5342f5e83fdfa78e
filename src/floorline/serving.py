"""A closed loop: so many requests always in flight, each replaced by a new prompt when it ends. Which steps an engine then runs.

In the time that one request takes, all others end too, so as many prompts join as there are requests. A step that takes up (a part
of) a prompt decodes the running requests too, in the same matmuls (chunked prefill: vLLM, TensorRT-LLM), or lets them wait
(prompts first: SGLang's default). Prompts join one by one where they are few, several at a time where they come faster than one a
step, and no step takes more tokens than the engine's budget; where that is not enough, requests wait for their first token.

Sources: Yu et al. 2022 (Orca), OSDI, section 4.1 (iteration-level scheduling); Agrawal et al. 2024 (Sarathi-Serve),
arXiv:2403.02310, section 4 (chunked prefills in decode batches).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from floorline.expected import Expectation, expected
from floorline.formulas.serving import (
    joining_tokens,
    prompt_steps,
    shared_steps,
    slot_steps,
    sustained_requests,
    waiting_steps,
)
from floorline.num import Num, maximum, minimum
from floorline.specs.assumptions import Assumptions
from floorline.specs.cluster import Cluster
from floorline.specs.engine import Engine
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.workload import Serve
from floorline.step import Step
from floorline.transformer import Transformer

ATTENTION = ("prefill_attention", "decode_attention", "scan")
"""Kinds of kernels whose work belongs to a request; all others see only how many tokens a step has."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """What a phase of a closed loop is made of.

    pure     steps that only decode [-]
    mixed    steps in which prompts join [-]
    own      of these, those of the request's own prompt, which passes all pipeline stages one after another [-]
    decode   the step of all running requests
    prefill  the part of prompts that joins one
    joined   the same with the running requests' tokens beside it, as matmuls see it
    """

    pure: Num
    mixed: Num
    own: Num
    decode: Step
    prefill: Step
    joined: Step

    def expected(self, cluster: Cluster, engine: Engine, fusion: str) -> Expectation:
        """The expected time of all of its steps; a part of another's prompt is in one pipeline stage at a time."""
        decode, prefill = (expected(step, cluster, engine, fusion) for step in (self.decode.micro, self.prefill))
        share = self.share
        if engine.prompts == "alone":
            return decode.times(self.pure + self.mixed) + prefill.times(share)
        beside = expected(self.joined, cluster, engine, fusion)
        both = beside.without(ATTENTION) + prefill.only(ATTENTION) + decode.only(ATTENTION)
        return decode.times(self.pure + self.mixed - share) + both.times(share)

    def serial(self, cluster: Cluster, assumptions: Assumptions) -> Num:
        """The textbook sum of all of its steps, prompts alone."""
        once = self.decode.micro.serial(cluster, assumptions) * (self.pure + self.mixed)
        return once + self.prefill.serial(cluster, assumptions) * self.share

    @property
    def share(self) -> Num:
        """Steps with prompts, each as much as it lasts: others' are in one of the stages [-]."""
        return self.own + (self.mixed - self.own) / self.prefill.parallelism.pp


@dataclass(frozen=True, eq=False)
class Loop:
    """The two phases of a closed loop.

    first   until a request's first token: waiting, then its own prompt
    later   of each later token, on average
    alone   the first token's and a later token's step of a single request, which no schedule beats
    """

    first: Mixture
    later: Mixture
    alone: tuple[Step, Step]


def loop(
    model: Transformer, workload: Serve, plan: Parallelism, precision: Precision, attention: str, budget: Num, most: Num
) -> Loop:
    """The steps of a closed loop.

    budget  tokens of the largest step, on each data-parallel rank [-]
    most    requests that run at once, at most, over all replicas; others wait [-]
    """
    assert workload.concurrency is not None
    requests = maximum(workload.concurrency / plan.dp, 1.0)
    prompt, later = workload.prompt_len, maximum(workload.output_len - 1.0, 1.0)
    slots = minimum(requests, maximum(most / plan.dp, 1.0))
    running = minimum(slots, maximum(sustained_requests(prompt, later, budget), 1.0))
    joining = joining_tokens(running, prompt, later, budget)
    own = prompt_steps(prompt, joining)
    shared = shared_steps(running, prompt, later, joining)
    waiting = maximum(waiting_steps(requests, prompt, later, joining), slot_steps(requests, slots, later + own))
    # of these, those that take up others' prompts
    ahead = minimum((requests - 1.0) * prompt / joining - shared, waiting)

    length = minimum(prompt, joining)
    prompts, before = joining / length, workload.cached_len + (prompt - length) / 2.0
    middle = workload.cached_len + prompt + workload.output_len / 2.0
    decode = Step(model, running * plan.dp, 1.0, middle, 1.0, plan, precision, attention, decoding=True)
    prefill = Step(model, prompts * plan.dp, length, before, 1.0, plan, precision, attention)
    joined = replace(prefill, tokens=length + running / prompts)
    one = replace(prefill, batch=plan.dp, tokens=prompt, earlier=workload.cached_len)
    token = replace(decode, batch=plan.dp, earlier=workload.cached_len + prompt)
    begun = 0.5 * minimum(running - 1.0, 1.0)  # where others run, a new request waits for half of a step on average
    return Loop(
        Mixture(begun + waiting - ahead, own + ahead, own, decode, prefill, joined),
        Mixture(1.0 - shared / later, shared / later, 0.0, decode, prefill, joined),
        (one, token),
    )
