"""DINOv2, with registers or without: a ViT whose branches have a learned scale; its largest has a gated feed-forward.

Sources: Oquab et al. 2023, arXiv:2304.07193; Darcet et al. 2023, arXiv:2309.16588; fields and what is meant where one is left
out: transformers 5.23, models/dinov2 and models/dinov2_with_registers.
"""

from __future__ import annotations

from floorline.blocks.embedding import final_norm
from floorline.blocks.norm import LAYER_NORM
from floorline.blocks.vision import LAYER_SCALE, patches, pooled
from floorline.huggingface.common import drops, layers
from floorline.huggingface.config import Config, rounded
from floorline.huggingface.vision import Tower, architecture, encoder, labels, picture, widths
from floorline.num import Num
from floorline.transformer import Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "dinov2" or "dinov2_with_registers".

    >>> read(Config({"image_size": 518}, "dinov2-base")).parameter_count().total
    86580480.0
    """
    registers = config.text("model_type", "dinov2") == "dinov2_with_registers"
    gated = config.flag("use_swiglu_ffn", False)
    sizes = shape(config, registers, gated)
    drop = drops(config, "hidden_dropout_prob")
    for unused in ("layerscale_value", "intermediate_size"):  # where scales start; the ratio decides the inner width
        config.get(unused)
    block = encoder(
        "silu" if gated else config.activation("hidden_act", "gelu"),
        bias=config.flag("qkv_bias", True),
        scale=LAYER_SCALE,
        gated=gated,
        attention_drop=drops(config, "attention_probs_dropout_prob"),
    )
    masked = registers or config.flag("use_mask_token", True)
    extra = ("Wclass[D]", *(("Wmask[D]",) if masked else ()), *(("Wregisters[rD]",) if sizes["r"] else ()))
    tower = Tower(sizes=sizes, own=False)
    classifies = architecture(config, "Dinov2Model").endswith("ImageClassification") and labels(config) > 0
    stacks = (
        tower.stack(patches(extra=extra, drop=drop)),
        tower.stack(block, layers(config, default=12.0)),
        tower.stack(final_norm(LAYER_NORM)),
        *((tower.stack(pooled(projected="L", name="classifier")),) if classifies else ()),
    )
    return Transformer(config.name, sizes, stacks)


def shape(config: Config, registers: bool, gated: bool) -> dict[str, Num]:
    """The sizes of all letters; a classifier reads the class token and the mean of the patches, d wide."""
    wide = widths(config, width=768.0, heads=12.0)
    if config.get("head_dim") is not None:
        wide["H"] = config.size("head_dim")
    seen = picture(config, image=224.0, patch=16.0 if registers else 14.0, extra=1.0)
    r = config.count("num_register_tokens", 4.0) if registers else 0.0
    inner = rounded(wide["D"] * config.size("mlp_ratio", 4.0))
    if gated:  # two thirds, rounded up to a multiple of 8
        inner = rounded((rounded(inner * 2.0 / 3.0) + 7.0) / 8.0) * 8.0
    return {**wide, **seen, "F": inner, "r": r, "m": seen["P"] + r, "d": 2.0 * wide["D"], "L": labels(config)}
