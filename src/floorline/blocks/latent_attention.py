"""Multi-head latent attention: keys and values of all heads are made of one narrow latent, and only that is cached.

Written out (expanded), every head has keys and values of its own: the way of training and prefill. While decoding, the
matmul that expands the latent is absorbed into the query and the output, so that the cache is read as it is.

Sources: DeepSeek-V2, arXiv:2405.04434, section 2.1 and appendix C; the indexer that selects keys: DeepSeek-V3.2,
arXiv:2512.02556, section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.blocks.norm import LAYER_NORM, RMS_NORM
from floorline.op import Op, cache_write, contraction, elementwise


@dataclass(frozen=True, kw_only=True)
class LatentAttention:
    """Attention through a latent of width c; r elements of each query and of one shared key carry the position.

    query_latent  whether queries are made of a latent too, of width L
    bias          of the projections to the latents and of the output
    indexer       "" none; "own" where this layer scores all earlier tokens with x small heads of width A and attends to the
                  topk best; "shared" where it takes the choice of an earlier layer
    dense         whether all keys are computed and those not selected masked, as one library does it
    absorbed      whether the latent is read as it is
    dropout       of the attention weights, in training

    >>> sum(1 for op in LatentAttention(absorbed=True).ops("h", "attn") if "expand" in op.name)
    0
    """

    query_latent: bool = True
    bias: bool = False
    indexer: str = ""
    dense: bool = False
    absorbed: bool = False
    dropout: bool = False

    @property
    def derived(self) -> tuple[tuple[str, str], ...]:
        """Z, keys that each query attends to."""
        return (("Z", "min(topk, S)"),) if self.indexer else ()

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From normalised states ``source[BTD]`` to the branch ``target[BTD]``."""
        return (
            *self.queries(source),
            *self.latent(source),
            *(self.scores_of_all(source) if self.indexer == "own" else ()),
            *(self.read_absorbed() if self.absorbed else self.read_expanded()),
            contraction("out", f"ctx[BTKU] Wo[KUD] -> {target}[BTD]", bias=self.bias),
        )

    def queries(self, source: str) -> tuple[Op, ...]:
        """Queries, in a part without and a part with position."""
        made = (
            contraction("q_down", f"{source}[BTD] Wqa[DL] -> qa[BTL]", bias=self.bias),
            RMS_NORM.op("norm_qa", "qa", "qan", "BTL", "L"),
        )
        given, letter = ("qan", "L") if self.query_latent else (source, "D")
        return (
            *(made if self.query_latent else ()),
            contraction("q", f"{given}[BT{letter}] Wqn[{letter}KN] -> qn[BTKN]", kernel="q_up"),
            contraction("q_position", f"{given}[BT{letter}] Wqr[{letter}Kr] -> qr[BTKr]", kernel="q_up"),
            elementwise("rope_q", "qr[BTKr] -> qrr[BTKr]", "rope", kernel="rope"),
        )

    def latent(self, source: str) -> tuple[Op, ...]:
        """What is cached: the latent, and one key with position for all heads."""
        return (
            contraction("kv_down", f"{source}[BTD] Wkv[Dc] -> kv[BTc]", kernel="kv_down", bias=self.bias),
            contraction("k_position", f"{source}[BTD] Wkr[Dr] -> kr[BTr]", kernel="kv_down", bias=self.bias),
            RMS_NORM.op("norm_kv", "kv", "kvn", "BTc", "c"),
            elementwise("rope_k", "kr[BTr] -> krr[BTr]", "rope"),
            cache_write("cache_latent", "kvn[BTc] -> cc[BSc]"),
            cache_write("cache_position", "krr[BTr] -> crc[BSr]"),
        )

    def scores_of_all(self, source: str) -> tuple[Op, ...]:
        """The indexer: one small score of every earlier token for each query, and the best of them."""
        return (
            contraction("index_q", "qan[BTL] Wiq[LxA] -> iq[BTxA]"),
            contraction("index_k", f"{source}[BTD] Wik[DA] -> ik[BTA]"),
            LAYER_NORM.op("index_norm", "ik", "ikn", "BTA", "A"),
            contraction("index_weights", f"{source}[BTD] Wix[Dx] -> iw[BTx]"),
            elementwise("index_rope_q", "iq[BTxA] -> iqr[BTxA]", "rope"),
            elementwise("index_rope_k", "ikn[BTA] -> ikr[BTA]", "rope"),
            cache_write("cache_index", "ikr[BTA] -> ikc[BSA]"),
            contraction("index_scores", "iqr[BTxA] ikc[BSA] -> ia[BTxS]", kernel="index", visible=True),
            elementwise("index_act", "ia[BTxS] -> ib[BTxS]", "relu", kernel="index"),
            contraction("index_sum", "iw[BTx] ib[BTxS] -> chosen[BTS]", kernel="index", visible=True),
        )

    def attend(self, name: str, text: str, selected: bool = True) -> Op:
        """A contraction of attention over the keys that count; of the cache, only those are read."""
        sparse = selected and bool(self.indexer) and not self.dense
        share = {"cc": READ, "crc": READ} if sparse and self.absorbed else None
        shown = "selected" if sparse else "visible"
        return contraction(name, text, kernel="attention", visible=shown, keys="Z" if sparse else "", touched=share)

    def softmax(self) -> Op:
        """Weights of both parts' scores together."""
        chosen = " chosen[BTS]" if self.indexer == "own" else ""
        return elementwise(
            "softmax",
            f"sn[BTKS] sr[BTKS]{chosen} -> p[BTKS]",
            "softmax_fp32",
            kernel="attention",
            reduces="S",
            statistics=(2, 1),
        )

    def read_expanded(self) -> tuple[Op, ...]:
        """Keys and values of every head."""
        return (
            contraction("k_expand", "cc[BSc] Wkb[cKN] -> kn[BSKN]", kernel="kv_up"),
            contraction("v_expand", "cc[BSc] Wvb[cKU] -> v[BSKU]", kernel="kv_up"),
            self.attend("scores", "qn[BTKN] kn[BSKN] -> sn[BTKS]"),
            self.attend("scores_position", "qrr[BTKr] crc[BSr] -> sr[BTKS]"),
            self.softmax(),
            self.attend("values", "p[BTKS] v[BSKU] -> ctx[BTKU]"),
        )

    def read_absorbed(self) -> tuple[Op, ...]:
        """The latent as it is: its expansion is in the query and in the output."""
        return (
            contraction("q_absorb", "qn[BTKN] Wkb[cKN] -> ql[BTKc]"),
            self.attend("scores", "ql[BTKc] cc[BSc] -> sn[BTKS]"),
            self.attend("scores_position", "qrr[BTKr] crc[BSr] -> sr[BTKS]"),
            self.softmax(),
            self.attend("values", "p[BTKS] cc[BSc] -> cl[BTKc]"),
            contraction("v_absorb", "cl[BTKc] Wvb[cKU] -> ctx[BTKU]"),
        )


READ = "min(T*topk/S, 1)"
"""Share of the cache that the selected keys of T queries are at most."""
