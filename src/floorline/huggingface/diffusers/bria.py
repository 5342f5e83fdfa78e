"""Bria 3: FLUX without a pooled text and without guidance.

Sources: Bria 2025, huggingface.co/briaai/BRIA-3.2; diffusers 0.42, models/transformers/transformer_bria.py and
pipelines/bria/pipeline_bria.py.
"""

from __future__ import annotations

from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.double_stream import double_stream, single_stream
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.joint_attention import JOINT, JointAttention
from floorline.blocks.norm import RMS_NORM
from floorline.errors import BadInput
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers.aura_flow import conditioning
from floorline.huggingface.diffusers.common import WAVES, denoiser, heads, ignored, stack
from floorline.huggingface.diffusers.flux import TOGETHER, end, start
from floorline.specs.latent import Latent
from floorline.transformer import Stack, Transformer

HEAD_NORM = HeadNorm(RMS_NORM)


def layers(config: Config) -> tuple[Stack, ...]:
    """Layers of two streams, then of one; where none of one follows, the last one's text is computed for nothing.

    raises BadInput where there is none
    """
    two, one = config.count("num_layers", 19.0), config.count("num_single_layers", 38.0)
    if not two + one:
        raise BadInput(f"{config.name}: no layers; expected num_layers or num_single_layers of 1 or more")
    ffn, text_ffn = (FeedForward("gelu_pytorch_tanh", bias=True, name=name) for name in ("", "c"))
    joint = JointAttention(head_norm=HEAD_NORM, text_norm=HEAD_NORM, rotary="both")
    alone = Attention(bias=True, out_bias=True, rotary=True, head_norm=HEAD_NORM, cached=False)
    followed = two if one else two - 1.0
    found = []
    if followed > 0.0:
        found.append(stack(double_stream(joint, ffn, text_ffn), followed, tokens=JOINT))
    if followed < two:
        found.append(stack(double_stream(joint, ffn, text_ffn, read=False), 1.0, tokens=JOINT))
    if one:
        both = single_stream(alone, FeedForward("gelu_pytorch_tanh", bias=True, down_bias=False))
        found.append(stack(both, one, {"n": 3.0}, TOGETHER))
    return tuple(found)


def read(config: Config) -> Transformer:
    """A configuration of BriaTransformer2DModel; with guidance, the class itself cannot be built.

    >>> read(Config({"num_attention_heads": 24}, "bria")).parameter_count().total
    11879375936.0
    """
    sizes = heads(config, 24.0, 128.0)
    wide, channels, patch = sizes["D"], config.size("in_channels", 64.0), config.size("patch_size", 1.0)
    if config.flag("guidance_embeds", False):
        raise BadInput(
            f"{config.name}: guidance_embeds is true, which diffusers' class cannot be built with; expected false"
        )
    sizes |= {"F": 4.0 * wide, "v": wide, "u": wide, "w": WAVES, "n": 6.0, "m": 6.0}
    sizes |= {"c": channels, "i": 1.0, "j": 1.0, "o": channels, "e": config.size("joint_attention_dim", 4096.0)}
    ignored(config, "pooled_projection_dim", "axes_dims_rope", "rope_theta", "time_theta")
    stacks = (
        stack(conditioning()),
        stack(start()),
        *layers(config),
        stack(end(), sizes={"n": 2.0, "i": patch, "j": patch}),
    )
    return denoiser(config, sizes, stacks, Latent(patch=2, text=128))
