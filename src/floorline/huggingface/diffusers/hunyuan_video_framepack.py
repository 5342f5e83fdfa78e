"""FramePack on HunyuanVideo: a video is made section by section, and each sees earlier frames, the older the coarser.

Frames are those of one section, 33, which are nine latents. Beside them the pipeline gives two clean latents in tokens of two by
two, two in tokens of two frames by four by four, sixteen in tokens of four by eight by eight, and 729 tokens of a picture with
the text. With "token_replace" a vector of time zero is made, which nobody reads.

Sources: Zhang and Agrawala 2025, arXiv:2504.12626; diffusers 0.42, models/transformers/
transformer_hunyuan_video_framepack.py; its pipeline, pipelines/hunyuan_video/pipeline_hunyuan_video_framepack.py.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_head import adaptive_head
from floorline.blocks.conditioning import two_matmuls
from floorline.blocks.double_stream import single_stream
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers import hunyuan_video
from floorline.huggingface.diffusers.common import denoiser, stack
from floorline.huggingface.diffusers.hunyuan_video import (
    NOISE_PATCH,
    doubles,
    head_norm,
    start,
    streams,
    text_stacks,
    video_sizes,
)
from floorline.op import view
from floorline.specs.latent import Latent
from floorline.transformer import Stack, Transformer

PAST = (
    ("2*floor(latent_h/2)*floor(latent_w/2)", 1.0, 2.0),
    ("ceil(latent_h/4)*ceil(latent_w/4)", 2.0, 4.0),
    ("4*ceil(latent_h/8)*ceil(latent_w/8)", 4.0, 8.0),
)
"""Tokens of what is past, near to far, and frames and latents along each side that are one token."""


@cache
def conditioning(guided: bool, clean: bool) -> Block:
    """HunyuanVideo's vector.

    clean  whether one of time zero is made too, by the same weights, for nobody

    >>> conditioning(False, True).outputs
    ('vec',)
    """
    plain = hunyuan_video.conditioning(guided, False)
    if not clean:
        return plain
    again = two_matmuls("zero", "zero_waves[Bw]", "zero[Bv]", "silu")
    same = {t.name: t.name.replace("zero", "time") for op in again for t in op.weights}
    data = " ".join(("zero_waves[Bw]", *map(str, plain.inputs)))
    return block("conditioning", "", (*plain.ops, *(op.renamed(same) for op in again)), "vec", data=data)


@cache
def picture() -> Block:
    """A picture's tokens to the model's width, before the text; ``y`` is three times that width."""
    ops = (
        *two_matmuls("seen", "seen[Bap]", "picture[BaD]", "silu", inner="y"),
        view("join", "picture[BaD] c[BMD] -> z[BND]"),
    )
    return block("picture", "c[BMD]", ops, "z", data="seen[Bap]")


def past() -> tuple[Stack, ...]:
    """Embeddings of what is past.

    >>> [s.tokens[0][1] for s in past()][1]
    'ceil(latent_h/4)*ceil(latent_w/4)'
    """
    return tuple(
        stack(start(), sizes={"l": frames, "i": side, "j": side}, tokens=(("T", count),))
        for count, frames, side in PAST
    )


def read(config: Config) -> Transformer:
    """A configuration of HunyuanVideoFramepackTransformer3DModel.

    >>> framepack = {"has_image_proj": True, "has_clean_x_embedder": True}
    >>> read(Config(framepack, "framepack")).parameter_count().total
    12874314816.0
    """
    sizes = video_sizes(config, 24.0, 16.0, 16.0, 2.0)
    sizes |= {"e": config.size("text_embed_dim", 4096.0), "x": config.size("pooled_projection_dim", 768.0)}
    sizes |= {"p": config.size("image_proj_dim", 1152.0), "y": 3.0 * sizes["D"], "a": 729.0}
    guided, clean = config.flag("guidance_embeds", True), config.get("image_condition_type") == "token_replace"
    seen, before = config.flag("has_image_proj", False), config.flag("has_clean_x_embedder", False)
    joint, ffn, text_ffn, alone, single_ffn = streams(head_norm(config))
    count, singles = config.count("num_layers", 20.0), config.count("num_single_layers", 40.0)
    more = "".join(f" + {tokens}" for tokens, _, _ in PAST) if before else ""
    text = (("M", "M + a"),) if seen else ()
    both = (*text, ("W", f"T{more} + M"), ("S", f"S{more} + M"), ("T", f"T{more}"))
    together = (*text, ("T", f"T{more} + M"), ("S", f"S{more} + M"))
    stacks = (
        stack(conditioning(guided, clean), sizes={"p": sizes["x"]}),
        stack(start()),
        *(past() if before else ()),
        *text_stacks(config.count("num_refiner_layers", 2.0, least=1.0), sizes["D"]),
        *((stack(picture(), tokens=(("N", "M + a"),), whole="M"),) if seen else ()),
        *doubles(count, joint, ffn, text_ffn, read=singles > 0.0, tokens=both),
        stack(single_stream(alone, single_ffn), singles, {"n": 3.0}, together),
        stack(adaptive_head(NOISE_PATCH), sizes={"n": 2.0}),
    )
    latent = Latent(
        frames=4, first=1, patch=sizes["i"], patch_frames=sizes["l"], height=720, width=1280, length=33, text=256
    )
    return denoiser(config, sizes, stacks, latent)
