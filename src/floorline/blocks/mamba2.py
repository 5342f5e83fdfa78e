"""Mamba-2: h heads with a state of p × N numbers each; B and C are shared by the heads of each of g groups.

A prompt is worked through in chunks of Q tokens (state-space duality): inside a chunk as attention does, between chunks by their
states. The last chunk is padded. While decoding, one step of the recurrence: an elementwise update and one read-out.

Sources: Dao and Gu 2024, arXiv:2405.21060; transformers 5.23, ``mamba2_chunk_scan`` (five einsums) and
``mamba2_selective_state_update`` in models/mamba2/modeling_mamba2.py, which Bamba, Zamba-2 and Nemotron-H use unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.blocks.causal_convolution import CausalConvolution
from floorline.blocks.mamba import STATE_FORMAT
from floorline.op import Op, cache_write, contraction, elementwise, view

CHUNKS = (("c", "ceil(T/Q)"), ("q", "Q"), ("y", "ceil(T/Q) + 1"), ("z", "ceil(T/Q) + 1"))
"""c chunks of Q tokens, their last one padded; q their tokens a second time; y and z the states at the ends of chunks and before
the first, which each other's sums run over."""


@dataclass(frozen=True, kw_only=True)
class Mamba2:
    """A state-space layer of many heads.

    activation  behind the convolution
    bias        of the projections in and out
    conv_bias   of the convolution
    decode      whether this is one token with a state out of the cache

    Letters: h heads of width p, g groups of heads that share B and C, N state, w window of the convolution, Q tokens of a chunk.

    >>> [op.name for op in Mamba2(decode=True).ops("h", "out")][-5:]
    ['read', 'cache_state', 'join', 'gate_norm', 'out']
    """

    activation: str = "silu"
    bias: bool = False
    conv_bias: bool = True
    decode: bool = False

    @property
    def convolution(self) -> CausalConvolution:
        """What comes before the state."""
        return CausalConvolution(
            channels=(("inner", "hp"), ("b", "gN"), ("c", "gN")),
            bias=self.conv_bias,
            activation=self.activation,
            decode=self.decode,
        )

    @property
    def derived(self) -> tuple[tuple[str, str], ...]:
        """Letters of the convolution and of the chunks."""
        return (*self.convolution.derived, *(() if self.decode else CHUNKS))

    @property
    def caches(self) -> str:
        """What an earlier step left."""
        return f"{self.convolution.caches} state[BhpN]" if self.decode else ""

    @property
    def formats(self) -> tuple[tuple[str, str], ...]:
        """Of the states."""
        return STATE_FORMAT

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From normalised states ``source[BTD]`` to the branch ``target[BTD]``."""
        made = {"z": "hp", "inner": "hp", "b": "gN", "c": "gN", "step_raw": "h"}
        u, b, c = (self.convolution.result(name) for name in ("inner", "b", "c"))
        return (
            *(
                contraction(f"in_{n}", f"{source}[BTD] Win_{n}[D{w}] -> {n}[BT{w}]", kernel="in_proj", bias=self.bias)
                for n, w in made.items()
            ),
            *self.convolution.ops(),
            elementwise("step", "step_raw[BTh] Wstep_bias[h] -> step[BTh]", "softplus"),
            *(one_step(u, b, c) if self.decode else chunked(u, b, c)),
            elementwise(
                "gate_norm",
                "scanned[BThp] z[BThp] Wgate_norm[hp] -> gated[BThp]",
                "gated_rms_norm",
                reduces="hp",
                statistics=(1, 1),
            ),
            contraction("out", f"gated[BThp] Wout[hpD] -> {target}[BTD]", bias=self.bias),
        )


def one_step(u: str, b: str, c: str) -> tuple[Op, ...]:
    """Decay and update of the state, elementwise, and the read-out."""
    label = "scan"
    return (
        elementwise("update", f"state[BhpN] {u}[BThp] step[BTh] Wa[h] {b}[BTgN] -> last[BhpN]", "update", kernel=label),
        view("heads_c", f"{c}[BTgN] -> c_head[BThN]", kernel=label),
        contraction("read", "last[BhpN] c_head[BThN] -> y_read[BThp]", kernel=label),
        cache_write("cache_state", "last[BhpN] -> kept_state[BhpN]", kernel=label, format="fp32"),
        elementwise("join", f"y_read[BThp] {u}[BThp] Wskip[h] -> scanned[BThp]", "skip", kernel=label),
    )


def chunked(u: str, b: str, c: str) -> tuple[Op, ...]:
    """State-space duality: chunks as attention does, states from chunk to chunk."""
    label = "scan"
    return (
        elementwise("into_chunks", f"{u}[BThp] step[BTh] -> x_chunk[Bcqhp]", "chunk", kernel=label),
        elementwise("decay", "step[BTh] Wa[h] -> decay[Bcqh]", "cumulative_sum", kernel=label),
        view("heads_b", f"{b}[BTgN] -> b_head[BcqhN]", kernel=label),
        view("heads_c", f"{c}[BTgN] -> c_head[BcQhN]", kernel=label),
        view("decay_rows", "decay[Bcqh] -> decay_row[BcQh]", kernel=label),
        # inside a chunk: a causal mask of decays on C B, times the inputs
        contraction("chunk_scores", "c_head[BcQhN] b_head[BcqhN] -> score[BcQqh]", kernel=label),
        elementwise("chunk_mask", "score[BcQqh] decay[Bcqh] -> masked[BcQqh]", "segment_sum", kernel=label),
        contraction("chunk_values", "masked[BcQqh] x_chunk[Bcqhp] -> y_inside[BcQhp]", kernel=label),
        # the state that each chunk makes by itself
        elementwise("weigh_b", "b_head[BcqhN] decay[Bcqh] -> b_decayed[BcqhN]", "decay", kernel=label),
        contraction("chunk_states", "b_decayed[BcqhN] x_chunk[Bcqhp] -> own[BchpN]", kernel=label),
        # from chunk to chunk: each state is a sum over all before it, the one before the prompt among them
        view("ends", "own[BchpN] -> end[BzhpN]", kernel=label),
        elementwise("chunk_decay", "decay[Bcqh] -> between[Bzyh]", "segment_sum", kernel=label),
        contraction("pass_states", "between[Bzyh] end[BzhpN] -> passed[ByhpN]", kernel=label),
        view("last", "passed[ByhpN] -> last[BhpN]", kernel=label),
        cache_write("cache_state", "last[BhpN] -> kept_state[BhpN]", kernel=label, format="fp32"),
        # what each token reads of the state before its chunk
        view("starts", "passed[ByhpN] -> start[BchpN]", kernel=label),
        contraction("read", "c_head[BcQhN] start[BchpN] -> y_read[BcQhp]", kernel=label),
        elementwise(
            "join",
            f"y_inside[BcQhp] y_read[BcQhp] decay_row[BcQh] {u}[BThp] Wskip[h] -> scanned[BThp]",
            "skip",
            kernel=label,
        ),
    )
