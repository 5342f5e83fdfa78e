"""HiDream-I1: layers of two streams and of one, with a mixture of experts for the picture; every layer reads a text of its own.

M is the tokens of one text. A layer sees three: T5's, the last of Llama's hidden states, and the one of Llama's hidden states
that is this layer's own, whose tokens are dropped after it. The library fills a picture that is no square up to the largest
number of tokens. In training every token runs through its experts; ``force_inference_output``, which keeps gradients from them,
is not counted.

Sources: Cai et al. 2025, arXiv:2505.22705; diffusers 0.42, models/transformers/transformer_hidream_image.py and
pipelines/hidream_image/pipeline_hidream_image.py.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import gated, modulated, modulation
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.conditioning import summed, two_matmuls
from floorline.blocks.experts import Experts
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.joint_attention import JointAttention
from floorline.blocks.norm import PLAIN_NORM, RMS_NORM
from floorline.blocks.patchify import patchify, unpatchify
from floorline.blocks.streams import TEXT, relettered
from floorline.errors import BadInput
from floorline.huggingface.config import Config, as_whole, rounded
from floorline.huggingface.diffusers.common import WAVES, denoiser, heads, ignored, stack
from floorline.num import Num, all_true
from floorline.op import Op, contraction, elementwise
from floorline.specs.latent import Latent
from floorline.transformer import Transformer

ALL_HEADS = HeadNorm(RMS_NORM, scale="KGH", over="KGH")
JOINT_ATTENTION = JointAttention(head_norm=ALL_HEADS, text_norm=ALL_HEADS, rotary="both")
ATTENTION = Attention(bias=True, out_bias=True, rotary=True, head_norm=ALL_HEADS, cached=False)
DENSE = FeedForward("silu", gated=True)
TEXT_DENSE = FeedForward("silu", gated=True, name="c")
MIXTURE = Experts(activation="silu", shared=FeedForward("silu", gated=True, width="s"))
UNEVEN = "min(max(latent_h - latent_w, latent_w - latent_h), 1)"
"""1 where a picture is no square, 0 where it is one: sides are whole numbers."""
FILL = f"max(most - grid_h*grid_w, 0)*{UNEVEN}"
FILLED = (("T", f"T + {FILL}"), ("S", f"S + {FILL}"))
"""Tokens of the picture, with those that fill it up."""
JOINT = (*FILLED, ("M", "3*M"), ("W", "T + M"), ("S", "S + M"))
TOGETHER = (*FILLED, ("T", "T + 3*M"), ("S", "S + 3*M"))


@cache
def start() -> Block:
    """Latents to tokens; time and pooled text to the vector that conditions all layers; T5's text to the model's width.

    >>> start().outputs
    ('x', 'vec', 'c')
    """
    ops = (
        patchify(),
        *two_matmuls("time", "waves[Bw]", "time[Bv]", "silu"),
        *two_matmuls("pooled", "pooled[Bp]", "about[Bv]", "silu"),
        *summed("condition", ("time[Bv]", "about[Bv]"), "vec[Bv]"),
        contraction("context", "text[BMe] Wcontext[eD] -> c[BMD]"),
    )
    return block("embedding", "", ops, "x vec c", data="latent[BTcij] waves[Bw] pooled[Bp] text[BMe]")


@cache
def caption() -> Block:
    """A hidden state of Llama, brought to the model's width: one for each layer.

    >>> caption().ops[0].flops()[0].formula()
    '2·B·M·g·D'
    """
    return block(
        "caption", "", (contraction("caption", "seen[BMg] Wcaption[gD] -> own[BMD]"),), "own", data="seen[BMg]"
    )


def modulations() -> tuple[Op, ...]:
    """Six vectors for each stream, from one matrix."""
    return (
        elementwise("mod_act", "vec[Bv] -> mod_a[Bv]", "silu"),
        contraction("mod", "mod_a[Bv] Wmod[vnD] -> mod[BnD]", kernel="mods", bias=True),
        contraction("cmod", "mod_a[Bv] Wcmod[vmD] -> cmod[BmD]", kernel="mods", bias=True),
    )


@cache
def double(ffn: FeedForward | Experts) -> Block:
    """Both streams are modulated, attend together, and have a feed-forward network each.

    >>> [t.name for t in double(DENSE).inputs], double(MIXTURE).derived
    (['x', 'c', 'vec'], (('C', 'B*T*k/E'),))
    """
    text = "cmod[BmD]"
    ops = (
        *modulations(),
        modulated(PLAIN_NORM).op("norm1", "x", "h"),
        modulated(PLAIN_NORM, text).op("cnorm1", "c", "ch", "BMD"),
        *JOINT_ATTENTION.ops("h", "attn", "ch", "cattn"),
        gated("add1", "x", "attn", "x1"),
        gated("cadd1", "c", "cattn", "c1", text, "BMD"),
        modulated(PLAIN_NORM).op("norm2", "x1", "h2"),
        modulated(PLAIN_NORM, text).op("cnorm2", "c1", "ch2", "BMD"),
        *ffn.ops("h2", "ffn"),
        *relettered(TEXT_DENSE.ops("ch2", "cffn"), TEXT),
        gated("add2", "x1", "ffn", "y"),
        gated("cadd2", "c1", "cffn", "z", text, "BMD"),
    )
    derived = ffn.derived if isinstance(ffn, Experts) else ()
    return block("double", "x[BTD] c[BMD] vec[Bv]", ops, "y z", derived, layer=True)


@cache
def single(ffn: FeedForward | Experts) -> Block:
    """Attention and a feed-forward network of picture and text as one sequence, each between a modulated norm and a gate.

    >>> [op.flops()[0].formula() for op in single(MIXTURE).ops if op.flops()][0]
    '2·B·v·n·D'
    """
    ops = (
        *modulation("mod", "vec", "mod"),
        modulated(PLAIN_NORM).op("norm1", "x", "h"),
        *ATTENTION.ops("h", "attn"),
        gated("add1", "x", "attn", "x1"),
        modulated(PLAIN_NORM).op("norm2", "x1", "h2"),
        *ffn.ops("h2", "ffn"),
        gated("add2", "x1", "ffn", "y"),
    )
    derived = ffn.derived if isinstance(ffn, Experts) else ()
    return block("single", "x[BTD] vec[Bv]", ops, "y", derived, layer=True)


@cache
def end() -> Block:
    """A modulated norm and the way back to latents."""
    ops = (*modulation("mod", "vec", "mod"), modulated(PLAIN_NORM).op("norm", "x", "h"), unpatchify("h"))
    return block("out", "x[BTD] vec[Bv]", ops, "noise")


def inner_width(hidden: Num) -> Num:
    """Two thirds, rounded up to a multiple of 256 (HiDreamImageFeedForwardSwiGLU).

    >>> inner_width(4.0 * 2560.0)
    6912.0
    """
    return 256.0 * rounded((rounded(2.0 * hidden / 3.0) + 255.0) / 256.0)


def two(config: Config, key: str, usual: tuple[float, float] | None = None) -> tuple[float, float]:
    """Two whole numbers.

    raises BadInput for anything else
    """
    value = config.get(key)
    found = tuple(value) if isinstance(value, (list, tuple)) else (usual or ()) if value is None else ()
    if len(found) != 2 or any(as_whole(v, 1.0) is None for v in found):
        raise BadInput(f"{config.name}: {key} is {str(value)[:40]!r}; expected two whole numbers, such as [4096, 4096]")
    return float(found[0]), float(found[1])


def mixture(config: Config, wide: Num) -> tuple[FeedForward | Experts, dict[str, Num]]:
    """The picture's feed-forward network, and its sizes.

    raises BadInput where a token has more experts than there are
    """
    count, chosen = config.count("num_routed_experts", 4.0), config.size("num_activated_experts", 2.0)
    sizes: dict[str, Num] = {"F": inner_width(4.0 * wide), "f": inner_width(4.0 * wide), "s": inner_width(2.0 * wide)}
    if not count:
        return DENSE, sizes
    if not all_true(chosen <= count):
        raise BadInput(f"{config.name}: num_activated_experts is more than num_routed_experts, {count:g}")
    return MIXTURE, sizes | {"E": count, "k": chosen}


def layer_counts(config: Config) -> tuple[float, float]:
    """Layers of two streams and of one.

    raises BadInput where the list of Llama's hidden states has not one for each
    """
    double_count, single_count = config.count("num_layers", 16.0, least=1.0), config.count("num_single_layers", 32.0)
    states = config.get("llama_layers")
    if states is not None and (not isinstance(states, (list, tuple)) or len(states) != double_count + single_count):
        raise BadInput(
            f"{config.name}: llama_layers has {len(states) if isinstance(states, (list, tuple)) else str(states)[:40]}; "
            f"expected a hidden state for each layer, {double_count + single_count:g}"
        )
    return double_count, single_count


def read(config: Config) -> Transformer:
    """A configuration of HiDreamImageTransformer2DModel.

    >>> small = {"patch_size": 2, "in_channels": 16, "caption_channels": [4096, 4096]}
    >>> found = read(Config(small, "hidream-i1")).parameter_count()
    >>> found.total, found.active_per_token
    (17105733184.0, 12009653824.0)
    """
    sizes = heads(config, 20.0, 128.0)
    wide, channels, patch = sizes["D"], config.size("in_channels", 64.0), config.size("patch_size")
    made, (t5, llama) = config.given("out_channels"), two(config, "caption_channels")
    largest = two(config, "max_resolution", (128.0, 128.0))
    ffn, inner = mixture(config, wide)
    sizes |= inner | {"v": wide, "u": wide, "w": WAVES, "n": 6.0, "m": 6.0, "e": t5, "g": llama}
    sizes |= {"p": config.size("text_emb_dim", 2048.0), "most": rounded(largest[0] * largest[1] / (patch * patch))}
    sizes |= {"c": channels, "o": channels if made is None else made, "i": patch, "j": patch}
    double_count, single_count = layer_counts(config)
    ignored(config, "axes_dims_rope", "force_inference_output")
    stacks = (
        stack(start(), tokens=FILLED),
        stack(caption(), double_count + single_count),
        stack(double(ffn), double_count, tokens=JOINT),
        *((stack(single(ffn), single_count, tokens=TOGETHER),) if single_count else ()),
        stack(end(), sizes={"n": 2.0}, tokens=FILLED),
    )
    return denoiser(config, sizes, stacks, Latent(patch=patch, text=128))
