"""Weights that wait in the host's memory: what bringing them to the device takes, and taking them back."""

from __future__ import annotations

from collections.abc import Sequence

from floorline.denoising.memory import Part
from floorline.host_link import host_link, host_rate
from floorline.num import Num, minimum, total
from floorline.phases import Time
from floorline.specs.accelerator import Accelerator

THERE, BACK = 10.9e9, 2.8e9
"""Rates of copies from and to memory that is not pinned [B/s]. FLUX.1-dev in diffusers (pull request 11682), 28 steps: with the
models taken in turn 15.1 s more than with all of them on the device, for 33.7 GB there and back; layer by layer, which leaves a
copy on the host, 61.8 s more for 28 times 23.8 GB there and the text's encoders."""

SLOWER = 2.5
"""How much longer copies may take: hosts differ by their memory and its allocator."""


def copying(parts: Sequence[Part], denoiser: str, steps: Num, offload: str, device: Accelerator) -> Time:
    """Copies of one run.

    parts     of the pipeline
    denoiser  name of the part that runs in every step
    steps     that compute something [-]
    offload   "model": each part comes once, and goes when the next one comes; "layers": every layer comes in every step and is
              dropped

    The floor is the data sheet's link; at best memory is pinned and nothing goes back.
    """
    once = total(part.weights for part in parts)
    again = next(part.weights for part in parts if part.name == denoiser)
    coming = once + again * (steps - 1.0) * (1.0 if offload == "layers" else 0.0)
    going = once * (0.0 if offload == "layers" else 1.0)
    rate = host_rate(device)
    seconds = coming / minimum(THERE, rate) + going / minimum(BACK, rate)
    return Time(coming / host_link(device), coming / rate, seconds, coming / rate, seconds * SLOWER)
