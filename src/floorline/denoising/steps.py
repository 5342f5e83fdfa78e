"""The steps that a picture or video is made of: the text's encoders, a denoising step, the decoder's runs."""

from __future__ import annotations

from dataclasses import replace

from floorline.autoencoder_step import DECODE, Clip, autoencoder_runs
from floorline.denoise_step import Grid, given, made_frames, step_of
from floorline.denoising.rules import most_heads
from floorline.denoising.splits import parallelism
from floorline.num import Num, ceil, maximum, number
from floorline.pipeline import Pipeline
from floorline.specs.denoise_plan import DenoisePlan
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import BYTES, Precision
from floorline.specs.workload import Denoise, Encode
from floorline.step import Step, single


def filled(pipeline: Pipeline, workload: Denoise, found: Grid) -> Denoise:
    """The workload with what its pipeline has where nothing was said."""
    own = pipeline.denoiser.latent
    assert own is not None
    return replace(
        workload,
        height=given(workload.height, own.height),
        width=given(workload.width, own.width),
        frames=given(workload.frames, own.length),
        steps=given(workload.steps, pipeline.steps),
        passes=given(workload.passes, pipeline.passes),
        text_tokens=found.text,
    )


def denoise_step(pipeline: Pipeline, asked: Denoise, found: Grid, split: DenoisePlan, formats: Precision) -> Step:
    """A step over whole pictures, all passes as one batch, each rank having as much as the fullest: replicas share pictures, and
    ranks of guidance the passes of each."""
    pictures = ceil(asked.batch / split.dp) * split.dp
    passes = ceil(given(asked.passes, pipeline.passes) / split.guidance) * split.guidance
    batch = number(pictures * passes)
    plan = parallelism(split, most_heads(pipeline.denoiser))
    return step_of(pipeline.denoiser, found, batch, plan, formats, "full")


def text_steps(
    pipeline: Pipeline, asked: Denoise, found: Grid, split: DenoisePlan, formats: Precision
) -> tuple[Step, ...]:
    """A pass of each encoder over the texts of all guidance passes, on every rank alike."""
    texts = ceil(asked.batch / split.dp) * given(asked.passes, pipeline.passes)
    return tuple(
        single(
            text.model,
            Encode(batch=texts, seq_len=maximum(number(given(text.tokens, found.text)), 1.0)),
            Parallelism(),
            formats,
            "full",
        )
        for text in pipeline.texts
    )


def pixel_runs(
    pipeline: Pipeline, asked: Denoise, found: Grid, split: DenoisePlan, formats: Precision
) -> tuple[tuple[Num, Step], ...]:
    """The decoder over the pictures of one replica; none where no decoder is known."""
    own = pipeline.autoencoder
    if own is None:
        return ()
    clip = clip_of(pipeline, asked, found, split)
    return autoencoder_runs(own, DECODE, clip, tile=asked.tiling == "yes", precision=formats)


def clip_of(pipeline: Pipeline, asked: Denoise, found: Grid, split: DenoisePlan) -> Clip:
    """The pictures that one replica decodes."""
    assert asked.height is not None
    assert asked.width is not None
    return Clip(ceil(asked.batch / split.dp), made_frames(pipeline.denoiser, found), asked.height, asked.width)


def beside(formats: Precision, usual: str) -> Precision:
    """Formats of the text's encoders and of the autoencoder: those of the denoiser where they have 16 bits or more, else the
    pipeline's own, since narrow formats are for the denoiser's matrices.

    >>> beside(Precision.of("fp8"), "bf16").activations, beside(Precision.of("fp16"), "bf16").activations
    ('bf16', 'fp16')
    """
    return Precision.of(formats.activations if BYTES[formats.activations] >= 2.0 else usual)
