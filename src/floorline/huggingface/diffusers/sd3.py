"""Stable Diffusion 3 and 3.5: layers of two streams; in 3.5-medium the first of them attend to the picture alone once more.

The last layer has no way back to the text: its text is projected and attended to, and nobody reads what becomes of it.

Sources: Esser et al. 2024, arXiv:2403.03206, section 4 and figure 2; diffusers 0.42, models/transformers/transformer_sd3.py,
models/attention.py, JointTransformerBlock; models/normalization.py, SD35AdaLayerNormZeroX.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from floorline.block import Block, block
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.double_stream import double_stream
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.joint_attention import JOINT, JointAttention
from floorline.blocks.norm import LAYER_NORM, PLAIN_NORM, RMS_NORM
from floorline.blocks.patchify import patchify
from floorline.errors import BadInput
from floorline.huggingface.config import Config, as_whole
from floorline.huggingface.diffusers.common import WAVES, denoiser, heads, optional, same, stack
from floorline.huggingface.diffusers.flux import conditioning, end
from floorline.op import contraction, elementwise
from floorline.specs.latent import Latent
from floorline.transformer import Stack, Transformer

HEAD_NORMS = {
    "rms_norm": HeadNorm(RMS_NORM),
    "layer_norm": HeadNorm(LAYER_NORM),
    "fp32_layer_norm": HeadNorm(PLAIN_NORM),
}
"""Words of ``qk_norm`` (models/attention_processor.py, Attention, of those with a second stream) → norm of queries and keys."""
ALONE = (*JOINT, ("N", "T"))
"""Beside the joint sequence, the picture's tokens as keys."""


@cache
def start() -> Block:
    """Patches with a table of positions that is computed, not learned; the text brought to the model's width.

    >>> [op.name for op in start().ops]
    ['patch', 'positions', 'context']
    """
    ops = (
        patchify(target="patches"),
        elementwise("positions", "patches[BTD] table[TD] -> x[BTD]", "add", linear=True),
        contraction("context", "text[BMe] Wcontext[eD] -> c[BMD]", bias=True),
    )
    return block("embedding", "", ops, "x c", data="latent[BTcij] table[TD] text[BMe]")


def head_norm(config: Config) -> HeadNorm | None:
    """The norm of queries and keys that a word names.

    raises BadInput for a word that the class does not know
    """
    word = config.get("qk_norm")
    if word is not None and str(word) not in HEAD_NORMS:
        raise BadInput(f"{config.name}: qk_norm is {str(word)[:40]!r}; expected null or one of {', '.join(HEAD_NORMS)}")
    return None if word is None else HEAD_NORMS[str(word)]


def dual_layers(config: Config, count: float) -> frozenset[float]:
    """Numbers of the layers that attend to the picture alone once more.

    raises BadInput for what is no list of whole numbers

    >>> sorted(dual_layers(Config({"dual_attention_layers": [0, 1, 30]}, "sd3.5"), 24.0))
    [0.0, 1.0]
    """
    listed = config.get("dual_attention_layers")
    given = () if listed is None else listed
    whole = [as_whole(x, 0.0) for x in given] if isinstance(given, (list, tuple)) else [None]
    if None in whole:
        shown = str(listed)[:40]
        raise BadInput(f"{config.name}: dual_attention_layers is {shown!r}; expected a list of layers, such as [0, 1]")
    return frozenset(x for x in whole if x is not None and x < count)


def layers(config: Config) -> tuple[Stack, ...]:
    """The layers by kind: those with further attention first, the last one without the text's way back."""
    count, norm = config.count("num_layers", 18.0, least=1.0), head_norm(config)
    ffn, text_ffn = (FeedForward("gelu_pytorch_tanh", bias=True, name=name) for name in ("", "c"))
    dual, last = dual_layers(config, count), count - 1.0
    own = Attention(bias=True, out_bias=True, head_norm=norm, cached=False, name="own")
    found = []
    for second in (own, None):
        vectors = 9.0 if second else 6.0
        inner = len(dual - {last}) if second else last - len(dual - {last})
        if inner > 0.0:
            joint = JointAttention(head_norm=norm, text_norm=norm)
            found.append(
                stack(
                    double_stream(joint, ffn, text_ffn, second=second),
                    float(inner),
                    {"n": vectors, "m": 6.0},
                    ALONE if second else JOINT,
                )
            )
    second = own if last in dual else None
    joint = JointAttention(head_norm=norm, text_norm=norm, text_out=False)
    sizes = {"n": 9.0 if second else 6.0, "m": 2.0}
    found.append(
        stack(double_stream(joint, ffn, None, second=second, name="last"), 1.0, sizes, ALONE if second else JOINT)
    )
    return tuple(found)


def read(config: Config) -> Transformer:
    """A configuration of SD3Transformer2DModel.

    >>> medium = {"num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536, "pos_embed_max_size": 192}
    >>> read(Config(medium, "sd3-medium")).parameter_count().total
    2028328000.0
    """
    sizes = heads(config, 18.0, 64.0)
    wide, channels, patch = sizes["D"], config.size("in_channels", 16.0), config.size("patch_size", 2.0)
    made, positions = optional(config, "out_channels", 16.0), optional(config, "pos_embed_max_size", 96.0)
    same(config, "caption_projection_dim", config.size("caption_projection_dim", 1152.0), wide)
    sizes |= {"F": 4.0 * wide, "v": wide, "u": wide, "w": WAVES, "c": channels, "i": patch, "j": patch}
    sizes |= {"o": channels if made is None else made, "e": config.size("joint_attention_dim", 4096.0)}
    sizes |= {"p": config.size("pooled_projection_dim", 2048.0)}
    side = config.size("sample_size", 128.0) * 8.0
    stacks = (stack(conditioning(False)), stack(start()), *layers(config), stack(end(), sizes={"n": 2.0}))
    latent = Latent(patch=patch, height=side, width=side, text=333)
    found = denoiser(config, sizes, stacks, latent)
    return found if positions is None else replace(found, buffers=positions * positions * wide)
