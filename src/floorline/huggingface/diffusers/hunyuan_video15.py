"""HunyuanVideo 1.5: fifty-four layers of two streams; the second one is a text, the letters to be drawn, and a picture.

The text is refined as in HunyuanVideo; what a byte-level T5 makes of letters to be drawn, 256 tokens, and what a vision encoder
makes of a picture, 729, follow it: both are computed whether there are any or not, and masked. Nobody reads the second stream
of the last layer. Attention is full: its authors' own sparse one ("selective and sliding tile") is not in the library.

Sources: Wu et al. 2025, arXiv:2511.18870; diffusers 0.42, models/transformers/transformer_hunyuan_video15.py;
its pipeline, pipelines/hunyuan_video1_5/pipeline_hunyuan_video1_5.py, for all lengths.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_head import adaptive_head
from floorline.blocks.conditioning import summed, two_matmuls
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.joint_attention import JOINT, JointAttention
from floorline.blocks.norm import LAYER_NORM
from floorline.huggingface.config import Config, rounded
from floorline.huggingface.diffusers.common import denoiser, ignored, stack
from floorline.huggingface.diffusers.hunyuan_video import (
    NOISE_PATCH,
    doubles,
    head_norm,
    start,
    text_stacks,
    video_sizes,
)
from floorline.op import Op, contraction, elementwise, view
from floorline.specs.latent import Latent
from floorline.transformer import Transformer

EVERYTHING = "M + b + a"
"""Tokens beside the video: of the text, of the letters to be drawn, of the picture."""


@cache
def conditioning(spans: bool, guided: bool = False) -> Block:
    """The time's vector.

    spans   whether a second time, where the step ends, is added: a mean flow
    guided  whether the guidance is distilled, and added

    >>> conditioning(True).ops[-1].name
    'condition'
    """
    added = (*(("until",) if spans else ()), *(("guided",) if guided else ()))
    vectors = ("time[Bv]", *(f"{name}[Bv]" for name in added))
    ops = (
        *two_matmuls("time", "waves[Bw]", "time[Bv]" if added else "vec[Bv]", "silu"),
        *(op for name in added for op in two_matmuls(name, f"{name}_waves[Bw]", f"{name}[Bv]", "silu")),
        *(summed("condition", vectors, "vec[Bv]") if added else ()),
    )
    data = " ".join(("waves[Bw]", *(f"{name}_waves[Bw]" for name in added)))
    return block("conditioning", "", ops, "vec", data=data)


def glyphs() -> tuple[Op, ...]:
    """Letters to be drawn, as a byte-level T5 leaves them, to the model's width: three matmuls, two inside 2048 wide.

    >>> [str(op.outputs[0]) for op in glyphs()][-1]
    'letters[BbD]'
    """
    return (
        LAYER_NORM.op("glyph_norm", "glyphs", "gn", "Bbg", "g"),
        contraction("glyph_up", "gn[Bbg] Wglyph_up[gq] -> gu[Bbq]", bias=True),
        elementwise("glyph_act", "gu[Bbq] -> gm[Bbq]", "gelu"),
        contraction("glyph_mid", "gm[Bbq] Wglyph_mid[qz] -> gv[Bbz]", bias=True),
        elementwise("glyph_act2", "gv[Bbz] -> gw[Bbz]", "gelu"),
        contraction("glyph_down", "gw[Bbz] Wglyph_down[zD] -> letters[BbD]", bias=True),
    )


@cache
def conditions() -> Block:
    """All that stands beside the video: each at the model's width, then joined, with a vector that says which it is.

    Letters: ``b`` tokens of the letters to be drawn, ``a`` of the picture, N of all; ``g`` and ``p`` their widths, ``q`` and ``z``
    inside the first one's three matmuls, ``y`` inside the second one's two; Y kinds, three.

    >>> [op.name for op in conditions().ops][-2:]
    ['join', 'kind']
    """
    ops = (
        *glyphs(),
        LAYER_NORM.op("seen_norm", "seen", "sn", "Bap", "p"),
        *two_matmuls("seen", "sn[Bap]", "sd[BaD]", "gelu", inner="y"),
        LAYER_NORM.op("seen_norm_out", "sd", "picture", "BaD", "D"),
        view("join", "c[BMD] letters[BbD] picture[BaD] -> j[BND]"),
        elementwise("kind", "j[BND] Wkind[YD] -> z[BND]", "add_table"),
    )
    return block("conditions", "c[BMD]", ops, "z", data="glyphs[Bbg] seen[Bap]")


def read(config: Config) -> Transformer:
    """A configuration of HunyuanVideo15Transformer3DModel.

    >>> read(Config({}, "hunyuanvideo-1.5")).parameter_count().total
    8326608160.0
    """
    sizes = video_sizes(config, 16.0, 65.0, 32.0, 1.0)
    seen, wanted = config.size("image_embed_dim", 1152.0), config.size("target_size", 640.0)
    sizes |= {"e": config.size("text_embed_dim", 3584.0), "g": config.size("text_embed_2_dim", 1472.0)}
    sizes |= {"p": seen, "y": seen, "q": 2048.0, "z": 2048.0, "Y": 3.0, "b": 256.0, "a": 729.0}
    ignored(config, "task_type")
    norm = head_norm(config, nullable=False)
    joint = JointAttention(head_norm=norm, text_norm=norm, rotary="picture")
    ffn, text_ffn = (FeedForward("gelu_pytorch_tanh", bias=True, name=name) for name in ("", "c"))
    tokens = (("M", EVERYTHING), *JOINT)
    count = config.count("num_layers", 54.0, least=1.0)
    stacks = (
        stack(conditioning(config.flag("use_meanflow", False))),
        stack(start()),
        *text_stacks(config.count("num_refiner_layers", 2.0, least=1.0), sizes["D"]),
        stack(conditions(), tokens=(("N", EVERYTHING),), whole="M"),
        *doubles(count, joint, ffn, text_ffn, read=False, tokens=tokens),
        stack(adaptive_head(NOISE_PATCH), sizes={"n": 2.0}),
    )
    # 16:9 in whole latents, with about as many pixels as a square of the target size
    height, width = rounded(wanted * 0.75 / 16.0) * 16.0, rounded(wanted / 0.75 / 16.0) * 16.0
    latent = Latent(
        down=16,
        frames=4,
        first=1,
        patch=sizes["i"],
        patch_frames=sizes["l"],
        height=height,
        width=width,
        length=121,
        text=1000,
    )
    return denoiser(config, sizes, stacks, latent)
