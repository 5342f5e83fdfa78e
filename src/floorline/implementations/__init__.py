"""What software does: fusion and saved tensors, by name."""

from __future__ import annotations

from floorline.errors import BadInput
from floorline.implementations.cpu import EAGER_CPU, FLASH_CPU, MATH_CPU
from floorline.implementations.eager import EAGER, EAGER_META
from floorline.implementations.flash import COMPULSORY, FLASH
from floorline.implementations.fused import FUSED_APART, FUSED_AS_NEEDED, FUSED_KERNELS, FUSED_NORMS
from floorline.implementations.implementation import Implementation, Keep

ALL = {
    i.name: i
    for i in (
        EAGER,
        FLASH,
        COMPULSORY,
        FUSED_KERNELS,
        FUSED_APART,
        FUSED_NORMS,
        FUSED_AS_NEEDED,
        EAGER_META,
        EAGER_CPU,
        FLASH_CPU,
        MATH_CPU,
    )
}
FUSIONS = ("unfused", "flash", "compulsory")

__all__ = ["ALL", "FUSIONS", "Implementation", "Keep", "implementation"]


def implementation(name: str) -> Implementation:
    """An implementation by name; "eager" is another word for "unfused".

    >>> implementation("eager").name
    'unfused'
    """
    found = ALL.get({"eager": "unfused", "sdpa": "flash"}.get(name, name))
    if found is None:
        raise BadInput(f"fusion is {name[:40]!r}; expected one of {', '.join(FUSIONS)}")
    return found
