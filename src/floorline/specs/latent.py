"""How a diffusion transformer's pixels become latents, and latents tokens. No formulas."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.num import Num
from floorline.specs.fields import check, spec


@dataclass(frozen=True, kw_only=True)
class Latent:
    """What lies between pixels and tokens.

    >>> Latent(patch=2).down
    8.0
    """

    down: Num = spec("pixels of a latent along each side", default=8)
    frames: Num = spec("frames of a latent frame, in the mean", default=1, whole=False)
    first: Num = spec("1 where the first frame has a latent frame of its own, else 0", default=0, least=0, most=1)
    patch: Num = spec("latents of a token along each side", default=1)
    patch_frames: Num = spec("latent frames of a token; the last one is filled up", default=1)
    filled: Num = spec("1 where the last token of a side is filled up too, else 0", default=0, least=0, most=1)
    height: Num = spec("pixels of a picture's height where nothing is said", default=1024)
    width: Num = spec("pixels of its width where nothing is said", default=1024)
    length: Num = spec("frames where nothing is said", default=1)
    text: Num = spec("tokens of the text where nothing is said; 0 for none", default=0, least=0)

    def __post_init__(self) -> None:
        check(self)
