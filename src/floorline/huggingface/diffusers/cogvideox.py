"""CogVideoX and CogVideoX 1.5: text and video are one sequence through the same weights; each has norms and gates of its own.

1.5 makes a token of several latent frames, the last one filled up; its picture-to-video model is told an offset too, one for the
whole batch.

Sources: Yang et al. 2024, arXiv:2408.06072, section 2.2 and figure 3; diffusers 0.42,
models/transformers/cogvideox_transformer_3d.py, models/embeddings.py, CogVideoXPatchEmbed, models/normalization.py,
CogVideoXLayerNormZero; pipelines/cogvideo/pipeline_cogvideox.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import modulated, modulation
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.conditioning import summed, two_matmuls
from floorline.blocks.joint_attention import JOINT
from floorline.blocks.norm import LAYER_NORM, PLAIN_NORM, Norm
from floorline.blocks.patchify import patchify, unpatchify
from floorline.blocks.shared_streams import shared_layer
from floorline.errors import BadInput
from floorline.huggingface.config import Config, rounded
from floorline.huggingface.diffusers.common import denoiser, feed_forward, heads, ignored, optional, stack
from floorline.num import Num, all_true
from floorline.op import Op, contraction, elementwise
from floorline.specs.latent import Latent
from floorline.transformer import Transformer


@cache
def conditioning(offset: bool, activation: str) -> Block:
    """The vector that conditions all layers: of the time, and of an offset that a whole batch shares.

    Letters: ``g`` width of the offset's waves, ``q`` inside its two matmuls, as wide.

    >>> [t.name for t in conditioning(True, "silu").inputs]
    ['waves', 'offset']
    """
    time = two_matmuls("time", "waves[Bw]", "time[Bv]" if offset else "vec[Bv]", activation)
    more = (
        *two_matmuls("offset", "offset[g]", "told[v]", activation, inner="q"),
        *summed("condition", ("time[Bv]", "told[v]"), "vec[Bv]"),
    )
    data = "waves[Bw]" + (" offset[g]" if offset else "")
    return block("conditioning", "", (*time, *(more if offset else ())), "vec", data=data)


@cache
def start(patch: str, positions: bool, bias: bool) -> Block:
    """Patches and text, with a table of positions for both where they are not turned into queries and keys.

    patch      letters of a patch
    positions  whether a table is added

    >>> [op.name for op in start("cij", False, True).ops]
    ['context', 'patch']
    """
    x, c = ("patches", "words") if positions else ("x", "c")
    ops: tuple[Op, ...] = (
        contraction("context", f"text[BMe] Wcontext[eD] -> {c}[BMD]", bias=True),
        patchify(target=x, patch=patch, bias=bias),
    )
    data = f"latent[BT{patch}] text[BMe]"
    if positions:
        ops += (
            elementwise("positions", "patches[BTD] table[TD] -> x[BTD]", "add", linear=True),
            elementwise("word_positions", "words[BMD] word_table[MD] -> c[BMD]", "add", linear=True),
        )
        data += " table[TD] word_table[MD]"
    return block("embedding", "", ops, "x c", data=data)


@cache
def end(norm: Norm, patch: str) -> Block:
    """A norm, a modulated norm, and the way back to latents; the text goes no further.

    >>> [op.name for op in end(PLAIN_NORM, "ijo").ops]
    ['norm', 'mod_act', 'mod', 'norm_out', 'unpatch']
    """
    ops = (
        norm.op("norm", "x", "h"),
        *modulation("mod", "vec", "mod"),
        modulated(norm).op("norm_out", "h", "ho"),
        unpatchify("ho", patch=patch),
    )
    return block("out", "x[BTD] vec[Bv]", ops, "noise")


def learned_positions(config: Config, wide: Num, patch: Num) -> Num:
    """Elements of a table of positions that checkpoints store; it is no parameter.

    raises BadInput for a learned table without rotary positions, which the class refuses
    """
    learned, rotary = (config.flag(f"use_{kind}_positional_embeddings", False) for kind in ("learned", "rotary"))
    frames, ratio = config.size("sample_frames", 49.0), config.size("temporal_compression_ratio", 4.0)
    text = config.size("max_text_seq_length", 226.0)
    if not learned:
        return 0.0
    if not rotary:
        raise BadInput(f"{config.name}: learned positions without rotary ones; the class has them only together")
    high, long = (
        rounded(config.size(f"sample_{side}", usual) / patch) for side, usual in (("height", 60.0), ("width", 90.0))
    )
    return wide * (text + high * long * (rounded((frames - 1.0) / ratio) + 1.0))


def added(config: Config, offset: Num, time: Num) -> None:
    """The offset's vector is added to the time's.

    raises BadInput where it is not as wide
    """
    if not all_true(np.equal(offset, time)):
        raise BadInput(
            f"{config.name}: ofs_embed_dim differs from time_embed_dim; their vectors are added, expected both alike"
        )


def latent_of(config: Config, patch: Num, deep: Num | None) -> Latent:
    """Sides as the configuration says, which the first generation was made for; 1.5 takes any, and is published at 768 × 1360."""
    height, width = config.size("sample_height", 60.0) * 8.0, config.size("sample_width", 90.0) * 8.0
    return Latent(
        frames=config.size("temporal_compression_ratio", 4.0),
        first=1,
        patch=patch,
        patch_frames=1 if deep is None else deep,
        height=height if deep is None else 768,
        width=width if deep is None else 1360,
        length=config.size("sample_frames", 49.0),
        text=config.size("max_text_seq_length", 226.0),
    )


def read(config: Config) -> Transformer:
    """A configuration of CogVideoXTransformer3DModel.

    >>> read(Config({"num_layers": 30}, "cogvideox-2b")).parameter_count().total
    1693783872.0
    """
    sizes = heads(config, 30.0, 64.0)
    wide, channels, patch = sizes["D"], config.size("in_channels", 16.0), config.size("patch_size", 2.0)
    deep, made = optional(config, "patch_size_t", None), config.size("out_channels", 16.0)
    time, offset = config.size("time_embed_dim", 512.0), config.given("ofs_embed_dim")
    sizes |= {"F": 4.0 * wide, "v": time, "u": time, "w": wide, "a": 2.0, "n": 3.0, "c": channels, "o": made}
    sizes |= {"i": patch, "j": patch, "l": 1.0 if deep is None else deep, "e": config.size("text_embed_dim", 4096.0)}
    if offset is not None:
        added(config, offset, time)
        sizes |= {"g": offset, "q": offset}
    rotary, learned = (config.flag(f"use_{kind}_positional_embeddings", False) for kind in ("rotary", "learned"))
    norm = LAYER_NORM if config.flag("norm_elementwise_affine", True) else PLAIN_NORM
    bias = config.flag("attention_bias", True)
    attention = Attention(bias=bias, out_bias=True, rotary=rotary, head_norm=HeadNorm(LAYER_NORM), cached=False)
    ffn, activation = feed_forward(config, "gelu-approximate"), config.activation("timestep_activation_fn", "silu")
    patch_bias = config.flag("patch_bias", True) or deep is not None  # 1.5's matmul has one whatever the key says
    ignored(config, "flip_sin_to_cos", "freq_shift", "dropout", "norm_eps", "spatial_interpolation_scale")
    ignored(config, "temporal_interpolation_scale")
    depth = "" if deep is None else "l"
    stacks = (
        stack(conditioning(offset is not None, activation)),
        stack(start(f"c{depth}ij", not rotary or learned, patch_bias)),
        stack(
            shared_layer(attention, ffn, norm=norm, each=True),
            config.count("num_layers", 30.0, least=1.0),
            tokens=JOINT,
        ),
        stack(end(norm, f"{depth}ijo"), sizes={"n": 2.0}),
    )
    found = denoiser(config, sizes, stacks, latent_of(config, patch, deep))
    return replace(found, buffers=learned_positions(config, wide, patch))
