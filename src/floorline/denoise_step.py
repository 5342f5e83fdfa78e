"""One denoising step of a diffusion transformer: its latents, its tokens, its text, as a step over all of its stacks."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.errors import BadInput
from floorline.formulas.latents import denoised_frames, latent_side, patches_along
from floorline.num import Num, all_true, ceil, number
from floorline.specs.latent import Latent
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.workload import Denoise, Train
from floorline.step import Step
from floorline.transformer import Transformer


@dataclass(frozen=True)
class Grid:
    """Tokens of a video along time, height and width, and of the text beside it.

    frames, height, width  of latents
    t, h, w  tokens along each
    text     tokens of the text
    """

    frames: Num
    height: Num
    width: Num
    t: Num
    h: Num
    w: Num
    text: Num

    @property
    def tokens(self) -> Num:
        """All tokens of a picture or video."""
        return self.t * self.h * self.w


def latent_of(model: Transformer) -> Latent:
    """How a model's pixels become tokens.

    raises BadInput for a model that denoises nothing
    """
    if model.latent is None:
        raise BadInput(f"{model.name} is no diffusion model; expected one such as flux.1-dev, or another workload")
    return model.latent


def given(value: Num | None, usual: Num) -> Num:
    """What was said, or what is usual."""
    return usual if value is None else value


def grid(model: Transformer, workload: Denoise | Train) -> Grid:
    """The tokens of a workload.

    raises BadInput where a side is shorter than one token
    """
    own = latent_of(model)
    frames = denoised_frames(given(workload.frames, own.length), own.frames)
    height = latent_side(given(workload.height, own.height), own.down)
    width = latent_side(given(workload.width, own.width), own.down)
    found = Grid(
        frames,
        height,
        width,
        number(ceil(frames / own.patch_frames)),
        patches_along(height, own.patch, own.filled),
        patches_along(width, own.patch, own.filled),
        given(workload.text_tokens, own.text),
    )
    if not all_true(number(found.tokens) >= 1.0):
        least = float(own.down * own.patch)
        raise BadInput(
            f"{model.name}: a token is {least:g} × {least:g} pixels; expected a height and width of at least {least:g}"
        )
    return found


def suits(model: Transformer, workload: Denoise | Train) -> None:
    """Whether a model can make what is asked for.

    raises BadInput for frames of a model that makes pictures, and for a text that nothing reads
    """
    own = latent_of(model)
    still = own.length * own.frames * own.patch_frames == 1.0
    if still and not all_true(number(given(workload.frames, 1.0)) == 1.0):
        raise BadInput(
            f"{model.name} makes pictures, which have one frame; expected no --frames, or a model that makes videos"
        )
    if own.text == 0.0 and not all_true(number(given(workload.text_tokens, 0.0)) == 0.0):
        raise BadInput(f"{model.name} reads no text; expected no --text-tokens")


def made_frames(model: Transformer, found: Grid) -> Num:
    """Frames of the video that latent frames become [-]."""
    own = latent_of(model)
    return (found.frames - own.first) * own.frames + own.first


def sizes(found: Grid) -> dict[str, Num]:
    """The numbers that stacks of a diffusion model bind their letters to."""
    return {
        "latent_t": found.frames,
        "latent_h": found.height,
        "latent_w": found.width,
        "grid_t": found.t,
        "grid_h": found.h,
        "grid_w": found.w,
    }


def denoising(
    model: Transformer, workload: Denoise, plan: Parallelism, precision: Precision, attention: str = "full"
) -> Step:
    """One denoising step, all of its guidance passes as one batch; one pass where nothing is said.

    raises BadInput for a model that denoises nothing
    """
    found = grid(model, workload)
    batch = workload.batch * given(workload.passes, 1.0)
    return step_of(model, found, batch, plan, precision, attention)


def step_of(
    model: Transformer, found: Grid, batch: Num, plan: Parallelism, precision: Precision, attention: str
) -> Step:
    """A pass over so many videos, all of whose tokens are computed."""
    return Step(
        model,
        batch,
        found.tokens,
        0.0,
        found.tokens,
        plan,
        precision,
        attention,
        every_logit=True,
        source=found.text,
        modalities=model.modalities,
        extent=sizes(found),
    )
