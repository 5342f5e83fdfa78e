"""What a model's weights take, tensor by tensor: as a checkpoint stores them, in the formats of its quantisation.

A tensor of the model becomes matrices of a checkpoint through the contraction that reads it: letters that are summed over
are inputs, letters that the other factor shares are matrices side by side (experts), the rest are outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from floorline.errors import BadInput, near
from floorline.huggingface.quantization import DEFAULTS
from floorline.letters import Numbers, union
from floorline.num import Num, total
from floorline.op import Contraction, Lookup, Op
from floorline.prediction_heads import announced, with_prediction_heads
from floorline.specs.gguf import BASE, WIDE_ENDS, Mix, mix
from floorline.specs.precision import BYTES
from floorline.specs.quantization import EXPERT, HEAD, LINEAR, OTHER, ROUTER, TABLE, Place, Storage, Weight
from floorline.tensor import Tensor
from floorline.transformer import IMAGE, Stack, Transformer

MODULES = {
    "q": "self_attn.q_proj",
    "qg": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "qa": "self_attn.q_a_proj",
    "qn": "self_attn.q_b_proj",
    "qr": "self_attn.q_b_proj",
    "kv": "self_attn.kv_a_proj_with_mqa",
    "kr": "self_attn.kv_a_proj_with_mqa",
    "kb": "self_attn.kv_b_proj",
    "vb": "self_attn.kv_b_proj",
    "iq": "self_attn.indexer.wq_b",
    "ik": "self_attn.indexer.wk",
    "ix": "self_attn.indexer.weights_proj|self_attn.indexers_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
    "eg": "mlp.experts.gate_proj",
    "eu": "mlp.experts.up_proj",
    "ed": "mlp.experts.down_proj",
    "shared_gate": "mlp.shared_experts.gate_proj|mlp.shared_expert.gate_proj",
    "shared_up": "mlp.shared_experts.up_proj|mlp.shared_expert.up_proj",
    "shared_down": "mlp.shared_experts.down_proj|mlp.shared_expert.down_proj",
    "router": "mlp.gate",
    "sg": "mlp.shared_expert_gate",
    "in_q": "linear_attn.in_proj_qkv|linear_attn.in_proj_qkvz",
    "in_k": "linear_attn.in_proj_qkv|linear_attn.in_proj_qkvz",
    "in_v": "linear_attn.in_proj_qkv|linear_attn.in_proj_qkvz",
    "in_z": "linear_attn.in_proj_z|linear_attn.in_proj_qkvz|mixer.in_proj|mamba.in_proj",
    "in_beta_raw": "linear_attn.in_proj_b|linear_attn.in_proj_ba",
    "in_step_raw": "linear_attn.in_proj_a|linear_attn.in_proj_ba|mixer.in_proj|mamba.in_proj",
    "in_inner": "mixer.in_proj|mamba.in_proj",
    "in_b": "mixer.in_proj|mamba.in_proj",
    "in_c": "mixer.in_proj|mamba.in_proj",
    "out": "linear_attn.out_proj|mixer.out_proj|mamba.out_proj",
}
"""Tensor without its W → the module that holds it in transformers; where families differ, all names between bars."""
BESIDE = ("gemma4", "gemma4_text")
"""Model types whose experts stand beside the feed-forward, not in it."""
KEPT = {"router", "sg", "je", "jx"}
"""Matmuls that no method quantises: they choose experts, or join what further tokens are predicted from."""
PREFIXES = {"": "model.layers.{}", IMAGE: "visual.blocks.{}"}


@dataclass(frozen=True)
class Held:
    """One tensor of the model.

    stack   where it is
    tensor  which
    copies  times it is stored [-]
    weight  the same as a checkpoint has it, in one layer
    place   where its layers stand
    """

    stack: Stack
    tensor: Tensor
    copies: Num
    weight: Weight
    place: Place

    def bytes(self, storage: Storage | None, plain: float) -> Num:
        """Of all copies; ``plain`` is the size of an element that is not quantised [B]."""
        if storage is None:
            return self.weight.elements * plain * self.copies
        parts = []
        for form, layers in storage.stored(self.weight, self.place):
            once = self.weight.elements * plain
            if form is not None:
                once = self.weight.count * form.bytes(self.weight.inputs, self.weight.outputs)
            parts.append(once * layers)
        return total(parts)


@lru_cache(maxsize=16)
def held(model: Transformer) -> tuple[Held, ...]:
    """Every tensor of a model, shared ones once."""
    places = {id(stack): place(model, stack) for stack in model.stacks}
    readers = {id(s): {t.name: op for op in reversed(s.block.ops) for t in op.weights} for s in model.stacks}
    found = []
    for stack, _, tensor in model.weights():
        numbers = Numbers({**model.sizes, **stack.sizes}, derived=dict(stack.block.derived))
        weight = described(stack, readers[id(stack)][tensor.name], tensor, numbers)
        if model.config.get("model_type") in BESIDE:
            weight = replace(weight, module=weight.module.replace("mlp.experts", "experts"))
        where, copies = places[id(stack)], stack.stored
        if tensor.is_shared:
            where, copies = replace(where, spans=((0.0, 1.0),), values=((0.0, 1.0),)), 1.0
        found.append(Held(stack, tensor, copies, weight, where))
    return tuple(found)


def described(stack: Stack, op: Op, tensor: Tensor, numbers: Numbers) -> Weight:
    """A tensor as a checkpoint has it.

    >>> from floorline.catalogue.load import load_model
    >>> [h.weight for h in held(load_model("llama-3.1-8b")) if h.tensor.name == "Wdown"]
    [Weight(module='mlp.down_proj', kind='linear', count=1.0, inputs=14336.0, outputs=4096.0)]
    """
    name = tensor.name.lstrip("/").removeprefix("W")
    module = MODULES.get(name, name)
    if isinstance(op, Lookup) and op.index in tensor.letters:
        rows, width = numbers.letters(op.index), numbers.letters(tensor.letters.replace(op.index, ""))
        words = op.index == "V"
        return Weight("embed_tokens" if words else module, TABLE if words else OTHER, 1.0, width, rows)
    if not isinstance(op, Contraction) or tensor.name.endswith(".bias"):
        return Weight(module, OTHER, 1.0, 1.0, numbers.letters(tensor.letters))
    made = op.outputs[0].letters
    beside = union(*(t.letters for t in op.operands if t.name != tensor.name))
    inputs = "".join(x for x in tensor.letters if x not in made)
    count = "".join(x for x in tensor.letters if x in made and x in beside)
    outputs = "".join(x for x in tensor.letters if x not in inputs and x not in count)
    kind = ROUTER if name in KEPT else EXPERT if "E" in count else LINEAR if inputs else OTHER
    if "V" in outputs and not stack.is_layer:
        module, kind = "lm_head", HEAD
    return Weight(module, kind, numbers.letters(count), numbers.letters(inputs), numbers.letters(outputs))


def place(model: Transformer, stack: Stack) -> Place:
    """Where the layers of a stack stand among the text's, and what rules of quantisation ask about the model."""
    sizes = {**model.sizes, **stack.sizes}
    looked_up = {t.name for s in model.stacks for op in s.block.ops if isinstance(op, Lookup) for t in op.weights}
    multiplied = {t.name for s in model.stacks for op in s.block.ops if isinstance(op, Contraction) for t in op.weights}
    common = Place(
        prefix=PREFIXES.get(stack.modality, "model.encoder.layers.{}") if stack.is_layer else "model",
        text=stack.is_layer and not stack.modality,
        spans=((0.0, stack.stored),),
        total=stack.stored,
        values=((0.0, stack.stored),),
        valued=stack.stored,
        arch=str(model.config.get("model_type", "")),
        tied=bool(looked_up & multiplied),
        shared=sizes.get("G", 1.0),
        experts=sizes.get("E", 0.0),
    )
    if not common.text or stack.copies is not None:
        return common
    layered = [s for s in model.stacks if s.is_layer and not s.modality]
    valued = [s for s in layered if any(t.name == "Wv" for t in s.block.weights())]
    all_spans, every = spans(model, layered, layered, stack)
    value_spans, some = spans(model, layered, valued, stack)
    return replace(common, spans=all_spans, total=every, values=value_spans, valued=some)


def spans(
    model: Transformer, layered: list[Stack], counted: list[Stack], stack: Stack
) -> tuple[tuple[tuple[Num, Num], ...], Num]:
    """Intervals of a stack's layers among those of some stacks, and how many these have."""
    kept = [i for i in model.order if layered[i] in counted]
    own = [float(n) for n, i in enumerate(kept) if layered[i] is stack]
    if own:
        return tuple((n, n + 1.0) for n in own), float(len(kept))
    start: Num = 0.0
    found: tuple[tuple[Num, Num], ...] = ()
    for other in counted:
        if other is stack:
            found = ((start, start + other.repeat),)
        start = start + other.repeat
    return found, start


def weight_bytes(model: Transformer, storage: Storage | None = None) -> Num:
    """What a checkpoint of the model holds: every tensor in its format, scales and zero points included.

    storage  how its weights are quantised; default: as its own configuration says

    >>> from floorline.catalogue.load import load_model
    >>> llama = load_model("llama-3.1-8b")
    >>> weight_bytes(llama), weight_bytes(llama, storage("awq", llama))
    (16060522496.0, 5727854592.0)
    """
    own = model.quantization if storage is None else storage
    return total(h.bytes(own, BYTES[model.format]) for h in held(model))


PREDICTED = {"deepseek_v3", "deepseek_v32"}
"""Model types whose files hold modules that predict further tokens as we know them."""


def checkpoint_bytes(model: Transformer) -> Num:
    """What the files hold: the weights, and the modules that predict further tokens, each with its own copies of the token
    table and the head, which stay unquantised.

    llama.cpp's files have none of those. Source: README_WEIGHTS.md of deepseek-ai/DeepSeek-V3.
    """
    modules = announced(model.config)
    if not modules or isinstance(model.quantization, Mix) or model.config.get("model_type") not in PREDICTED:
        return weight_bytes(model)
    copies = 2.0 * model.sizes["V"] * model.sizes["D"] * BYTES[model.format]
    return weight_bytes(with_prediction_heads(model)) + modules * copies


def element_bytes(model: Transformer, stack: Stack, plain: float) -> Mapping[str, Num]:
    """Bytes of an element of each tensor of a stack, on average over its layers: exact for sums over all of them. None are
    named where nothing is quantised.

    plain  size of an element that is not quantised [B]
    """
    return {} if model.quantization is None else averages(model, stack, plain)


@lru_cache(maxsize=32)
def averages(model: Transformer, stack: Stack, plain: float) -> Mapping[str, Num]:
    """The same of a quantised model."""
    mine = [h for h in held(model) if h.stack is stack or h.tensor.is_shared]
    return {h.tensor.name: h.bytes(model.quantization, plain) / (h.weight.elements * h.copies) for h in mine}


def storage(name: str, model: Transformer) -> Storage | None:
    """What a name of ``--quantization`` means for a model: its own settings where its configuration has the same method,
    else the method's usual ones; None for "none".

    raises BadInput for an unknown name, or a method that has nothing to quantise in this model

    >>> from floorline.catalogue.load import load_model
    >>> storage("q4_k_m", load_model("llama-3.1-8b")).label
    'gguf Q4_K_M'
    """
    if name == "none":
        return None
    own = model.quantization
    if own is not None and getattr(own, "method", "") == name:
        return own
    found: Storage | None = DEFAULTS.get(name) or mix(name)
    if found is None:
        known = ["none", *DEFAULTS, *(x.lower() for x in (*BASE, *WIDE_ENDS))]
        raise BadInput(f"--quantization is {name[:40]!r}; {near(name, known)}; expected one of {', '.join(known)}")
    kinds = getattr(found, "kinds", ())
    if kinds == (EXPERT,) and not any(h.weight.kind == EXPERT for h in held(model)):
        raise BadInput(f"--quantization {name} is a format of experts, and {model.name} has none; expected another")
    return found


def quantized(model: Transformer, name: str) -> Transformer:
    """The model with its weights quantised by a named method.

    >>> from floorline.catalogue.load import load_model
    >>> quantized(load_model("llama-3.1-8b"), "gptq").quantization.label
    'gptq (4 bit, groups of 128)'
    """
    return replace(model, quantization=storage(name, model))
