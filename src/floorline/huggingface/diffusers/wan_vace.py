"""Wan with VACE: layers of their own read what a video is to follow, and what each makes is added to the stream after one of Wan's.

Sources: Jiang et al. 2025 (VACE), arXiv:2503.07598, "context adapter tuning"; Wan Team 2025, arXiv:2503.20314;
diffusers 0.42, models/transformers/transformer_wan_vace.py.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.cross_attention import CrossAttention
from floorline.blocks.norm import residual
from floorline.blocks.patchify import patchify
from floorline.blocks.picture_cross_attention import PictureCrossAttention
from floorline.errors import BadInput
from floorline.huggingface.config import Config, as_whole
from floorline.huggingface.diffusers import wan
from floorline.huggingface.diffusers.common import denoiser, stack
from floorline.huggingface.diffusers.pixart import caption, conditioning
from floorline.op import Op, contraction, elementwise, view
from floorline.transformer import Transformer

USUAL = tuple(range(0, 40, 5))
"""Layers after which something is added, where the configuration does not say."""


@cache
def start() -> Block:
    """Latents to tokens, and those of what the video is to follow; ``q`` are its channels, ``d`` is the model's width.

    >>> start().outputs
    ('x', 'c')
    """
    follow = contraction("follow", "follow[BTqlij] Wfollow[qlijd] -> c[BTd]", bias=True)
    data = f"latent[BT{wan.PATCH}] follow[BTqlij]"
    return block("patches", "", (patchify(patch=wan.PATCH), follow), "x c", data=data)


@cache
def control(cross: CrossAttention | PictureCrossAttention, normed: bool, first: bool) -> Block:
    """A layer that reads what is to be followed, and what it has to say to one of Wan's layers.

    first  whether the stream begins here: a matmul, and Wan's own stream added

    >>> [t.name for t in control(wan.TO_TEXT, True, True).inputs]
    ['x', 'c', 'all', 'memory']
    """
    began: tuple[Op, ...] = (
        contraction("follow_in", "c[BTd] Wfollow_in[dD] -> c0[BTD]", bias=True),
        residual("follow_add", "x", "c0", "c1"),
    )
    ops = (
        *(began if first else ()),
        *wan.branches("c1" if first else "c", cross, normed),
        contraction("follow_out", "y[BTD] Wfollow_out[Dd] -> hint[BTd]", bias=True),
    )
    given = "x[BTD] c[BTd]" if first else "c[BTD]"
    return block("control", f"{given} all[BnD] {cross.memory}", ops, "y hint", layer=True)


@cache
def layer(cross: CrossAttention | PictureCrossAttention, normed: bool) -> Block:
    """One of Wan's layers, and what a layer of the other kind has to say, scaled.

    >>> [op.name for op in layer(wan.TO_TEXT, True).ops][-3:]
    ['add3', 'hint_row', 'add_hint']
    """
    ops = (
        *wan.branches("x", cross, normed),
        view("hint_row", "hint[BTd] -> hinted[BTD]"),
        elementwise("add_hint", "y[BTD] hinted[BTD] -> z[BTD]", "add", linear=True),
    )
    return block("block", f"x[BTD] hint[BTd] all[BnD] {cross.memory}", ops, "z", layer=True)


def hints(config: Config, layers: float) -> float:
    """How many layers there are of the other kind.

    raises BadInput where they are no list of layers of Wan's that has the first
    """
    value = config.get("vace_layers")
    found = list(value) if isinstance(value, (list, tuple)) else list(USUAL) if value is None else []
    if 0 not in found or any(as_whole(v, 0.0, layers - 1.0) is None for v in found) or len(set(found)) < len(found):
        raise BadInput(
            f"{config.name}: vace_layers is {str(found)[:40]}; expected different layers from 0 to {layers - 1.0:g}, 0 among them"
        )
    return float(len(found))


def read(config: Config) -> Transformer:
    """A configuration of WanVACETransformer3DModel.

    >>> small = {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30, "vace_layers": list(range(0, 30, 2))}
    >>> read(Config(small, "wan2.1-vace-1.3b")).layers()
    45.0
    """
    sizes = wan.letters(config) | {"q": config.size("vace_in_channels", 96.0)}
    count = config.count("num_layers", 40.0, least=1.0)
    said, shown = hints(config, count), wan.pictures(config, sizes["D"])
    normed, seen, whole = config.flag("cross_attn_norm", True), wan.seen_with(shown), "MN" if shown else "M"
    cross = wan.TO_BOTH if shown else wan.TO_TEXT
    stacks = (
        stack(conditioning(False)),
        stack(start()),
        stack(caption(), whole="M"),
        *shown,
        stack(control(cross, normed, True), sizes=seen, whole=whole),
        *((stack(control(cross, normed, False), said - 1.0, seen, whole=whole),) if said > 1.0 else ()),
        stack(layer(cross, normed), said, seen, whole=whole),
        *((stack(wan.layer(cross, normed), count - said, seen, whole=whole),) if count > said else ()),
        stack(wan.end(), sizes={"n": 2.0}),
    )
    return denoiser(config, sizes, stacks, wan.latent(sizes))
