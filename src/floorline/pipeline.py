"""A diffusion pipeline: the texts' encoders, the transformer that denoises, the autoencoder that makes pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from floorline.autoencoder import Autoencoder
from floorline.num import Num, total
from floorline.result import Result
from floorline.transformer import Transformer


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
    """

    name: str
    denoiser: Transformer
    texts: tuple[TextEncoder, ...] = ()
    autoencoder: Autoencoder | None = None
    steps: Num = 50.0
    passes: Num = 1.0
    format: str = "bf16"
    source: str = ""

    @property
    def parameters(self) -> dict[str, Num]:
        """Parameters of its parts [-]."""
        found: dict[str, Num] = {
            "denoiser": self.denoiser.parameter_count().total,
            "text": total(text.model.parameter_count().total for text in self.texts),
        }
        if self.autoencoder is not None:
            found["autoencoder"] = self.autoencoder.parameters
        return found

    def answer(self) -> Mapping[str, Any]:
        """The pipeline in short."""
        return {
            "name": self.name,
            "denoiser": self.denoiser.name,
            "text_encoders": self.texts,
            "autoencoder": None if self.autoencoder is None else self.autoencoder.name,
            "parameters": self.parameters,
            "steps": self.steps,
            "guidance_passes": self.passes,
            "source": self.source,
        }
