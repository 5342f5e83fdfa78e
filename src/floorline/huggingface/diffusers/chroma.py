"""Chroma: FLUX.1's layers, whose modulation one small network makes for all of them, vector by vector.

Its input is the waves of the time, of a guidance of zero, and of each vector's number. Letters: ``r`` vectors of all layers
together: three for each layer of one stream, twelve for each of two, two for the end.

Sources: Rock 2025, huggingface.co/lodestones/Chroma1-HD; diffusers 0.42, models/transformers/transformer_chroma.py; its
pipeline, pipelines/chroma/pipeline_chroma.py, for the sizes of a picture and the longest text.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_head import adaptive_head
from floorline.blocks.attention import Attention
from floorline.blocks.conditioning import two_matmuls
from floorline.blocks.double_stream import PART, double_stream, single_stream
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.joint_attention import JOINT, JointAttention
from floorline.blocks.norm import RMS_NORM
from floorline.errors import BadInput
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers.common import denoiser, heads, ignored, stack
from floorline.huggingface.diffusers.flux import HEAD_NORM, TOGETHER, start
from floorline.num import all_true, number
from floorline.op import contraction, elementwise
from floorline.specs.latent import Latent
from floorline.transformer import Transformer


@cache
def approximator_start() -> Block:
    """The approximator's first matmul."""
    ops = (contraction("in", "waves[Brw] Win[wu] -> a[Bru]", bias=True),)
    return block("approximator_in", "", ops, "a", data="waves[Brw]")


@cache
def approximator() -> Block:
    """A layer of the approximator: a norm, two matmuls, a sum.

    >>> [op.name for op in approximator().ops]
    ['norm', 'feed_up', 'feed_act', 'feed_down', 'add']
    """
    ops = (
        RMS_NORM.op("norm", "a", "h", "Bru", "u"),
        *two_matmuls("feed", "h[Bru]", "f[Brg]", "silu", inner="q"),
        elementwise("add", "a[Bru] f[Brg] -> y[Bru]", "add", linear=True),
    )
    return block("approximator", "a[Bru]", ops, "y", layer=True)


@cache
def approximator_end() -> Block:
    """The approximator's last matmul: what modulates all layers."""
    ops = (contraction("out", "a[Bru] Wout[uD] -> all[BrD]", bias=True),)
    return block("approximator_out", "a[Bru]", ops, "all")


def read(config: Config) -> Transformer:
    """A configuration of ChromaTransformer2DModel.

    >>> read(Config({}, "chroma")).parameter_count().total
    8899983424.0
    """
    sizes = heads(config, 24.0, 128.0)
    wide, channels, patch = sizes["D"], config.size("in_channels", 64.0), config.size("patch_size", 1.0)
    made, waves = config.given("out_channels"), config.size("approximator_num_channels", 64.0)
    if not all_true(number(waves % 4.0 == 0.0)):
        raise BadInput(f"{config.name}: approximator_num_channels must be a multiple of four: quarters of it are waves")
    count, singles = config.count("num_layers", 19.0), config.count("num_single_layers", 38.0)
    inner = config.size("approximator_hidden_dim", 5120.0)
    sizes |= {"F": 4.0 * wide, "w": waves, "u": inner, "q": inner, "g": inner, "n": 6.0, "m": 6.0}
    sizes |= {"r": 3.0 * singles + 12.0 * count + 2.0, "e": config.size("joint_attention_dim", 4096.0)}
    sizes |= {"c": channels, "i": 1.0, "j": 1.0, "o": channels if made is None else made}
    ignored(config, "axes_dims_rope")
    ffn, text_ffn = (FeedForward("gelu_pytorch_tanh", bias=True, name=name) for name in ("", "c"))
    joint = JointAttention(head_norm=HEAD_NORM, text_norm=HEAD_NORM, rotary="both")
    alone = Attention(bias=True, out_bias=True, rotary=True, head_norm=HEAD_NORM, cached=False)
    single_ffn = FeedForward("gelu_pytorch_tanh", bias=True, down_bias=False)
    stacks = (
        stack(approximator_start()),
        stack(approximator(), config.count("approximator_layers", 5.0)),
        stack(approximator_end()),
        stack(start()),
        stack(double_stream(joint, ffn, text_ffn, by=PART), count, tokens=JOINT),
        stack(single_stream(alone, single_ffn, by=PART), singles, {"n": 3.0}, TOGETHER),
        stack(adaptive_head(given=True), sizes={"n": 2.0, "i": patch, "j": patch}),
    )
    return denoiser(config, sizes, stacks, Latent(patch=2, text=512))
