"""In which order a pipeline stage takes its passes, schedule by schedule; ``formulas.schedules`` has the closed forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from floorline.errors import BadInput

FORWARD, BACKWARD, DGRAD, WGRAD = "forward", "backward", "dgrad", "wgrad"


@dataclass(frozen=True)
class Pass:
    """One micro-batch through the layers of one chunk, there or back.

    kind         forward, backward (both gradients in one), dgrad, wgrad
    micro_batch  from 0 [-]
    chunk        of the stage's layers, from 0 [-]
    """

    kind: str
    micro_batch: int
    chunk: int = 0


def gpipe(stages: int, stage: int, micro_batches: int, chunks: int) -> list[Pass]:
    """All forward, then all back.

    Source: Huang et al. 2018 (GPipe), arXiv:1811.06965, figure 2.

    >>> [f"{x.kind[0]}{x.micro_batch}" for x in gpipe(2, 0, 3, 1)]
    ['f0', 'f1', 'f2', 'b0', 'b1', 'b2']
    """
    del stages, stage, chunks
    return [Pass(kind, i) for kind in (FORWARD, BACKWARD) for i in range(micro_batches)]


def one_forward_one_backward(stages: int, stage: int, micro_batches: int, chunks: int) -> list[Pass]:
    """As many forward as it takes until the first comes back, then one forward and one backward in turn; interleaved over chunks of
    layers where there are several: p micro-batches through a chunk, then through the next.

    Source: Narayanan et al. 2021, arXiv:2104.04473, figures 3 and 4; Megatron-LM, core/pipeline_parallel/schedules.py,
    forward_backward_pipelining_with(out)_interleaving: (p − s − 1) passes first, of chunks 2·(p − s − 1) + (v − 1)·p.

    >>> [f"{x.kind[0]}{x.micro_batch}" for x in one_forward_one_backward(2, 0, 3, 1)]
    ['f0', 'f1', 'b0', 'f2', 'b1', 'b2']
    >>> [f"{x.kind[0]}{x.micro_batch}.{x.chunk}" for x in one_forward_one_backward(2, 1, 2, 2)]
    ['f0.0', 'f1.0', 'f0.1', 'b0.1', 'f1.1', 'b1.1', 'b0.0', 'b1.0']
    """
    later = stages - stage - 1
    ahead = later if chunks == 1 else 2 * later + (chunks - 1) * stages
    count = micro_batches * chunks

    def at(index: int, kind: str) -> Pass:
        if chunks == 1:
            return Pass(kind, index)
        turn, place = divmod(index, stages * chunks)
        chunk = place // stages
        return Pass(kind, turn * stages + place % stages, chunk if kind == FORWARD else chunks - 1 - chunk)

    return woven([at(i, FORWARD) for i in range(count)], [at(i, BACKWARD) for i in range(count)], ahead)


def woven(forward: list[Pass], backward: list[Pass], ahead: int) -> list[Pass]:
    """Some passes forward, then one forward and one backward in turn, then the rest backward."""
    ahead = min(ahead, len(forward))
    turns = [x for pair in zip(forward[ahead:], backward, strict=False) for x in pair]
    return [*forward[:ahead], *turns, *backward[len(forward) - ahead :]]


def zero_bubble_one(stages: int, stage: int, micro_batches: int, chunks: int) -> list[Pass]:
    """ZB-H1: 1F1B with gradients of weights by themselves, s micro-batches later on stage s.

    Source: Qi et al. 2023, arXiv:2401.10241, section 2.1 and figure 2: workers hold what 1F1B's first does, gradients of weights
    fill the end of the step.

    >>> [f"{x.kind[0]}{x.micro_batch}" for x in zero_bubble_one(2, 1, 3, 1)]
    ['f0', 'd0', 'f1', 'd1', 'w0', 'f2', 'd2', 'w1', 'w2']
    """
    del chunks
    return apart(stages - stage - 1, stage, micro_batches)


def zero_bubble_two(stages: int, stage: int, micro_batches: int, chunks: int) -> list[Pass]:
    """ZB-H2: enough passes forward that no stage waits for the first to come back, gradients of weights 2·s micro-batches later.

    Source: Qi et al. 2023, arXiv:2401.10241, section 2.2 and figure 3: 2·(p − s) − 1 micro-batches in flight; the layout is a
    parallelogram, the next step begins on the first stage before this one ends on the last.

    >>> [f"{x.kind[0]}{x.micro_batch}" for x in zero_bubble_two(2, 0, 4, 1)]
    ['f0', 'f1', 'f2', 'd0', 'w0', 'f3', 'd1', 'w1', 'd2', 'w2', 'd3', 'w3']
    """
    del chunks
    return apart(2 * (stages - stage - 1), 2 * stage, micro_batches)


def apart(ahead: int, late: int, micro_batches: int) -> list[Pass]:
    """1F1B whose gradients of weights come some micro-batches after those of activations."""
    found = []
    main = woven(
        [Pass(FORWARD, i) for i in range(micro_batches)], [Pass(DGRAD, i) for i in range(micro_batches)], ahead
    )
    for item in main:
        found.append(item)
        if item.kind == DGRAD and item.micro_batch >= late:
            found.append(Pass(WGRAD, item.micro_batch - late))
    return [*found, *(Pass(WGRAD, i) for i in range(max(micro_batches - late, 0), micro_batches))]


ORDERS: Mapping[str, Callable[[int, int, int, int], list[Pass]]] = {
    "gpipe": gpipe,
    "1f1b": one_forward_one_backward,
    "zero-bubble-1p": zero_bubble_one,
    "zero-bubble-2p": zero_bubble_two,
}
"""Schedule → the passes of a stage in their order, from stages, stage, micro-batches and chunks."""


def orders(schedule: str, stages: int, micro_batches: int, chunks: int = 1) -> list[list[Pass]]:
    """The passes of each stage in their order.

    raises BadInput for a schedule that is not laid out here, and for micro-batches that do not go evenly through chunks

    >>> [len(own) for own in orders("zero-bubble-1p", 4, 8)]
    [24, 24, 24, 24]
    """
    if schedule not in ORDERS:
        raise BadInput(f"no timeline of schedule {schedule[:40]!r} is known; expected one of {', '.join(ORDERS)}")
    if min(stages, micro_batches, chunks) < 1:
        raise BadInput(f"{stages} stages, {micro_batches} micro-batches, {chunks} chunks; expected one or more of each")
    if chunks > 1 and schedule != "1f1b":
        raise BadInput(f"schedule {schedule} has no virtual stages; expected 1f1b, or --virtual-stages 1")
    if chunks > 1 and micro_batches % stages:
        raise BadInput(
            f"{micro_batches} micro-batches go through {stages} stages of {chunks} chunks in groups of {stages}; expected a "
            "multiple: change --global-batch-size"
        )
    return [ORDERS[schedule](stages, stage, micro_batches, chunks) for stage in range(stages)]
