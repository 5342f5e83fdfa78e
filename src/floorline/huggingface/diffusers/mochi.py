"""Mochi 1: a text stream narrower than the video's; norms by root mean square before and after each branch; learned rotations.

The text is pooled by attention: its mean asks, it and all tokens answer. The last layer has no way back to the text.
Letters besides those of the blocks: ``d`` width of the text's stream, ``s`` inner width of its feed-forward network; ``x`` heads of
the pool, ``y`` their width, N the text's tokens with their mean; ``r`` axes of a position, three, ``z`` half of a head.

Sources: Genmo 2024, github.com/genmoai/mochi, src/genmo/mochi_preview/dit/joint_model/asymm_models_joint.py; diffusers 0.42,
models/transformers/transformer_mochi.py, models/attention_processor.py, MochiAttention, models/embeddings.py, MochiAttentionPool.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import modulated, modulation
from floorline.blocks.attention import HeadNorm
from floorline.blocks.conditioning import summed, two_matmuls
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.joint_attention import JOINT, JointAttention
from floorline.blocks.norm import RMS_NORM, Norm, residual
from floorline.blocks.patchify import patchify
from floorline.blocks.streams import relettered
from floorline.huggingface.config import Config, divide, rounded
from floorline.huggingface.diffusers.common import denoiser, feed_forward, heads, ignored, stack
from floorline.huggingface.diffusers.flux import end
from floorline.op import Op, contraction, elementwise, view
from floorline.specs.latent import Latent
from floorline.transformer import Transformer

POOL_HEADS = 8.0
"""Heads of the pool, which no key changes (MochiTransformer3DModel.__init__)."""
NARROW = {"T": "M", "D": "d"}
"""From the video's stream to the text's."""
PLAIN_RMS = Norm("rms_norm", weight=False)
HEAD_NORM = HeadNorm(RMS_NORM)


def pooled() -> tuple[Op, ...]:
    """The text as one vector: its mean attends to its tokens and to itself.

    >>> [op.flops()[0].formula() for op in pooled() if op.flops()][:2]
    ['2·B·e·x·y', '2·B·N·e·x·y']
    """
    return (
        elementwise("mean", "text[BMe] -> mean[Be]", "mean", reduces="M"),
        view("with_mean", "mean[Be] text[BMe] -> seen[BNe]"),
        contraction("pool_q", "mean[Be] Wpool_q[exy] -> pool_q[Bxy]", bias=True),
        contraction("pool_k", "seen[BNe] Wpool_k[exy] -> pool_k[BNxy]", bias=True, kernel="kv"),
        contraction("pool_v", "seen[BNe] Wpool_v[exy] -> pool_v[BNxy]", bias=True, kernel="kv"),
        contraction("pool_scores", "pool_q[Bxy] pool_k[BNxy] -> pool_s[BxN]", kernel="attention"),
        elementwise(
            "pool_softmax", "pool_s[BxN] -> pool_p[BxN]", "softmax", kernel="attention", reduces="N", statistics=(2, 1)
        ),
        contraction("pool_values", "pool_p[BxN] pool_v[BNxy] -> pool_c[Bxy]", kernel="attention"),
        contraction("pool_out", "pool_c[Bxy] Wpool_out[xyv] -> pooled[Bv]", bias=True),
    )


@cache
def conditioning() -> Block:
    """The vector that conditions all layers, the text for its stream, and the angles that positions are turned by.

    >>> conditioning().outputs
    ('vec', 'c', 'angles')
    """
    ops = (
        *two_matmuls("time", "waves[Bw]", "time[Bv]", "silu"),
        *pooled(),
        contraction("caption", "text[BMe] Wcaption[ed] -> c[BMd]", bias=True),
        *summed("condition", ("time[Bv]", "pooled[Bv]"), "vec[Bv]"),
        contraction("frequencies", "positions[Tr] Wfrequencies[rKz] -> angles[TKz]"),
    )
    return block("conditioning", "", ops, "vec c angles", data="waves[Bw] text[BMe] positions[Tr]")


@cache
def start() -> Block:
    """Latents to tokens, each frame by itself."""
    return block("patches", "", (patchify(),), "x", data="latent[BTcij]")


def branch(ffn: FeedForward, name: str, stream: str, attn: str, target: str, wide: str) -> tuple[Op, ...]:
    """What follows attention in one stream: the branch is normed, scaled by a bounded gate and added, twice.

    name    prefix, "c" for the text
    wide    letter of the stream's width
    """
    tokens, by = f"B{'M' if name else 'T'}{wide}", f"{name}mod[B{'m' if name else 'n'}{wide}]"
    norm = modulated(PLAIN_RMS, by)
    letters = NARROW if name else {}
    return (
        norm.op(f"{name}norm2", attn, f"{attn}_n", tokens, wide),
        residual(f"{name}add1", stream, f"{attn}_n", f"{stream}1", tokens),
        norm.op(f"{name}norm3", f"{stream}1", f"{name}h3", tokens, wide),
        *relettered(ffn.ops(f"{name}h3", f"{name}ffn"), letters),
        norm.op(f"{name}norm4", f"{name}ffn", f"{name}ffn_n", tokens, wide),
        residual(f"{name}add2", f"{stream}1", f"{name}ffn_n", target, tokens),
    )


@cache
def layer(attention: JointAttention, ffn: FeedForward, text_ffn: FeedForward | None, name: str = "double") -> Block:
    """Both streams attend together; each has norms around its branches and a feed-forward network.

    text_ffn  None in the last layer, whose text nobody reads

    >>> layer(JointAttention(letters=NARROW), FeedForward("silu"), None).outputs
    ('y',)
    """
    ops: list[Op] = [
        *modulation("mod", "vec", "mod"),
        *modulation("cmod", "vec", "cmod", letters="md"),
        modulated(PLAIN_RMS).op("norm1", "x", "h"),
        modulated(PLAIN_RMS, "cmod[Bmd]").op("cnorm1", "c", "ch", "BMd", "d"),
        *attention.ops("h", "attn", "ch", "cattn"),
        *branch(ffn, "", "x", "attn", "y", "D"),
    ]
    if text_ffn:
        ops += branch(text_ffn, "c", "c", "cattn", "z", "d")
    return block(name, "x[BTD] c[BMd] vec[Bv]", tuple(ops), "y z" if text_ffn else "y", layer=True)


def read(config: Config) -> Transformer:
    """A configuration of MochiTransformer3DModel.

    >>> read(Config({"num_layers": 48}, "mochi-1")).parameter_count().total
    10027677744.0
    """
    sizes = heads(config, 24.0, 128.0)
    wide, channels, patch = sizes["D"], config.size("in_channels", 12.0), config.size("patch_size", 2.0)
    narrow, text, made = (
        config.size("pooled_projection_dim", 1536.0),
        config.size("text_embed_dim", 4096.0),
        config.given("out_channels"),
    )
    sizes |= {"F": rounded(8.0 * wide / 3.0), "s": rounded(8.0 * narrow / 3.0), "d": narrow, "e": text, "v": wide}
    sizes |= {"u": wide, "w": config.size("time_embed_dim", 256.0), "n": 4.0, "m": 4.0, "c": channels}
    sizes |= {"o": channels if made is None else made, "i": patch, "j": patch, "r": 3.0, "z": rounded(sizes["H"] / 2.0)}
    sizes |= {"x": POOL_HEADS, "y": divide(config, text, POOL_HEADS, "text_embed_dim", "heads of its pool")}
    ffn = feed_forward(config, "swiglu", bias=False)
    joint = JointAttention(
        bias=False, text_bias=False, head_norm=HEAD_NORM, text_norm=HEAD_NORM, rotary="picture", letters=NARROW
    )
    count = config.count("num_layers", 48.0, least=1.0)
    most = config.size("max_sequence_length", 256.0)
    ignored(config, "qk_norm")
    stacks = (
        stack(conditioning(), tokens=(("N", "M + 1"),)),
        stack(start()),
        *(
            (stack(layer(joint, ffn, replace(ffn, width="s", name="c")), count - 1.0, tokens=JOINT),)
            if count > 1.0
            else ()
        ),
        stack(layer(replace(joint, text_out=False), ffn, None, "last"), 1.0, {"m": 1.0}, JOINT),
        stack(end(), sizes={"n": 2.0}),
    )
    latent = Latent(frames=6, first=1, patch=patch, height=480, width=848, length=163, text=most)
    return denoiser(config, sizes, stacks, latent)
