"""FLUX.2: one modulation for all layers of two streams, one for all of one; gated feed-forward networks, no biases.

Sources: Black Forest Labs 2025, github.com/black-forest-labs/flux2, src/flux2/model.py; diffusers 0.42,
models/transformers/transformer_flux2.py; its pipeline, pipelines/flux2/pipeline_flux2.py, for the sizes of a picture.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_head import adaptive_head
from floorline.blocks.adaptive_norm import gated, modulated, modulation
from floorline.blocks.attention import Attention
from floorline.blocks.conditioning import summed, two_matmuls
from floorline.blocks.double_stream import GIVEN, double_stream
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.joint_attention import JOINT, JointAttention
from floorline.blocks.norm import PLAIN_NORM, residual
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers.common import denoiser, heads, ignored, scaled, stack
from floorline.huggingface.diffusers.flux import HEAD_NORM, TOGETHER
from floorline.op import contraction
from floorline.specs.latent import Latent
from floorline.transformer import Transformer


@cache
def conditioning(guided: bool, read: str = "vec mod cmod smod") -> Block:
    """The vector of the time, and of the guidance where that is distilled, and the modulations made of it.

    read  what there are layers for; the rest is computed for nothing

    Letters: ``q`` vectors that modulate a layer of one stream: shift, scale and gate.

    >>> conditioning(False).outputs
    ('vec', 'mod', 'cmod', 'smod')
    """
    time = two_matmuls("time", "waves[Bw]", "time[Bv]" if guided else "vec[Bv]", "silu", bias=False, last_bias=False)
    ops = (
        *time,
        *(
            (
                *two_matmuls("guidance", "guidance[Bw]", "guided[Bv]", "silu", bias=False, last_bias=False),
                *summed("condition", ("time[Bv]", "guided[Bv]"), "vec[Bv]"),
            )
            if guided
            else ()
        ),
        *modulation("mod", "vec", "mod", bias=False),
        *modulation("cmod", "vec", "cmod", letters="mD", bias=False),
        *modulation("smod", "vec", "smod", letters="qD", bias=False),
    )
    return block("conditioning", "", ops, read, data="waves[Bw]" + (" guidance[Bw]" if guided else ""))


@cache
def start() -> Block:
    """Latents and text to the model's width."""
    ops = (
        contraction("patch", "latent[BTcij] Wpatch[cijD] -> x[BTD]"),
        contraction("context", "text[BMe] Wcontext[eD] -> c[BMD]"),
    )
    return block("embedding", "", ops, "x c", data="latent[BTcij] text[BMe]")


@cache
def single(attention: Attention, ffn: FeedForward) -> Block:
    """A layer of one stream whose first matmuls are stored as one matrix, queries to gates, and so are its last ones.

    >>> [op.name for op in single(Attention(cached=False), FeedForward("silu", gated=True)).ops][:6]
    ['norm', 'q', 'k', 'v', 'gate', 'up']
    """
    attend, feed = attention.ops("h", "attn"), ffn.ops("h", "ffn")
    first = (*attend[:3], *(replace(op, kernel=attend[0].kernel) for op in feed[:2]))
    ops = (
        modulated(PLAIN_NORM, "smod[BqD]").op("norm", "x", "h"),
        *first,
        *attend[3:],
        *feed[2:],
        residual("both", "attn", "ffn", "sum"),
        gated("add", "x", "sum", "y", "smod[BqD]"),
    )
    return block("single", "x[BTD] smod[BqD]", ops, "y", layer=True)


def read(config: Config) -> Transformer:
    """A configuration of Flux2Transformer2DModel.

    >>> read(Config({}, "flux.2-dev")).parameter_count().total
    32223281152.0
    """
    sizes = heads(config, 48.0, 128.0)
    wide, channels, patch = sizes["D"], config.size("in_channels", 128.0), config.size("patch_size", 1.0)
    made = config.given("out_channels")
    sizes |= {"F": scaled(wide, config.values.get("mlp_ratio", 3.0), config), "v": wide, "u": wide}
    sizes |= {"w": config.size("timestep_guidance_channels", 256.0), "n": 6.0, "m": 6.0, "q": 3.0}
    sizes |= {"c": channels, "i": 1.0, "j": 1.0, "o": channels if made is None else made}
    sizes |= {"e": config.size("joint_attention_dim", 15360.0)}
    ignored(config, "mlp_ratio", "axes_dims_rope", "rope_theta", "eps", "pooled_projection_dim")
    ffn, text_ffn = (FeedForward("silu", gated=True, name=name) for name in ("", "c"))
    joint = JointAttention(
        bias=False,
        text_bias=False,
        out_bias=False,
        text_out_bias=False,
        head_norm=HEAD_NORM,
        text_norm=HEAD_NORM,
        rotary="both",
    )
    alone = Attention(rotary=True, head_norm=HEAD_NORM, cached=False)
    count, singles = config.count("num_layers", 8.0), config.count("num_single_layers", 48.0)
    read = "vec" + (" mod cmod" if count else "") + (" smod" if singles else "")
    stacks = (
        stack(conditioning(config.flag("guidance_embeds", True), read)),
        stack(start()),
        stack(double_stream(joint, ffn, text_ffn, by=GIVEN), count, tokens=JOINT),
        stack(single(alone, ffn), singles, tokens=TOGETHER),
        stack(adaptive_head(bias=False, last_bias=False), sizes={"n": 2.0, "i": patch, "j": patch}),
    )
    return denoiser(config, sizes, stacks, Latent(patch=2, text=512))
