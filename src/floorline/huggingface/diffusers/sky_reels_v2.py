"""SkyReels-V2: Wan's layers, and in some models the frames of a second as one more condition.

A step has one time for each video; pipelines that force diffusion frame by frame embed one for each frame. A mask that lets
frames see earlier ones only is computed as the full rectangle, as the library does.

Sources: Chen et al. 2025, arXiv:2504.13074; diffusers 0.42, models/transformers/transformer_skyreels_v2.py and
pipelines/skyreels_v2/pipeline_skyreels_v2.py.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import modulation
from floorline.blocks.conditioning import two_matmuls
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers import wan
from floorline.huggingface.diffusers.common import denoiser, ignored, stack
from floorline.huggingface.diffusers.pixart import caption, conditioning
from floorline.op import elementwise, lookup
from floorline.transformer import Transformer


@cache
def paced() -> Block:
    """The modulation of all layers, of the time and of the frames of a second, one of Y rates.

    >>> [op.flops()[0].formula() for op in paced().ops if op.flops()][-2:]
    ['2·B·v·u', '2·B·u·n·D']
    """
    ops = (
        *two_matmuls("time", "waves[Bw]", "vec[Bv]", "silu"),
        *modulation("mod", "vec", "timed"),
        lookup("rate", "rate_ids[B] Wrate[Yv] -> rate[Bv]", "Y", "min(B/Y, 1)", embeds=False),
        *two_matmuls("pace", "rate[Bv]", "paced[BnD]", "silu"),
        elementwise("condition", "timed[BnD] paced[BnD] -> all[BnD]", "add", linear=True),
    )
    return block("conditioning", "rate_ids[B]", ops, "all vec", data="waves[Bw]")


def read(config: Config) -> Transformer:
    """A configuration of SkyReelsV2Transformer3DModel.

    >>> small = {"num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960}
    >>> read(Config(small, "skyreels-v2")).parameter_count().total  # those of Wan 2.1 1.3B
    1418996800.0
    """
    sizes = wan.letters(config, 16.0, 8192.0) | {"Y": 2.0}
    shown = wan.pictures(config, sizes["D"])
    cross = wan.TO_BOTH if shown else wan.TO_TEXT
    block_of, whole = wan.layer(cross, config.flag("cross_attn_norm", True)), "MN" if shown else "M"
    ignored(config, "num_frame_per_block")
    stacks = (
        stack(paced() if config.flag("inject_sample_info", False) else conditioning(False)),
        stack(wan.start()),
        stack(caption(), whole="M"),
        *shown,
        stack(block_of, config.count("num_layers", 32.0, least=1.0), wan.seen_with(shown), whole=whole),
        stack(wan.end(), sizes={"n": 2.0}),
    )
    return denoiser(config, sizes, stacks, wan.latent(sizes, 544.0, 960.0, 97.0))
