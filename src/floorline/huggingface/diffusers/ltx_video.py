"""LTX-Video: few tokens of many channels, text by cross-attention, one modulation for all layers plus a table for each.

A latent is 32 × 32 pixels of 8 frames. Layers are PixArt's, with rotary positions and norms of queries and keys.

Sources: HaCohen et al. 2024, arXiv:2501.00103; diffusers 0.42, models/transformers/transformer_ltx.py and
pipelines/ltx/pipeline_ltx.py.
"""

from __future__ import annotations

from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.cross_attention import CrossAttention
from floorline.blocks.norm import RMS_NORM, Norm
from floorline.errors import BadInput
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers.common import WAVES, denoiser, feed_forward, heads, ignored, optional, same, stack
from floorline.huggingface.diffusers.pixart import caption, conditioning, end, layer, start
from floorline.specs.latent import Latent
from floorline.transformer import Transformer

ALL_HEADS = HeadNorm(RMS_NORM, scale="KGH", over="KGH")
NORM = "rms_norm_across_heads"
ROWS = Norm("rms_norm", weight=False)


def read(config: Config) -> Transformer:
    """A configuration of LTXVideoTransformer3DModel; its channels are those of a whole patch.

    >>> small = {"num_layers": 28, "num_attention_heads": 32, "attention_head_dim": 64}
    >>> read(Config(small, "ltx-video-2b")).parameter_count().total
    1923385472.0
    """
    sizes = heads(config, 32.0, 64.0)
    wide, channels, made = sizes["D"], config.size("in_channels", 128.0), optional(config, "out_channels", 128.0)
    same(config, "cross_attention_dim", config.size("cross_attention_dim", 2048.0), wide)
    sizes |= {"F": 4.0 * wide, "v": wide, "u": wide, "d": wide, "n": 6.0, "w": WAVES}
    sizes |= {"e": config.size("caption_channels", 4096.0)}
    sizes |= {"c": channels, "o": channels if made is None else made, "i": 1.0, "j": 1.0}
    bias, out_bias = config.flag("attention_bias", True), config.flag("attention_out_bias", True)
    block_of = layer(
        Attention(bias=bias, out_bias=out_bias, rotary=True, head_norm=ALL_HEADS, cached=False),
        CrossAttention(bias=bias, out_bias=out_bias, cached=False, width="d", head_norm=ALL_HEADS),
        feed_forward(config, "gelu-approximate"),
        RMS_NORM if config.flag("norm_elementwise_affine", False) else ROWS,
    )
    if config.text("qk_norm", NORM) != NORM:
        raise BadInput(f"{config.name}: qk_norm is {str(config.get('qk_norm'))[:40]!r}; expected {NORM!r}")
    ignored(config, "norm_eps")
    stacks = (
        stack(conditioning(False)),
        stack(start()),
        stack(caption(), whole="M"),
        stack(block_of, config.count("num_layers", 28.0, least=1.0), whole="M"),
        stack(end(), sizes={"n": 2.0}),
    )
    latent = Latent(
        down=32,
        frames=8,
        first=1,
        patch=config.size("patch_size", 1.0),
        patch_frames=config.size("patch_size_t", 1.0),
        height=512,
        width=704,
        length=161,
        text=128,
    )
    return denoiser(config, sizes, stacks, latent)
