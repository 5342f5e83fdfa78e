"""Memory of inference on one device: weights, KV cache, the largest step's activations; and the largest that fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from floorline import layout, passes
from floorline.block import Block
from floorline.footprints import (
    buffer_bytes,
    cached,
    copied_bytes,
    dequantised_bytes,
    framework_bytes,
    logit_bytes,
    table_bytes,
    whole_blocks,
)
from floorline.implementations import implementation
from floorline.letters import Product
from floorline.num import Num, ceil, floor, largest, maximum, minimum, number, total, where
from floorline.op import Collective, View
from floorline.parallel.plan import Plan, present
from floorline.program import EARLIER, Piece
from floorline.result import Result
from floorline.specs.footprint import Footprint
from floorline.step import Step
from floorline.tensor import CACHE, TOKENS, WEIGHT, Tensor

STEP_TOKENS = 8192.0
"""Tokens of the largest prefill step where nothing else is said: vLLM's ``max_num_batched_tokens`` on a large card
(vllm/engine/arg_utils.py, default for the API server's usage context on devices of 70 GiB and more)."""


UTILISATION = 0.9
"""Share of a device's memory that the engine may use: vLLM's default of ``gpu_memory_utilization``
(vllm/config/cache.py)."""


@dataclass(frozen=True)
class Memory(Result):
    """Bytes on one device, by kind.

    weights      parameters, with what replication, padding and copies repeat [B]
    kv_cache     keys and values of all tokens in flight, in whole blocks [B]
    activations  tensors alive at once in the largest step, logits among them, or the buffers made for it [B]
    workspace    of the matmul library, and weights that are brought to a wider format [B]
    graphs       captured ones [B]
    framework    the driver's context with all kernels that are loaded, and buffers for messages [B]
    """

    weights: Num
    kv_cache: Num
    activations: Num
    workspace: Num = 0.0
    graphs: Num = 0.0
    framework: Num = 0.0

    @property
    def total(self) -> Num:
        """All of it."""
        return total(self.kinds.values())

    @property
    def allocated(self) -> Num:
        """What a framework's own allocator counts: all but the driver's context, message buffers and graphs."""
        return self.weights + self.kv_cache + self.activations + self.workspace

    @property
    def kinds(self) -> dict[str, Num]:
        """Each kind by name."""
        return {
            "weights": self.weights,
            "kv_cache": self.kv_cache,
            "activations": self.activations,
            "workspace": self.workspace,
            "graphs": self.graphs,
            "framework": self.framework,
        }

    def answer(self) -> Mapping[str, Any]:
        """Each kind, and all of it."""
        return {**self.kinds, "total": self.total}


@cache
def weight_pieces(block: Block, cut: Plan) -> tuple[Piece, ...]:
    """Each parameter of a block as one rank stores it."""
    walk = layout.Walk(cut)
    found: dict[str, Piece] = {}
    for op in block.ops:
        for t in op.weights:
            axes = {*walk.given(t, walk.places(op), {}), *cut.home}
            found.setdefault(t.name, Piece(t, Product(1.0, t.letters, axes=tuple(sorted(axes)))))
    return tuple(found.values())


@cache
def cache_pieces(block: Block, cut: Plan) -> tuple[Piece, ...]:
    """What a block keeps of its tokens for later ones, on one rank; of a window that is what the next token will see."""
    steps = layout.forward(block, passes.inference(block), cut).steps
    return tuple(
        Piece(t, Product(1.0, t.letters.replace("S", EARLIER), axes=s.axes(t)))
        for s in steps
        for t in s.op.outputs
        if t.role == CACHE
    )


@cache
def alive(block: Block, fusion: str, cut: Plan) -> tuple[tuple[Piece, ...], ...]:
    """Tensors that exist at once while each kernel of a block runs: made or given before and still needed, and what is
    gathered for it of the cache and the weights."""
    ops = passes.inference(block)
    steps = layout.forward(block, ops, cut).steps
    software = implementation(fusion)
    groups = passes.kernels(ops, block.outputs, software, software.one_launch)
    axes = {t.name: s.axes(t) for s in steps for t in (*s.op.inputs, *s.op.outputs) if not layout.is_message(s)}
    owner = {o.name: op.inputs[0].name for op in ops if isinstance(op, View) for o in op.outputs}
    last: dict[str, int] = {owner.get(n, n): len(groups) for n in block.outputs}
    for i, kernel in enumerate(groups):
        last.update(
            {owner.get(t.name, t.name): max(last.get(t.name, 0), i) for op in kernel.ops for t in op.activations}
        )
    copies = gathered(steps)
    here: dict[str, Tensor] = {t.name: t for t in block.inputs if t.role != TOKENS}
    found = []
    for i, kernel in enumerate(groups):
        here.update({t.name: t for t in kernel.outputs if t.role != CACHE and t.name not in owner})
        own = tuple(Piece(t, Product(1.0, t.letters, axes=axes[t.name])) for t in here.values())
        found.append((*own, *(p for op in kernel.ops for p in copies.get(op.name, ()))))
        here = {n: t for n, t in here.items() if last.get(n, 0) > i}
    return tuple(found)


def gathered(steps: Iterable[layout.Placed]) -> dict[str, list[Piece]]:
    """Operator → copies of cache and weights that are gathered for it."""
    found: dict[str, list[Piece]] = {}
    waiting: list[Piece] = []
    for step in steps:
        if not isinstance(step.op, Collective):
            found[step.op.name], waiting = waiting, []
        elif step.op.kind == "all_gather" and step.op.inputs[0].role in (CACHE, WEIGHT):
            waiting.append(received(step.op))
    return found


def received(op: Collective) -> Piece:
    """What an all-gather adds to a rank's memory: the whole, less the share that it has already."""
    whole, tensor = op.message, op.inputs[0]
    share = Product(whole.coefficient, whole.letters, axes=tuple(sorted((*whole.axes, *op.axes))))
    return Piece(tensor, whole, less=share)


def weight_bytes(step: Step) -> Num:
    """Weights of one rank, those of the whole model once."""
    shared: set[str] = set()
    parts: list[Num] = []
    ends: list[Num] = []
    fullest = fullest_stage(step)
    for stack, numbers in replace(step, modalities=tuple({s.modality for s in step.model.stacks})).numbers():
        pieces = [p for p in weight_pieces(stack.block, step.cut(stack)) if p.tensor.name not in shared]
        shared |= {p.tensor.name for p in pieces if p.tensor.is_shared}
        own = tuple(p for p in pieces if not p.tensor.is_shared)
        once = step.bytes(tuple(p for p in pieces if p.tensor.is_shared), numbers)
        if stack.is_layer:
            parts.append(step.bytes(own, numbers) * stack.stored * fullest + once)
        else:
            ends.append(step.bytes(own, numbers) * stack.stored + once)
    first, last = (ends or [0.0])[0], total(ends[1:])
    found = total(parts) + where(number(step.parallelism.pp) > 1.0, maximum(first, last), first + last)
    return found if step.model.quantization is None else number(np.rint(found))  # an average of formats leaves crumbs


def kv_bytes(step: Step) -> Num:
    """What one rank keeps of the tokens that the step has seen at its end: keys, values, states."""
    after = replace(step, earlier=step.earlier + step.tokens)
    whole = total(
        after.bytes(cache_pieces(s.block, after.cut(s)), numbers) * s.repeat for s, numbers in after.numbers()
    )
    return whole * fullest_stage(step) if present(step.parallelism.pp) else whole


def fullest_stage(step: Step) -> Num:
    """Share of the layers that the fullest pipeline stage has."""
    layers, stages = step.model.layers(), step.parallelism.pp
    return ceil(layers / stages) / layers if present(stages) else 1.0


def activation_bytes(step: Step, fusion: str) -> Num:
    """The largest set of tensors alive at once in the step, on one rank."""
    return largest(
        step.bytes(pieces, numbers)
        for s, numbers in step.numbers()
        for pieces in alive(step.block(s), fusion, step.cut(s))
    )


def prefill_step(step: Step, most_tokens: Num) -> Step:
    """The largest prefill that an engine runs at once: prompts and parts of prompts, as many tokens as its budget takes."""
    ranks = step.parallelism.dp
    most = most_tokens * ranks
    sequences = minimum(step.batch, maximum(most / (step.tokens + step.encoded), ranks))
    chunk = minimum(step.tokens, most_tokens)
    earlier = step.earlier + step.tokens - chunk
    return replace(step, batch=sequences, tokens=chunk, earlier=earlier, logits=minimum(step.logits, chunk))


def inference_memory(
    step: Step, length: Num, fusion: str, most_tokens: Num | None = None, footprint: Footprint | None = None
) -> Memory:
    """Memory of one device that serves the step's batch up to ``length`` tokens each.

    step         the prefill
    length       tokens of a sequence at its end, prompt and output [-]
    fusion       which operators keep their insides on chip
    most_tokens  tokens of the largest prefill step; default: the engine's [-]
    footprint    how the engine uses memory; default: it adds nothing
    """
    engine = footprint or Footprint()
    held = whole_blocks(length, engine.kv_block)
    full = Step(step.model, step.batch, 1.0, length - 1.0, 1.0, step.parallelism, step.precision, decoding=True)
    full = replace(full, source=step.source)
    prompt = prefill_step(step, engine.step_tokens if most_tokens is None else most_tokens)
    kept = kv_bytes(cached(replace(full, earlier=held - 1.0), engine))
    if engine.buffers is not None:
        alive_bytes = buffer_bytes(step, length, engine.buffers)
    else:
        prefill = maximum(activation_bytes(prompt, fusion), logit_bytes(prompt, engine))
        spare = 0.0 if engine.cache == "in place" else kept - kv_bytes(cached(step, engine))
        decode = activation_bytes(full, fusion) + copied_bytes(kept, step, engine)
        alive_bytes = maximum(decode, prefill - spare)
    return around(step, engine, kept, alive_bytes)


def encoding_memory(step: Step, fusion: str, footprint: Footprint | None = None) -> Memory:
    """Memory of one device that runs a pass over the whole batch at once and keeps nothing of it."""
    return around(step, footprint or Footprint(), 0.0, activation_bytes(step, fusion))


def around(step: Step, engine: Footprint, kept: Num, alive_bytes: Num) -> Memory:
    """Memory with what the weights and the software take around a cache and the largest step."""
    return Memory(
        weights=number(weight_bytes(step) + table_bytes(step, engine)),
        kv_cache=number(kept),
        activations=number(alive_bytes),
        workspace=number(engine.workspace + dequantised_bytes(step, engine)),
        graphs=engine.graphs,
        framework=number(framework_bytes(step, engine)),
    )


def most(fits: Callable[[Num], object], limit: float) -> Num:
    """The largest whole number for which something fits, 0 where not even one does; ``fits`` must fall once.

    >>> float(most(lambda n: n <= 37.0, 1e6))
    37.0
    """
    low: Num = 0.0
    high: Num = limit + 1.0
    for _ in range(int(np.ceil(np.log2(limit + 1.0))) + 1):
        middle = floor((low + high) / 2.0)
        good = np.asarray(fits(maximum(middle, 1.0))) & np.asarray(middle >= 1.0)
        low, high = where(good, middle, low), where(good, high, middle)
    return low
