"""A diffusion pipeline: the texts' encoders, the transformer that denoises, the autoencoder that makes pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from floorline.autoencoder import Autoencoder
from floorline.errors import BadInput
from floorline.num import Num, total
from floorline.result import Result
from floorline.transformer import Stack, Transformer


@dataclass(frozen=True)
class TextEncoder(Result):
    """A transformer that reads the text, once for each picture and guidance pass.

    model   the transformer
    tokens  that it reads; None: as many as the denoiser is given [-]
    """

    model: Transformer
    tokens: Num | None = None

    def answer(self) -> Mapping[str, Any]:
        """The encoder in short."""
        return {"model": self.model.name, "tokens": self.tokens, "parameters": self.model.parameter_count().total}


@dataclass(frozen=True)
class Pipeline(Result):
    """Everything that a picture or video takes.

    name         as the catalogue calls it
    denoiser     the transformer
    texts        encoders of the text, none where there is none
    autoencoder  None where nothing is known of it
    steps        denoising steps where nothing is said [-]
    passes       forward passes of a step where nothing is said: 2 with classifier-free guidance [-]
    format       that it runs in
    source       where the pipeline was read
    others       further denoisers of the same sizes, between which the steps are shared: each step runs one of them, so that its
                 time is that of the first; all of them stay on the device, so that whoever computes memory adds their weights
    uncounted    what it runs and is not in here, in words, such as "the image's encoder"
    assumed      what nobody said and was taken from its likes, in words, such as "50 steps"

    raises BadInput where a denoiser is none, or others have other sizes than the first
    """

    name: str
    denoiser: Transformer
    texts: tuple[TextEncoder, ...] = ()
    autoencoder: Autoencoder | None = None
    steps: Num = 50.0
    passes: Num = 1.0
    format: str = "bf16"
    source: str = ""
    others: tuple[Transformer, ...] = ()
    uncounted: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        diffusion(self.denoiser)
        for other in self.others:
            found = differing(self.denoiser, other)
            if found:
                raise BadInput(
                    f"{self.name}: its denoisers share the steps, but {other.name} differs in {found}; expected the same sizes: "
                    "estimate each by itself"
                )

    @property
    def parameters(self) -> dict[str, Num]:
        """Parameters of its parts [-]."""
        found: dict[str, Num] = {
            "denoiser": self.denoiser.parameter_count().total,
            "text": total(text.model.parameter_count().total for text in self.texts),
        }
        if self.others:
            found["other_denoisers"] = total(other.parameter_count().total for other in self.others)
        if self.autoencoder is not None:
            found["autoencoder"] = self.autoencoder.parameters
        return found

    def answer(self) -> Mapping[str, Any]:
        """The pipeline in short."""
        return {
            "name": self.name,
            "denoiser": self.denoiser.name,
            "other_denoisers": tuple(other.name for other in self.others),
            "text_encoders": self.texts,
            "autoencoder": None if self.autoencoder is None else self.autoencoder.name,
            "parameters": self.parameters,
            "steps": self.steps,
            "guidance_passes": self.passes,
            "uncounted": self.uncounted,
            "assumed": self.assumed,
            "source": self.source,
        }


def diffusion(model: Transformer) -> Transformer:
    """The same model.

    raises BadInput where it denoises nothing
    """
    if model.latent is None:
        raise BadInput(f"{model.name} is no diffusion model; expected one such as flux.1-dev")
    return model


def differing(one: Transformer, other: Transformer) -> str:
    """In what two models differ, in words; "" where each step of the one takes what a step of the other takes."""
    letters = unequal(one.sizes, other.sizes)
    if letters:
        return f"the size of {', '.join(letters)}"
    if [stack.block for stack in one.stacks] != [stack.block for stack in other.stacks]:
        return "its layers"
    pairs = zip(one.stacks, other.stacks, strict=True)
    return "" if all(alike(mine, its) for mine, its in pairs) else "how many layers it has, or how wide they are"


def alike(one: Stack, other: Stack) -> bool:
    """Whether two stacks of the same block run as often, over the same sizes."""
    return np.array_equal(one.repeat, other.repeat) and not unequal(one.sizes, other.sizes)


def unequal(one: Mapping[str, Num], other: Mapping[str, Num]) -> list[str]:
    """Letters whose sizes differ, or that only one of the two has.

    >>> unequal({"D": 5120.0, "F": 13824.0}, {"D": 5120.0, "F": 8960.0, "w": 256.0})
    ['F', 'w']
    """
    return sorted(key for key in {*one, *other} if not np.array_equal(one.get(key, np.nan), other.get(key, np.nan)))
