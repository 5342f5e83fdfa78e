"""Does it fit: memory of one device by kind, the margin, and the largest batch, context and concurrency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from floorline.catalogue.clusters import load_cluster
from floorline.catalogue.engines import load_engine
from floorline.catalogue.load import load_model
from floorline.feasible import hold, spread
from floorline.footprints import cached, framework_bytes, whole_blocks
from floorline.memory import (
    Memory,
    activation_bytes,
    inference_memory,
    kv_bytes,
    most,
    prefill_step,
    weight_bytes,
)
from floorline.num import Num, all_true, floor, maximum, minimum, number, where
from floorline.result import Result
from floorline.specs.cluster import Cluster
from floorline.specs.engine import Engine
from floorline.specs.fields import check as check_fields
from floorline.specs.fields import spec
from floorline.specs.footprint import Footprint
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.workload import Decode, Encode, Generate, Serve
from floorline.step import Step, generating, sourced
from floorline.transformer import SOURCE, Transformer

LONGEST, MOST_SEQUENCES = 1e9, 1e7
WHOLE_PROMPTS = 1e9
"""Tokens of a step from which on an engine runs all prompts at once: none are beside others."""


@dataclass(frozen=True)
class Fit(Result):
    """Whether a model fits, and how much more would.

    memory           of one device, by kind [B]
    budget           what the engine may use of it [B]
    margin           what is left, negative where it does not fit [B]
    fits             whether the margin is not negative
    kv_bytes         keys and values of the whole batch at the asked length, over all devices, each once [B]
    kv_per_token     the same by token, on average: windows and states make later tokens cheaper [B]
    max_batch        sequences of the asked length that fit, over all replicas [-]
    max_context      tokens that each sequence of the asked batch can have [-]
    max_concurrency  sequences of the asked length for which keys and values fit beside the largest prefill step [-]
    source           tokens that the encoder reads for each, where there is one [-]
    engine           whose use of memory this is
    suggestions      changes that make it fit, the cheapest first
    """

    model: Transformer
    cluster: Cluster
    parallelism: Parallelism
    precision: Precision
    batch: Num
    length: Num
    memory: Memory
    budget: Num
    kv_bytes: Num
    kv_per_token: Num
    max_batch: Num
    max_context: Num
    max_concurrency: Num
    source: Num = 0.0
    engine: str = "any"
    suggestions: tuple[str, ...] = ()

    @property
    def beyond(self) -> bool:
        """Whether the asked length is more than the positions that the model was made for."""
        longest = self.model.max_positions
        return longest is not None and not all_true(number(self.length) <= longest)

    @property
    def margin(self) -> Num:
        """What is left of the budget."""
        return self.budget - self.memory.total

    @property
    def cache_tokens(self) -> Num:
        """Tokens whose keys and values fit beside all else, over all replicas, at what one takes on average at the asked length."""
        return self.tokens_beside(self.memory.total - self.memory.kv_cache)

    @property
    def cache_tokens_beside_weights(self) -> Num:
        """The same if weights were all else, as hand calculations have it."""
        return self.tokens_beside(self.memory.weights)

    def tokens_beside(self, held_bytes: Num) -> Num:
        """Tokens that the cache of all replicas holds beside so many bytes of each device."""
        held = spread(self.batch, self.parallelism.dp) * self.length
        each = self.memory.kv_cache / held
        return floor(maximum(self.budget - held_bytes, 0.0) / maximum(each, 1e-300))

    @property
    def fits(self) -> object:
        """Whether it does."""
        return self.margin >= 0.0

    def answer(self) -> Mapping[str, Any]:
        """Whether it fits, where memory goes, and how much more would."""
        return {
            "fits": self.fits,
            "memory": self.memory,
            "budget": self.budget,
            "margin": self.margin,
            "batch": self.batch,
            "length": self.length,
            "kv_bytes": self.kv_bytes,
            "kv_bytes_per_token": self.kv_per_token,
            "max_batch": self.max_batch,
            "max_context": self.max_context,
            "max_concurrency": self.max_concurrency,
            "engine": self.engine,
            "cache_tokens": self.cache_tokens,
            "cache_tokens_beside_weights": self.cache_tokens_beside_weights,
            "suggestions": self.suggestions,
        }


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an engine allows itself."""

    gpu_memory_utilization: Num = spec("share of the memory that may be used", least=1e-6, most=1.0, whole=False)
    max_num_batched_tokens: Num = spec("tokens of the largest prefill step", most=1e9)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A question of memory: everything that decides it."""

    model: Transformer
    cluster: Cluster
    parallelism: Parallelism
    precision: Precision
    fusion: str
    most_tokens: Num
    budget: Num
    source: Num = 0.0
    footprint: Footprint = field(default_factory=Footprint)

    def prompt(self, batch: Num, length: Num) -> Step:
        """The prefill of all but the last token, with the encoder where there is one."""
        tokens = maximum(length - 1.0, 1.0)
        step = Step(self.model, batch, tokens, 0.0, 1.0, self.parallelism, self.precision)
        return replace(step, source=self.source, modalities=("", SOURCE) if self.model.has_encoder else ("",))

    def memory(self, batch: Num, length: Num) -> Memory:
        """Memory of one device with this many sequences of this length."""
        held = spread(batch, self.parallelism.dp)
        return inference_memory(self.prompt(held, length), length, self.fusion, self.most_tokens, self.footprint)

    def concurrency(self, weights: Num, length: Num) -> Num:
        """Sequences of this length whose keys and values fit beside the weights and the largest prefill step."""
        plan, formats = self.parallelism, self.precision
        prompt = prefill_step(self.prompt(MOST_SEQUENCES, length), self.most_tokens)
        around = self.footprint.graphs + self.footprint.workspace + framework_bytes(prompt, self.footprint)
        space = self.budget - weights - activation_bytes(prompt, self.fusion) - around
        held = whole_blocks(length, self.footprint.kv_block)
        last = Step(self.model, plan.dp, 1.0, held - 1.0, 1.0, plan, formats, decoding=True, source=self.source)
        each = kv_bytes(cached(last, self.footprint))
        most_of_them = minimum(floor(space / maximum(each, 1.0)), MOST_SEQUENCES)
        return where(space > 0.0, most_of_them, 0.0) * plan.dp

    def fits(self, batch: Num, length: Num) -> object:
        """Whether that is within the budget."""
        return self.memory(batch, length).total <= self.budget

    def answer(self, batch: Num, length: Num, suggest: bool) -> Fit:
        """Whether it fits and how much more would, with changes that make it fit where these are asked for."""
        made, memory = self.model, self.memory(batch, length)
        positions: Num = LONGEST if made.max_positions is None else made.max_positions
        formats = self.precision
        kept = kv_bytes(Step(made, batch, 1.0, length - 1.0, precision=formats, decoding=True, source=self.source))
        largest = most(lambda n: self.fits(n, length), MOST_SEQUENCES)
        beside = self.concurrency(memory.weights, length)
        tight = suggest and np.ndim(memory.total) == 0 and not self.fits(batch, length)
        return Fit(
            model=made,
            cluster=self.cluster,
            parallelism=self.parallelism,
            precision=formats,
            batch=batch,
            length=length,
            memory=memory,
            budget=self.budget,
            kv_bytes=kept,
            kv_per_token=kept / (batch * length),
            max_batch=largest,
            max_context=minimum(most(lambda n: self.fits(batch, n), LONGEST), positions),
            max_concurrency=where(number(self.most_tokens) < WHOLE_PROMPTS, beside, largest),
            source=self.source,
            suggestions=suggestions(self, batch, length) if tight else (),
        )


def fit(
    model: object,
    cluster: Cluster | str,
    *,
    batch: Num = 1.0,
    length: Num | None = None,
    source_len: Num | None = None,
    parallelism: Parallelism | None = None,
    precision: Precision | None = None,
    fusion: str = "flash",
    gpu_memory_utilization: Num | None = None,
    max_num_batched_tokens: Num | None = None,
    engine: Engine | str | None = None,
    suggest: bool = True,
) -> Fit:
    """Memory of serving a model, and the largest batch, context and concurrency that fit.

    batch                   sequences in flight, over all replicas [-]
    length                  tokens of each at its end; default: the model's longest [-]
    source_len              tokens that the encoder reads for each, in encoder–decoders; default: as Encode's, 512 [-]
    gpu_memory_utilization  share of each device that may be used; default: as the engine's [-]
    max_num_batched_tokens  tokens of the largest prefill step; default: as the engine's [-]
    engine                  whose use of memory, or its name; default: as vLLM's
    raises                  BadInput for a plan that breaks a rule, or a model that generates nothing

    >>> import floorline
    >>> answer = floorline.fit("llama-3.1-70b", floorline.load_cluster("h100-sxm"), length=4096)
    >>> bool(answer.fits), answer.memory.weights
    (False, 141107412992.0)
    """
    made = load_model(model)
    plan, formats = parallelism or Parallelism(), precision or Precision.of(made.format)
    cluster = load_cluster(cluster, plan.devices)
    asked = last_step(made, batch, length, source_len)
    software = load_engine(engine)
    share, most_tokens = software.memory_share, software.footprint.step_tokens
    limits = Limits(
        gpu_memory_utilization=share if gpu_memory_utilization is None else gpu_memory_utilization,
        max_num_batched_tokens=most_tokens if max_num_batched_tokens is None else max_num_batched_tokens,
    )
    tokens = asked.context_len + 1.0
    prompt = maximum(asked.context_len, 1.0)
    work = Generate(batch=asked.batch, prompt_len=prompt, output_len=1, source_len=asked.source_len)
    hold(made, work, cluster.devices, plan)
    case = Case(
        model=made,
        cluster=cluster,
        parallelism=plan,
        precision=formats,
        fusion=fusion,
        most_tokens=limits.max_num_batched_tokens,
        budget=cluster.accelerator.usable * limits.gpu_memory_utilization,
        source=asked.source_len,
        footprint=software.footprint,
    )
    return replace(case.answer(asked.batch, tokens, suggest), engine=software.name)


def at_once(
    model: Transformer,
    workload: Serve,
    cluster: Cluster,
    plan: Parallelism,
    precision: Precision,
    fusion: str,
    most_tokens: Num,
    engine: Engine,
) -> Num:
    """Requests of a closed loop that run at once, at most: as many as the engine takes and their keys and values fit.

    An engine that reserves memory for a request's whole length takes fewer than one that hands it out as tokens are made, whose
    requests are half through their output on average.
    """
    budget = cluster.accelerator.usable * engine.memory_share
    case = Case(
        model=model,
        cluster=cluster,
        parallelism=plan,
        precision=precision,
        fusion=fusion,
        most_tokens=most_tokens,
        budget=budget,
        footprint=engine.footprint,
    )
    length = held_tokens(workload, engine)
    weights = weight_bytes(case.prompt(plan.dp, length))
    held = case.concurrency(weights, length)
    return maximum(minimum(held, engine.max_num_seqs * plan.dp), plan.dp)


def held_tokens(workload: Serve, engine: Engine) -> Num:
    """Tokens for which a request of a closed loop holds memory, on average."""
    made = workload.output_len * (1.0 if engine.reserves == "whole" else 0.5)
    return workload.cached_len + workload.prompt_len + made


def last_step(model: Transformer, batch: Num, length: Num | None, source_len: Num | None) -> Decode:
    """The step that makes the last token of each sequence: every cache is as full then as it will be.

    raises BadInput for a model that generates nothing, or lengths that make no sense
    """
    longest: Num = 2048.0 if model.max_positions is None else model.max_positions
    source = usual_source(model) if source_len is None else source_len
    asked = Decode(batch=batch, context_len=number(longest if length is None else length) - 1.0, source_len=source)
    generating(model, "cache to make room for")
    sourced(model, asked)
    return asked


def usual_source(model: Transformer) -> Num:
    """Tokens that an encoder reads where nothing is said: as Encode's, or as many as the model takes."""
    if not model.has_encoder:
        return 0.0
    usual = Encode().seq_len
    return model.sizes.get("M", usual if model.max_positions is None else minimum(usual, model.max_positions))


def suggestions(case: Case, batch: Num, length: Num) -> tuple[str, ...]:
    """Single changes after which it fits, the cheapest first: formats, then fewer tokens, then more devices."""
    found = []
    narrower = (
        ("--kv-cache-dtype fp8", case.precision.with_cache("fp8")),
        ("--weight-dtype fp8", replace(case.precision, weights="fp8")),
    )
    for flag, formats in narrower if case.model.quantization is None else narrower[:1]:
        if formats != case.precision and replace(case, precision=formats).fits(batch, length):
            found.append(flag)
    context = most(lambda n: case.fits(batch, n), LONGEST)
    if context >= 1024.0:
        found.append(f"--max-model-len {float(context):.0f}")
    heads = [float(np.max(shape["heads"])) for shape in case.model.shapes()]
    tp = case.parallelism.tp * 2.0
    while tp <= max(heads) and all(n % tp == 0.0 for n in heads):
        if replace(case, parallelism=replace(case.parallelism, tp=tp)).fits(batch, length):
            found.append(
                f"--tp {float(tp):.0f} --devices {float(tp * case.parallelism.devices / case.parallelism.tp):.0f}"
            )
            break
        tp = tp * 2.0
    return tuple(found)
