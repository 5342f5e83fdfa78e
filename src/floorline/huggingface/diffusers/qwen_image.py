"""Qwen-Image: sixty layers of two streams; nobody reads the text of the last one.

A picture to be edited is further tokens of the picture: ask for as many pixels more. Where such tokens are modulated by a time
of their own, zero, the picture's modulation is made twice.

Sources: Wu et al. 2025, arXiv:2508.02324; diffusers 0.42, models/transformers/transformer_qwenimage.py; its
pipeline, pipelines/qwenimage/pipeline_qwenimage.py, for the sizes of a picture and the longest text.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_head import adaptive_head
from floorline.blocks.conditioning import summed, two_matmuls
from floorline.blocks.double_stream import OWN, TIMES
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.joint_attention import JointAttention
from floorline.blocks.norm import RMS_NORM
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers.common import WAVES, denoiser, heads, ignored, optional, stack
from floorline.huggingface.diffusers.flux import HEAD_NORM
from floorline.huggingface.diffusers.hunyuan_video import doubles
from floorline.op import contraction, lookup
from floorline.specs.latent import Latent
from floorline.transformer import Transformer


@cache
def conditioning(clean: bool, told: bool) -> Block:
    """The vector that conditions all layers: of the time, and of a word (one of two) where the model is told one.

    clean  whether tokens that are no noise have a vector of their own, of time zero

    >>> conditioning(True, False).ops[0].flops()[0].formula()
    '2·B·r·w·u'
    """
    rows = "Br" if clean else "B"
    data = f"waves[{rows}w]"
    if not told:
        return block(
            "conditioning", "", two_matmuls("time", data, f"vec[{rows}v]", "silu"), "vec", data=f"waves[{rows}w]"
        )
    ops = (
        *two_matmuls("time", data, f"time[{rows}v]", "silu"),
        lookup("word", "word_ids[B] Wword[Yv] -> word[Bv]", "Y", "min(B/Y, 1)", embeds=False),
        *summed("condition", (f"time[{rows}v]", "word[Bv]"), f"vec[{rows}v]"),
    )
    return block("conditioning", "word_ids[B]", ops, "vec", data=data)


@cache
def start() -> Block:
    """Latents to tokens; the text, normalised, to the model's width.

    >>> [op.name for op in start().ops]
    ['patch', 'text_norm', 'context']
    """
    ops = (
        contraction("patch", "latent[BTcij] Wpatch[cijD] -> x[BTD]", bias=True),
        RMS_NORM.op("text_norm", "text", "normed", "BMe", "e"),
        contraction("context", "normed[BMe] Wcontext[eD] -> c[BMD]", bias=True),
    )
    return block("embedding", "", ops, "x c", data="latent[BTcij] text[BMe]")


def read(config: Config) -> Transformer:
    """A configuration of QwenImageTransformer2DModel.

    >>> read(Config({}, "qwen-image")).parameter_count().total
    20430401088.0
    """
    sizes = heads(config, 24.0, 128.0)
    wide, channels, patch = sizes["D"], config.size("in_channels", 64.0), config.size("patch_size", 2.0)
    made = optional(config, "out_channels", 16.0)
    sizes |= {"F": 4.0 * wide, "v": wide, "u": wide, "w": WAVES, "n": 6.0, "m": 6.0, "r": 2.0, "Y": 2.0}
    sizes |= {"c": channels, "i": 1.0, "j": 1.0, "o": channels if made is None else made}
    sizes |= {"e": config.size("joint_attention_dim", 3584.0)}
    ignored(config, "axes_dims_rope", "guidance_embeds", "use_layer3d_rope")
    clean, told = config.flag("zero_cond_t", False), config.flag("use_additional_t_cond", False)
    joint = JointAttention(head_norm=HEAD_NORM, text_norm=HEAD_NORM, rotary="both")
    ffn, text_ffn = (FeedForward("gelu_pytorch_tanh", bias=True, name=name) for name in ("", "c"))
    count = config.count("num_layers", 60.0, least=1.0)
    stacks = (
        stack(conditioning(clean, told)),
        stack(start()),
        *doubles(count, joint, ffn, text_ffn, by=TIMES if clean else OWN, read=False),
        stack(adaptive_head(), sizes={"n": 2.0, "i": patch, "j": patch}),
    )
    return denoiser(config, sizes, stacks, Latent(patch=2, text=512))
