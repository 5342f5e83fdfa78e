"""Sound: two convolutions turn the frames of a log-mel spectrogram into half as many states.

Source: Radford et al. 2022 (Whisper), arXiv:2212.04356, section 2.2; transformers, models/whisper/modeling_whisper.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from floorline.block import Block, block
from floorline.blocks.norm import dropout
from floorline.convolution import convolution
from floorline.op import Op, elementwise, lookup
from floorline.tensor import TOKENS

FRAMES = (("X", "2*T"), ("d", "D"))
"""X frames of the spectrogram, two for each state; d the width between the two convolutions, which is D."""


@cache
def spectrogram(activation: str = "gelu", *, drop: bool = False, name: str = "spectrogram") -> Block:
    """Two convolutions over time with a window of j, the second of stride two, and a row of a table for each state.

    Letters: c mel bins, X frames, j window, d the width in between.

    >>> [str(t) for t in spectrogram().weights()]
    ['Wconv1[dcj]', 'Wconv1.bias[d]', 'Wconv2[Ddj]', 'Wconv2.bias[D]', 'Wp[PD]']
    """
    last = "sum" if drop else "y"
    ops: list[Op] = [
        convolution("conv1", "mel[BcX] Wconv1[dcj] -> a[BXd]", bias=True),
        elementwise("act1", "a[BXd] -> b[BXd]", activation),
        convolution("conv2", "b[BXd] Wconv2[Ddj] -> e[BTD]", bias=True),
        elementwise("act2", "e[BTD] -> states[BTD]", activation),
        lookup("positions", "position_ids[T] Wp[PD] -> r[TD]", "P", "min(T/P, 1)"),
        elementwise("add", f"states[BTD] r[TD] -> {last}[BTD]", "add", linear=True),
    ]
    if drop:
        ops.append(dropout("drop", "sum", "y"))
    made = block(name, "mel[BcX] position_ids[T]", tuple(ops), "y", FRAMES)
    sound, positions = made.inputs
    return replace(made, inputs=(replace(sound, role=TOKENS), positions))  # the sound itself takes no gradient
