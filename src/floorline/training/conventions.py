"""FLOP of a training step, as the literature counts them: side by side, since the same run has another utilisation under each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from floorline import program
from floorline.blocks.stage import STAGE
from floorline.formulas.training import palm_flops_per_token, six_n_d
from floorline.implementations import implementation
from floorline.num import Num, number
from floorline.parallel.plan import plan
from floorline.result import Result
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.recipe import Recipe
from floorline.specs.workload import Train
from floorline.step import Step
from floorline.train_step import trained
from floorline.training.parts import policies
from floorline.transformer import Transformer


@dataclass(frozen=True)
class Flops(Result):
    """FLOP of a step over all devices.

    full      forward and backward of every operator, the full query × key square, nothing computed twice; of frozen weights no
              gradients [FLOP]
    causal    the same of the pairs that the mask leaves, inside documents where several are packed into a sequence [FLOP]
    hardware  what is computed in fact: of the pairs that the mask leaves, with what is recomputed [FLOP]
    palm      by the formula of PaLM, appendix B; 0 where a model has no such heads; nan of a diffusion model [FLOP]
    six_n_d   6ND, N the parameters that a token uses, without tables of embeddings; nan of a diffusion model [FLOP]
    """

    full: Num
    causal: Num
    hardware: Num
    palm: Num
    six_n_d: Num

    @property
    def conventions(self) -> dict[str, Num]:
        """Each by what a utilisation of it is called."""
        return {
            "full": self.full,
            "causal": self.causal,
            "palm": self.palm,
            "six_n_d": self.six_n_d,
            "hardware": self.hardware,
            "hardware_full": self.hardware * self.full / self.causal,
        }


def amount(step: Step, attention: str, fusion: str, policy: str) -> Num:
    """FLOP of forward and backward of a step on one device, all layers [FLOP]."""
    summed: Num = 0.0
    known: frozenset[str] = frozenset()
    for stack, numbers in step.numbers(attention):
        if stack.block is STAGE:
            continue
        own = policy if stack.is_layer else "none"
        for rows in program.training(stack.block, implementation(fusion), plan(Parallelism()), own, known)[:2]:
            for row in rows:
                for _, product in row.flops:
                    summed = summed + numbers.value(product) * stack.repeat
    return summed


def flops(
    model: Transformer, adapted: Transformer, workload: Train, precision: Precision, recipe: Recipe, fusion: str
) -> Flops:
    """FLOP of a step by convention.

    model    as it was published, which formulas of parameters see
    adapted  as it is trained
    """
    alone = replace(workload, micro_batch=1.0, global_batch=1.0)
    one = replace(trained(adapted, alone, Parallelism(), precision, "full"), document_len=recipe.document_len)
    sequences, layers = workload.global_batch, model.layers()
    hardware: Num = 0.0
    for policy, share in policies(recipe, layers):
        hardware = hardware + amount(one, "causal", fusion, policy) * share
    palm, by_parameters = of_parameters(model, workload)
    return Flops(
        full=amount(one, "full", "unfused", "none") * sequences,
        causal=amount(one, "causal", "unfused", "none") * sequences,
        hardware=hardware * sequences,
        palm=palm,
        six_n_d=by_parameters,
    )


def of_parameters(model: Transformer, workload: Train) -> tuple[Num, Num]:
    """FLOP of a step by the formulas that know parameters and tokens alone: PaLM's, 6ND; nan of a diffusion model [FLOP].

    Tokens of a picture never meet a diffusion transformer's weights of modulation, nor those of the text's own stream, whose tokens
    neither formula counts: on Stable Diffusion 3 both say twice of what its operators are.
    """
    if model.latent is not None:
        return np.nan, np.nan
    count, sizes, tokens = model.parameter_count(), model.sizes, workload.global_batch * workload.seq_len
    heads = number(sizes.get("K", 0.0)) * sizes.get("G", 1.0)
    active = count.active_per_token - count.embedding + multiplying(model)
    palm = palm_flops_per_token(active, model.layers(), heads, sizes.get("H", 0.0), workload.seq_len)
    return palm * tokens, six_n_d(active, tokens)


def multiplying(model: Transformer) -> Num:
    """Parameters of a table that is the output matrix too: it multiplies, so that formulas count it [-]."""
    ends = [s.block for s in model.stacks if not s.is_layer]
    tied = any(t.name == "/We" for block in ends if block.name == "head" for op in block.ops for t in op.weights)
    return number(model.sizes["V"]) * model.sizes["D"] if tied else 0.0
