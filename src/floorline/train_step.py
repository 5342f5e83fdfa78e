"""The forward pass of a training step: sequences of a language model, pictures and videos of a diffusion model."""

from __future__ import annotations

from dataclasses import replace

from floorline.denoise_step import grid, step_of
from floorline.errors import BadInput
from floorline.num import all_true, number
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.workload import Train
from floorline.step import Step
from floorline.transformer import Transformer


def resolved(model: Transformer, workload: Train) -> Train:
    """The workload with as many tokens as its pictures have.

    raises BadInput for a language model whose sequence has no length, or a diffusion model that is told one
    """
    if model.latent is not None:
        tokens = grid(model, workload).tokens
        if not all_true((number(workload.seq_len) == 0.0) | (number(workload.seq_len) == tokens)):
            raise BadInput(
                f"{model.name} is trained on pictures or videos: seq_len says nothing; expected height, width and frames"
            )
        return replace(workload, seq_len=tokens)
    if not all_true(number(workload.seq_len) >= 1.0):
        raise BadInput(f"seq_len is {workload.seq_len}; expected the tokens of a sequence, such as seq_len=4096")
    if any(x is not None for x in (workload.height, workload.width, workload.frames, workload.text_tokens)):
        raise BadInput(
            f"{model.name} is no diffusion model: it has no height, width, frames or text_tokens; give seq_len alone"
        )
    return workload


def trained(model: Transformer, workload: Train, plan: Parallelism, precision: Precision, attention: str) -> Step:
    """The forward pass of one micro-batch on every data-parallel rank; an encoder–decoder's has two lengths."""
    batch = workload.micro_batch * plan.dp
    if model.latent is not None:
        return step_of(model, grid(model, workload), batch, plan, precision, attention)
    known = resolved(model, workload)
    tokens = known.decoder_len if model.has_encoder else known.seq_len
    step = Step(model, batch, tokens, 0.0, tokens, plan, precision, attention, every_logit=True)
    text_alone = model.generates and not model.has_encoder
    return replace(step, source=known.seq_len, modalities=("",) if text_alone else model.modalities)
