"""How a model is trained, beside how it is split: optimizer, recomputation, adapters, offload, loss. Frozen, no formulas."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.errors import BadInput
from floorline.num import Num, all_true, number
from floorline.specs.fields import TOKENS, check, choice, spec, text

OPTIMIZERS = ("adamw", "adamw-8bit", "adafactor", "sgd", "sgd-momentum", "lion", "muon", "soap")
MODULES = ("core_attn", "mlp", "mlp_act", "layernorm", "mla_up_proj", "moe", "moe_act", "shared_experts")
POLICIES = ("none", "selective", "full")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What training does with a model.

    >>> Recipe(recompute="full").optimizer
    'adamw'
    """

    optimizer: str = choice("what updates the weights", OPTIMIZERS, "adamw")
    master_weights: str = choice(
        "whether a copy of the weights in fp32 is kept where they are narrower", ("yes", "no"), "yes"
    )
    recompute: str = choice(
        "what the backward pass computes again: nothing, the attention core, or everything",
        POLICIES,
        "none",
        aliases=("--recompute-granularity", "--recompute"),
    )
    recompute_modules: str = text(
        "what 'selective' computes again, where it is not the attention core: names joined by +",
        aliases=("--recompute-modules",),
    )
    recompute_layers: Num | None = spec(
        "layers that are recomputed; left out: all of them",
        aliases=("--recompute-layers", "--recompute-num-layers"),
        default=None,
        least=0,
        most=1e6,
        whole=False,
    )
    lora_rank: Num = spec(
        "rank of adapters beside frozen linear weights, 0 for none", aliases=("--lora-rank",), default=0, least=0
    )
    frozen_weights: str = choice(
        "format of frozen linear weights beside adapters: the other weights', or NF4 with its scales quantised too (QLoRA)",
        ("same", "nf4"),
        "same",
        aliases=("--frozen-weights",),
    )
    offload_optimizer: str = choice("whether the optimizer's state lives in the host's memory", ("no", "yes"), "no")
    offload_parameters: str = choice("whether weights live in the host's memory", ("no", "yes"), "no")
    offload_activations: Num = spec(
        "share of the kept activations that goes to the host's memory",
        aliases=("--offload-activations",),
        default=0,
        least=0,
        most=1,
        whole=False,
    )
    loss_chunk: Num = spec(
        "tokens of a micro-batch whose logits are there at once, on each rank, 0 for all: memory alone sees it",
        aliases=("--loss-chunk",),
        default=0,
        least=0,
        most=TOKENS,
    )
    document_len: Num = spec(
        "tokens of a document in a packed sequence, which sees no other, 0 for one document",
        aliases=("--document-len",),
        default=0,
        least=0,
        most=TOKENS,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.frozen_weights != "same" and all_true(number(self.lora_rank) <= 0.0):
            raise BadInput("frozen_weights is 'nf4' and nothing is frozen: lora_rank is 0; expected a rank, such as 16")

    @property
    def modules(self) -> tuple[str, ...]:
        """What "selective" computes again."""
        return tuple(self.recompute_modules.split("+")) if self.recompute_modules else ("core_attn",)
