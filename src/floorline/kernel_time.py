"""What one launch is expected to take, and by which model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from floorline.calibrate.inherit import Chosen
from floorline.num import Num


@dataclass(frozen=True)
class KernelTime:
    """What one launch is expected to take.

    kind     of kernel
    seconds  one run [s]
    model    that it comes from
    sizes    that the model was asked about
    """

    kind: str
    seconds: Num
    model: Chosen
    sizes: Mapping[str, Num] = field(default_factory=dict)
