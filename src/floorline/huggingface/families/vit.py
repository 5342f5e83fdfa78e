"""ViT and DeiT: patches, learned tokens and positions, layers of an encoder, a pooler or a classifier.

Sources: Dosovitskiy et al. 2020, arXiv:2010.11929; Touvron et al. 2020, arXiv:2012.12877; fields and what is meant where one is
left out: transformers 5.23, models/vit and models/deit.
"""

from __future__ import annotations

from floorline.block import Block
from floorline.blocks.embedding import final_norm
from floorline.blocks.norm import LAYER_NORM
from floorline.blocks.vision import decoder, patches, pooled
from floorline.huggingface.common import drops, layers
from floorline.huggingface.config import Config
from floorline.huggingface.vision import Tower, architecture, encoder, labels, picture, widths
from floorline.num import Num
from floorline.transformer import Transformer

TOKENS = {"vit": ("Wclass[D]",), "deit": ("Wclass[D]", "Wdistillation[D]")}
"""Learned tokens beside the patches."""


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "vit" or "deit"; its architecture decides what stands at the end.

    >>> vit = {"architectures": ["ViTForImageClassification"], "num_labels": 1000}
    >>> read(Config(vit, "vit-base-patch16-224")).parameter_count().total
    86567656.0
    """
    kind, extra = architecture(config, "ViTModel"), TOKENS[config.text("model_type", "vit")]
    sizes = shape(config, len(extra))
    drop = drops(config, "hidden_dropout_prob")
    block = encoder(
        config.activation("hidden_act", "gelu"),
        bias=config.flag("qkv_bias", True),
        drop=drop,
        attention_drop=drops(config, "attention_probs_dropout_prob"),
    )
    unseen = ("Wmask[D]",) if kind.endswith("MaskedImageModeling") else ()
    tower = Tower(sizes=sizes, own=False)
    stacks = (
        tower.stack(patches(extra=(*extra, *unseen), drop=drop)),
        tower.stack(block, layers(config, default=12.0)),
        tower.stack(final_norm(LAYER_NORM)),
        *(tower.stack(end) for end in ends(kind, config.activation("pooler_act", "tanh"), labels(config))),
    )
    return Transformer(config.name, sizes, stacks)


def shape(config: Config, extra: int) -> dict[str, Num]:
    """The sizes of all letters: layers, a picture, and what stands at the end."""
    wide = widths(config, width=768.0, heads=12.0, inner=3072.0)
    if config.get("head_dim") is not None:
        wide["H"] = config.size("head_dim")
    seen = picture(config, image=224.0, patch=16.0, extra=float(extra))
    stride = config.size("encoder_stride", 16.0)
    pooler = config.get("pooler_output_size")
    last = {"d": wide["D"], "p": config.size("pooler_output_size") if pooler else wide["D"]}
    return {**wide, **seen, **last, "o": stride * stride * seen["c"], "L": labels(config)}


def ends(kind: str, activation: str, classes: float) -> tuple[Block, ...]:
    """What comes after the last norm: a pooler of the first token, one classifier or two, or pixels again."""
    if kind.endswith("MaskedImageModeling"):
        return (decoder(),)
    if kind.endswith(("ImageClassification", "WithTeacher")):
        return (pooled(projected="L", heads=1 + kind.endswith("WithTeacher"), name="classifier"),) if classes else ()
    return (pooled(activation=activation),)
