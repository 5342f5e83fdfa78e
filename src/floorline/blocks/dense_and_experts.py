"""A dense feed-forward network and routed experts side by side, each between two norms of its own.

Source: transformers, modeling_gemma4.py, Gemma4TextDecoderLayer and Gemma4TextRouter.
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.blocks.experts import Experts
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.norm import RMS_NORM, Norm
from floorline.op import Op, contraction, elementwise
from floorline.route import route


@dataclass(frozen=True, kw_only=True)
class DenseAndExperts(Experts):
    """Reads the residual stream itself: the router, the experts and the network each normalise it for themselves.

    network  the dense one
    norm     of all five

    >>> ffn = FeedForward("gelu", gated=True)
    >>> [op.name for op in DenseAndExperts(activation="gelu", network=ffn).ops("x1", "ffn")][:6]
    ['norm2', 'gate', 'up', 'act', 'down', 'norm_dense']
    """

    network: FeedForward
    norm: Norm = RMS_NORM

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From ``source[BTD]`` to ``target[BTD]``."""
        return (
            self.norm.op("norm2", source, "h2"),
            *self.network.ops("h2", "dense_raw"),
            self.norm.op("norm_dense", "dense_raw", "dense"),
            self.norm.op("norm_router", source, "hr"),
            contraction("router", "hr[BTD] Wrouter[DE] -> r[BTE]", bias=self.router_bias),
            elementwise("choose", "r[BTE] -> chances[BTE]", self.score, reduces="E", statistics=(2, 1)),
            elementwise("scale_experts", "chances[BTE] Wscale_experts[E] -> scaled[BTE]", "scale"),
            self.norm.op("norm_experts", source, "he"),
            route("dispatch", "he[BTD] -> xe[ECD]"),
            *self.experts(),
            route("dispatch_chances", "scaled[BTE] -> slots[EC]"),
            elementwise("weigh", "ye[ECD] slots[EC] -> yw[ECD]", "weigh"),
            route("combine", "yw[ECD] -> routed_raw[BTD]"),
            self.norm.op("norm_routed", "routed_raw", "routed"),
            elementwise("both", f"dense[BTD] routed[BTD] -> {target}[BTD]", "add", linear=True),
        )
