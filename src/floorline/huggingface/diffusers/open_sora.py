"""What the STDiT models of Open-Sora share: sizes, patches that are filled up, the text, the way back.

Source: Zheng et al. 2024 (Open-Sora), arXiv:2412.20404; github.com/hpcaitech/Open-Sora at v1.2.0,
opensora/models/layers/blocks.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import modulated
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.conditioning import two_matmuls
from floorline.blocks.cross_attention import CrossAttention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.heads import stored
from floorline.blocks.norm import PLAIN_NORM, RMS_NORM
from floorline.blocks.patchify import patchify, unpatchify
from floorline.errors import BadInput
from floorline.huggingface.config import Config, divide
from floorline.huggingface.diffusers.common import WAVES, ignored, scaled, video_patch
from floorline.num import Num
from floorline.op import Op, elementwise

PATCH, NOISE_PATCH = "clij", "lijo"
HEAD_NORM = HeadNorm(RMS_NORM)
SPACE = ("grid_t", "grid_h*grid_w")
"""Rows and their tokens where a frame attends to itself."""
TIME = ("grid_h*grid_w", "grid_t")
"""Where a place attends along time."""


def attention(config: Config, *, norm: bool = False, rotary: bool = False, name: str = "") -> Attention:
    """Self-attention.

    norm  whether queries and keys are normalised where the configuration does not say

    >>> attention(Config({}, "stdit3"), norm=True).head_norm == HEAD_NORM
    True
    """
    own = HEAD_NORM if config.flag("qk_norm", norm) else None
    return Attention(bias=True, out_bias=True, cached=False, head_norm=own, rotary=rotary, name=name)


CROSS = CrossAttention(bias=True, out_bias=True, cached=False)
FFN = FeedForward("gelu_pytorch_tanh", bias=True)


def turns() -> Op:
    """The frequencies of rotary positions, which are stored as a parameter that is never trained.

    >>> turns().weights[0].frozen
    True
    """
    op = stored("Wturns", "z")
    return replace(op, inputs=tuple(replace(t, frozen=True) for t in op.inputs))


@cache
def start(turned: bool = False, spare: tuple[str, ...] = ()) -> Block:
    """Latents to tokens.

    turned  whether positions are rotary
    spare   names of further embeddings that are stored, and run only where frames are given

    >>> [str(t) for t in start(spare=("given",)).weights()[2:]]
    ['Wgiven[clijD]', 'Wgiven.bias[D]']
    """
    kept = tuple(op for n in spare for op in (stored(f"W{n}", f"{PATCH}D"), stored(f"W{n}.bias", "D")))
    ops = (patchify(patch=PATCH), *kept, *((turns(),) if turned else ()))
    return block("patches", "", ops, "x", data=f"latent[BT{PATCH}]")


@cache
def caption(ready: bool = False) -> Block:
    """The text, brought to the model's width.

    ready  whether layers are given it in that width, and the matmuls are stored only

    >>> caption().outputs, caption(True).outputs
    (('memory',), ())
    """
    made = two_matmuls("caption", "text[BMe]", "memory[BMD]", "gelu_pytorch_tanh")
    kept = tuple(stored(t.name, t.letters) for op in made for t in op.weights)
    return block("caption", "", kept, "") if ready else block("caption", "", made, "memory", data="text[BMe]")


@cache
def end() -> Block:
    """A norm modulated by the time's vector plus a table, and the way back to latents."""
    ops: tuple[Op, ...] = (
        elementwise("mod", "vec[Bv] Wmod[nD] -> mod[BnD]", "add_table"),
        modulated(PLAIN_NORM).op("norm", "x", "h"),
        unpatchify("h", patch=NOISE_PATCH),
    )
    return block("out", "x[BTD] vec[Bv]", ops, "noise")


def refused(config: Config, *keys: str) -> None:
    """Keys that say that some weights are not trained, which is not counted.

    raises BadInput where one is set
    """
    for key in keys:
        if config.get(key):
            raise BadInput(
                f"{config.name}: {key} is set, which is not read yet; leave it out to have all weights trained"
            )


def widths(config: Config, channels: float = 4.0) -> dict[str, Num]:
    """Sizes of the letters.

    channels  of the latents where nothing is said

    >>> widths(Config({}, "stdit3"))["H"]
    72.0
    """
    wide, count = config.size("hidden_size", 1152.0), config.size("num_heads", 16.0)
    frames, side = video_patch(config)
    latents = config.size("in_channels", channels)
    ignored(config, "mlp_ratio", "input_sq_size", "class_dropout_prob", "drop_path", "model_max_length")
    ignored(config, "enable_flash_attn", "enable_layernorm_kernel", "enable_sequence_parallelism")
    return {
        "D": wide,
        "K": count,
        "G": 1.0,
        "H": divide(config, wide, count, "hidden_size", "num_heads"),
        "F": scaled(wide, config.values.get("mlp_ratio", 4.0), config),
        "v": wide,
        "u": wide,
        "w": WAVES,
        "n": 6.0,
        "c": latents,
        "o": 2.0 * latents if config.flag("pred_sigma", True) else latents,
        "l": frames,
        "i": side,
        "j": side,
        "e": config.size("caption_channels", 4096.0),
    }


def length_of_text(config: Config, usual: float) -> Num:
    """Tokens of a text where nothing is said."""
    return config.size("model_max_length", usual)


def patches(sizes: Mapping[str, Num]) -> dict[str, Num]:
    """What a model says of its patches; the last one of each side is filled up."""
    return {"patch": sizes["i"], "patch_frames": sizes["l"], "filled": 1.0}
