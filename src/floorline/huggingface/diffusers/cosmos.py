"""Cosmos: video with text by cross-attention; each branch of a layer makes its modulation through a narrow matmul of its own.

Where positions are learned, this is Cosmos 1.0, whose latents are those of 8 frames; later models have Wan's autoencoder. Of these,
one whose input has a channel more than its output starts from frames that are given: a frame has a time of its own then, and the
library makes a modulation for each token.

Sources: NVIDIA 2025, arXiv:2501.03575; NVIDIA 2025, arXiv:2511.00062 (Predict 2.5 and Transfer 2.5);
diffusers 0.42, models/transformers/transformer_cosmos.py and pipelines/cosmos/.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import gated, modulated
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.conditioning import two_matmuls
from floorline.blocks.cross_attention import CrossAttention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.norm import PLAIN_NORM, RMS_NORM, residual
from floorline.blocks.patchify import patchify, unpatchify
from floorline.blocks.picture_cross_attention import PictureCrossAttention
from floorline.errors import BadInput
from floorline.huggingface.config import Config, as_whole, rounded
from floorline.huggingface.diffusers.common import denoiser, heads, ignored, same, scaled, stack, video_patch
from floorline.num import Num, all_true
from floorline.op import Op, contraction, elementwise, lookup
from floorline.specs.latent import Latent
from floorline.transformer import Stack, Transformer

HEAD_NORM = HeadNorm(RMS_NORM)
ATTENTION = Attention(rotary=True, head_norm=HEAD_NORM, cached=False)
TO_TEXT = CrossAttention(cached=False, width="e", head_norm=HEAD_NORM)
TO_BOTH = PictureCrossAttention(width="e", head_norm=HEAD_NORM, own_query=True)
FEED_FORWARD = FeedForward("gelu")
PATCH = "clij"
TABLES = {"t": "P", "h": "X", "w": "Z"}
"""Tables of positions along time, height and width, and the letters of their rows."""


@cache
def conditioning(framed: bool) -> Block:
    """What all layers share: three vectors of the time, and its waves, normalised.

    framed  whether each of ``q`` frames has a time of its own, and each token its frame's

    >>> [op.flops()[0].formula() for op in conditioning(False).ops if op.flops()]
    ['2·B·w·u', '2·B·u·n·D']
    """
    rows = "Bq" if framed else "B"
    made, told = ("times", "told") if framed else ("all", "vec")
    ops: tuple[Op, ...] = (
        *two_matmuls("time", f"waves[{rows}w]", f"{made}[{rows}nD]", "silu", bias=False, last_bias=False),
        RMS_NORM.op("time_norm", "waves", told, f"{rows}w", "w"),
    )
    if framed:
        ops += (
            elementwise("spread_all", "times[BqnD] -> all[BTnD]", "copy", linear=True),
            elementwise("spread_vec", "told[Bqw] -> vec[BTw]", "copy", linear=True),
        )
    return block("conditioning", "", ops, "all vec", data=f"waves[{rows}w]")


@cache
def start() -> Block:
    """Latents to tokens, with a channel that says what is padding.

    >>> start().ops[0].flops()[0].formula()
    '2·B·T·c·l·i·j·D'
    """
    return block("patches", "", (patchify(patch=PATCH, bias=False),), "x", data=f"latent[BT{PATCH}]")


@cache
def positions() -> Block:
    """Learned positions along time, height and width, added and brought to length one; every layer adds them anew.

    >>> [str(t) for t in positions().weights()]
    ['Wpos_t[PD]', 'Wpos_h[XD]', 'Wpos_w[ZD]']
    """
    ops = (
        *(
            lookup(f"pos_{x}", f"{x}_ids[BT] Wpos_{x}[{n}D] -> p{x}[BTD]", n, f"min(T/{n}, 1)", embeds=False)
            for x, n in TABLES.items()
        ),
        elementwise("pos_sum", "pt[BTD] ph[BTD] pw[BTD] -> psum[BTD]", "add", linear=True),
        elementwise("pos_norm", "psum[BTD] -> pos[BTD]", "rms_norm", reduces="D", statistics=(1, 1)),
    )
    return block("positions", " ".join(f"{x}_ids[BT]" for x in TABLES), ops, "pos")


@cache
def projected(name: str, rows: str, source: str, target: str, made: str) -> Block:
    """A matmul and an activation: what an encoder made, at the width that layers attend to.

    rows          letters of its tokens, with the batch
    source, made  letters of the widths
    target        name of what is made

    >>> projected("caption", "BM", "g", "memory", "e").ops[0].flops()[0].formula()
    '2·B·M·g·e'
    """
    ops = (
        contraction(name, f"seen[{rows}{source}] W{name}[{source}{made}] -> {name}_u[{rows}{made}]", bias=True),
        elementwise(f"{name}_act", f"{name}_u[{rows}{made}] -> {target}[{rows}{made}]", "gelu"),
    )
    return block(name, "", ops, target, data=f"seen[{rows}{source}]")


def narrow_modulation(name: str, rows: str) -> tuple[Op, ...]:
    """Scale, shift and gate of one branch: through a width of r, added to what all layers share.

    rows  "B", or "BT" where each token has its own

    >>> [op.flops()[0].formula() for op in narrow_modulation("mod", "B") if op.flops()]
    ['2·B·w·r', '2·B·r·n·D']
    """
    return (
        elementwise(f"{name}_act", f"vec[{rows}w] -> {name}_a[{rows}w]", "silu"),
        contraction(f"{name}_low", f"{name}_a[{rows}w] W{name}_low[wr] -> {name}_l[{rows}r]"),
        contraction(f"{name}_own", f"{name}_l[{rows}r] W{name}_own[rnD] -> {name}_o[{rows}nD]"),
        elementwise(name, f"{name}_o[{rows}nD] all[{rows}nD] -> {name}[{rows}nD]", "add", linear=True),
    )


@cache
def layer(cross: CrossAttention | PictureCrossAttention, placed: bool, read: bool, framed: bool) -> Block:
    """Self-attention, cross-attention, feed-forward network, each between a modulated norm and a gate.

    placed  whether learned positions are added first
    read    whether layers read the text as its encoder left it, which takes no gradient
    framed  whether each token has a modulation of its own

    >>> [t.name for t in layer(TO_TEXT, True, True, False).inputs]
    ['x', 'all', 'vec', 'pos', 'memory']
    """
    rows = "BT" if framed else "B"
    stream = "x0" if placed else "x"
    ops: list[Op] = []
    if placed:
        ops.append(residual("add0", "x", "pos", "x0"))
    for k, part in enumerate((ATTENTION, cross, FEED_FORWARD), 1):
        mod, target = f"mod{k}", "y" if k == 3 else f"x{k}"
        ops += [
            *narrow_modulation(mod, rows),
            modulated(PLAIN_NORM, f"{mod}[{rows}nD]").op(f"norm{k}", stream, f"h{k}"),
            *part.ops(f"h{k}", f"branch{k}"),
            gated(f"add{k}", stream, f"branch{k}", target, f"{mod}[{rows}nD]"),
        ]
        stream = target
    text, *shown = cross.memory.split()
    given = [f"x[BTD] all[{rows}nD] vec[{rows}w]", *(["pos[BTD]"] if placed else []), *shown]
    given += [] if read else [text]
    return block("block", " ".join(given), tuple(ops), "y", layer=True, data=text if read else "")


@cache
def end(framed: bool) -> Block:
    """A norm modulated in the same way, and the way back to latents."""
    rows = "BT" if framed else "B"
    ops = (
        *narrow_modulation("mod", rows),
        modulated(PLAIN_NORM, f"mod[{rows}nD]").op("norm", "x", "h"),
        unpatchify("h", patch="ijlo", bias=False),
    )
    return block("out", f"x[BTD] all[{rows}nD] vec[{rows}w]", ops, "noise")


def learned(config: Config, frames: Num, side: Num) -> tuple[Stack, ...]:
    """The stack of learned positions, where there is one.

    raises BadInput for another kind of positions, or a largest size that is no three whole numbers
    """
    kind = config.text("extra_pos_embed_type", "learnable" if "extra_pos_embed_type" not in config.values else "")
    value = config.get("max_size")
    sizes = tuple(value) if isinstance(value, (list, tuple)) else (128.0, 240.0, 240.0) if value is None else ()
    if kind not in ("", "learnable"):
        raise BadInput(f"{config.name}: extra_pos_embed_type is {kind[:40]!r}; expected 'learnable' or null")
    if len(sizes) != 3 or any(as_whole(v, 1.0) is None for v in sizes):
        raise BadInput(
            f"{config.name}: max_size is {str(value)[:40]!r}; expected three whole numbers, such as [128, 240, 240]"
        )
    rows = {"P": rounded(sizes[0] / frames), "X": rounded(sizes[1] / side), "Z": rounded(sizes[2] / side)}
    return (stack(positions(), sizes=rows),) if kind else ()


def encoded(config: Config, wide: Num, text: Num) -> tuple[tuple[Stack, ...], tuple[Stack, ...]]:
    """The stacks of the text and of the picture, where a matmul brings them to another width.

    wide  the model's width
    text  the width of the text that layers read
    """
    given = config.size("crossattn_proj_in_channels", 1024.0), config.size("encoder_hidden_states_channels", 1024.0)
    shown = config.count("img_context_dim_in")
    tokens, made = config.size("img_context_num_tokens", 256.0), config.size("img_context_dim_out", 2048.0)
    captions: tuple[Stack, ...] = ()
    if config.flag("use_crossattn_projection", False):
        same(config, "encoder_hidden_states_channels", given[1], text)
        captions = (stack(projected("caption", "BM", "g", "memory", "e"), sizes={"g": given[0]}, whole="M"),)
    if not shown:
        return captions, ()
    same(config, "img_context_dim_out", made, wide)
    sizes = {"a": shown, "N": tokens}
    return captions, (stack(projected("picture", "BN", "a", "picture", "D"), sizes=sizes, whole="N"),)


def latent(placed: bool, framed: bool, frames: Num, side: Num) -> Latent:
    """How pixels become tokens: Cosmos 1.0 has its own autoencoder, later models have Wan's."""
    usual = (704.0, 1280.0, 121.0 if placed else 93.0) if placed or framed else (768.0, 1360.0, 1.0)
    return Latent(
        frames=8 if placed else 4,
        first=1,
        patch=side,
        patch_frames=frames,
        height=usual[0],
        width=usual[1],
        length=usual[2],
        text=512,
    )


def read(config: Config) -> Transformer:
    """A configuration of CosmosTransformer3DModel.

    >>> read(Config({}, "cosmos-1.0-7b")).parameter_count().total
    7236192256.0
    """
    sizes = heads(config, 32.0, 128.0)
    wide, channels, made = sizes["D"], config.size("in_channels", 16.0), config.size("out_channels", 16.0)
    frames, side = video_patch(config)
    padding = 1.0 if config.flag("concat_padding_mask", True) else 0.0
    ratio = config.get("mlp_ratio")
    sizes |= {"F": scaled(wide, 4.0 if ratio is None else ratio, config), "w": wide, "u": wide, "n": 3.0}
    sizes |= {"e": config.size("text_embed_dim", 1024.0), "r": config.size("adaln_lora_dim", 256.0)}
    sizes |= {"c": channels + padding, "o": made, "l": frames, "i": side, "j": side}
    tables = learned(config, frames, side)
    framed = not tables and all_true(channels == made + 1.0) and frames == 1.0
    captions, shown = encoded(config, wide, sizes["e"])
    ignored(config, "rope_scale", "controlnet_block_every_n")
    block_of = layer(TO_BOTH if shown else TO_TEXT, bool(tables), not captions, framed)
    seen = {"N": shown[0].sizes["N"]} if shown else {}
    stacks = (
        stack(start()),
        *tables,
        stack(conditioning(framed), tokens=(("q", "grid_t"),) if framed else ()),
        *captions,
        *shown,
        stack(block_of, config.count("num_layers", 28.0, least=1.0), seen, whole="MN" if shown else "M"),
        stack(end(framed), sizes={"n": 2.0}),
    )
    return denoiser(config, sizes, stacks, latent(bool(tables), framed, frames, side))
