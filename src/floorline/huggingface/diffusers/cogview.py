"""What CogView3-Plus and CogView4 share: sizes, the picture and its text, the condition of time, sizes and crop.

Source: diffusers 0.42, models/transformers/transformer_cogview3plus.py and transformer_cogview4.py; models/embeddings.py,
CogView3CombinedTimestepSizeEmbeddings.
"""

from __future__ import annotations

from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.norm import PLAIN_NORM
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers.common import heads
from floorline.num import Num
from floorline.specs.latent import Latent

CONDITIONS = 6.0
"""Height and width of the original, of the crop's corner and of the target (SDXL, arXiv:2307.01952, section 2.2)."""
TEXT_LEN = 224
"""Tokens of a text in CogView3-Plus' pipeline; CogView4's are as long as the text, up to 1024."""
ATTENTION = Attention(bias=True, out_bias=True, head_norm=HeadNorm(PLAIN_NORM), cached=False)
FEED_FORWARD = FeedForward("gelu_pytorch_tanh", bias=True)


def sizes_of(config: Config) -> dict[str, Num]:
    """Letters of either class; the time has as many waves as the model is wide.

    >>> sizes_of(Config({"condition_dim": 256}, "cogview4"))["p"]
    1536.0
    """
    sizes = heads(config, 64.0, 40.0)
    wide, patch, time = sizes["D"], config.size("patch_size", 2.0), config.size("time_embed_dim", 512.0)
    sizes |= {"F": 4.0 * wide, "v": time, "u": time, "w": wide, "a": 2.0, "n": 6.0, "i": patch, "j": patch}
    sizes |= {"c": config.size("in_channels", 16.0), "o": config.size("out_channels", 16.0)}
    sizes |= {"e": config.size("text_embed_dim", 4096.0), "p": CONDITIONS * config.size("condition_dim", 256.0)}
    return sizes


def latent_of(config: Config, sizes: dict[str, Num]) -> Latent:
    """Pixels, latents and tokens of either class."""
    side = config.size("sample_size", 128.0) * 8.0
    return Latent(patch=sizes["i"], height=side, width=side, text=TEXT_LEN)
