"""Mixture of experts: a router sends each token to k of E feed-forward networks; some models add shared ones that see all.

Sources: Shazeer et al. 2017, arXiv:1701.06538; Jiang et al. 2024 (Mixtral), arXiv:2401.04088, section 2.1; shared experts: Dai et
al. 2024 (DeepSeekMoE), arXiv:2401.06066, section 3.2; sigmoid router with a bias: DeepSeek-V3, arXiv:2412.19437, section 2.1.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.blocks.feed_forward import FeedForward
from floorline.op import Op, contraction, elementwise
from floorline.route import route

TOUCHED = "experts_read(B*T, k, E, evenness)"
"""Share of the experts' weights that a pass reads; ``evenness`` is 0 for the fewest that routing allows."""


@dataclass(frozen=True, kw_only=True)
class Experts:
    """Routed experts of inner width f, and what stands beside them.

    activation   of the experts
    gated        three matmuls an expert instead of two
    bias         of the experts' matmuls
    router_bias  of the router's matmul
    score        "softmax" or "sigmoid": what makes weights of the router's logits
    shared       a feed-forward network that every token goes through
    shared_gate  whether a learned number for each token scales the shared one
    dense        whether every expert runs on every token, as one library does it
    latent       letter of a width of their own that experts work in, between two projections; "" for the model's
    latent_bias  of these two

    >>> [op.name for op in Experts(activation="silu").ops("h2", "ffn")][3:7]
    ['expert_gate', 'expert_up', 'expert_act', 'expert_down']
    """

    activation: str
    gated: bool = True
    bias: bool = False
    router_bias: bool = False
    score: str = "softmax"
    shared: FeedForward | None = None
    shared_gate: bool = False
    dense: bool = False
    latent: str = ""
    latent_bias: bool = False

    @property
    def width(self) -> str:
        """Letter of what an expert reads and makes."""
        return self.latent or "D"

    @property
    def derived(self) -> tuple[tuple[str, str], ...]:
        """C, tokens of an expert, on average."""
        return (("C", "B*T" if self.dense else "B*T*k/E"),)

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From ``source[BTD]`` to ``target[BTD]``."""
        routed, w = "routed" if self.shared else target, self.width
        given, made = ("low", "low_routed") if self.latent else (source, routed)
        return (
            contraction("router", f"{source}[BTD] Wrouter[DE] -> r[BTE]", bias=self.router_bias),
            elementwise("choose", "r[BTE] -> chances[BTE]", self.score, reduces="E", statistics=(2, 1)),
            *(self.project("latent_in", source, "D", given, w) if self.latent else ()),
            route("dispatch", f"{given}[BT{w}] -> xe[EC{w}]"),
            *self.experts(),
            route("dispatch_chances", "chances[BTE] -> slots[EC]"),
            elementwise("weigh", f"ye[EC{w}] slots[EC] -> yw[EC{w}]", "weigh", scales="ye"),
            route("combine", f"yw[EC{w}] -> {made}[BT{w}]"),
            *(self.project("latent_out", made, w, routed, "D") if self.latent else ()),
            *self.beside(source, target),
        )

    def project(self, name: str, source: str, old: str, target: str, new: str) -> tuple[Op, ...]:
        """Between the model's width and the experts'."""
        text = f"{source}[BT{old}] W{name}[{old}{new}] -> {target}[BT{new}]"
        return (contraction(name, text, bias=self.latent_bias),)

    def experts(self) -> tuple[Op, ...]:
        """The experts' own feed-forward networks, all together."""

        def matmul(name: str, text: str, kernel: str = "") -> Op:
            weight = text.split()[1].partition("[")[0]
            return contraction(name, text, kernel=kernel, bias=self.bias, touched={weight: TOUCHED})

        label, w = "expert_gate_up", self.width
        up = matmul("expert_up", f"xe[EC{w}] Weu[E{w}f] -> eu[ECf]", label if self.gated else "")
        down = matmul("expert_down", f"em[ECf] Wed[Ef{w}] -> ye[EC{w}]")
        if not self.gated:
            return up, elementwise("expert_act", "eu[ECf] -> em[ECf]", self.activation), down
        gate = matmul("expert_gate", f"xe[EC{w}] Weg[E{w}f] -> eg[ECf]", label)
        return gate, up, elementwise("expert_act", "eg[ECf] eu[ECf] -> em[ECf]", f"gated_{self.activation}"), down

    def beside(self, source: str, target: str) -> tuple[Op, ...]:
        """The shared expert, where there is one."""
        if self.shared is None:
            return ()
        made = "shared_raw" if self.shared_gate else "shared"
        gate = (
            contraction("shared_share", f"{source}[BTD] Wsg[D] -> sg[BT]"),
            elementwise("shared_scale", f"{made}[BTD] sg[BT] -> shared[BTD]", "gated_sigmoid"),
        )
        return (
            *self.shared.ops(source, made),
            *(gate if self.shared_gate else ()),
            elementwise("shared_add", f"routed[BTD] shared[BTD] -> {target}[BTD]", "add", linear=True),
        )
