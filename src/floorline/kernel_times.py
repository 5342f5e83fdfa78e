"""The expected time of every launch of a step: its kernel's model, fitted to measured kernels, with the sizes of the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from floorline import program
from floorline.calibrate.devices import device_of, width_of
from floorline.calibrate.fit import form_of, formats_of
from floorline.calibrate.inherit import Chosen, choose
from floorline.calibrate.kinds import DISPATCHED
from floorline.efficiency.attention import Attention
from floorline.efficiency.decode_attention import decode_attention_time, head_by_head_time
from floorline.efficiency.device import Device, Width
from floorline.efficiency.element_wise import element_wise_time, traffic_time
from floorline.efficiency.experts import at_random, experts_time
from floorline.efficiency.in_model import attention_of, attention_sustained, matmul_inside
from floorline.efficiency.matmul import matmul_time
from floorline.efficiency.prefill_attention import prefill_attention_time
from floorline.errors import NoModel
from floorline.kernel_sizes import EXPERTS, Sized
from floorline.kernel_time import KernelTime
from floorline.letters import Numbers
from floorline.message_times import message
from floorline.num import Num, ceil, maximum, number, total, where
from floorline.program import Row
from floorline.specs.cluster import Cluster
from floorline.specs.engine import Engine
from floorline.specs.precision import BYTES
from floorline.step import Step
from floorline.tensor import WEIGHT, Tensor


@dataclass(frozen=True, eq=False)
class KernelTimes:
    """Kernel models for a step on a cluster.

    step     what runs
    cluster  on what
    engine   whose kernels, and by which of them it sends
    """

    step: Step
    cluster: Cluster
    engine: Engine = field(default_factory=Engine)
    models: dict[tuple[str, str], Chosen | None] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)

    def launch(self, row: Row, numbers: Numbers) -> tuple[KernelTime, ...]:
        """What a launch is expected to take; more than one where it does several things, none where another launch does it.

        raises NoModel where no model is known
        """
        if row.message is not None:
            return message(self, numbers, row)
        return tuple(TIMES[sized.kind](self, sized, numbers, row) for sized in row.sized if sized.kind in TIMES)

    def known(self, kind: str, form: str) -> Chosen | None:
        """The fitted model of a kind for some formats; None where there is none."""
        if (kind, form) not in self.models:
            kernels = self.engine.kernels
            engine = self.engine.exchange(kind, self.step.decoding) or (
                "" if (kernels, form) in DISPATCHED else kernels
            )
            self.models[kind, form] = choose(self.cluster.accelerator, kind, form, engine)
        return self.models[kind, form]

    def model(self, kind: str, form: str) -> Chosen:
        """The fitted model of a kind for some formats.

        raises NoModel where there is none
        """
        found = self.known(kind, form)
        if found is None:
            raise NoModel(
                f"{self.cluster.accelerator.name}: no model of {kind} in {form} is known; 'floorline calibrate' makes one"
            )
        return found

    @property
    def architecture(self) -> str:
        """The accelerator's."""
        return self.cluster.accelerator.architecture

    @property
    def autocast(self) -> bool:
        """Whether weights stay in 32 bits and matmuls' inputs are made of 16, which leaves norms and sums in 32."""
        precision = self.step.precision
        return BYTES[precision.weights] >= 4.0 > BYTES[precision.activations] >= 2.0

    @property
    def plain(self) -> str:
        """The format of activations between matmuls: 16 bits at least, whatever matmuls make of them."""
        own = self.step.precision.activations
        return own if BYTES[own] >= 2.0 else "bf16"

    @property
    def widened(self) -> float:
        """Bytes of a sent element over those of the step's activations: engines add the residual stream in 16 bits at least."""
        return BYTES[self.plain] / self.step.precision.bytes("activations")

    def device(self, form: str) -> Device:
        """The accelerator's figures for a format."""
        if form not in self.devices:
            self.devices[form] = device_of(self.cluster.accelerator, form)
        return self.devices[form]

    def weight_form(self, weights: tuple[Tensor, ...], numbers: Numbers) -> tuple[str, Num]:
        """The format of a matmul, as tables of kernels name it, and bytes of an element of its weights."""
        precision, own = self.step.precision, self.step.model.quantization
        plain = precision.bytes(WEIGHT)
        if not weights:
            return precision.activations, precision.bytes("activations")
        stored = program.element_bytes(weights[0], numbers, precision)
        if precision.matmuls and "V" not in weights[0].letters:
            return QUANTISED.get(precision.matmuls, precision.matmuls), precision.bytes(WEIGHT, precision.matmuls[:3])
        if own is None or weights[0].name not in numbers.stored or not float(np.min(np.asarray(stored))) < plain:
            return PLAIN.get((precision.weights, precision.activations), precision.activations), stored
        if own.arithmetic and (
            own.label.partition(" ")[0] not in FOUR_BIT_FLOATS or "fp4" in self.cluster.accelerator.peaks
        ):
            return ("fp8-block128" if "blocks" in own.label else QUANTISED[own.arithmetic]), stored
        return GROUPED, stored


PLAIN = {
    ("fp4", "fp4"): "nvfp4",
    ("int8", "int8"): "int8-smoothquant",
    ("int8", "bf16"): "int8-weight-only",
    ("int8", "fp16"): "int8-weight-only",
    ("fp8", "bf16"): "int8-weight-only",
    ("fp8", "fp16"): "int8-weight-only",
    ("int4", "bf16"): "int4-weight-only",
    ("int4", "fp16"): "int4-weight-only",
    ("fp4", "bf16"): "int4-weight-only",
    ("fp4", "fp16"): "int4-weight-only",
}
"""Formats of weights and activations, where they are not one of 8 bits or more, as tables of kernels name them."""

WIDENED = {"rmsnorm": 14.0 / 4.0, "add": 10.0 / 6.0}
"""Bytes of an element under autocast over those in 16 bits: a norm reads and writes 32 bits, and its result is made narrow again; a
sum reads 32 and 16 bits and writes 32. Source: PyTorch, docs/source/amp.rst, "CUDA ops that can autocast to float32"."""

GROUPED = "grouped-weight-only"
"""Weights of 4 or 8 bits that share scales in groups, widened inside the matmul (Marlin, and what compilers generate)."""

FOUR_BIT_FLOATS = ("mxfp4", "nvfp4")
"""Methods whose weights are widened inside the matmul where a device has no arithmetic of 4 bits."""

QUANTISED = {"fp8": "fp8", "int8": "int8-smoothquant", "fp4": "nvfp4"}
"""Arithmetic of a quantised checkpoint, as tables of kernels name it."""


def sizes_of(sized: Sized, numbers: Numbers) -> dict[str, Num]:
    """Sizes as numbers; those of several matrices added."""
    return {name: total(numbers.value(p) for p in products) for name, products in sized.sizes.items()}


def matmul(t: KernelTimes, sized: Sized, numbers: Numbers, row: Row) -> KernelTime:
    """A matmul, or several side by side: one for each of a batch has its own columns."""
    form, stored = t.weight_form(sized.weights, numbers)
    found, s = t.model("matmul", form), sizes_of(sized, numbers)
    width, model = replace(width_of(form), weights=stored), found.fitted.model
    if t.engine.quantises == "fused" and width.narrow:  # without the launches that make narrow inputs
        width, model = replace(width, ready=True), replace(model, launch=t.model("matmul", t.plain).fitted.model.launch)
    seconds = matmul_time(model, t.device(form), width, s["m"], s["n"] * s["batch"], s["k"])
    if t.engine.sustained == "yes":
        seconds = seconds * matmul_inside(t.architecture, form)
    if not sized.weights and t.engine.lays_out == "copying":
        seconds = seconds + copying_time(t, numbers, row)
    return KernelTime("matmul", seconds, found, s)


def copying_time(t: KernelTimes, numbers: Numbers, row: Row) -> Num:
    """Laying heads out for products of activations, by kernels of their own: what they read is read and written before [s]."""
    model = t.model("add", t.plain).fitted.model
    elements = total(numbers.value(p.elements) for p in row.reads)
    moved = 2.0 * elements * t.step.precision.bytes("activations")
    seconds: Num = (model.launch + model.row) * float(len(row.reads))
    return seconds + traffic_time(model, t.device(t.plain), moved)


def attention(t: KernelTimes, sized: Sized, numbers: Numbers, row: Row) -> KernelTime:
    """Attention in one launch: of single tokens over a cache, or of a prompt."""
    del row
    s, narrow = sizes_of(sized, numbers), t.step.precision.activations == "fp8" and not t.step.decoding
    dtype = "fp8" if narrow else t.plain
    form = form_of(dtype, t.step.precision.kv_cache)
    kind = "decode_attention" if t.step.decoding else "prefill_attention"
    found, usual = t.model(kind, form), width_of(*formats_of(form))
    visible = number(numbers.share(sized.share)) if sized.share else 1.0
    sizes, device = Attention(**as_compiled(t, s), visible=visible), t.device(dtype)
    if not t.step.decoding:
        slower = t.engine.attention_forward * generation(t)
        model = found.fitted.model
        if t.engine.sustained == "yes":  # clocks have sunk already
            model = replace(model, sag_time=0.0)
        seconds = prefill_attention_time(model, device, usual, sizes) * slower
        return KernelTime(kind, seconds, found, s)
    return KernelTime(kind, decode_time(t, found, device, usual, sizes), found, s)


def generation(t: KernelTimes) -> float:
    """Time of the engine's attention over that of the measured kernels, by the generation that it is of."""
    own = t.engine.attention
    if not own:
        return 1.0
    return (
        attention_sustained(own, t.architecture)
        if t.engine.sustained == "yes"
        else attention_of(own, t.architecture)[0]
    )


def as_compiled(t: KernelTimes, sizes: dict[str, Num]) -> dict[str, Num]:
    """Sizes as a kernel of a named generation works on them: heads are filled up to a width that it was compiled for, which is a
    multiple of 32. Source: flash-attention 2, csrc/flash_attn/src/static_switch.h, HEADDIM_SWITCH."""
    if not t.engine.attention.startswith("flash") or t.step.decoding:
        return sizes
    return {**sizes, **{name: ceil(sizes[name] / 32.0) * 32.0 for name in ("width", "value_width")}}


def backward_attention(t: KernelTimes, sized: Sized, numbers: Numbers, row: Row) -> KernelTime:
    """The backward pass of flash attention, as kernels that were measured take it over its forward pass."""
    forward = attention(t, sized, numbers, row)
    return replace(forward, seconds=forward.seconds * t.engine.attention_backward)


def decode_time(t: KernelTimes, found: Chosen, device: Device, width: Width, sizes: Attention) -> Num:
    """Decode attention, by a kernel that packs the queries of a key/value head or by one that takes each by itself [s]."""
    model, splits = found.fitted.model, t.engine.splits == "yes"
    if t.engine.repeats_heads == "yes":
        copied = sizes.kept(width, sizes.keys * sizes.visible) * (1.0 + sizes.group) / device.bandwidth
        heads = replace(sizes, kv_heads=sizes.kv_heads * sizes.group, group=1.0)
        several = np.asarray(sizes.group) > 1.0
        return decode_attention_time(model, device, width, heads) + where(several, copied, 0.0)
    if t.engine.packs == "all":
        whole = model if splits else replace(model, parts=1.0, single_parts=1.0)
        return decode_attention_time(whole, device, width, sizes)
    apart = head_by_head_time(model, device, width, sizes, splits)
    if t.engine.packs == "none":
        return apart
    fits = (np.asarray(sizes.width) == PACKED_WIDTH) & (np.asarray(sizes.group) == PACKED_GROUP)
    return where(fits, decode_attention_time(model, device, width, sizes), apart)


PACKED_WIDTH, PACKED_GROUP = 128.0, 8.0
"""The heads that "128x8" means."""


def experts(t: KernelTimes, sized: Sized, numbers: Numbers, row: Row) -> KernelTime:
    """An expert layer whose tokens choose among equally likely experts; without a gate it has two matrices of three."""
    del row
    form, stored = t.weight_form(sized.weights, numbers)
    if form == GROUPED:  # integers by Marlin, as measured; 4-bit floats by Triton's grouped matmul of 16 bits
        own = t.step.model.quantization
        form = t.plain if own is not None and own.arithmetic else "int4-weight-only"
    if t.engine.experts == "wide" and form not in (t.plain, "fp32"):
        form, stored = t.plain, BYTES[t.plain]
    found, s = t.model("experts", form), sizes_of(sized, numbers)
    ranks, chosen = numbers.letter(EXPERTS) / s["experts"], numbers.letter("k")
    inner = s["inner"] * s["matrices"] / 3.0
    tokens, count = s["pairs"] * ranks / chosen, numbers.letter(EXPERTS)
    load = at_random(tokens, count, chosen, ranks)
    # without what benchmarks of one engine's kernel add for other ranks' tokens
    local = replace(found.fitted.model, remote=0.0)
    seconds = experts_time(local, t.device(form), stored, load, tokens, inner, s["width"], count, chosen, ranks)
    return KernelTime("experts", seconds, found, s)


def element_wise(t: KernelTimes, sized: Sized, numbers: Numbers, row: Row) -> KernelTime:
    """Element-wise work in a launch of its own."""
    s = sizes_of(sized, numbers)
    device, again = t.device(t.plain), 1.0 + t.engine.score_passes if row.ops[0] == "softmax" else 1.0
    wider = again * (WIDENED.get(sized.share, 1.0) if t.autocast else 1.0)
    if t.engine.element_wise == "generated":
        found = t.model("add", t.plain)
        model, moved = found.fitted.model, program.price(row, numbers, t.step.precision).bytes * wider
        if t.engine.passes == "apart":
            moved, again = moved * row.passes, total(numbers.value(product) for product in row.starts)
        return KernelTime(
            "element-wise", (model.launch + model.row) * again + traffic_time(model, device, moved), found, s
        )
    found = t.model(sized.share, t.plain)
    seconds = element_wise_time(
        found.fitted.model, device, sized.share, BYTES[t.plain], s["rows"], s["columns"] * wider
    )
    return KernelTime("element-wise", seconds, found, s)


def joined(t: KernelTimes, sized: Sized, numbers: Numbers, row: Row) -> KernelTime:
    """Element-wise work that the next launch does on its way: what it reads and writes beside that launch's own."""
    del sized
    precision = t.step.precision
    found, device = t.model("add", t.plain), t.device(t.plain)
    moved = program.price(row, numbers, precision).bytes
    again = total(numbers.value(p.elements) for p in row.writes) * precision.bytes("activations")
    moved = moved * (WIDENED["add"] if t.autocast else 1.0)
    return KernelTime(
        "element-wise", traffic_time(found.fitted.model, device, moved - again), found, {"bytes": moved - again}
    )


def scan(t: KernelTimes, sized: Sized, numbers: Numbers, row: Row) -> KernelTime:
    """A walk along tokens or a convolution: no measured kernels of it are known, so its roofline at usual shares."""
    del sized
    precision = t.step.precision
    found, device, cost = (
        t.model("add", t.plain),
        t.device(precision.activations),
        program.price(row, numbers, precision),
    )
    bound = maximum(cost.flops / (device.peak * SCAN_COMPUTE), cost.bytes / (device.bandwidth * SCAN_MEMORY))
    return KernelTime(
        "scan",
        found.fitted.model.launch + bound,
        replace(found, how="assumed", wider=SCAN_WIDER),
        {"flops": cost.flops, "bytes": cost.bytes},
    )


SCAN_COMPUTE, SCAN_MEMORY, SCAN_WIDER = 0.3, 0.7, 0.5
"""Shares of the peak and of the memory bandwidth that a scan is taken to reach, and how much wider its interval is: assumptions."""

TIMES: dict[str, Callable[[KernelTimes, Sized, Numbers, Row], KernelTime]] = {
    "matmul": matmul,
    "attention": attention,
    "backward attention": backward_attention,
    "experts": experts,
    "element-wise": element_wise,
    "joined": joined,
    "scan": scan,
}
"""Kind of launch → its time."""
