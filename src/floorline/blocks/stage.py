"""What lies between two pipeline stages: no operator; the residual stream goes to the next one's ranks."""

from __future__ import annotations

from floorline.block import Block
from floorline.tensor import Tensor

STREAM = Tensor("x", "BTD")
STAGE = Block(name="stage", inputs=(STREAM,), outputs=("x",), ops=())
