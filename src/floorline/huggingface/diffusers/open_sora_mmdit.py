"""Open-Sora 2.0, MMDiT: FLUX for videos, told which frames are given.

Letters besides those of FLUX: ``q`` channels of the frames that are given, with a mask of one channel for each latent of a patch.

Sources: Peng et al. 2025 (Open-Sora 2.0), arXiv:2503.09642; github.com/hpcaitech/Open-Sora at 7ad6a96,
opensora/models/mmdit/model.py and layers.py; configs/diffusion/inference/256px.py (HunyuanVideo's autoencoder, patches of two by
two) and high_compression.py (a deep-compression autoencoder, a 32nd of each side, patches of one).
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.attention import Attention
from floorline.blocks.double_stream import double_stream, single_stream
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.joint_attention import JOINT, JointAttention
from floorline.huggingface.config import Config, divide
from floorline.huggingface.diffusers.common import WAVES, denoiser, ignored, scaled, stack
from floorline.huggingface.diffusers.flux import HEAD_NORM, TOGETHER, conditioning, end
from floorline.huggingface.diffusers.flux import start as flux_start
from floorline.num import Num
from floorline.op import contraction, elementwise
from floorline.specs.latent import Latent
from floorline.transformer import Transformer


@cache
def start() -> Block:
    """Latents and text to the model's width, and the frames that are given added to the latents.

    >>> [op.name for op in start().ops]
    ['patch', 'given', 'add_given', 'context']
    """
    ops = (
        contraction("patch", "latent[BTcij] Wpatch[cijD] -> noisy[BTD]", bias=True),
        contraction("given", "cond[BTq] Wgiven[qD] -> given[BTD]", bias=True),
        elementwise("add_given", "noisy[BTD] given[BTD] -> x[BTD]", "add", linear=True),
        contraction("context", "text[BMe] Wcontext[eD] -> c[BMD]", bias=True),
    )
    return block("embedding", "", ops, "x c", data="latent[BTcij] cond[BTq] text[BMe]")


def latent_of(patch: float) -> Latent:
    """How pixels become tokens: the patch says which autoencoder it is.

    >>> latent_of(1.0).down
    32.0
    """
    if patch == 1.0:
        return Latent(down=32, frames=4, height=576, width=1024, length=128, text=512, filled=1)
    return Latent(frames=4, first=1, patch=patch, height=192, width=336, length=129, text=512, filled=1)


def widths(config: Config, patch: float) -> dict[str, Num]:
    """Sizes of the letters."""
    wide, count, channels = config.size("hidden_size"), config.size("num_heads"), config.size("in_channels")
    return {
        "D": wide,
        "K": count,
        "G": 1.0,
        "H": divide(config, wide, count, "hidden_size", "num_heads"),
        "F": scaled(wide, config.get("mlp_ratio"), config),
        "v": wide,
        "u": wide,
        "w": WAVES,
        "n": 6.0,
        "m": 6.0,
        "c": channels,
        "i": 1.0,
        "j": 1.0,
        "o": channels,
        "q": channels + patch**2,
        "e": config.size("context_in_dim"),
        "p": config.size("vec_in_dim"),
    }


def read(config: Config) -> Transformer:
    """A configuration of MMDiT, whose class has defaults for few keys.

    >>> eleven = {"in_channels": 64, "vec_in_dim": 768, "context_in_dim": 4096, "hidden_size": 3072, "mlp_ratio": 4.0}
    >>> eleven |= {"num_heads": 24, "depth": 19, "depth_single_blocks": 38, "qkv_bias": True, "cond_embed": True}
    >>> round(read(Config(eleven, "open-sora-2")).parameter_count().total / 1e9, 1)
    11.9
    """
    patch = config.count("patch_size", 2.0, least=1.0)
    sizes, bias = widths(config, patch), config.flag("qkv_bias", False)
    ffn, text_ffn = (FeedForward("gelu_pytorch_tanh", bias=True, name=name) for name in ("", "c"))
    joint = JointAttention(bias=bias, text_bias=bias, head_norm=HEAD_NORM, text_norm=HEAD_NORM, rotary="both")
    alone = Attention(bias=True, out_bias=True, rotary=True, head_norm=HEAD_NORM, cached=False)
    ignored(config, "axes_dim", "theta", "fused_qkv", "use_liger_rope", "grad_ckpt_settings", "cache_dir")
    stacks = (
        stack(conditioning(config.flag("guidance_embed", False))),
        stack(start() if config.flag("cond_embed", False) else flux_start()),
        stack(double_stream(joint, ffn, text_ffn), config.count("depth"), tokens=JOINT),
        stack(
            single_stream(alone, FeedForward("gelu_pytorch_tanh", bias=True, down_bias=False)),
            config.count("depth_single_blocks"),
            {"n": 3.0},
            TOGETHER,
        ),
        stack(end(), sizes={"n": 2.0}),
    )
    return denoiser(config, sizes, stacks, latent_of(patch))
