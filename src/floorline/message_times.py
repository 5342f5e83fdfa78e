"""What messages are expected to take: inside a node by measured kernels, between nodes by the network's rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from floorline import program
from floorline.calibrate.inherit import Chosen
from floorline.efficiency.collectives import collective_time
from floorline.efficiency.device import Device
from floorline.efficiency.element_wise import traffic_time
from floorline.efficiency.engine_all_reduce import engine_all_reduce_time
from floorline.efficiency.exchange import exchange_time
from floorline.formulas.experts import hit_share
from floorline.kernel_sizes import EXPERTS, SLOTS
from floorline.kernel_time import KernelTime
from floorline.letters import Numbers
from floorline.network import STAGE_SEND, levels, sending
from floorline.num import Num, maximum, total, where
from floorline.op import Collective
from floorline.parallel.pictures import HEADS, TURNS
from floorline.program import Row
from floorline.specs.cluster import Cluster
from floorline.specs.engine import Engine
from floorline.step import Step


class Models(Protocol):
    """The kernel models of a step, as ``kernel_times.KernelTimes`` has them."""

    @property
    def step(self) -> Step:
        """What runs."""

    @property
    def cluster(self) -> Cluster:
        """On what."""

    @property
    def engine(self) -> Engine:
        """By which software."""

    @property
    def plain(self) -> str:
        """The format of what is sent between matmuls."""

    @property
    def widened(self) -> float:
        """Bytes of a sent element over those of the step's activations."""

    def known(self, kind: str, form: str) -> Chosen | None:
        """The fitted model of a kind; None where there is none."""

    def model(self, kind: str, form: str) -> Chosen:
        """The same, where there has to be one."""

    def device(self, form: str) -> Device:
        """The accelerator's figures for a format."""


def message(t: Models, numbers: Numbers, row: Row) -> tuple[KernelTime, ...]:
    """A collective: inside a node by its model, between nodes by a start and a share of the network's bandwidth."""
    sent = row.message
    assert sent is not None
    if sent.routed and not set(sent.message.letters) - {EXPERTS, SLOTS}:
        return ()  # what each token's experts weigh goes with the token
    buffer, _ = program.message_size(sent, numbers, t.step.precision)
    return sending_times(t, numbers, sent, buffer if sent.routed else buffer * t.widened)


def sending_times(t: Models, numbers: Numbers, sent: Collective, buffer: Num) -> tuple[KernelTime, ...]:
    """A collective of a buffer of so many bytes, level by level: several tensors may go in one."""
    ways = levels(t.cluster)
    inside = numbers.members(sent.axes, ways[0].outer)
    near = NEAR.get("exchange" if sent.routed else sent.kind, by_library)(
        t, sent, numbers, buffer, maximum(inside, 2.0)
    )
    near = replace(near, kind=AROUND if sent.axes == TURNS else near.kind)
    waiting = 0.0 if t.engine.launch == "graph" else ARRIVAL
    times = [replace(near, seconds=where(np.asarray(inside) > 1.0, near.seconds + waiting, 0.0))]
    outside = buffer * copies(t, sent, numbers, inside) if sent.routed else buffer
    for _, out, rate in sending(sent.kind, outside, sent.axes, numbers, ways[1:]):
        start = where(np.asarray(out) > 0.0, NETWORK_START, 0.0)
        far = start + out / (rate * NETWORK_SHARE)
        times.append(
            KernelTime("network", far, replace(near.model, how="assumed", wider=NETWORK_WIDER), {"bytes": out})
        )
    if sent.routed:  # what arrives from the network goes on to its rank meanwhile
        beyond = total(time.seconds for time in times[1:])
        times[0] = replace(times[0], seconds=maximum(times[0].seconds - beyond, 0.0))
    return (*times, *beside(t, numbers, sent, buffer))


def beside(t: Models, numbers: Numbers, sent: Collective, buffer: Num) -> tuple[KernelTime, ...]:
    """Element-wise work that comes with a message of attention over several devices: an exchange of heads is laid out before and
    after (each reads and writes all of it), and each turn of a ring adds its part to a sum in 32 bits (which is read and
    written, the part read), half of it counted with keys, half with values.

    Source: yunchang, comm/all_to_all.py, all_to_all_4D; ring/utils.py, _update_out_and_lse, one generated kernel.
    """
    if not (sent.axes == TURNS or set(sent.axes) <= set(HEADS)):
        return ()
    found, device = t.model("add", t.plain), t.device(t.plain)
    model, turns = found.fitted.model, numbers.ranks(sent.axes)
    several = np.asarray(turns) > 1.0
    if sent.axes == TURNS:
        moved, launches = buffer * SUMMED / 2.0, turns / 2.0
    else:
        moved, launches = buffer * 4.0, 2.0
    seconds = launches * (model.launch + model.row) + traffic_time(model, device, moved)
    return (KernelTime("element-wise", where(several, seconds, 0.0), found, {"bytes": moved}),)


SUMMED = (4.0 + 4.0 + 2.0) / 2.0
"""Bytes that a ring's turns move for each byte of keys that goes around: a sum in 32 bits is read and written and a part of 16 bits
is read, for keys of 16 bits."""
AROUND = "ring"
"""What a ring's messages are called until it is known how much of them attention hides."""


def operators(sent: Collective, numbers: Numbers) -> Num:
    """What a framework's host starts for a message, operator by operator: an exchange of heads is a copy, a buffer, the message and
    a copy; each turn of a ring two buffers, a message, attention, what brings its part into the sum, and a conversion.

    Source: yunchang, comm/all_to_all.py, all_to_all_4D; ring/ring_flash_attn.py, ring_flash_attn_forward.
    """
    if sent.axes == TURNS:
        return numbers.ranks(sent.axes) * 7.0
    return 4.0 if set(sent.axes) <= set(HEADS) else 1.0


def copies(t: Models, sent: Collective, numbers: Numbers, inside: Num) -> Num:
    """Of a token's copies, one for each of its experts, the share that leaves for other nodes: all of them while decoding; of
    prompts one for each node that it reaches, where the copies are made (and added on the way back), as DeepEP's normal kernels do.

    Source: DeepEP, README: normal kernels forward from the network to NVLink; low-latency kernels use the network alone.
    """
    chosen, nodes = numbers.letter("k"), maximum(numbers.ranks(sent.axes) / inside, 1.0)
    reached = nodes * hit_share(chosen, 1.0 / nodes)
    return 1.0 if t.step.decoding else reached / chosen


def by_library(t: Models, sent: Collective, numbers: Numbers, buffer: Num, ranks: Num) -> KernelTime:
    """A collective of the library inside a node; a stage's message to the next is one rank's to another."""
    del numbers
    found, device = t.model("collectives", "fp16"), t.device(t.step.precision.activations)
    kind, pair = ("send_recv", 2.0) if sent.kind == STAGE_SEND else (sent.kind, ranks)
    seconds = collective_time(found.fitted.model, device, kind, buffer, pair)
    return KernelTime("collectives", seconds, found, {"bytes": buffer, "ranks": pair})


def all_reduce(t: Models, sent: Collective, numbers: Numbers, buffer: Num, ranks: Num) -> KernelTime:
    """An all-reduce inside a node: by the engine's own kernel, where it has one."""
    found = t.known("engine_all_reduce", "bf16") if t.engine.all_reduce == "own" else None
    if found is None:
        return by_library(t, sent, numbers, buffer, ranks)
    device = t.device(t.step.precision.activations)
    seconds = engine_all_reduce_time(found.fitted.model, device, buffer, ranks)
    return KernelTime("collectives", seconds, found, {"bytes": buffer, "ranks": ranks})


def exchange(t: Models, sent: Collective, numbers: Numbers, buffer: Num, ranks: Num) -> KernelTime:
    """Tokens to the ranks of their experts, or back: with a low-latency kernel while decoding."""
    form = t.plain
    found = t.known("combine" if sent.inputs[0].name == COMBINED else "dispatch", form)
    if found is None:
        return by_library(t, sent, numbers, buffer, ranks)
    chosen, width = numbers.letter("k"), numbers.letters(sent.inputs[0].letters.replace(EXPERTS, "").replace(SLOTS, ""))
    element = t.step.precision.bytes("activations")
    tokens = buffer / (element * width * chosen)
    quick = 1.0 if t.step.decoding else 0.0
    seconds = exchange_time(
        found.fitted.model, t.device(form), quick, element, tokens, width, chosen, numbers.letter(EXPERTS), ranks
    )
    return KernelTime("collectives", seconds, found, {"tokens": tokens, "ranks": ranks})


ARRIVAL = 27e-6
"""What ranks wait for each other at a message where the host of each starts it, not a graph [s]: all-reduces of up to 300 kB that
PyTorch's processes started took so much longer than those of nccl-tests, on the median of four machines (31 us on A100 SXM, 45 on
A100 PCIe, 24 on H100 SXM, 16 on H100 PCIe; kernels of Vidur)."""

COMBINED = "yw"
"""What experts made, on its way back."""

NEAR: dict[str, Callable[[Models, Collective, Numbers, Num, Num], KernelTime]] = {
    "all_reduce": all_reduce,
    "exchange": exchange,
}
"""Kind of message → its time inside a node, where that is not the library's."""


NETWORK_START, NETWORK_SHARE, NETWORK_WIDER = 30e-6, 0.8, 0.5
"""Start of a message between nodes [s], its share of the bandwidth, and how much wider its interval is: assumptions, since no
measured kernels are of a stated modern network."""
