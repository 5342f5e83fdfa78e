"""A transformer: stacks of blocks, and the numbers of their letters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from floorline.block import Block
from floorline.letters import Numbers, Product
from floorline.masks import Mask, causal
from floorline.num import Num, number, total
from floorline.op import Lookup
from floorline.result import Result
from floorline.specs.latent import Latent
from floorline.specs.quantization import Storage
from floorline.tensor import Tensor

WIDTHS = "FfshI"
"""Letters of inner widths that tensor parallelism cuts."""
SOURCE, IMAGE, AUDIO = "source", "image", "audio"
"""Modalities besides text: the encoder's side of an encoder–decoder, pictures, sound."""


@dataclass(frozen=True, eq=False)
class Stack:
    """A block, how often it runs and how often it is stored.

    block     the operators
    repeat    times it runs in a row [-]
    copies    times it is stored [-]; ``None``: as often as it runs (shared blocks store fewer)
    tokens    letters that this stack binds anew, one after the other: (("T", "O"),) lets a head see only the positions
              whose logits are computed, (("σ", "min(σ, window - 1)"), ("S", "σ + T")) keeps a window of earlier tokens
    sizes     letters whose size is this stack's own
    mask      which query-key pairs are visible where attention is counted "causal"
    decode    the block that runs while decoding, where it is another (absorbed latents, one step of a recurrence);
              its weights are those of ``block``
    either    whether that block would do for any number of tokens, so that an engine may choose
    modality  "" for text; blocks of another one ("image") run only where the workload has some
    whole     letters that no plan cuts: every rank keeps all of a text that pictures attend to
    """

    block: Block
    repeat: Num = 1.0
    copies: Num | None = None
    tokens: tuple[tuple[str, str], ...] = ()
    sizes: Mapping[str, Num] = field(default_factory=dict)
    mask: Mask = causal
    decode: Block | None = None
    either: bool = False
    modality: str = ""
    whole: str = ""

    @property
    def is_layer(self) -> bool:
        """Whether this is a layer, not one of the ends; recomputation applies to layers."""
        return self.block.layer

    @property
    def stored(self) -> Num:
        """How often the block's parameters exist."""
        return self.repeat if self.copies is None else self.copies


@dataclass(frozen=True)
class Module(Result):
    """Parameters of one tensor of the model.

    name        "block.q" or "embedding.tokens": the operator that reads it first
    tensor      its name and letters, "Wq[DKGH]"
    count       times it is stored [-]
    parameters  of all copies together [-]
    """

    name: str
    tensor: str
    count: Num
    parameters: Num


@dataclass(frozen=True)
class ParameterCount(Result):
    """Parameters of a model, tied weights once.

    total             all of them [-]
    embedding         tables that integers pick rows from: tokens, positions, types [-]
    non_embedding     the rest; an untied output head is in here and in ``head`` [-]
    head              an output matrix of its own, 0 where it is tied to the embedding [-]
    layers            those of all layers, without the ends [-]
    active_per_token  those that one token's forward pass uses: with experts, fewer than all [-]
    frozen            of all, those that are stored and never trained: sinusoidal tables [-]
    buffers           not in the total: what checkpoints store besides, such as a router's correction [-]
    modules           by tensor
    """

    total: Num
    embedding: Num
    non_embedding: Num
    head: Num
    layers: Num
    active_per_token: Num
    frozen: Num
    buffers: Num
    modules: tuple[Module, ...]


@dataclass(frozen=True, eq=False)
class Transformer(Result):
    """A model: its stacks in the order in which they run, and the sizes of their letters.

    name     as the catalogue or the configuration calls it
    sizes    letter → size [-], floats or arrays: D, K, G, H, F, V, P, …
    stacks   blocks with their repeats
    source   where the configuration was read
    format   of the published weights, "bf16"
    max_positions      the longest sequence that the model was made for, None where nothing is said [-]
    learned_positions  whether that is a table, and so a hard limit
    order    of the text's layers, each the index of its stack among them, where kinds of layers alternate; () where one
             stack follows another
    library  whether it counts as the transformers library computes
    mtp      whether its multi-token-prediction heads are part of it
    frozen   parameters that are never trained [-]
    buffers  elements that are stored and are no parameters [-]
    config   the configuration as it was read
    quantization  how its weights are quantised, None where they are not
    latent   of a diffusion model, how pixels become its tokens

    >>> from floorline.catalogue.load import load_model
    >>> load_model("gpt2").parameter_count().total
    124439808.0
    """

    name: str
    sizes: Mapping[str, Num]
    stacks: tuple[Stack, ...]
    source: str = ""
    format: str = "bf16"
    max_positions: Num | None = None
    learned_positions: bool = False
    order: tuple[int, ...] = ()
    library: bool = False
    mtp: bool = False
    frozen: Num = 0.0
    buffers: Num = 0.0
    config: Mapping[str, object] = field(default_factory=dict, repr=False)
    quantization: Storage | None = None
    latent: Latent | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", MappingProxyType(dict(self.sizes)))

    def answer(self) -> Mapping[str, Any]:
        """The model in short."""
        return {"name": self.name, "source": self.source, "sizes": dict(self.sizes), "layers": self.layers()}

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """The short form for interactive shells, which else print every field of a dataclass."""
        printer.text(repr(self))

    def __repr__(self) -> str:
        stacks = ", ".join(
            f"{s.block.name}×{s.repeat:g}" if np.ndim(s.repeat) == 0 else s.block.name for s in self.stacks
        )
        return f"Transformer({self.name!r}, {stacks})"

    def weights(self) -> Iterator[tuple[Stack, str, Tensor]]:
        """Every distinct parameter with its stack and the operator that reads it first; the model's own ones once."""
        shared: set[str] = set()
        for stack in self.stacks:
            own: set[str] = set()
            for op in stack.block.ops:
                for tensor in op.weights:
                    known = shared if tensor.is_shared else own
                    if tensor.name not in known:
                        known.add(tensor.name)
                        yield stack, op.name, tensor

    def parameter_count(self) -> ParameterCount:
        """Exact parameters by module.

        Source of the convention: tied weights once, as ``transformers``' ``num_parameters`` counts.
        """
        ends = [s.block for s in self.stacks if not s.is_layer]
        tables = {
            t.name for block in ends for op in block.ops if isinstance(op, Lookup) and op.embeds for t in op.weights
        }
        modules, embedding, head, layers, active = [], [], [], [], []
        for stack, op, tensor in self.weights():
            copies = 1.0 if tensor.is_shared else stack.stored
            numbers = Numbers({**self.sizes, **stack.sizes}, derived=dict(stack.block.derived))
            elements = numbers.value(Product(1.0, tensor.letters)) * copies
            modules.append(Module(f"{stack.block.name}.{op}", str(tensor), copies, elements))
            is_table = tensor.name in tables
            embedding += [elements] if is_table else []
            layers += [elements] if stack.is_layer else []
            is_head = stack.block.name == "head" and "V" in tensor.letters and not tensor.name.endswith(".bias")
            head += [elements] if is_head and not is_table else []
            active.append(elements if "evenness" not in tensor.touched else elements * self.chosen_share(stack))
        everything = total(m.parameters for m in modules)
        return ParameterCount(
            total=everything,
            embedding=total(embedding),
            non_embedding=everything - total(embedding),
            head=total(head),
            layers=total(layers),
            active_per_token=total(active),
            frozen=number(self.frozen),
            buffers=number(self.buffers),
            modules=tuple(modules),
        )

    @property
    def modalities(self) -> tuple[str, ...]:
        """What its stacks read: "" for text, SOURCE for an encoder's text or sound, IMAGE."""
        return tuple(dict.fromkeys(s.modality for s in self.stacks))

    @property
    def has_encoder(self) -> bool:
        """Whether a decoder attends to what an encoder made."""
        return SOURCE in self.modalities

    @property
    def generates(self) -> bool:
        """Whether it keeps what later tokens need: an encoder alone keeps nothing, and has no way of its own to decode."""
        return any(s.block.caches() or s.decode is not None for s in self.stacks if not s.modality)

    @property
    def last_layer(self) -> Stack | None:
        """The stack that holds the last layer before the head, None where there is no head."""
        before = [s for s in self.stacks if s.is_layer and not s.modality]
        if not before or self.stacks[-1].is_layer:
            return None
        return before[self.order[-1]] if self.order else before[-1]

    def shapes(self) -> tuple[dict[str, Num], ...]:
        """What a plan must divide, once for each kind of layer: heads, inner widths, experts; 0 where there is none."""
        found: dict[object, dict[str, Num]] = {}
        for stack in self.stacks:
            used = stack.block.letters
            if not stack.is_layer or stack.modality:
                continue
            sizes = {**self.sizes, **stack.sizes}
            has = {letter: sizes[letter] if letter in used else 0.0 for letter in "KGH"}
            for width in WIDTHS if used & set(WIDTHS) else "F":
                if width in used or width == "F":
                    shape = {
                        "heads": has["K"] * (has["G"] if "G" in used else 1.0),
                        "kv_heads": has["K"],
                        "group": has["G"],
                        "head_dim": has["H"],
                        "ffn": sizes[width] if width in used and width != "f" else 0.0,
                        "expert_width": sizes["f"] if width == "f" else 0.0,
                        "experts": sizes["E"] if "E" in used else 0.0,
                    }
                    found[tuple(id(v) if np.ndim(v) else float(v) for v in shape.values())] = shape
        return tuple(found.values())

    def layers(self) -> Num:
        """How many layers run: the repeats of all stacks but the two ends."""
        return total(s.repeat for s in self.stacks if s.is_layer)

    def chosen_share(self, stack: Stack) -> Num:
        """Share of a stack's experts that one token chooses."""
        sizes = {**self.sizes, **stack.sizes}
        return sizes["k"] / sizes["E"]
