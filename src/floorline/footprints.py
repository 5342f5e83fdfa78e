"""What an engine adds to weights, keys and values on one device, from how its software is said to use memory."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from floorline.num import Num, ceil, largest, maximum, number, where
from floorline.op import Contraction
from floorline.program import EARLIER
from floorline.quantized import element_bytes
from floorline.specs.footprint import Buffers, Footprint
from floorline.step import Step
from floorline.tensor import WEIGHT
from floorline.transformer import Transformer

WORD = "V"
"""The letter of the vocabulary."""


def framework_bytes(step: Step, footprint: Footprint) -> Num:
    """The driver's context, and buffers for messages where there is anyone to send them to [B]."""
    several = number(step.parallelism.devices) > 1.0
    return footprint.context + where(several, footprint.communication, 0.0)


def whole_blocks(length: Num, block: Num) -> Num:
    """Tokens that a sequence takes in blocks of a cache.

    >>> float(whole_blocks(17.0, 16.0))
    32.0
    """
    return ceil(length / block) * block


def cached(step: Step, footprint: Footprint) -> Step:
    """The step whose cache an engine keeps: the same, or one whose windows are as wide as the sequence."""
    return step if footprint.windows == "cut" else replace(step, model=without_windows(step.model))


@lru_cache(maxsize=64)
def without_windows(model: Transformer) -> Transformer:
    """A model whose layers keep every token."""
    stacks = (
        replace(s, tokens=tuple(pair for pair in s.tokens if pair[0] != EARLIER)) if "window" in s.sizes else s
        for s in model.stacks
    )
    return replace(model, stacks=tuple(stacks))


def tables(step: Step) -> tuple[Num, Num]:
    """The matrices over the vocabulary: how many there are, a tied one once, and the bytes of one."""
    names = {tensor.name for _, _, tensor in step.model.weights() if WORD in tensor.letters}
    sizes = step.model.sizes
    return float(len(names)), sizes.get(WORD, 0.0) * sizes.get("D", 0.0) * step.precision.bytes(WEIGHT)


def table_bytes(step: Step, footprint: Footprint) -> Num:
    """What padding, a head of its own and whole tables on every rank add to one rank's share of the weights [B]."""
    count, each = tables(step)
    words = step.model.sizes.get(WORD, 0.0)
    if not count:
        return 0.0
    stored = 2.0 if footprint.head == "copy" and count == 1.0 else count
    padded = each * (ceil(words / footprint.vocab_multiple) * footprint.vocab_multiple / words)
    share = 1.0 if footprint.tables == "whole" else 1.0 / step.parallelism.tp
    return stored * padded * share - count * each / step.parallelism.tp


def logit_bytes(step: Step, footprint: Footprint) -> Num:
    """Logits of all positions of a prompt at once, in every format that they are in [B]."""
    if footprint.logits == "last":
        return 0.0
    positions = step.sequences * step.tokens
    return positions * step.model.sizes.get(WORD, 0.0) / step.parallelism.tp * footprint.logit_bytes


def dequantised_bytes(step: Step, footprint: Footprint) -> Num:
    """The largest quantised matrix in the format of the activations, where it is brought to that in memory; matmuls that run in a
    format of their own, such as fp8, need no such copy [B]."""
    own = step.model.quantization
    if footprint.dequantised == "on chip" or own is None or own.arithmetic:
        return 0.0
    plain, wide = step.precision.bytes(WEIGHT), step.precision.bytes("activations")
    found: list[Num] = [0.0]
    for stack, numbers in step.numbers():
        stored = element_bytes(step.model, stack, plain)
        for op in stack.block.ops:
            for tensor in op.weights if isinstance(op, Contraction) else ():
                narrow = number(stored.get(tensor.name, plain)) < plain
                letters = tensor.letters.replace("E", "")  # experts one at a time
                found.append(where(narrow, numbers.letters(letters) * wide / step.parallelism.tp, 0.0))
    return largest(found)


def buffer_bytes(step: Step, length: Num, buffers: Buffers) -> Num:
    """Buffers for the step's sequences, each of a length [B].

    Source: FasterTransformer, ``allocateBuffer`` of its GPT, its context decoder, and their layers.
    """
    held, tp, plain = step.sequences, step.parallelism.tp, step.precision.bytes("activations")
    words = step.model.sizes.get(WORD, 0.0)
    found: list[Num] = [0.0]
    for stack in step.model.stacks:
        sizes = {**step.model.sizes, **stack.sizes}
        if stack.is_layer:
            heads = sizes.get("K", 0.0) * sizes.get("G", 1.0)
            shared = buffers.attention * heads * sizes.get("H", 0.0) + buffers.inner * sizes.get("F", 0.0)
            token = (buffers.hidden * sizes.get("D", 0.0) + shared / tp) * plain
            pair = buffers.scores * heads / tp + buffers.mask
            found.append(held * length * (token + length * pair))
    return largest(found) + held * words * buffers.words + length * words * buffers.positions


def copied_bytes(kept: Num, step: Step, footprint: Footprint) -> Num:
    """The keys or the values of one layer a second time, while a longer tensor of them is made [B]."""
    return 0.0 if footprint.cache == "in place" else kept / (2.0 * maximum(step.model.layers(), 1.0))
