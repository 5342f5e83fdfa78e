"""Gated delta rule: linear attention whose state, a matrix of keys × values for each head, is corrected rather than added to.

    state = decay · state;   state = state + k ⊗ β (v − state k);   y = state q

Keys and queries of g heads serve h value heads. A prompt is worked through in chunks of Q tokens, the last one padded: inside a
chunk a triangular system is solved (it counts no FLOP), then states go from chunk to chunk. One step while decoding is elementwise.

Sources: Yang et al. 2024 (Gated DeltaNet), arXiv:2412.06464; transformers 5.23, ``torch_chunk_gated_delta_rule`` and
``torch_recurrent_gated_delta_rule`` in models/qwen3_next/modeling_qwen3_next.py, which Qwen3.5 uses unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.blocks.causal_convolution import CausalConvolution
from floorline.blocks.mamba import STATE_FORMAT
from floorline.op import Op, cache_write, contraction, elementwise, view
from floorline.scan import scan

CHUNK = 64.0
"""Tokens of a chunk, Q: ``chunk_size`` of ``torch_chunk_gated_delta_rule``, which no configuration changes."""
PHASES = ("BcQhNp", "BcQhNp", "BcQqhp", "BcQhNp")
"""Contractions from chunk to chunk: what the state predicts, what queries read of it, the chunk's own values, its update."""


@dataclass(frozen=True, kw_only=True)
class DeltaNet:
    """A linear-attention layer with the gated delta rule.

    activation  behind the convolution
    together    whether the output gate's projection is stored with those of queries, keys and values
    decode      whether this is one token with a state out of the cache

    Letters: g heads of queries and keys of width N, h heads of values of width p, w window of the convolution, Q tokens of a chunk.

    >>> [op.name for op in DeltaNet(decode=True).ops("h", "out")][-5:]
    ['beta', 'delta_step', 'cache_state', 'gate_norm', 'out']
    """

    activation: str = "silu"
    together: bool = False
    decode: bool = False

    @property
    def convolution(self) -> CausalConvolution:
        """What comes before the state."""
        channels = (("q", "gN"), ("k", "gN"), ("v", "hp"))
        return CausalConvolution(channels=channels, bias=False, activation=self.activation, decode=self.decode)

    @property
    def derived(self) -> tuple[tuple[str, str], ...]:
        """Letters of the convolution and of the chunks."""
        return (*self.convolution.derived, *(() if self.decode else (("c", "ceil(T/Q)"), ("q", "Q"))))

    @property
    def caches(self) -> str:
        """What an earlier step left."""
        return f"{self.convolution.caches} state[BhNp]" if self.decode else ""

    @property
    def formats(self) -> tuple[tuple[str, str], ...]:
        """Of the states."""
        return STATE_FORMAT

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From normalised states ``source[BTD]`` to the branch ``target[BTD]``."""
        made = {"q": ("gN", "in_proj"), "k": ("gN", "in_proj"), "v": ("hp", "in_proj")}
        made["z"] = ("hp", "in_proj" if self.together else "")
        made |= {"beta_raw": ("h", ""), "step_raw": ("h", "")}
        q, k, v = (self.convolution.result(name) for name in "qkv")
        return (
            *(
                contraction(f"in_{n}", f"{source}[BTD] Win_{n}[D{w}] -> {n}[BT{w}]", kernel=label)
                for n, (w, label) in made.items()
            ),
            *self.convolution.ops(),
            elementwise("step", "step_raw[BTh] Wa[h] Wstep_bias[h] -> step[BTh]", "softplus"),
            elementwise("beta", "beta_raw[BTh] -> beta[BTh]", "sigmoid"),
            *(one_step(q, k, v) if self.decode else chunked(q, k, v)),
            cache_write("cache_state", "last[BhNp] -> kept_state[BhNp]", kernel="scan", format="fp32"),
            elementwise(
                "gate_norm",
                "scanned[BThp] z[BThp] Wgate_norm[p] -> gated[BThp]",
                "gated_rms_norm",
                reduces="p",
                statistics=(1, 1),
            ),
            contraction("out", f"gated[BThp] Wout[hpD] -> {target}[BTD]"),
        )


def one_step(q: str, k: str, v: str) -> tuple[Op, ...]:
    """Decay, correction and read-out, all elementwise in the library."""
    given = f"state[BhNp] {q}[BTgN] {k}[BTgN] {v}[BThp] step[BTh] beta[BTh]"
    return (elementwise("delta_step", f"{given} -> scanned[BThp] last[BhNp]", "delta_rule", kernel="scan"),)


def chunked(q: str, k: str, v: str) -> tuple[Op, ...]:
    """Inside the chunks: products of keys and of queries with keys, and the triangular system; then from chunk to chunk."""
    label = "scan"
    return (
        elementwise("norm_q", f"{q}[BTgN] -> q_unit[BTgN]", "l2_norm", reduces="N", statistics=(1, 1), kernel=label),
        elementwise("norm_k", f"{k}[BTgN] -> k_unit[BTgN]", "l2_norm", reduces="N", statistics=(1, 1), kernel=label),
        view("heads_q", "q_unit[BTgN] -> q_row[BcQhN]", kernel=label),
        view("heads_k", "k_unit[BTgN] -> k_column[BcqhN]", kernel=label),
        elementwise("decay", "step[BTh] -> decay[BcQh]", "cumulative_sum", kernel=label),
        elementwise("weigh_k", "k_unit[BTgN] beta[BTh] -> k_row[BcQhN]", "chunk", kernel=label),
        elementwise("weigh_v", f"{v}[BThp] beta[BTh] -> v_row[BcQhp]", "chunk", kernel=label),
        contraction("system", "k_row[BcQhN] k_column[BcqhN] -> overlap[BcQqh]", kernel=label),
        contraction("scores", "q_row[BcQhN] k_column[BcqhN] -> score[BcQqh]", kernel=label),
        elementwise(
            "solve",
            "overlap[BcQqh] decay[BcQh] v_row[BcQhp] k_row[BcQhN] -> v_new[BcQhp] k_decayed[BcQhN]",
            "triangular_solve",
            kernel=label,
        ),
        scan(
            "chunks",
            "v_new[BcQhp] k_decayed[BcQhN] q_row[BcQhN] k_column[BcqhN] score[BcQqh] decay[BcQh] -> "
            "scanned[BThp] last[BhNp]",
            PHASES,
            "chunked",
            kernel=label,
        ),
    )
