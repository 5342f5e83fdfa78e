"""HunyuanImage 2.1: HunyuanVideo's layers on pictures, with letters to be drawn beside the text where the model knows them.

A model with patches of three sides is the one that refines pictures: its latents have 16 pixels instead of 32.

Sources: Tencent Hunyuan 2025, github.com/Tencent-Hunyuan/HunyuanImage-2.1; diffusers 0.42,
models/transformers/transformer_hunyuanimage.py; its pipelines, pipelines/hunyuan_image, for the sizes of a picture and a text.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_head import adaptive_head
from floorline.blocks.double_stream import single_stream
from floorline.blocks.joint_attention import JOINT
from floorline.errors import BadInput
from floorline.huggingface.config import Config, as_whole
from floorline.huggingface.diffusers.common import denoiser, stack
from floorline.huggingface.diffusers.flux import TOGETHER
from floorline.huggingface.diffusers.hunyuan_video import (
    NOISE_PATCH,
    common_sizes,
    doubles,
    head_norm,
    start,
    streams,
    text_stacks,
)
from floorline.huggingface.diffusers.hunyuan_video15 import conditioning, glyphs
from floorline.op import view
from floorline.specs.latent import Latent
from floorline.transformer import Transformer


@cache
def letters() -> Block:
    """Letters to be drawn, at the model's width, before the text.

    >>> letters().outputs
    ('z',)
    """
    ops = (*glyphs(), view("join", "letters[BbD] c[BMD] -> z[BND]"))
    return block("letters", "c[BMD]", ops, "z", data="glyphs[Bbg]")


def patch(config: Config) -> tuple[float, float, bool]:
    """Latents of a token along a side and in frames, and whether these are said.

    raises BadInput where they are no two or three whole numbers, or where a token is no square

    >>> patch(Config({"patch_size": [1, 1, 1]}, "refiner"))
    (1.0, 1.0, True)
    """
    value = config.get("patch_size")
    given = [1, 1] if value is None else list(value) if isinstance(value, (list, tuple)) else []
    sides = [side for side in (as_whole(v, 1.0) for v in given) if side is not None]
    if len(sides) < len(given) or len(sides) not in (2, 3) or sides[-1] != sides[-2]:
        raise BadInput(
            f"{config.name}: patch_size is {str(value)[:40]!r}; expected height and width alike, as [1, 1] or [1, 1, 1]"
        )
    return sides[-1], sides[0] if len(sides) == 3 else 1.0, len(sides) == 3


def read(config: Config) -> Transformer:
    """A configuration of HunyuanImageTransformer2DModel.

    >>> read(Config({"text_embed_2_dim": 1472}, "hunyuanimage-2.1")).parameter_count().total
    17425795520.0
    """
    side, frames, deep = patch(config)
    sizes = common_sizes(config, 28.0, 64.0, 64.0)
    wide, drawn = sizes["D"], config.given("text_embed_2_dim")
    sizes |= {"i": side, "j": side, "l": frames, "e": config.size("text_embed_dim", 3584.0)}
    sizes |= {"g": 1.0 if drawn is None else drawn, "q": 2048.0, "z": 2048.0, "b": 128.0}
    joint, ffn, text_ffn, alone, single_ffn = streams(head_norm(config))
    joined = (("M", "M + b"),) if drawn is not None else ()
    count, singles = config.count("num_layers", 20.0), config.count("num_single_layers", 40.0)
    spans, guided = config.flag("use_meanflow", False), config.flag("guidance_embeds", False)
    stacks = (
        stack(conditioning(spans, guided)),
        stack(start()),
        *text_stacks(config.count("num_refiner_layers", 2.0, least=1.0), wide),
        *((stack(letters(), tokens=(("N", "M + b"),), whole="M"),) if drawn is not None else ()),
        *doubles(count, joint, ffn, text_ffn, read=singles > 0.0, tokens=(*joined, *JOINT)),
        stack(single_stream(alone, single_ffn), singles, {"n": 3.0}, (*joined, *TOGETHER)),
        stack(adaptive_head(NOISE_PATCH), sizes={"n": 2.0}),
    )
    if deep:
        return denoiser(config, sizes, stacks, Latent(down=16, patch=side, patch_frames=frames, text=256))
    return denoiser(config, sizes, stacks, Latent(down=32, patch=side, height=2048, width=2048, text=1000))
