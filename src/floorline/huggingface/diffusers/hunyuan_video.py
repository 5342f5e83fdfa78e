"""HunyuanVideo: two layers that refine the text, twenty of two streams, forty of one.

Every query is turned, where the library leaves the text's as they are: a copy costs what a rotation does.

Sources: Kong et al. 2024, arXiv:2412.03603; diffusers 0.42,
models/transformers/transformer_hunyuan_video.py; its pipeline, pipelines/hunyuan_video/pipeline_hunyuan_video.py.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_head import adaptive_head
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.conditioning import summed, two_matmuls
from floorline.blocks.double_stream import OWN, TIMES, double_stream, single_stream
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.joint_attention import JOINT, JointAttention
from floorline.blocks.norm import LAYER_NORM, PLAIN_NORM, RMS_NORM
from floorline.blocks.patchify import patchify
from floorline.blocks.token_refiner import TEXT_ALONE, refiner, refiner_start
from floorline.errors import BadInput
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers.common import WAVES, denoiser, heads, ignored, optional, scaled, stack
from floorline.huggingface.diffusers.flux import TOGETHER
from floorline.num import Num
from floorline.specs.latent import Latent
from floorline.transformer import Stack, Transformer

VIDEO_PATCH = "clij"
NOISE_PATCH = "lijo"
HEAD_NORMS = {
    "rms_norm": HeadNorm(RMS_NORM),
    "layer_norm": HeadNorm(LAYER_NORM),
    "fp32_layer_norm": HeadNorm(PLAIN_NORM),
}
"""diffusers' names of norms of queries and keys that both streams can have; the last has nothing to learn."""
CONDITIONS = (None, "latent_concat", "token_replace")
"""How a first frame is given: not at all, as further channels, or in place of the noise, with a time of its own."""


def head_norm(config: Config, nullable: bool = True) -> HeadNorm | None:
    """The norm of queries and keys.

    nullable  whether there may be none: null

    raises BadInput for one that the class cannot have

    >>> head_norm(Config({"qk_norm": None}, "tiny")) is None
    True
    """
    word = config.get("qk_norm") if "qk_norm" in config.values else "rms_norm"
    if nullable and word is None:
        return None
    if not isinstance(word, str) or word not in HEAD_NORMS:
        raise BadInput(f"{config.name}: qk_norm is {str(word)[:40]!r}; expected one of {', '.join(HEAD_NORMS)}")
    return HEAD_NORMS[word]


@cache
def conditioning(guided: bool, clean: bool) -> Block:
    """The vector that conditions all layers: of the time, the guidance where that is distilled, and the pooled text.

    clean  whether the first frame's tokens have a vector of their own, of time zero

    >>> [t.name for t in conditioning(True, False).inputs]
    ['waves', 'pooled', 'guidance']
    """
    rows = "Br" if clean else "B"
    guidance = two_matmuls("guidance", "guidance[Bw]", "guided[Bv]", "silu") if guided else ()
    parts = (f"time[{rows}v]", *(("guided[Bv]",) if guided else ()), "about[Bv]")
    ops = (
        *two_matmuls("time", f"waves[{rows}w]", f"time[{rows}v]", "silu"),
        *two_matmuls("pooled", "pooled[Bp]", "about[Bv]", "silu"),
        *guidance,
        *summed("condition", parts, f"vec[{rows}v]"),
    )
    data = f"waves[{rows}w] pooled[Bp]" + (" guidance[Bw]" if guided else "")
    return block("conditioning", "", ops, "vec", data=data)


@cache
def start() -> Block:
    """Latents of a video to tokens.

    >>> start().ops[0].flops()[0].formula()
    '2·B·T·c·l·i·j·D'
    """
    return block("patches", "", (patchify(patch=VIDEO_PATCH),), "x", data=f"latent[BT{VIDEO_PATCH}]")


def text_stacks(count: float, wide: Num) -> tuple[Stack, ...]:
    """The token refiner, whose layers' inner width is always four times the model's."""
    layers = stack(refiner(), count, {"n": 2.0, "F": 4.0 * wide}, TEXT_ALONE, "T")
    return (stack(refiner_start(), tokens=TEXT_ALONE, whole="T"), layers)


def video_sizes(config: Config, count: float, channels: float, made: float, patch: float) -> dict[str, Num]:
    """Letters of a model of this family that do not depend on what its text is.

    count, channels, made, patch  what the class has where its keys are left out
    """
    side = config.size("patch_size", patch)
    patches = {"i": side, "j": side, "l": config.size("patch_size_t", 1.0)}
    return {**common_sizes(config, count, channels, made), **patches}


def common_sizes(config: Config, count: float, channels: float, made: float) -> dict[str, Num]:
    """The same without the patches."""
    sizes = heads(config, count, 128.0)
    wide, given = sizes["D"], config.size("in_channels", channels)
    out = optional(config, "out_channels", made)
    sizes |= {"F": scaled(wide, config.values.get("mlp_ratio", 4.0), config), "v": wide, "u": wide, "w": WAVES}
    sizes |= {"c": given, "o": given if out is None else out, "n": 6.0, "m": 6.0, "r": 2.0}
    ignored(config, "mlp_ratio", "rope_theta", "rope_axes_dim")
    return sizes


def read(config: Config) -> Transformer:
    """A configuration of HunyuanVideoTransformer3DModel.

    >>> read(Config({}, "hunyuanvideo")).parameter_count().total
    12821012544.0
    """
    sizes = video_sizes(config, 24.0, 16.0, 16.0, 2.0)
    sizes |= {"e": config.size("text_embed_dim", 4096.0), "p": config.size("pooled_projection_dim", 768.0)}
    kind = config.get("image_condition_type")
    if kind not in CONDITIONS:
        raise BadInput(
            f"{config.name}: image_condition_type is {str(kind)[:40]!r}; expected null, latent_concat or token_replace"
        )
    clean, norm = kind == "token_replace", head_norm(config)
    by = TIMES if clean else OWN
    joint, ffn, text_ffn, alone, single_ffn = streams(norm)
    count, singles = config.count("num_layers", 20.0), config.count("num_single_layers", 40.0)
    stacks = (
        stack(conditioning(config.flag("guidance_embeds", True), clean)),
        stack(start()),
        *text_stacks(config.count("num_refiner_layers", 2.0, least=1.0), sizes["D"]),
        *doubles(count, joint, ffn, text_ffn, by=by, read=singles > 0.0),
        stack(single_stream(alone, single_ffn, by=by), singles, {"n": 3.0}, TOGETHER),
        stack(adaptive_head(NOISE_PATCH), sizes={"n": 2.0}),
    )
    latent = Latent(
        frames=4, first=1, patch=sizes["i"], patch_frames=sizes["l"], height=720, width=1280, length=129, text=256
    )
    return denoiser(config, sizes, stacks, latent)


def streams(norm: HeadNorm | None) -> tuple[JointAttention, FeedForward, FeedForward, Attention, FeedForward]:
    """Parts of layers of two streams (attention, the picture's feed-forward network, the text's) and of one.

    >>> streams(None)[4].down_bias
    False
    """
    ffn, text_ffn = (FeedForward("gelu_pytorch_tanh", bias=True, name=name) for name in ("", "c"))
    return (
        JointAttention(head_norm=norm, text_norm=norm, rotary="picture"),
        ffn,
        text_ffn,
        Attention(bias=True, out_bias=True, rotary=True, head_norm=norm, cached=False),
        FeedForward("gelu_pytorch_tanh", bias=True, down_bias=False),
    )


def doubles(
    count: float,
    joint: JointAttention,
    ffn: FeedForward,
    text_ffn: FeedForward,
    *,
    by: str = OWN,
    read: bool = True,
    tokens: tuple[tuple[str, str], ...] = JOINT,
) -> tuple[Stack, ...]:
    """Layers of two streams; where no layer of one stream follows, nobody reads the text of the last one.

    >>> gelu, text = FeedForward("gelu"), FeedForward("gelu", name="c")
    >>> [s.block.outputs for s in doubles(60.0, JointAttention(), gelu, text, read=False)]
    [('y', 'z'), ('y',)]
    """
    layers = stack(double_stream(joint, ffn, text_ffn, by=by), count if read else count - 1.0, tokens=tokens)
    if read or count < 1.0:
        return (layers,) if count > 0.0 else ()
    last = stack(double_stream(joint, ffn, text_ffn, by=by, read=False, name="last"), tokens=tokens)
    return (layers, last) if count > 1.0 else (last,)
