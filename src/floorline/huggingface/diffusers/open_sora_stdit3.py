"""Open-Sora 1.2 and 1.3, STDiT3: layers that attend within a frame alternate with layers that attend along time.

In either kind each token attends to the text once for the whole video, and is modulated by the time and by the frames a second.
In 1.3 attention along time may be in windows of some places (``kernel_size``: height, width and time, where -1 is all of it); what
fills a window up is computed like the rest. Text to video is counted: the two further embeddings of 1.3 for frames that are given
are stored and do not run.

Sources: Zheng et al. 2024, arXiv:2412.20404; github.com/hpcaitech/Open-Sora at v1.2.0 and v1.3,
opensora/models/stdit/stdit3.py; latents: opensora/models/vae/vae.py (17 frames become 5) and opensora/models/vae_v1_3/vae.py
(16 further frames become 5 more, of which 3.27 is right for 1, 49, 65, 81, 97 and 113 frames).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import gated, modulated, modulation, shared_modulation
from floorline.blocks.attention import Attention
from floorline.blocks.conditioning import summed, two_matmuls
from floorline.blocks.norm import PLAIN_NORM, residual
from floorline.blocks.rows_attention import bound, rows_attention
from floorline.errors import BadInput
from floorline.huggingface.config import Config, rounded
from floorline.huggingface.diffusers.common import denoiser, ignored, stack
from floorline.huggingface.diffusers.open_sora import (
    CROSS,
    FFN,
    SPACE,
    TIME,
    attention,
    caption,
    end,
    length_of_text,
    patches,
    refused,
    start,
    widths,
)
from floorline.specs.latent import Latent
from floorline.transformer import Stack, Transformer

SIDES = ("grid_h", "grid_w", "grid_t")
ONLY_1_3 = ("kernel_size", "use_spatial_rope", "skip_temporal")
"""Keys that configurations of 1.2 do not have."""
GIVEN_FRAMES = ("given", "given_mask")


@cache
def conditioning() -> Block:
    """The modulation of all layers, of the time and the frames a second.

    >>> conditioning().outputs
    ('all', 'vec')
    """
    ops = (
        *two_matmuls("time", "waves[Bw]", "time[Bv]", "silu"),
        *two_matmuls("rate", "rate_waves[Bw]", "rate[Bv]", "silu"),
        *summed("condition", ("time[Bv]", "rate[Bv]"), "vec[Bv]"),
        *modulation("mod", "vec", "all"),
    )
    return block("conditioning", "", ops, "all vec", data="waves[Bw] rate_waves[Bw]")


@cache
def layer(own: Attention, name: str, ready: bool = False) -> Block:
    """Attention of rows between a modulated norm and a gate, cross-attention without either, a feed-forward network.

    ready  whether the text is given in the model's width, so that no gradient goes on from it

    >>> [t.name for t in layer(Attention(cached=False), "spatial").inputs]
    ['x', 'all', 'memory']
    """
    ops = (
        *shared_modulation("mod", "all", "mod"),
        modulated(PLAIN_NORM).op("norm1", "x", "h"),
        *rows_attention(own, "h", "attn"),
        gated("add1", "x", "attn", "x1"),
        *CROSS.ops("x1", "cross"),
        residual("add2", "x1", "cross", "x2"),
        modulated(PLAIN_NORM).op("norm2", "x2", "h2"),
        *FFN.ops("h2", "ffn"),
        gated("add3", "x2", "ffn", "y"),
    )
    given, made = (CROSS.memory, "") if ready else ("", f" {CROSS.memory}")
    return block(name, f"x[BTD] all[BnD]{made}", ops, "y", layer=True, data=given)


def windows(config: Config) -> tuple[str, str]:
    """Rows of attention along time, and the tokens of each.

    raises BadInput where windows are no three whole numbers, of which only the last may be -1

    >>> windows(Config({"kernel_size": [8, 8, -1]}, "open-sora-1.3"))
    ('ceil(grid_h/8)*ceil(grid_w/8)*ceil(grid_t/grid_t)', '8*8*grid_t')
    """
    value = config.get("kernel_size")
    if value is None:
        return TIME
    found = tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(found) != 3 or not all(type(v) is int and v for v in found) or min(found[:2]) < 0:
        raise BadInput(
            f"{config.name}: kernel_size is {str(value)[:40]!r}; expected null or three whole numbers, such as [8, 8, -1]"
        )
    spans = tuple(f"{v}" if v > 0 else side for v, side in zip(found, SIDES, strict=True))
    rows = "*".join(f"ceil({side}/{span})" for side, span in zip(SIDES, spans, strict=True))
    return rows, "*".join(spans)


def usual(config: Config, newer: bool) -> dict[str, float]:
    """Pictures, frames and latents of the published models: 426 × 240 up to 1.2, 1280 × 720 from 1.3 on.

    >>> usual(Config({}, "open-sora-1.2"), False)["length"]
    51.0
    """
    if newer:
        return {"height": 720.0, "width": 1280.0, "length": 113.0, "frames": 3.27}
    return {"height": 240.0, "width": 426.0, "length": 51.0, "frames": 3.4}


def layers(config: Config, count: float, ready: bool) -> tuple[Stack, ...]:
    """Those within frames, and those along time where they are not left out.

    raises BadInput for rotary positions in space without windows
    """
    turned = config.flag("use_spatial_rope", False)
    if turned and config.get("kernel_size") is None:
        raise BadInput(f"{config.name}: use_spatial_rope is set without kernel_size; expected both, or neither")
    spatial = layer(attention(config, norm=True, rotary=turned), "spatial", ready)
    temporal = layer(attention(config, norm=True, rotary=True), "temporal", ready)
    rows = bound(*windows(config))
    along = () if config.flag("skip_temporal", False) else (stack(temporal, count, tokens=rows, whole="M"),)
    return (stack(spatial, count, tokens=bound(*SPACE), whole="M"), *along)


def read(config: Config) -> Transformer:
    """A configuration of STDiT3.

    >>> read(Config({}, "open-sora-1.2")).parameter_count().total
    1207643972.0
    """
    newer = any(key in config.values for key in ONLY_1_3)
    sizes, count = widths(config, 16.0 if newer else 4.0), config.count("depth", 28.0, least=1.0)
    refused(config, "only_train_temporal", "freeze_y_embedder")
    ignored(config, "input_size")
    ready = config.flag("skip_y_embedder", False)
    made, parts = layers(config, count, ready), 3.0 if config.get("kernel_size") is not None else 1.0
    sizes["z"] = rounded(rounded(sizes["H"] / parts) / 2.0)
    stacks = (
        stack(conditioning()),
        stack(start(True, GIVEN_FRAMES if newer else ())),
        stack(caption(ready), whole="M"),
        *made,
        stack(end(), sizes={"n": 2.0}),
    )
    latent = Latent(**patches(sizes), **usual(config, newer), text=length_of_text(config, 300.0))
    model = denoiser(config, sizes, stacks, latent, order=tuple(range(len(made))) * int(count))
    return replace(model, frozen=sizes["z"])
