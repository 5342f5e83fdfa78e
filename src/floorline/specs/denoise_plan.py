"""How denoising is split over devices. Degrees are numbers that multiply to the devices; no formulas."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.num import Num
from floorline.specs.fields import check, spec
from floorline.specs.parallelism import DEVICES


@dataclass(frozen=True, kw_only=True)
class DenoisePlan:
    """Degrees of a plan; the default is one device.

    Source of the kinds: Fang et al. 2024 (xDiT), arXiv:2411.01738; of the patch pipeline: Fang et al. 2024
    (PipeFusion), arXiv:2405.14430.

    >>> DenoisePlan(ulysses=4, guidance=2).devices
    8.0
    """

    ulysses: Num = spec(
        "ranks that share the tokens, and in attention the heads (all-to-all)",
        aliases=("--ulysses", "--ulysses-degree"),
        default=1,
        most=DEVICES,
    )
    ring: Num = spec(
        "ranks that share the tokens and pass keys and values around",
        aliases=("--ring", "--ring-degree"),
        default=1,
        most=DEVICES,
    )
    guidance: Num = spec(
        "ranks that share the guidance passes of a step",
        aliases=("--cfg-parallel", "--guidance-parallel"),
        default=1,
        most=10,
    )
    patches: Num = spec(
        "stages of a pipeline through which patches of a picture go, with keys and values of the step before (PipeFusion)",
        aliases=("--pipefusion", "--pipefusion-parallel-degree"),
        default=1,
        most=DEVICES,
    )
    tp: Num = spec("tensor-parallel ranks", aliases=("--tensor-parallel-size", "--tp"), default=1, most=DEVICES)
    dp: Num = spec("replicas that share the batch", aliases=("--data-parallel-size", "--dp"), default=1, most=DEVICES)
    warmup: Num = spec(
        "steps that a patch pipeline runs with whole pictures first",
        aliases=("--warmup-steps",),
        default=1,
        least=0,
        most=1e4,
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def devices(self) -> Num:
        """The product of the degrees."""
        return self.ulysses * self.ring * self.guidance * self.patches * self.tp * self.dp


DEGREES = {
    "ulysses": "ulysses",
    "ring": "ring",
    "guidance": "guidance",
    "patches": "patch stages",
    "tp": "tp",
    "dp": "dp",
}
"""Degrees of a plan → what they are called in a line."""
