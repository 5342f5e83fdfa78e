"""Recurrent layers whose walk along the tokens is elementwise: the real-gated linear recurrent unit, and RWKV-4.

Sources: RG-LRU: De et al. 2024 (Griffin), arXiv:2402.19427; transformers 5.23, models/recurrent_gemma/modeling_recurrent_gemma.py.
RWKV: Peng et al. 2023, arXiv:2305.13048; transformers 5.23, models/rwkv/modeling_rwkv.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from floorline.block import Block
from floorline.blocks.norm import Norm
from floorline.convolution import convolution
from floorline.op import Op, cache_write, contraction, elementwise, view
from floorline.scan import scan


@dataclass(frozen=True, kw_only=True)
class RgLru:
    """A recurrent block of Griffin: a gated branch beside a convolution and a gated linear recurrence.

    activation  of the gate
    decode      whether this is one token with a state out of the cache: the convolution is a sum of products then
    cached      whether states are kept where a cache is counted: one library keeps them elsewhere

    Letters: h blocks of p channels whose gates are block-diagonal, j the same p a second time, w window of the convolution, of
    which i = w − 1 inputs are kept, L outputs that it computes.

    >>> [op.name for op in RgLru(decode=True).ops("h", "out")][:4]
    ['in_gate', 'in_inner', 'conv', 'cache_inner']
    """

    activation: str = "gelu_pytorch_tanh"
    decode: bool = False
    cached: bool = True

    @property
    def derived(self) -> tuple[tuple[str, str], ...]:
        """Letters of the convolution and of the gates; the library pads w − 1 zeros on both sides, and has none for one token."""
        return ("L", "(T + w - 1)*min(T - 1, 1)"), ("i", "w - 1"), ("j", "p")

    @property
    def caches(self) -> str:
        """What an earlier step left."""
        return "seen_inner[Bhpi] state[Bhp]" if self.decode else ""

    @property
    def formats(self) -> tuple[tuple[str, str], ...]:
        """Of the states."""
        return (("state", "fp32"),)

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From normalised states ``source[BTD]`` to the branch ``target[BTD]``."""
        keep = (cache_write("cache_state", "last[Bhp] -> kept_state[Bhp]", kernel="scan", format="fp32"),)
        before = " state[Bhp]" if self.decode else ""
        walk = f"input[BThp] decay[BThp]{before} -> scanned[BThp] last[Bhp]"
        return (
            contraction("in_gate", f"{source}[BTD] Win_gate[Dhp] -> side[BThp]", bias=True),
            contraction("in_inner", f"{source}[BTD] Win_inner[Dhp] -> inner[BThp]", bias=True),
            *self.short_convolution(),
            contraction("input_gate", "seen[BThp] Winput_gate[hpj] -> input_gate[BThj]", bias=True),
            contraction("decay_gate", "seen[BThp] Wdecay_gate[hpj] -> decay_gate[BThj]", bias=True),
            elementwise("decay", "decay_gate[BThj] Wdecay[hp] -> decay[BThp]", "rg_lru_decay"),
            elementwise("input", "seen[BThp] input_gate[BThj] decay[BThp] -> input[BThp]", "rg_lru_input"),
            scan("scan", walk, (), "recurrent", kernel="scan"),
            *(keep if self.cached else ()),
            elementwise("side_gate", "side[BThp] scanned[BThp] -> gated[BThp]", f"gated_{self.activation}"),
            contraction("out", f"gated[BThp] Wout[hpD] -> {target}[BTD]", bias=True),
        )

    def short_convolution(self) -> tuple[Op, ...]:
        """Over the token and the w − 1 before it."""
        if self.decode:
            sums = "seen_inner[Bhpi] inner[BThp] Wconv[hpw] Wconv.bias[hp] -> seen[BThp]"
            kept = cache_write("cache_inner", "inner[BThp] -> kept_inner[Bhpi]")
            return elementwise("conv", sums, "sum_of_products"), *((kept,) if self.cached else ())
        keep = (
            view("tail", "inner[BThp] -> tail[Bhpi]", kernel="conv"),
            cache_write("cache_inner", "tail[Bhpi] -> kept_inner[Bhpi]", kernel="conv"),
        )
        return (
            convolution("conv", "inner[BThp] Wconv[hpw] -> conv_all[BLhp]", bias=True, kernel="conv"),
            view("crop", "conv_all[BLhp] -> seen[BThp]", kernel="conv"),
            *(keep if self.cached else ()),
        )


@dataclass(frozen=True, kw_only=True)
class TimeMix:
    """RWKV's attention without scores: keys weigh values by how long ago they were, receptance gates the result.

    decode  whether this is one token with a state out of the cache

    Letters: A inner width.

    >>> [op.name for op in TimeMix().ops("h", "out")][-3:]
    ['time_cache_maximum', 'time_gate', 'time_out']
    """

    decode: bool = False

    @property
    def caches(self) -> str:
        """What an earlier step left."""
        return "time_state[BD] numerator[BA] denominator[BA] maximum[BA]" if self.decode else ""

    @property
    def formats(self) -> tuple[tuple[str, str], ...]:
        """Of the sums; the token before is kept as it was."""
        return tuple((name, "fp32") for name in SUMS)

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From normalised states ``source[BTD]`` to the branch ``target[BTD]``."""
        before = "".join(f" {name}[BA]" for name in SUMS) if self.decode else ""
        after = "".join(f" new_{name}[BA]" for name in SUMS)
        walk = f"time_k[BTA] time_v[BTA] Wdecay[A] Wfirst[A]{before} -> weighted[BTA]{after}"
        return (
            *mix("time_", source, ("k", "v", "r"), self.decode),
            *(contraction(f"time_{n}", f"time_x{n}[BTD] Wtime_{n}[DA] -> time_{n}[BTA]") for n in "kvr"),
            scan("time_scan", walk, (), "recurrent", kernel="scan"),
            *(
                cache_write(f"time_cache_{n}", f"new_{n}[BA] -> kept_{n}[BA]", kernel="scan", format="fp32")
                for n in SUMS
            ),
            elementwise("time_gate", "time_r[BTA] weighted[BTA] -> time_gated[BTA]", "gated_sigmoid"),
            contraction("time_out", f"time_gated[BTA] Wtime_out[AD] -> {target}[BTD]"),
        )


SUMS = ("numerator", "denominator", "maximum")
"""What RWKV's recurrence carries along: both sums of its quotient, and the largest exponent so far, which keeps them finite."""


@cache
def after_norm(layer: Block, norm: Norm) -> Block:
    """The same layer, with a norm of the stream before all else: RWKV's first.

    >>> from floorline.blocks.layer import Branch, layer
    >>> from floorline.blocks.norm import LAYER_NORM
    >>> [op.name for op in after_norm(layer(Branch(part=ChannelMix())), LAYER_NORM).ops][:2]
    ['pre_norm', 'channel_mix_k']
    """
    ops = (norm.op("pre_norm", "x", "x0"), *(op.renamed({"x": "x0"}) for op in layer.ops))
    return replace(layer, name=f"first_{layer.name}", ops=ops)


@dataclass(frozen=True, kw_only=True)
class ChannelMix:
    """RWKV's feed-forward: squared ReLU, gated by a receptance of the model's width.

    decode  whether this is one token with the token before out of the cache

    Letters: F inner width, d the model's width a second time.

    >>> [op.name for op in ChannelMix().ops("h", "out")][-2:]
    ['channel_r', 'channel_gate']
    """

    decode: bool = False

    @property
    def derived(self) -> tuple[tuple[str, str], ...]:
        """d."""
        return (("d", "D"),)

    @property
    def caches(self) -> str:
        """What an earlier step left."""
        return "channel_state[BD]" if self.decode else ""

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From normalised states ``source[BTD]`` to the branch ``target[BTD]``."""
        return (
            *mix("channel_", source, ("k", "r"), self.decode),
            contraction("channel_k", "channel_xk[BTD] Wchannel_k[DF] -> channel_k[BTF]"),
            elementwise("channel_act", "channel_k[BTF] -> channel_m[BTF]", "relu2"),
            contraction("channel_v", "channel_m[BTF] Wchannel_v[FD] -> channel_v[BTD]"),
            contraction("channel_r", "channel_xr[BTD] Wchannel_r[Dd] -> channel_r[BTd]"),
            elementwise("channel_gate", f"channel_r[BTd] channel_v[BTD] -> {target}[BTD]", "gated_sigmoid"),
        )


def mix(prefix: str, source: str, names: tuple[str, ...], decode: bool) -> tuple[Op, ...]:
    """Each token blended with the one before it, by a learned share of each channel; the last one is kept."""
    before = f" {prefix}state[BD]" if decode else ""
    return (
        *(
            elementwise(
                f"{prefix}mix_{n}",
                f"{source}[BTD] W{prefix}mix_{n}[D]{before} -> {prefix}x{n}[BTD]",
                "token_shift",
            )
            for n in names
        ),
        view(f"{prefix}tail", f"{source}[BTD] -> {prefix}last[BD]"),
        cache_write(f"{prefix}cache", f"{prefix}last[BD] -> {prefix}kept[BD]"),
    )
