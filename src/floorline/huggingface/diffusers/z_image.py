"""Z-Image: picture and text are refined apart, then thirty layers see both as one sequence.

Either sequence is filled up to a multiple of 32 tokens with a learned one, all of which are computed. Each branch has a norm
before it, which the time scales, and one after it, before a gate whose tanh belongs to the sum. The library reads no
``n_kv_heads``: there are as many as heads. Of several pairs of patch sizes, all are stored and the pipeline's one runs, two by
two pixels of one frame, or the first; embeddings of pictures by a vision encoder (``siglip_feat_dim``) are stored and not run.

Sources: Z-Image Team 2025, arXiv:2511.22699; diffusers 0.42, models/transformers/transformer_z_image.py; its
pipeline, pipelines/z_image/pipeline_z_image.py, for the sizes of a picture and the longest text.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_head import adaptive_head
from floorline.blocks.adaptive_norm import gated, modulated, modulation
from floorline.blocks.attention import Attention
from floorline.blocks.conditioning import two_matmuls
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.norm import RMS_NORM
from floorline.blocks.patchify import patchify
from floorline.errors import BadInput
from floorline.huggingface.config import Config, as_whole, rounded
from floorline.huggingface.diffusers.common import WAVES, denoiser, ignored, stack
from floorline.huggingface.diffusers.flux import HEAD_NORM
from floorline.num import Num, minimum
from floorline.op import contraction, elementwise
from floorline.specs.latent import Latent
from floorline.transformer import Stack, Transformer

PATCH, NOISE_PATCH = "lijc", "lijo"
USUAL = (2.0, 1.0)
PICTURE = (("T", "32*ceil(T/32)"), ("S", "32*ceil(S/32)"))
TEXT = (("T", "32*ceil(M/32)"), ("S", "T"))
TOGETHER = (("T", "32*ceil(T/32) + 32*ceil(M/32)"), ("S", "32*ceil(S/32) + 32*ceil(M/32)"))
"""What the stacks of each sequence, and of both, bind their letters to."""


@cache
def conditioning() -> Block:
    """The time's vector; ``u`` is 1024, ``v`` 256 or the model's width where that is less."""
    return block("conditioning", "", two_matmuls("time", "waves[Bw]", "vec[Bv]", "silu"), "vec", data="waves[Bw]")


@cache
def picture() -> Block:
    """Latents to tokens, and learned ones behind them.

    >>> [t.letters for t in picture().weights()]
    ['lijcD', 'D', 'D']
    """
    ops = (patchify(patch=PATCH, target="e"), elementwise("fill", "e[BTD] Wfill[D] -> x[BTD]", "where"))
    return block("patches", "", ops, "x", data=f"latent[BT{PATCH}]")


@cache
def text(name: str = "text") -> Block:
    """What an encoder left, normalised, to the model's width, and learned tokens behind it."""
    ops = (
        RMS_NORM.op("norm", "text", "normed", "BTe", "e"),
        contraction("context", "normed[BTe] Wcontext[eD] -> e[BTD]", bias=True),
        elementwise("fill", "e[BTD] Wfill[D] -> x[BTD]", "where"),
    )
    return block(name, "", ops, "x", data="text[BTe]")


@cache
def layer(attention: Attention, name: str, timed: bool = True) -> Block:
    """Attention and a feed-forward network, each between two norms.

    timed  whether the time scales the first norm and makes a gate: not where the text alone is refined

    >>> [t.name for t in layer(Attention(cached=False), "refiner", False).inputs]
    ['x']
    """
    before, by = (modulated(RMS_NORM), "mod[BnD]") if timed else (RMS_NORM, "")
    ops = (
        *(modulation("mod", "vec", "mod", act="") if timed else ()),
        before.op("norm1", "x", "h"),
        *attention.ops("h", "attn"),
        RMS_NORM.op("norm2", "attn", "attn_n"),
        gated("add1", "x", "attn_n", "x1", by),
        before.op("norm3", "x1", "h2"),
        *FeedForward("silu", gated=True).ops("h2", "ffn"),
        RMS_NORM.op("norm4", "ffn", "ffn_n"),
        gated("add2", "x1", "ffn_n", "y", by),
    )
    return block(name, "x[BTD]" + (" vec[Bv]" if timed else ""), ops, "y", layer=True)


def pairs(config: Config) -> tuple[tuple[float, float], ...]:
    """Patch sizes along a side and in frames, that which runs first.

    raises BadInput where they are no two lists of as many positive whole numbers

    >>> pairs(Config({"all_patch_size": [4, 2], "all_f_patch_size": [1, 1]}, "z-image"))
    ((2.0, 1.0), (4.0, 1.0))
    """
    sides = whole_numbers(config, "all_patch_size", USUAL[0])
    frames = whole_numbers(config, "all_f_patch_size", USUAL[1])
    if len(sides) != len(frames):
        raise BadInput(
            f"{config.name}: all_patch_size has {len(sides)} entries and all_f_patch_size {len(frames)}; expected as many"
        )
    found = tuple(dict.fromkeys(zip(sides, frames, strict=True)))
    return tuple(sorted(found, key=lambda pair: pair != USUAL))


def whole_numbers(config: Config, key: str, default: float) -> list[float]:
    """A list of positive whole numbers.

    raises BadInput for anything else
    """
    value = config.get(key)
    if value is None:
        return [default]
    found = [as_whole(v, 1.0) for v in value] if isinstance(value, (list, tuple)) else []
    whole = [v for v in found if v is not None]
    if not whole or len(whole) < len(found):
        raise BadInput(f"{config.name}: {key} is {str(value)[:40]!r}; expected a list of positive whole numbers")
    return whole


def patch_sizes(pair: tuple[float, float]) -> dict[str, Num]:
    """Letters of a patch; its head has one vector, a scale."""
    return {"i": pair[0], "j": pair[0], "l": pair[1], "n": 1.0}


def kept(block: Block, copies: float, sizes: dict[str, Num]) -> Stack:
    """What is stored and does not run."""
    return Stack(block, 0.0, copies=copies, sizes=sizes)


def read(config: Config) -> Transformer:
    """A configuration of ZImageTransformer2DModel.

    >>> read(Config({}, "z-image")).parameter_count().total
    6154908736.0
    """
    wide, count, channels = config.size("dim", 3840.0), config.size("n_heads", 30.0), config.size("in_channels", 16.0)
    sizes: dict[str, Num] = {"D": wide, "K": count, "G": 1.0, "H": rounded(wide / count), "n": 4.0}
    sizes |= {"F": rounded(wide / 3.0 * 8.0), "w": WAVES, "u": 1024.0, "v": minimum(wide, 256.0)}
    sizes |= {"c": channels, "o": channels, "e": config.size("cap_feat_dim", 2560.0)}
    seen, refined = config.given("siglip_feat_dim"), config.count("n_refiner_layers", 2.0)
    ignored(config, "n_kv_heads", "norm_eps", "rope_theta", "t_scale", "axes_dims", "axes_lens")
    norm = HEAD_NORM if config.flag("qk_norm", True) else None
    attention = Attention(rotary=True, head_norm=norm, cached=False)
    used, *others = pairs(config)
    head, own = adaptive_head(NOISE_PATCH), patch_sizes(used)
    stacks = (
        stack(conditioning()),
        stack(picture(), sizes=own, tokens=PICTURE),
        stack(layer(attention, "noise_refiner"), refined, tokens=PICTURE),
        stack(text(), tokens=TEXT, whole="T"),
        stack(layer(attention, "context_refiner", False), refined, tokens=TEXT, whole="T"),
        *((kept(text("seen"), 1.0, {"e": seen}),) if seen is not None else ()),
        *((kept(layer(attention, "seen_refiner", False), refined, {}),) if seen is not None else ()),
        stack(layer(attention, "block"), config.count("n_layers", 30.0, least=1.0), tokens=TOGETHER),
        stack(head, sizes=own, tokens=TOGETHER),
        *(kept(part, 1.0, patch_sizes(pair)) for pair in others for part in (unfilled(), head)),
    )
    return denoiser(config, sizes, stacks, Latent(patch=used[0], patch_frames=used[1], text=512))


@cache
def unfilled() -> Block:
    """Latents to tokens, for a patch of another size; the learned tokens are there already."""
    return block("patches", "", (patchify(patch=PATCH),), "x", data=f"latent[BT{PATCH}]")
