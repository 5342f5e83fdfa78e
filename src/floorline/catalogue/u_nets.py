"""Names of pipelines around a U-Net, so that an error can say that these are not covered."""

from __future__ import annotations

import re

from floorline.catalogue.spelling import plain
from floorline.errors import BadInput
from floorline.huggingface.diffusers.read import U_NETS

NAMES = re.compile(
    r"sdxl|sdv?[12]|sdturbo|svd|stablediffusion(xl|v?[12])|stablevideodiffusion|playgroundv2|kandinsky2|kolors|animatediff"
)
"""How their names begin, as they are compared: without hyphens."""


def refuse(text: str) -> None:
    """Nothing, unless a text names a pipeline around a U-Net; a path names none.

    raises BadInput where it does

    >>> refuse("flux.3-dev"), refuse("stable-diffusion-3.5-large"), refuse("./sdxl")
    (None, None, None)
    """
    path = text.startswith((".", "~", "/"))
    if not path and NAMES.match(plain(text.rpartition("/")[2])):
        raise BadInput(f"{text[:80]}: {U_NETS}")
