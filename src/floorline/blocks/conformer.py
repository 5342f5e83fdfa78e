"""Layers for sound: a conformer with attention in chunks, as the encoder of Gemma 4 has them.

Letters: ``U`` chunks of ``X`` frames, ``Z`` frames that a chunk sees, ``J`` relative positions, ``e`` width of the convolution,
``j`` its window; where sound comes in, ``z`` frames of a spectrogram of ``y`` bins, which two convolutions with windows of
``g`` by ``n`` bring to ``r`` by ``x`` with ``d`` channels and then to T by ``w`` with ``p``, ``q`` numbers each.

Sources: Gulati et al. 2020, arXiv:2005.08100, figure 1; Zhang et al. 2023 (USM), arXiv:2303.01037, section 2; transformers,
modeling_gemma4.py, Gemma4AudioLayer and Gemma4AudioSubSampleConvProjection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from floorline.block import Block, block
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import RMS_NORM, SCALE_NORM, Norm
from floorline.convolution import convolution
from floorline.op import Op, contraction, elementwise
from floorline.tensor import TOKENS

PLACES = "places[JD]"
"""What a layer is given besides the stream: sines of the relative positions."""


@dataclass(frozen=True)
class ChunkedAttention:
    """Frames of a chunk attend to a few before it and to themselves; scores have a part that depends on the distance alone.

    >>> ChunkedAttention().derived
    (('U', 'ceil(T/X)'),)
    """

    derived: tuple[tuple[str, str], ...] = (("U", "ceil(T/X)"),)

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From ``source[BTD]`` to ``target[BTD]``."""
        return (
            contraction("q", f"{source}[BTD] Wq[DKH] -> q[BTKH]", kernel="qkv"),
            contraction("k", f"{source}[BTD] Wk[DKH] -> k[BTKH]", kernel="qkv"),
            contraction("v", f"{source}[BTD] Wv[DKH] -> v[BTKH]", kernel="qkv"),
            elementwise("scale", "q[BTKH] Wscale[H] -> qs[BUXKH]", "scale"),
            elementwise("context_k", "k[BTKH] -> kb[BUZKH]", "pass"),
            elementwise("context_v", "v[BTKH] -> vb[BUZKH]", "pass"),
            contraction("relative", f"{PLACES} Wrelative[DKH] -> rk[JKH]"),
            contraction("scores", "qs[BUXKH] kb[BUZKH] -> s[BUXKZ]"),
            contraction("distances", "qs[BUXKH] rk[JKH] -> rs[BUXKJ]"),
            elementwise("softmax", "s[BUXKZ] rs[BUXKJ] -> p[BUXKZ]", "softmax", reduces="Z", statistics=(2, 1)),
            contraction("values", "p[BUXKZ] vb[BUZKH] -> ctx[BUXKH]"),
            elementwise("frames", "ctx[BUXKH] -> o[BTKH]", "pass"),
            contraction("out", f"o[BTKH] Wo[KHD] -> {target}[BTD]"),
        )


@dataclass(frozen=True)
class LightConvolution:
    """A gated projection, a convolution over time for each channel by itself, a norm, a projection.

    >>> [op.name for op in LightConvolution("silu").ops("h", "conv")]
    ['start', 'start_gate', 'glu', 'depthwise', 'conv_norm', 'conv_act', 'end']
    """

    activation: str
    norm: Norm = RMS_NORM

    def ops(self, source: str, target: str) -> tuple[Op, ...]:
        """From ``source[BTD]`` to ``target[BTD]``."""
        return (
            contraction("start", f"{source}[BTD] Wstart[De] -> st[BTe]", kernel="gate_up"),
            contraction("start_gate", f"{source}[BTD] Wstart_gate[De] -> sg[BTe]", kernel="gate_up"),
            elementwise("glu", "st[BTe] sg[BTe] -> g[BTe]", "gated_sigmoid"),
            convolution("depthwise", "g[BTe] Wdepthwise[ej] -> c[BTe]"),
            self.norm.op("conv_norm", "c", "cn", "BTe", "e"),
            elementwise("conv_act", "cn[BTe] -> ca[BTe]", self.activation),
            contraction("end", f"ca[BTe] Wend[eD] -> {target}[BTD]"),
        )


@cache
def conformer(activation: str, norm: Norm = RMS_NORM, name: str = "audio") -> Block:
    """Half a feed-forward, attention, convolution, the other half, a norm at the end.

    >>> [t.letters for t in conformer("silu").weights()][:3]
    ['D', 'DF', 'FD']
    """
    first, second = FeedForward(activation, name="first_"), FeedForward(activation, name="second_")
    return layer(
        Branch(part=first, before=norm, after=norm, name="first"),
        Branch(part=ChunkedAttention(), before=norm, after=norm, name="attn"),
        Branch(part=LightConvolution(activation, norm), before=norm, name="conv"),
        Branch(part=second, before=norm, after=norm, behind=norm, name="second"),
        name=name,
        inputs=PLACES,
    )


@cache
def subsampled(norm: Norm = SCALE_NORM, name: str = "sound") -> Block:
    """Two convolutions of stride two over a spectrogram, each with a norm, and a projection to the layers' width.

    >>> [str(t) for t in subsampled().weights()][:2]
    ['Wconv1[dgn]', 'Wnorm1[d]']
    """
    ops: tuple[Op, ...] = (
        convolution("conv1", "sound[Bzy] Wconv1[dgn] -> a[Bdrx]"),
        norm.op("norm1", "a", "an", "Bdrx", "d"),
        elementwise("act1", "an[Bdrx] -> b[Bdrx]", "relu"),
        convolution("conv2", "b[Bdrx] Wconv2[pdgn] -> e[BpTw]"),
        norm.op("norm2", "e", "en", "BpTw", "p"),
        elementwise("act2", "en[BpTw] -> f[BTq]", "relu"),
        contraction("project", "f[BTq] Wproject[qD] -> y[BTD]"),
    )
    made = block(name, "sound[Bzy]", ops, "y")
    return replace(made, inputs=(replace(made.inputs[0], role=TOKENS),))  # the sound itself takes no gradient


@cache
def heard(norm: Norm, name: str = "audio_projector") -> Block:
    """From the encoder's width D to its output's, t, a norm, and on to the text's, b.

    >>> from floorline.blocks.norm import RMS_NORM
    >>> [str(t) for t in heard(RMS_NORM).weights()]
    ['Wout[Dt]', 'Wout.bias[t]', 'Wnorm[t]', 'Wproject[tb]']
    """
    ops = (
        contraction("out", "x[BTD] Wout[Dt] -> o[BTt]", bias=True),
        norm.op("norm", "o", "n", "BTt", "t"),
        contraction("project", "n[BTt] Wproject[tb] -> y[BTb]"),
    )
    return block(name, "x[BTD]", ops, "y")
